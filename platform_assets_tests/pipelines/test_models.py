"""From the view to predictions and what came of them: fitted on nothing it is judged by, and only the better one wins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from platform_assets.compute.metrics import performance
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days
from platform_assets.errors import ModelError, TableMissing
from platform_assets.lake import ledger
from platform_assets.pipelines.run import CheckResult, Materialization, Platform
from platform_assets.pipelines.summary import summarize
from platform_assets.pipelines.training import evidence
from platform_assets_tests import shop
from platform_assets_tests.reference.comparison import naive_calibration_error
from platform_assets_tests.reference.uncertainty import naive_uncertainty

SPLIT = shop.returns_dataset.split
TO_DATASET = [
    d.name
    for d in shop.CATALOGUE.declarations
    if d.name not in ("return_model", "return_predictions", "return_outcomes")
]


def table(there: Platform, name: str) -> pl.DataFrame:
    return there.lake.scan(table_folder("shop", name)).collect()


def check(made: Materialization, name: str) -> CheckResult:
    return next(check for check in made.checks if check.name == name)


@pytest.fixture
def there(finished_shop: Path) -> Platform:
    return shop.platform(finished_shop)


def test_every_part_of_the_dataset_lies_in_its_time_and_was_known_before_the_next(there: Platform) -> None:
    dataset, labels = table(there, "returns_dataset"), table(there, "order_returned")
    start = {
        "fit": shop.OPEN.start_of(shop.OPEN.first),
        "select": shop.OPEN.start_of(SPLIT.select_from),
        "report": shop.OPEN.start_of(SPLIT.report_from),
    }
    end = {"fit": start["select"] - SPLIT.gap, "select": start["report"] - SPLIT.gap}
    known = dataset.join(labels.select("order_id", "known_at"), on="order_id", validate="1:1")
    assert len(known) == len(dataset)
    assert set(dataset["split"]) == {"fit", "select", "report"}
    for part, rows in known.partition_by("split", as_dict=True).items():
        assert rows["prediction_time"].min() >= start[part[0]]
        if part[0] in end:
            assert max(rows["prediction_time"].max(), rows["known_at"].max()) < end[part[0]]


def test_rows_without_a_yes_or_no_are_left_out_and_counted(shop_copy: Platform) -> None:
    made = shop.make(shop_copy, "returns_dataset")[0]
    cancelled = sum(order.cancelled for order in shop.books())
    assert made.facts["left out: neither positive nor negative"] == cancelled > 0
    assert made.facts["left out: label not in yet"] == 0
    parts = sum(made.facts[f"{part} rows"] for part in ("fit", "select", "report"))
    assert parts + cancelled + made.facts["left out: gap between the parts"] == 35 * 30
    assert table(shop_copy, "returns_dataset")["returned"].null_count() == 0


def test_labels_that_are_not_in_yet_are_not_learned_from(shop_copy: Platform) -> None:
    then = datetime(2024, 4, 12, 9, tzinfo=UTC)
    made = shop.make(shop_copy, "returns_dataset", now=then)[0]
    labels = table(shop_copy, "order_returned").filter(pl.col("known_at") > then + timedelta(days=1))
    assert made.facts["left out: label not in yet"] > 0
    assert set(table(shop_copy, "returns_dataset")["order_id"]).isdisjoint(labels["order_id"])


def test_a_model_that_beats_its_baselines_becomes_champion(there: Platform) -> None:
    assert there.registry.champion("shop", "return_model") == 1
    metrics = there.registry.metrics("shop", "return_model", 1)
    assert metrics["report_auc"] > 0.8
    assert metrics["baseline_averages_by_product_auc"] < 0.6
    assert metrics["baseline_the_base_rate_auc"] == 0.5


def test_the_logged_figures_are_those_of_the_loaded_model(there: Platform) -> None:
    report = table(there, "returns_dataset").filter(pl.col("split") == "report")
    champion = there.registry.load("shop", "return_model", 1)
    found = performance(report["returned"].cast(pl.Float64).to_numpy(), champion.score(report))
    metrics = there.registry.metrics("shop", "return_model", 1)
    assert found.auc == pytest.approx(metrics["report_auc"], abs=1e-12)
    assert found.log_loss == pytest.approx(metrics["report_log_loss"], abs=1e-12)


def test_the_figures_on_report_have_intervals_and_a_calibration_error(there: Platform) -> None:
    report = table(there, "returns_dataset").filter(pl.col("split") == "report")
    truth = report["returned"].cast(pl.Float64).to_numpy()
    scores = there.registry.load("shop", "return_model", 1).score(report)
    days = report.select(shop.OPEN.day_of(pl.col("prediction_time")).cast(pl.String)).to_series().to_list()
    draws, seed = evidence.DRAWS, shop.return_model.learner.seed
    naive = naive_uncertainty(truth, scores, days, confidence=0.95, draws=draws, seed=seed)
    metrics = there.registry.metrics("shop", "return_model", 1)
    for name in ("log_loss", "auc"):
        assert (metrics[f"report_{name}_low"], metrics[f"report_{name}_high"]) == pytest.approx(naive[name], abs=1e-9)
        assert metrics[f"report_{name}_low"] < metrics[f"report_{name}"] < metrics[f"report_{name}_high"]
    assert metrics["report_calibration_error"] == pytest.approx(naive_calibration_error(truth, scores, 10), abs=1e-9)


def test_the_manifest_leads_back_to_the_versions_of_every_table(there: Platform) -> None:
    client = there.registry.client
    run = client.get_run(client.get_model_version("shop.return_model", "1").run_id)
    path = client.download_artifacts(run.info.run_id, "manifest.json")
    manifest = json.loads(Path(path).read_text())
    assert manifest["model"] == "shop/return_model"
    assert manifest["training_dataset"]["table"] == "shop/returns_dataset"
    assert manifest["training_dataset"]["version"] == 0
    assert manifest["training_dataset"]["inputs"] == {"orders_asked": 0, "order_returned": 0}
    commit = there.lake.open(table_folder("shop", "returns_dataset"), version=0).history(limit=1)[0]
    assert manifest["training_dataset"]["content_hash"] == commit["platform.content_hash"]


def test_of_an_older_dataset_the_manifest_tells_that_commit(shop_copy: Platform) -> None:
    """A compaction in between says nothing of the content."""
    shop.make(shop_copy, "returns_dataset", now=datetime(2024, 4, 13, tzinfo=UTC))
    shop_copy.lake.open(table_folder("shop", "returns_dataset")).optimize.compact()
    made = shop.make(shop_copy, "return_model")[0]
    client = shop_copy.registry.client
    run_id = client.get_model_version("shop.return_model", str(made.version)).run_id
    manifest = json.loads(Path(client.download_artifacts(run_id, "manifest.json")).read_text())
    assert manifest["training_dataset"]["content_hash"] is not None
    assert manifest["training_dataset"]["inputs"] == {"orders_asked": 0, "order_returned": 0}


def test_the_manifest_tells_of_every_table_behind_the_dataset(shop_copy: Platform) -> None:
    """Also of a rebuild that changed nothing, and after a clean-up of Delta's own log."""
    day = Days(date(2024, 4, 2), date(2024, 4, 2))
    cancelled = shop.rows_to_land("orders", day.first)
    (called_off, *_) = [row for row in cancelled if row["cancelled"] == "true"]
    called_off["amount_cents"] = str(int(called_off["amount_cents"]) + 1)
    shop.land_rows(shop_copy.landing.root, "orders", day.first, cancelled)
    shop.make(shop_copy, "orders", days=day)
    shop.make(shop_copy, "orders_asked", days=day)
    dataset = shop.make(shop_copy, "returns_dataset")[0]
    assert not dataset.is_new, "of an order that was called off it has no row"
    for log in (shop_copy.lake.path("shop/returns_dataset") / "_delta_log").glob("*.json"):
        table = shop_copy.lake.open("shop/returns_dataset")
        table.create_checkpoint()
        log.unlink()

    made = shop.make(shop_copy, "return_model")[0]

    client = shop_copy.registry.client
    run_id = client.get_model_version("shop.return_model", str(made.version)).run_id
    manifest = json.loads(Path(client.download_artifacts(run_id, "manifest.json")).read_text())
    told = manifest["training_dataset"]
    assert told["inputs"] == {"orders_asked": 1, "order_returned": 0}
    assert (told["version"], told["content_hash"], told["rows"]) == (0, dataset.digest, dataset.row_count)
    assert told["fingerprint"] == shop.CATALOGUE.fingerprints["returns_dataset"]
    assert told["run"] == ledger.entries(shop_copy.lake, "shop/returns_dataset")[0].run_id
    behind = manifest["behind_it"]
    assert set(behind) == {f"shop/{name}" for name in TO_DATASET} - {"shop/returns_dataset"}
    assert behind["shop/orders_asked"]["inputs"]["orders"] == [0, 1], "one day is of the corrected orders"
    assert behind["shop/product_sales"]["inputs"] == {"orders": [0]}
    assert behind["shop/orders"]["version"] == 1
    for name, made_of in behind.items():
        assert made_of["fingerprints"] == [shop.CATALOGUE.fingerprints[name.removeprefix("shop/")]]


