"""A prediction one can answer for: what it was made from, why it is what it is, and that training would have said the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable

import platform_assets.pipelines.feature as feature_pipeline
from platform_assets.compute.calibration import Probabilities
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Predictions
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days
from platform_assets.errors import DeclarationError, ModelError
from platform_assets.pipelines.champions import promote_by_hand
from platform_assets.pipelines.plan import plan
from platform_assets.pipelines.run import CheckResult, Materialization, Platform
from platform_assets.registry.models import LoadedModel
from platform_assets_tests import shop

DAY = date(2024, 4, 10)
ONE = Days(DAY, DAY)


def table(there: Platform, name: str, *, version: int | None = None) -> pl.DataFrame:
    return there.lake.scan(table_folder("shop", name), version=version).collect()


def parity(made: Materialization) -> CheckResult:
    return next(check for check in made.checks if check.name == "as_trained")


def right_matrix(model: LoadedModel, rows: pl.DataFrame) -> np.ndarray:
    """What LightGBM has to be given, cell by cell."""
    levels = model.classifier.preparation.levels
    matrix = np.full((len(rows), len(model.classifier.preparation.inputs)), np.nan)
    for place, name in enumerate(model.classifier.preparation.inputs):
        for number, value in enumerate(rows[name].to_list()):
            if name in levels:
                matrix[number, place] = levels[name].index(value) if value in levels[name] else np.nan
            elif value is not None:
                matrix[number, place] = value
    return matrix


def change_order(there: Platform, day: date, **cells: str) -> str:
    """Let one order of a day land anew, altered, and make everything up to the view of that day."""
    rows = shop.rows_to_land("orders", day)
    rows[0] |= cells
    shop.land_rows(there.landing.root, "orders", day, rows)
    shop.make(there, "orders", "product_sales", "customer_history", "category_sales", days=Days(day, day))
    return rows[0]["order_id"]


@pytest.mark.parametrize("cells", [{}, {"product": "umbrella"}, {"customer": "nobody"}], ids=str)
def test_every_probability_is_lightgbms_own_for_the_right_matrix(shop_copy: Platform, cells: dict[str, str]) -> None:
    """An order as it was, one of a category never seen, and one of a customer without history: its integers are null."""
    changed = change_order(shop_copy, DAY, **cells)
    shop.make(shop_copy, "orders_asked", "return_predictions", days=ONE)
    asked = table(shop_copy, "orders_asked").filter(pl.col("day") == DAY)
    model = shop_copy.registry.load("shop", "return_model", 1)
    probability = np.asarray(model.classifier.booster.predict(right_matrix(model, asked)))
    assert model.classifier.band is not None
    low, high = model.classifier.band.around(probability, probability)
    acts = (probability >= 0.2).tolist()
    expected = dict(zip(asked["order_id"], zip(probability, low, high, acts, strict=True), strict=True))
    found = table(shop_copy, "return_predictions").filter(pl.col("day") == DAY)
    columns = found.select("order_id", "probability", "probability_low", "probability_high", "decision")
    assert {order: tuple(said) for order, *said in columns.iter_rows()} == expected
    assert changed in expected


def test_a_row_carries_the_inputs_that_moved_it_most(finished_shop: Any) -> None:
    there = shop.platform(finished_shop)
    model = there.registry.load("shop", "return_model", 1)
    found = table(there, "return_predictions")
    explained = found.filter(pl.col("reasons").is_not_null())
    assert 0 < len(explained) < len(found)
    assert explained["probability"].min() >= 0.5 > found.filter(pl.col("reasons").is_null())["probability"].max()
    asked = {row["order_id"]: row for row in table(there, "orders_asked").to_dicts()}
    rows = pl.DataFrame([asked[order] for order in explained["order_id"]], schema=table(there, "orders_asked").schema)
    every = np.asarray(model.classifier.booster.predict(right_matrix(model, rows), pred_contrib=True))
    raw = np.log(explained["probability"].to_numpy() / (1 - explained["probability"].to_numpy()))
    np.testing.assert_allclose(every.sum(axis=1), raw, atol=1e-9)
    for row, moved in zip(explained.to_dicts(), every[:, :-1].tolist(), strict=True):
        ranked = sorted(range(len(moved)), key=lambda n: (-abs(moved[n]), n))[:2]
        assert row["reasons"] == [model.classifier.preparation.inputs[n] for n in ranked]
        assert row["contributions"] == [moved[n] for n in ranked]


def test_ages_of_features_go_with_the_prediction(finished_shop: Any) -> None:
    there = shop.platform(finished_shop)
    (age,) = shop.return_predictions.age_columns
    both = table(there, "return_predictions").join(table(there, "orders_asked"), on="order_id", suffix="_asked")
    assert both[age].equals(both[f"{age}_asked"], null_equal=True)
    assert both[age].count() > 0


def test_a_prediction_names_the_version_of_the_view_that_holds_its_row(shop_copy: Platform) -> None:
    before = table(shop_copy, "return_predictions")
    assert set(before["view_version"]) == {0}
    change_order(shop_copy, DAY, amount_cents="9999")
    shop.make(shop_copy, "orders_asked", days=ONE)
    shop.make(shop_copy, "return_predictions")
    after = table(shop_copy, "return_predictions")
    assert dict(after.group_by("day").agg(pl.col("view_version").unique()).iter_rows()) == {
        day: [1 if day == DAY else 0] for day in shop.days_of("return_predictions") or ()
    }
    again = shop.make(shop_copy, "return_predictions")[0]
    assert not again.is_new


def test_a_sample_is_joined_and_scored_again(shop_copy: Platform) -> None:
    found = parity(shop.make(shop_copy, "return_predictions", days=ONE)[0])
    assert (found.passed, found.blocking) == (True, True)
    assert found.facts == {"rows examined": 30, "rows that differ": 0}


def test_columns_scored_in_another_order_are_caught(shop_copy: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM takes them without a word."""

    def swapped(self: LoadedModel, rows: pl.DataFrame) -> Probabilities:
        held = self.classifier
        scores = np.asarray(held.booster.predict(held.preparation.encode(rows)[:, ::-1]))
        return replace(held.predict(rows), probability=scores)

    monkeypatch.setattr(LoadedModel, "predict", swapped)
    found = parity(shop.make(shop_copy, "return_predictions", days=ONE)[0])
    assert (found.passed, found.blocking) == (False, True)
    assert "the same inputs were scored otherwise" in found.description


