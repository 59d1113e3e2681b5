"""One deliberate leak for each leak check, caught by its check; and the honest shop, which passes them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from platform_assets.compute.leakage import distort, forget, moved, too_good
from platform_assets.declarations.tables import FeatureGroup
from platform_assets.declarations.times import Days, Window
from platform_assets.declarations.views import SPLIT, FeatureView, TrainingDataset
from platform_assets.pipelines.feature import _inside, _slices
from platform_assets.pipelines.leaks import as_known_then, knows_no_future, not_too_good, splits_apart
from platform_assets.pipelines.run import CheckResult, Inputs, Platform
from platform_assets_tests import shop

DAYS = Days(date(2024, 3, 20), date(2024, 3, 22))


@pytest.fixture(scope="module")
def made(finished_shop: Path) -> Platform:
    return shop.platform(finished_shop)


def examine(made: Platform, group: FeatureGroup, days: Days = DAYS) -> CheckResult:
    inputs = Inputs.pin(made, shop.CATALOGUE, shop.CATALOGUE[group.name], days)

    def compute(slices: Mapping[str, pl.LazyFrame], days: Days) -> pl.DataFrame:
        window = group.partitions.window(days)
        assert group.transform is not None
        extra = {"window": window} if group.wants_window else {}
        return _inside(group.transform(**slices, **extra), group.event_time, window).collect()

    return knows_no_future(
        shop.CATALOGUE, group, days, lambda days: _slices(shop.CATALOGUE, group, inputs, days), compute
    )


def test_an_honest_group_knows_no_future(made: Platform) -> None:
    found = examine(made, shop.product_sales)
    assert found.passed, found.description
    assert found.facts["rows examined"] > 0


def test_a_group_that_counts_what_comes_later_is_caught(made: Platform) -> None:
    def centred(orders: pl.LazyFrame, window: Window) -> pl.LazyFrame:
        early = orders.with_columns(pl.col("ordered_at") - timedelta(hours=9))
        assert shop.product_sales.transform is not None
        return shop.product_sales.transform(early, window)

    found = examine(made, replace(shop.product_sales, transform=centred))
    assert not found.passed
    assert found.blocking
    assert "orders_24h" in found.description


def test_a_group_that_uses_the_whole_day_is_caught(made: Platform) -> None:
    def with_day_total(orders: pl.LazyFrame, window: Window) -> pl.LazyFrame:
        assert shop.product_sales.transform is not None
        total = orders.select(pl.col("amount_cents").cast(pl.Float64).mean().alias("total"))
        return (
            shop.product_sales.transform(orders, window)
            .join(total, how="cross")
            .with_columns(amount_mean_24h="total")
            .drop("total")
        )

    found = examine(made, replace(shop.product_sales, transform=with_day_total))
    assert not found.passed
    assert "amount_mean_24h" in found.description
    assert "orders_24h" not in found.description


def test_a_future_check_that_saw_no_rows_fails(made: Platform) -> None:
    def nothing(orders: pl.LazyFrame, window: Window) -> pl.LazyFrame:
        assert shop.product_sales.transform is not None
        return shop.product_sales.transform(orders, window).filter(pl.lit(value=False))

    found = examine(made, replace(shop.product_sales, transform=nothing))
    assert not found.passed
    assert found.facts["rows examined"] == 0


def view_and_facts(made: Platform) -> tuple[FeatureView, pl.DataFrame, dict[str, pl.LazyFrame]]:
    view = shop.CATALOGUE["orders_asked"]
    assert isinstance(view, FeatureView)
    joined = made.lake.scan("shop/orders_asked").collect()
    return view, joined, {group.name: made.lake.scan(f"shop/{group.name}") for group in view.groups}


def test_an_honest_view_is_as_known_then(made: Platform) -> None:
    found = as_known_then(*view_and_facts(made))
    assert found.passed, found.description
    assert found.facts["rows examined"] == 100


def test_a_view_with_a_later_value_is_caught_by_column(made: Platform) -> None:
    view, joined, facts = view_and_facts(made)
    leaky = joined.sort("customer", "ordered_at").with_columns(
        pl.col("customer_history__spent_3d").shift(-1).over("customer")
    )
    found = as_known_then(view, leaky, facts)
    assert not found.passed
    assert "customer_history__spent_3d" in found.description
    assert "product_sales" not in found.description


def test_an_empty_view_was_not_examined(made: Platform) -> None:
    view, joined, facts = view_and_facts(made)
    assert not as_known_then(view, joined.clear(), facts).passed


def dataset_rows(made: Platform) -> tuple[TrainingDataset, pl.DataFrame]:
    dataset = shop.CATALOGUE["returns_dataset"]
    assert isinstance(dataset, TrainingDataset)
    known = made.lake.scan("shop/order_returned").select("order_id", "known_at")
    return dataset, made.lake.scan("shop/returns_dataset").join(known, on="order_id").sort(
        "ordered_at", "order_id"
    ).collect()


def test_honest_splits_are_apart(made: Platform) -> None:
    dataset, rows = dataset_rows(made)
    found = splits_apart(dataset, rows, "known_at")
    assert found.passed, found.description
    assert found.facts["rows examined"] == len(rows) > 100


def test_an_entity_in_two_parts_is_caught(made: Platform) -> None:
    dataset, rows = dataset_rows(made)
    again = rows.filter(pl.col(SPLIT) == "fit").head(3).with_columns(pl.lit("report").alias(SPLIT))
    found = splits_apart(dataset, pl.concat([rows, again]), "known_at")
    assert not found.passed
    assert found.facts["shared entities"] == 3


def test_a_label_that_matured_in_the_next_part_is_caught(made: Platform) -> None:
    dataset, rows = dataset_rows(made)
    late = rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 0)
        .then(datetime(2024, 4, 12, tzinfo=UTC))
        .otherwise("known_at")
        .alias("known_at")
    )
    assert rows[SPLIT][0] == "fit"
    found = splits_apart(dataset, late, "known_at")
    assert not found.passed
    assert found.facts["labels too late"] == 1


def test_no_rows_are_not_apart(made: Platform) -> None:
    dataset, rows = dataset_rows(made)
    assert not splits_apart(dataset, rows.clear(), "known_at").passed


def test_an_honest_dataset_is_not_too_good(made: Platform) -> None:
    dataset, rows = dataset_rows(made)
    found = not_too_good(dataset, rows)
    assert found.passed, found.description
    assert found.facts["features examined"] > 3


@pytest.mark.parametrize(
    ("feature", "leak"),
    [
        ("customer_history__orders_3d", pl.col("returned").cast(pl.Int64)),
        ("customer_history__orders_3d", pl.when(pl.col("returned")).then(1)),
        ("product", pl.when(pl.col("returned")).then(pl.lit("boots")).otherwise(pl.lit("lamp"))),
    ],
    ids=["the label itself", "null exactly where negative", "a category that follows from it"],
)
def test_a_feature_that_holds_the_label_is_named(made: Platform, feature: str, leak: pl.Expr) -> None:
    dataset, rows = dataset_rows(made)
    leaky = rows.with_columns(leak.cast(rows.schema[feature]).alias(feature))
    found = not_too_good(dataset, leaky)
    assert not found.passed
    assert feature in found.description


def test_what_cannot_be_judged_does_not_pass(made: Platform) -> None:
    dataset, rows = dataset_rows(made)
    assert not not_too_good(dataset, rows.head(20)).passed


def test_many_values_do_not_look_good_by_chance() -> None:
    rows = pl.DataFrame({"x": [f"v{n % 401}" for n in range(1_000)], "y": [n * 7919 % 13 < 5 for n in range(1_000)]})
    suspects, judged = too_good(rows, features=["x"], label="y", limit=0.95)
    assert (suspects, judged) == ([], 1)


def test_forget_and_distort_touch_only_what_was_known_later() -> None:
    at = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    rows = pl.LazyFrame(
        {"k": ["a", "b", "c"], "at": at, "n": [1, 2, None], "b": [True, True, True], "s": ["x", "x", "x"]}
    )
    now = at[1]
    assert forget(rows, known=pl.col("at"), now=now).collect()["k"].to_list() == ["a", "b"]
    changed = distort(rows, known=pl.col("at"), now=now, keep=["k"]).collect()
    assert changed.rows()[:2] == rows.collect().rows()[:2]
    assert changed.row(2) == ("c", at[2], None, False, "x~")


def test_moved_counts_cells_and_rows() -> None:
    before = pl.DataFrame({"k": [1, 2, 3], "v": [1.0, None, 3.0], "w": [1, 1, 1]})
    after = pl.DataFrame({"k": [1, 2, 4], "v": [1.0, 2.0, 3.0], "w": [1, 1, 1]})
    assert moved(before, before, on=["k"]) == {}
    assert moved(before, after, on=["k"]) == {"v": 1, "rows": 2}