def test_a_coin_cannot_be_foretold_so_nothing_becomes_champion(empty_shop: Callable[..., Platform]) -> None:
    there = empty_shop(chance=True)
    shop.make(there, *TO_DATASET)
    made = shop.make(there, "return_model")[0]
    beats = check(made, "beats_baselines")
    assert (beats.passed, beats.blocking, made.facts["is champion"]) == (False, True, False)
    assert there.registry.champion("shop", "return_model") is None
    with pytest.raises(
        TableMissing, match="shop/return_predictions reads shop/return_model, which has not been materialized yet"
    ):
        shop.make(there, "return_predictions")


def test_a_worse_model_does_not_replace_the_champion(shop_copy: Platform) -> None:
    worse = shop.with_changed(
        "return_model", learner=replace(shop.return_model.learner, rounds=1, parameters={"learning_rate": 1e-6})
    )
    made = shop.make(shop_copy, "return_model", catalogue=worse)[0]
    assert made.version == 2
    assert not check(made, "beats_baselines").passed
    assert shop_copy.registry.champion("shop", "return_model") == 1


def test_the_same_data_and_seed_give_the_same_model(shop_copy: Platform) -> None:
    first, second = shop.make(shop_copy, "return_model", "return_model")
    other = shop.with_changed(
        "return_model",
        learner=replace(
            shop.return_model.learner,
            seed=7,
            parameters={**shop.return_model.learner.parameters, "feature_fraction": 0.4},
        ),
    )
    third = shop.make(shop_copy, "return_model", catalogue=other)[0]
    assert (first.digest, first.version + 1) == (second.digest, second.version)
    assert third.digest != first.digest
    rows = table(shop_copy, "orders_asked")
    scores = [shop_copy.registry.load("shop", "return_model", made.version).score(rows) for made in (first, second)]
    np.testing.assert_array_equal(*scores)


