"""A declaration changes under a table that is there: by columns, by type, by meaning."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import dataframely as dy
import polars as pl
import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days
from platform_assets.errors import SchemaChanged
from platform_assets.pipelines.plan import CODE, plan
from platform_assets.pipelines.run import Platform
from platform_assets_tests import shop

FIRST = shop.OPEN.first
LANDED = Days(FIRST, FIRST + timedelta(days=4))
ONE = Days(LANDED.first + timedelta(days=1), LANDED.first + timedelta(days=1))
TABLE = table_folder("shop", "category_sales")
MADE = ("products", "orders", "product_sales", "category_sales")


class Wider(shop.CategorySales):
    products_24h = dy.Int64(nullable=False, min=1, description="Products that sold.")


class Other(dy.Schema):
    category = shop.CategorySales.category
    event_time = shop.CategorySales.event_time
    products_24h = dy.Int64(nullable=False, min=1, description="Products that sold.")


class Retyped(dy.Schema):
    category = shop.CategorySales.category
    event_time = shop.CategorySales.event_time
    orders_24h = dy.Float64(nullable=False, description="Orders of the last 24 hours.")


def wider(product_sales: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """Sales of a category, and of how many products."""
    return (
        product_sales.join(products, on="product")
        .group_by("category", "event_time")
        .agg(pl.col("orders_24h").sum(), products_24h=pl.len().cast(pl.Int64))
    )


def other(product_sales: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """How many products of a category sold."""
    return wider(product_sales, products).drop("orders_24h")


def retyped(product_sales: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """Sales of a category as a fraction."""
    return shop.category_sales.transform(product_sales, products).with_columns(pl.col("orders_24h").cast(pl.Float64))


def doubled(product_sales: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """Sales of a category, each counted twice: the same columns, another meaning."""
    return shop.category_sales.transform(product_sales, products).with_columns(pl.col("orders_24h") * 2)


def the_same(product_sales: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """Sales of a category, written in another way that comes to the same."""
    return shop.category_sales.transform(product_sales, products).with_columns(pl.col("orders_24h") + 0)


def changed(function: Callable, schema: type[dy.Schema] = shop.CategorySales) -> Catalogue:
    """The shop with another `category_sales`, and without what selects its columns by name."""
    kept = [shop.CATALOGUE[name] for name in ("products", "orders", "product_sales", "category_sales")]
    return shop.with_changed(
        "category_sales", catalogue=Catalogue(name="shop", declarations=kept), transform=function, schema=schema
    )


@pytest.fixture
def there(empty_shop: Callable[..., Platform]) -> Platform:
    there = empty_shop(days=LANDED, per_day=6)
    shop.make(there, *MADE, days=LANDED)
    return there


def rows(there: Platform, *, version: int | None = None) -> pl.DataFrame:
    return there.lake.scan(TABLE, version=version).collect().sort("day", "event_time", "category")


def carry_out(there: Platform, catalogue: Catalogue) -> None:
    for step in plan(there, catalogue, now=shop.NOW).steps:
        for days in step.days or (None,):
            shop.make(there, step.name, days=days, catalogue=catalogue)


def all_days(there: Platform, catalogue: Catalogue) -> Days:
    step = plan(there, catalogue, now=shop.NOW)["category_sales"]
    assert step is not None
    assert step.reasons == {CODE: len(LANDED)}, "every day has the old declaration"
    assert step.days is not None
    return step.days[0]


def test_a_new_column_is_null_in_the_days_that_are_not_made_again_yet(there: Platform) -> None:
    before, catalogue = rows(there), changed(wider, Wider)
    assert all_days(there, catalogue) == LANDED
    made = shop.make(there, "category_sales", days=ONE, catalogue=catalogue)[0]
    assert made.changed == (ONE,)
    found = rows(there)
    assert found.drop("products_24h").select(before.columns).equals(before)
    filled = found.group_by("day").agg(pl.col("products_24h").is_not_null().all().alias("has it")).sort("day")
    assert filled["has it"].to_list() == [day == ONE.first for day in LANDED]
    step = plan(there, catalogue, now=shop.NOW)["category_sales"]
    assert step is not None
    assert sum(map(len, step.days or ())) == len(LANDED) - 1, "the others are still planned"
    carry_out(there, catalogue)
    assert rows(there)["products_24h"].null_count() == 0
    assert plan(there, catalogue, now=shop.NOW).steps == ()


@pytest.mark.parametrize(
    ("function", "schema", "culprit"),
    [
        (other, Other, "orders_24h is gone"),
        (retyped, Retyped, "orders_24h is Int64 there and Float64 now"),
    ],
    ids=["a column less", "another type"],
)
def test_a_lost_column_or_another_type_is_for_all_days_or_none(
    there: Platform, function: Callable, schema: type[dy.Schema], culprit: str
) -> None:
    before, catalogue = rows(there), changed(function, schema)
    recorded = there.lake.version("ledger")
    with pytest.raises(SchemaChanged, match=rf"{TABLE}: {re.escape(culprit)}; .* Materialize all of its days at once"):
        shop.make(there, "category_sales", days=ONE, catalogue=catalogue)
    assert rows(there).equals(before)
    assert there.lake.version("ledger") == recorded, "what was refused is not recorded"
    assert all_days(there, catalogue) == LANDED, "refresh makes them all at once"
    carry_out(there, catalogue)
    assert rows(there).schema == {c.name: c.dtype for c in catalogue["category_sales"].columns} | {"day": pl.Date}
    assert plan(there, catalogue, now=shop.NOW).steps == ()
    assert rows(there, version=0).equals(before), "the old version is as it was"


def test_another_meaning_under_the_same_columns_is_planned_for_every_day_and_seen_by_none_halfway(
    there: Platform,
) -> None:
    before, catalogue = rows(there), changed(doubled)
    assert catalogue.fingerprints["category_sales"] != shop.CATALOGUE.fingerprints["category_sales"]
    assert all_days(there, catalogue) == LANDED
    carry_out(there, catalogue)
    assert there.lake.version(TABLE) == 1, "one commit, so that no reader sees both meanings"
    assert rows(there).equals(before.with_columns(pl.col("orders_24h") * 2))
    commit = there.lake.open(TABLE).history(limit=1)[0]
    assert commit["platform.fingerprint"] == catalogue.fingerprints["category_sales"]
    assert plan(there, catalogue, now=shop.NOW).steps == ()


def test_another_way_to_the_same_values_makes_no_version_and_nothing_after_it_stale(there: Platform) -> None:
    catalogue = shop.with_changed("category_sales", transform=the_same)
    days = Days(LANDED.first, LANDED.last)
    shop.make(there, "customer_history", "orders_asked", days=days)
    decided = plan(there, catalogue, now=shop.NOW)
    assert decided["category_sales"] is not None
    assert decided["category_sales"].reasons == {CODE: len(LANDED)}
    made = shop.make(there, "category_sales", days=days, catalogue=catalogue)[0]
    assert (made.is_new, made.version, made.changed) == (False, 0, ())
    assert made.digest == shop.make(there, "category_sales", days=days)[0].digest
    shop.make(there, "category_sales", days=days, catalogue=catalogue)
    left = {step.name for step in plan(there, catalogue, now=shop.NOW).steps}
    assert left.isdisjoint({"category_sales", "orders_asked"})
