"""From probabilities to decisions and what they cost: in predictions, in outcomes, on report, and made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from platform_assets.compute.calibration import Probabilities
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Costs
from platform_assets.declarations.names import table_folder
from platform_assets.errors import ModelError
from platform_assets.pipelines.reproduce import Link, reproduce
from platform_assets.pipelines.run import CheckResult, Materialization, Platform
from platform_assets.pipelines.training import evidence
from platform_assets.pipelines.training.fitting import fit
from platform_assets.registry.models import LoadedModel, Registry
from platform_assets.registry.versions import read_model_name
from platform_assets_tests import shop
from platform_assets_tests.reference.calibration import naive_groups_within
from platform_assets_tests.reference.costs import naive_bounds_of_mean, naive_costs

PLAIN = shop.with_changed("return_model", calibration=None, interval=None, costs=None)
COSTS = Costs(false_alarm=1.0, miss=4.0, unit="euros of the shop")


def table(there: Platform, name: str) -> pl.DataFrame:
    return there.lake.scan(table_folder("shop", name)).collect()


def check(made: Materialization, name: str) -> CheckResult:
    return next(check for check in made.checks if check.name == name)


def report_of(there: Platform) -> tuple[pl.DataFrame, list[float], list[str]]:
    """The report rows, their outcomes and their days."""
    rows = table(there, "returns_dataset").filter(pl.col("split") == "report")
    days = rows.select(shop.OPEN.day_of(pl.col("prediction_time")).cast(pl.String)).to_series().to_list()
    return rows, rows["returned"].cast(pl.Float64).to_list(), days


def settings_link(there: Platform, version: int, catalogue: Catalogue = shop.CATALOGUE) -> tuple[Link, list[str]]:
    """The link of what follows the trees, and the states of what came of it."""
    name = read_model_name(f"models:/shop.return_model/{version}")
    found = reproduce(there, [catalogue], name, run=shop.run())
    states = [one.state for one in found.links if one.kind in ("model", "predictions")]
    return next(one for one in found.links if one.name == "of calibration, interval and costs"), states


@pytest.fixture
def there(finished_shop: Path) -> Platform:
    return shop.platform(finished_shop)


def test_the_costs_on_report_are_those_of_the_naive_twin(there: Platform) -> None:
    rows, truth, days = report_of(there)
    probability = there.registry.load("shop", "return_model", 1).score(rows).tolist()
    metrics = there.registry.metrics("shop", "return_model", 1)
    ways: dict[str, Callable[[float], bool]] = {
        "report_cost": lambda p: p >= 0.2,
        "report_cost_acting_at_0.5": lambda p: p >= 0.5,
        "report_cost_acting_never": lambda _: False,
        "report_cost_acting_always": lambda _: True,
    }
    for name, acts in ways.items():
        costs = naive_costs(truth, [acts(p) for p in probability], 1.0, 4.0)
        bounds = naive_bounds_of_mean(
            costs, days, confidence=0.95, draws=evidence.DRAWS, seed=shop.return_model.learner.seed
        )
        assert metrics[name] == pytest.approx(sum(costs) / len(costs))
        assert (metrics[f"{name}_low"], metrics[f"{name}_high"]) == pytest.approx(bounds, abs=1e-9)
    assert metrics["report_cost"] < min(metrics["report_cost_acting_never"], metrics["report_cost_acting_always"])


def test_the_intervals_on_report_are_counted_as_the_naive_twin_does(there: Platform) -> None:
    rows, truth, _ = report_of(there)
    said = there.registry.load("shop", "return_model", 1).predict(rows)
    assert said.low is not None
    assert said.high is not None
    metrics = there.registry.metrics("shop", "return_model", 1)
    naive = naive_groups_within(truth, said.probability.tolist(), said.low.tolist(), said.high.tolist(), 10)
    assert metrics["report_groups_within_interval"] == pytest.approx(naive)
    assert metrics["report_mean_interval"] == pytest.approx(float((said.high - said.low).mean()))


def test_the_materialization_tells_threshold_and_costs(shop_copy: Platform) -> None:
    facts = shop.make(shop_copy, "return_model")[0].facts
    assert facts["threshold"] == 0.2
    said = [title for title in facts if title.startswith("euros of the shop a row on report, ")]
    assert [title.partition(", ")[2] for title in said] == [
        "at the threshold",
        "acting at 0.5",
        "acting never",
        "acting always",
    ]
    assert all(" to " in facts[title] for title in said)


def test_predictions_and_outcomes_carry_interval_and_decision(there: Platform) -> None:
    predictions, outcomes = table(there, "return_predictions"), table(there, "return_outcomes")
    low, probability, high = (
        predictions[name].to_numpy() for name in ("probability_low", "probability", "probability_high")
    )
    assert ((low <= probability) & (probability <= high)).all()
    assert (low < high).any()
    assert predictions["decision"].to_list() == (predictions["probability"] >= 0.2).to_list()
    carried = ["order_id", "probability_low", "probability_high", "decision"]
    assert outcomes.select(carried).sort("order_id").equals(predictions.select(carried).sort("order_id"))


def test_outcomes_tell_what_a_row_cost_so_far(shop_copy: Platform) -> None:
    made = shop.make(shop_copy, "return_outcomes")[0]
    fair = table(shop_copy, "return_outcomes").filter(~pl.col("in_sample"), pl.col("returned").is_not_null())
    truth = fair["returned"].cast(pl.Float64).to_list()
    ways = {
        "as decided": fair["decision"].to_list(),
        "acting never": [False] * len(fair),
        "acting always": [True] * len(fair),
    }
    assert made.facts["with a decision (out of sample)"] == len(fair) > 0
    for name, acts in ways.items():
        costs = naive_costs(truth, acts, 1.0, 4.0)
        told = made.facts[f"euros of the shop a row, {name} (out of sample)"]
        assert told == pytest.approx(sum(costs) / len(costs))


@pytest.mark.parametrize("end", ["low", "high"])
def test_a_probability_outside_of_its_interval_fails_the_check(
    shop_copy: Platform, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    honest = LoadedModel.predict

    def astray(self: LoadedModel, rows: pl.DataFrame) -> Probabilities:
        said = honest(self, rows)
        numbers = getattr(said, end).copy()
        numbers[3] = np.nextafter(said.probability[3], 1 if end == "low" else 0)
        return replace(said, **{end: numbers})

    monkeypatch.setattr(LoadedModel, "predict", astray)
    found = check(shop.make(shop_copy, "return_predictions")[0], "every_row_scored")
    assert (found.passed, found.blocking) == (False, True)
    assert found.facts["outside of their interval"] == 1


def test_a_decision_that_is_not_that_of_the_probability_fails_the_parity_check(
    shop_copy: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platform_assets.pipelines.inference as module

    honest = module.said_of

    def turned(*given: Any) -> pl.DataFrame:
        return honest(*given).with_columns(~pl.col("decision"))

    monkeypatch.setattr(module, "said_of", turned)
    found = check(shop.make(shop_copy, "return_predictions")[0], "as_trained")
    assert not found.passed
    assert found.facts["rows that differ"] == found.facts["rows examined"] > 0


def test_a_version_from_before_says_neither_interval_nor_decision(shop_copy: Platform) -> None:
    """As it was stored then: without an entry for what follows the trees."""
    made = shop.make(shop_copy, "return_model", catalogue=PLAIN)[0]
    folder = shop_copy.registry.client.get_logged_model(
        str(shop_copy.registry.client.get_model_version("shop.return_model", str(made.version)).source).removeprefix(
            "models:/"
        )
    ).artifact_location.removeprefix("file://")
    path = Path(folder) / "MLmodel"
    text = path.read_text()
    kept = [line for line in text.splitlines() if "after_the_trees" not in line]
    assert len(kept) == len(text.splitlines()) - 1
    path.write_text("\n".join(kept) + "\n")
    old = Registry(shop_copy.registry.root).load("shop", "return_model", made.version).classifier
    assert (old.calibration, old.band, old.threshold, old.digest) == (None, None, None, made.digest)

    shop_copy.registry.crown("shop", "return_model", made.version)
    predicted, judged = shop.make(shop_copy, "return_predictions", "return_outcomes")
    rows = table(shop_copy, "return_predictions")
    for name in ("probability_low", "probability_high", "decision"):
        assert rows[name].null_count() == len(rows) > 0
    assert check(predicted, "every_row_scored").passed
    assert check(predicted, "as_trained").passed
    assert judged.facts["with a decision (out of sample)"] == 0
    assert not any("a row, " in title for title in judged.facts)


@pytest.mark.parametrize("method", ["isotonic", "platt", "venn_abers"])
def test_a_calibrated_model_is_fitted_loaded_and_made_again_to_the_bit(shop_copy: Platform, method: str) -> None:
    catalogue = shop.with_changed("return_model", calibration=method)
    first, second = shop.make(shop_copy, "return_model", "return_model", catalogue=catalogue)
    assert first.digest == second.digest
    rows = table(shop_copy, "orders_asked")
    one, two = (shop_copy.registry.load("shop", "return_model", made.version) for made in (first, second))
    assert one.classifier.digest == first.digest
    for name in ("probability", "low", "high"):
        np.testing.assert_array_equal(getattr(one.predict(rows), name), getattr(two.predict(rows), name))
    metrics = shop_copy.registry.metrics("shop", "return_model", first.version)
    assert metrics["report_log_loss_before_calibration"] != metrics["report_log_loss"]
    setting, states = settings_link(shop_copy, first.version, catalogue)
    assert (setting.state, states) == ("same", ["same", "same"])


def test_the_calibration_is_fitted_on_select_and_on_nothing_else(there: Platform) -> None:
    """Whatever came of the report rows, the model stays the same; of the select rows it does not."""
    model = replace(shop.return_model, calibration="isotonic")
    rows = table(there, "returns_dataset")

    def digest(part: str) -> str:
        turned = pl.when(pl.col("split") == part).then(~pl.col("returned")).otherwise("returned")
        return fit(model, rows.with_columns(turned.alias("returned")).lazy(), run=shop.run()).classifier.digest

    assert digest("none") == digest("report") != digest("select")


def test_settings_declared_since_are_named_and_those_that_were_recorded_are_used(there: Platform) -> None:
    changed = shop.with_changed("return_model", calibration="platt", interval=0.5, costs=replace(COSTS, miss=9.0))
    setting, states = settings_link(there, 1, changed)
    assert setting.state == "differs"
    assert setting.recorded.startswith("calibration=None, costs=Costs(false_alarm=1.0, miss=4.0, ")
    assert setting.recorded.endswith("interval=0.9")
    assert setting.found.startswith("calibration=platt, costs=Costs(false_alarm=1.0, miss=9.0, ")
    assert states == ["same", "same"]


def test_a_run_from_before_such_settings_is_made_again_without_them(
    shop_copy: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_assets.pipelines.training.train.settings_after_the_trees", lambda _: {})
    made = shop.make(shop_copy, "return_model", catalogue=PLAIN)[0]
    setting, states = settings_link(shop_copy, made.version, PLAIN)
    assert (setting.state, states) == ("same", ["same", "same"])
    setting, states = settings_link(shop_copy, made.version)
    assert (setting.state, states) == ("differs", ["same", "same"])


def test_a_threshold_that_was_stored_otherwise_is_found(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    module = __import__("sys").modules["platform_assets.pipelines.reproduce"]
    honest = module.fit
    monkeypatch.setattr(
        module, "fit", lambda model, rows, **more: honest(replace(model, costs=replace(COSTS, miss=5.0)), rows, **more)
    )
    _, states = settings_link(there, 1)
    assert states == ["differs", "same"]


def test_a_registration_that_dies_leaves_no_half_model_and_the_next_is_whole(
    shop_copy: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version comes last: before it nobody can load anything, with it everything is there."""
    client = type(shop_copy.registry.client)
    kept = client.create_model_version

    def die(*_: object, **__: object) -> None:
        msg = "killed before the version was made"
        raise RuntimeError(msg)

    monkeypatch.setattr(client, "create_model_version", die)
    with pytest.raises(RuntimeError, match="killed before"):
        shop.make(shop_copy, "return_model")
    assert shop_copy.registry.newest("shop", "return_model") == shop_copy.registry.champion("shop", "return_model") == 1
    with pytest.raises(ModelError, match="version 2 cannot be loaded"):
        shop_copy.registry.load("shop", "return_model", 2)
    monkeypatch.setattr(client, "create_model_version", kept)
    made = shop.make(shop_copy, "return_model")[0]
    loaded = shop_copy.registry.load("shop", "return_model", made.version).classifier
    assert (made.version, loaded.digest) == (2, made.digest)
    assert loaded.band is not None
    assert loaded.threshold == 0.2


def test_select_of_a_single_outcome_cannot_calibrate(there: Platform) -> None:
    rows = table(there, "returns_dataset").with_columns(
        pl.when(pl.col("split") == "select").then(statement=False).otherwise("returned").alias("returned")
    )
    model = replace(shop.return_model, calibration="platt")
    with pytest.raises(ModelError, match=r"calibration platt: all of its .* rows came to the same outcome"):
        fit(model, rows.lazy(), run=shop.run())