def test_a_dataset_without_a_part_is_refused(empty_shop: Callable[..., Platform]) -> None:
    there = empty_shop(days=Days(shop.OPEN.first, date(2024, 4, 6)), per_day=4)
    days = Days(shop.OPEN.first, date(2024, 4, 3))
    for name in ("products", "orders", "returns"):
        shop.make(there, name, days=Days(shop.OPEN.first, date(2024, 4, 6)))
    for name in ("product_sales", "customer_history", "category_sales", "order_returned", "orders_asked"):
        shop.make(there, name, days=days)
    made = shop.make(there, "returns_dataset")[0]
    assert not check(made, "splits_filled").passed
    assert check(made, "splits_filled").description.startswith("report hold no rows")
    with pytest.raises(
        ModelError,
        match="model return_model: its training dataset has no report rows; materialize more days or move the split",
    ):
        shop.make(there, "return_model")


def test_predictions_that_may_have_been_learned_from_are_marked(there: Platform) -> None:
    predictions, dataset = table(there, "return_predictions"), table(there, "returns_dataset")
    learned = set(dataset.filter(pl.col("split") != "report")["order_id"])
    marked = set(predictions.filter("in_sample")["order_id"])
    assert learned & set(predictions["order_id"]) <= marked
    report = dataset.filter(pl.col("split") == "report")
    assert marked.isdisjoint(report["order_id"])
    assert 0 < len(marked) < len(predictions)


def test_every_row_of_the_view_has_one_prediction_of_the_champion(there: Platform) -> None:
    predictions = table(there, "return_predictions")
    asked = table(there, "orders_asked").filter(pl.col("day") >= shop.PREDICTED_FROM)
    assert sorted(predictions["order_id"]) == sorted(asked["order_id"])
    assert predictions["prediction_id"].n_unique() == len(predictions)
    assert predictions["prediction_id"].str.starts_with("return_model-v1:").all()
    assert predictions["probability"].is_between(0, 1).all()
    scores = there.registry.load("shop", "return_model", 1).score(asked)
    assert dict(zip(asked["order_id"], scores, strict=True)) == dict(
        predictions.select("order_id", "probability").iter_rows()
    )