@pytest.mark.parametrize("which", ["probability", "low", "high"])
def test_one_number_off_by_the_last_bit_is_caught(
    shop_copy: Platform, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    honest = LoadedModel.predict

    def nudged(self: LoadedModel, rows: pl.DataFrame) -> Probabilities:
        said = honest(self, rows)
        numbers = getattr(said, which).copy()
        numbers[0] = np.nextafter(numbers[0], 0)
        return replace(said, **{which: numbers})

    monkeypatch.setattr(LoadedModel, "predict", nudged)
    found = parity(shop.make(shop_copy, "return_predictions", days=ONE)[0])
    assert (found.passed, found.facts["rows that differ"]) == (False, 1)


def test_a_view_that_holds_other_values_than_the_join_is_caught(
    shop_copy: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = feature_pipeline.join_selections

    def wrong(*args: Any, **named: Any) -> pl.DataFrame:
        joined = honest(*args, **named)
        return joined.with_columns(pl.col("customer_history__spent_3d") * 50 + 7)

    monkeypatch.setattr(feature_pipeline, "join_selections", wrong)
    shop.make(shop_copy, "orders_asked", days=ONE)
    found = parity(shop.make(shop_copy, "return_predictions", days=ONE)[0])
    assert not found.passed
    assert "its inputs customer_history__spent_3d differ" in found.description


def test_a_day_without_rows_is_a_warning(shop_copy: Platform) -> None:
    shop.land_rows(shop_copy.landing.root, "orders", DAY, [])
    shop.make(shop_copy, "orders", "orders_asked", days=ONE)
    found = parity(shop.make(shop_copy, "return_predictions", days=ONE)[0])
    assert (found.passed, found.blocking, found.facts["rows examined"]) == (False, False, 0)


@pytest.mark.parametrize(("changed", "examined"), [(date(2024, 4, 14), 30), (DAY, 0)])
def test_a_version_that_was_cleaned_away_is_replaced_by_one_with_the_same_rows_or_not_at_all(
    shop_copy: Platform, changed: date, examined: int
) -> None:
    change_order(shop_copy, changed, amount_cents="9999")
    folder = shop_copy.lake.path(table_folder("shop", "product_sales"))
    assert DeltaTable(folder).version() == 1
    DeltaTable(folder).create_checkpoint()
    (folder / "_delta_log" / f"{0:020}.json").unlink()
    found = parity(shop.make(shop_copy, "return_predictions", days=ONE)[0])
    assert (found.passed, found.blocking) == (examined > 0, examined > 0)
    assert found.facts["rows examined"] == examined
    if not examined:
        assert "version 0 was cleaned away" in found.description


def train_another(there: Platform) -> None:
    """Version 2, which is other than version 1 and not champion."""
    slower = replace(shop.return_model.learner, rounds=3, early_stopping=None)
    shop.make(there, "return_model", catalogue=shop.with_changed("return_model", learner=slower))
    there.registry.crown("shop", "return_model", 1)


def test_a_named_version_predicts_whoever_is_champion(shop_copy: Platform) -> None:
    train_another(shop_copy)
    named = shop.with_changed("return_predictions", version=2)
    shop.make(shop_copy, "return_predictions", catalogue=named)
    found = table(shop_copy, "return_predictions")
    assert set(found["model_version"]) == {2}
    assert found["prediction_id"].str.starts_with("return_model-v2:").all()
    assert "return_predictions" not in {step.name for step in plan(shop_copy, named, now=shop.NOW).steps}


def chosen_on(there: Platform, version: int, at: datetime) -> None:
    promotion = shop.return_promotion
    promote_by_hand(there, shop.PROMOTING, promotion, version, shop.run(at), reason="a test", who="ada")


def versions_by_day(there: Platform) -> dict[date, set[int]]:
    rows = table(there, "return_predictions").group_by("day").agg(pl.col("model_version").unique())
    return {day: set(versions) for day, versions in rows.iter_rows()}


def test_each_day_is_predicted_by_the_champion_that_it_had_as_it_began(shop_copy: Platform) -> None:
    train_another(shop_copy)
    chosen_on(shop_copy, 2, datetime(2024, 4, 8, 10, tzinfo=UTC))
    chosen_on(shop_copy, 1, datetime(2024, 4, 12, 3, tzinfo=UTC))
    (made,) = shop.make(shop_copy, "return_predictions", catalogue=shop.PROMOTING)
    days = versions_by_day(shop_copy)
    assert days.keys() == made.rows.keys() == made.hashes.keys()
    assert made.row_count == len(table(shop_copy, "return_predictions"))
    assert {day: {2 if date(2024, 4, 8) < day <= date(2024, 4, 12) else 1} for day in days} == days
    assert made.facts["champions"] == (
        f"version 1 of {min(days)} to 2024-04-08, version 2 of 2024-04-09 to 2024-04-12, version 1 of 2024-04-13 to "
        f"{max(days)}"
    )
    found = parity(made)
    assert (found.passed, found.facts["rows that differ"]) == (True, 0)
    assert all(day in found.description for day in ("2024-04-08", "2024-04-12", "2024-04-14")), "a sample of each"


def test_a_new_champion_does_not_rewrite_what_was_said_before_it(shop_copy: Platform) -> None:
    train_another(shop_copy)
    shop.make(shop_copy, "return_promotion", "return_predictions", "return_outcomes", catalogue=shop.PROMOTING)
    assert shop_copy.registry.champion("shop", "return_model") == 1
    before = versions_by_day(shop_copy)
    chosen_on(shop_copy, 2, shop.NOW)

    def stale(catalogue: Catalogue) -> set[str]:
        return {step.name for step in plan(shop_copy, catalogue, now=shop.NOW).steps}

    assert "return_predictions" not in stale(shop.PROMOTING)
    assert "return_predictions" in stale(
        shop.with_changed("return_predictions", catalogue=shop.PROMOTING, champion="newest")
    )
    shop.make(shop_copy, "return_predictions", catalogue=shop.PROMOTING)
    assert versions_by_day(shop_copy) == before


def test_days_whose_champion_was_deleted_are_named_before_anything_is_written(shop_copy: Platform) -> None:
    train_another(shop_copy)
    chosen_on(shop_copy, 2, datetime(2024, 4, 8, 10, tzinfo=UTC))
    chosen_on(shop_copy, 1, datetime(2024, 4, 12, 3, tzinfo=UTC))
    shop.make(shop_copy, "return_predictions", catalogue=shop.PROMOTING)
    before = table(shop_copy, "return_predictions")
    shop_copy.registry.client.delete_model_version("shop.return_model", "2")
    said = (
        r"of 2024-04-09 to 2024-04-12: their champion was version 2 of shop.return_model, which is no longer in MLflow"
    )
    with pytest.raises(ModelError, match=said):
        shop.make(shop_copy, "return_predictions", catalogue=shop.PROMOTING)
    assert table(shop_copy, "return_predictions").equals(before)
    newest = shop.with_changed("return_predictions", catalogue=shop.PROMOTING, champion="newest")
    shop.make(shop_copy, "return_predictions", catalogue=newest)
    assert set(table(shop_copy, "return_predictions")["model_version"]) == {1}


def test_days_that_another_champion_had_than_the_one_recorded_are_stale(shop_copy: Platform) -> None:
    """As when a decision was made while the days after it were being predicted."""
    train_another(shop_copy)
    chosen_on(shop_copy, 2, datetime(2024, 4, 8, 10, tzinfo=UTC))
    shop.make(shop_copy, "return_predictions", "return_outcomes", catalogue=shop.PROMOTING)
    chosen_on(shop_copy, 1, datetime(2024, 4, 12, 3, tzinfo=UTC))
    step = plan(shop_copy, shop.PROMOTING, now=shop.NOW)["return_predictions"]
    assert step is not None
    assert step.days == (Days(date(2024, 4, 13), date(2024, 4, 14)),)
    assert step.reasons == {"return_model changed": 2}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"version": 0}, "version=0 is no version of a model"),
        ({"champion": "yesterday"}, "champion='yesterday'; choose 'of the day' or 'newest'"),
        ({"champion": "newest", "version": 2}, "champion='newest' and version=2; only one of them can predict"),
        ({"champion": "of the day"}, "no promotion keeps the record of who that was; add promotion="),
        ({"reasons": -1}, "reasons=-1; its model has"),
        ({"reasons": 99}, "reasons=99; its model has"),
        ({"reasons_from": 1.5}, r"reasons_from=1.5 is no probability"),
    ],
)
def test_a_wrong_declaration_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        replace(shop.return_predictions, **wrong)


def test_without_reasons_there_are_no_columns_for_them() -> None:
    plain: Predictions = replace(shop.return_predictions, reasons=0)
    assert {"reasons", "contributions"}.isdisjoint(column.name for column in plain.columns)


def test_lightgbm_explains_a_row_alike_alone_and_among_others(finished_shop: Any) -> None:
    model = shop.platform(finished_shop).registry.load("shop", "return_model", 1)
    rows = table(shop.platform(finished_shop), "orders_asked").head(20)
    assert isinstance(model.classifier.booster, lightgbm.Booster)
    alone = np.concatenate([model.contributions(rows[n]) for n in range(20)])
    np.testing.assert_array_equal(model.contributions(rows), alone)
    assert model.contributions(rows.clear()).shape == (0, len(model.classifier.preparation.inputs))