def test_a_category_that_was_never_seen_is_scored(shop_copy: Platform) -> None:
    day = date(2024, 4, 10)
    rows = shop.rows_to_land("orders", day)
    rows[0]["product"] = "umbrella"
    shop.land_rows(shop_copy.landing.root, "orders", day, rows)
    shop.make(
        shop_copy, "orders", "product_sales", "customer_history", "category_sales", "orders_asked", days=Days(day, day)
    )
    made = shop.make(shop_copy, "return_predictions", days=Days(day, day))[0]
    assert check(made, "every_row_scored").passed
    found = table(shop_copy, "return_predictions").filter(pl.col("order_id") == rows[0]["order_id"])
    assert 0 < found["probability"].item() < 1


def test_a_day_without_rows_is_predicted_as_a_day_without_rows(shop_copy: Platform) -> None:
    day = date(2024, 4, 10)
    shop.land_rows(shop_copy.landing.root, "orders", day, [])
    shop.make(shop_copy, "orders", "orders_asked", days=Days(day, day))
    made = shop.make(shop_copy, "return_predictions", "return_outcomes", days=Days(day, day))
    assert [one.rows for one in made] == [{day: 0}, {day: 0}]


def test_a_view_without_a_column_that_the_champion_needs_is_refused(shop_copy: Platform) -> None:
    thinner = shop.with_changed(
        "orders_asked", features=[shop.product_sales.select(age=True), shop.category_sales.select(prefix="category")]
    )
    shop.make(shop_copy, "orders_asked", catalogue=thinner)
    with pytest.raises(
        ModelError,
        match="the model needs the columns customer_history__orders_3d, customer_history__spent_3d, which the rows lack",
    ):
        shop.make(shop_copy, "return_predictions", catalogue=thinner)


def test_outcomes_stand_beside_their_predictions(there: Platform) -> None:
    outcomes = table(there, "return_outcomes")
    books = {order.order_id: order for order in shop.books()}
    assert len(outcomes) == len(table(there, "return_predictions"))
    for row in outcomes.to_dicts():
        order = books[row["order_id"]]
        assert row["returned"] == (None if order.cancelled else order.returned_at is not None)


def test_outcomes_that_are_not_in_yet_are_empty_and_not_counted(shop_copy: Platform) -> None:
    then = datetime(2024, 4, 10, tzinfo=UTC)
    made = shop.make(shop_copy, "return_outcomes", now=then)[0]
    outcomes = table(shop_copy, "return_outcomes")
    late = outcomes.filter(pl.col("ordered_at") > then)
    assert late["returned"].null_count() == len(late) > 0
    assert made.facts["with a yes or no"] == outcomes["returned"].count() < len(outcomes)
    assert check(made, "labels_in").passed
    none = shop.make(shop_copy, "return_outcomes", now=datetime(2024, 3, 1, tzinfo=UTC))[0]
    assert not check(none, "labels_in").passed
    assert not any("auc" in fact for fact in none.facts)


def test_performance_counts_only_predictions_that_were_not_learned_from(shop_copy: Platform) -> None:
    made = shop.make(shop_copy, "return_outcomes")[0]
    fair = table(shop_copy, "return_outcomes").filter(~pl.col("in_sample"), pl.col("returned").is_not_null())
    expected = performance(fair["returned"].cast(pl.Float64).to_numpy(), fair["probability"].to_numpy())
    assert made.facts["out of sample"] == len(fair)
    assert made.facts["auc (out of sample)"] == pytest.approx(expected.auc)


def test_the_summary_tells_tables_models_and_days(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    import platform_assets.pipelines.summary as module

    monkeypatch.setattr(module, "_FEWEST_ROWS", 20)
    found = summarize(there, shop.CATALOGUE)
    figures = {row.name: (row.kind, row.rows, row.days) for row in found.tables}
    assert figures["orders"] == ("source", 35 * 30, 35)
    assert figures["products"] == ("source", 5, None)
    assert figures["return_outcomes"] == ("outcomes", 14 * 30, 14)
    assert [(model.name, model.version) for model in found.models] == [("return_model", 1)]
    assert set(found.models[0].baselines) == {"averages by product", "the base rate"}
    best, worst = found.best["return_outcomes"], found.worst["return_outcomes"]
    assert (best.performance.auc or 0) >= (worst.performance.auc or 1)
    assert best.day >= SPLIT.report_from - timedelta(days=3)


def test_an_empty_platform_has_an_empty_summary(empty_shop: Callable[..., Platform]) -> None:
    found: Any = summarize(empty_shop(), shop.CATALOGUE)
    assert (found.tables, found.models, dict(found.best)) == ((), (), {})
