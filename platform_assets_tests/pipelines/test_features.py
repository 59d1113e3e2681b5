"""Features, labels and the view: the same alone and together, made only of what is there, and true."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import polars as pl
import pytest

from platform_assets.compute.content_hash import content_hash
from platform_assets.declarations.catalogue import Catalogue, days_read
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days, after, before
from platform_assets.declarations.views import PREDICTION_TIME
from platform_assets.errors import ContractError, PartitionError, TableMissing
from platform_assets.pipelines.feature import join_selections
from platform_assets.pipelines.run import Platform, one_database
from platform_assets_tests import shop
from platform_assets_tests.reference.point_in_time import naive_join

DAILY = [d.name for d in shop.CATALOGUE.declarations if shop.days_of(d.name) is not None]
SOURCES = ("products", "orders", "returns")
GROUPS = ("product_sales", "customer_history", "category_sales")
HALF = Days(shop.OPEN.first, date(2024, 4, 2))


@pytest.fixture
def there(empty_shop: Callable[..., Platform]) -> Platform:
    """Sources of the first half, over the night on which the clocks go forward."""
    there = empty_shop(days=HALF, per_day=8)
    shop.make(there, *SOURCES, days=HALF)
    return there


def table(there: Platform, name: str, days: Days | None = None) -> pl.DataFrame:
    return there.lake.scan(table_folder("shop", name), days=days).collect()


@pytest.mark.parametrize("name", DAILY)
def test_a_day_alone_is_the_same_day_of_the_whole(shop_copy: Platform, name: str) -> None:
    whole = shop.days_of(name)
    assert whole is not None
    chosen = [whole.first, shop.CLOCKS_FORWARD, shop.CLOCKS_FORWARD + timedelta(days=1), date(2024, 4, 8), whole.last]
    for day in (day for day in chosen if day in whole):
        before = table(shop_copy, name, Days(day, day))
        made = shop.make(shop_copy, name, days=Days(day, day))[0]
        assert not made.is_new, f"{name} of {day} differs"
        assert made.hashes[day] == (content_hash(before) if len(before) else "empty")
        assert made.rows == {day: len(before)}


@pytest.mark.parametrize("asked", [after("ordered_at", hours=5), before("ordered_at", hours=5)])
def test_a_day_of_a_view_asked_earlier_or_later_is_the_same_too(there: Platform, asked: Any) -> None:
    """Features of a prediction asked after its event may lie on the next day."""
    spine = replace(shop.orders, known_at=before("ordered_at", days=1))
    catalogue = shop.with_changed("orders", known_at=spine.known_at)
    view = replace(catalogue["orders_asked"], prediction_time=asked)
    catalogue = Catalogue(
        name="shop",
        declarations=[
            d
            for d in catalogue.declarations
            if d.kind not in ("training dataset", "model", "predictions", "outcomes") and d.name != "orders_asked"
        ]
        + [view],
    )
    shop.make(there, *GROUPS, days=HALF, catalogue=catalogue)
    days = HALF.grow(back=-6, forth=-1)
    together = shop.make(there, "orders_asked", days=days, catalogue=catalogue)[0]
    assert together.row_count == 8 * len(days)
    assert together.facts["share without product_sales"] < 0.5
    for day in (days.first, shop.CLOCKS_FORWARD, days.last):
        assert not shop.make(there, "orders_asked", days=Days(day, day), catalogue=catalogue)[0].is_new


def test_the_view_holds_what_a_naive_join_finds(shop_copy: Platform) -> None:
    view, history = table(shop_copy, "orders_asked"), table(shop_copy, "customer_history")
    expected = naive_join(
        view.select("customer", "prediction_time").to_dicts(),
        history.to_dicts(),
        on=["customer"],
        at="prediction_time",
        event="event_time",
        known_at="event_time",
        values=["orders_3d", "spent_3d"],
        max_age=shop.customer_history.max_age,
    )
    found = view.select(orders_3d="customer_history__orders_3d", spent_3d="customer_history__spent_3d").to_dicts()
    assert found == [{"orders_3d": row["orders_3d"], "spent_3d": row["spent_3d"]} for row in expected]


def test_the_features_hold_what_the_books_say(shop_copy: Platform) -> None:
    books = shop.books()
    for row in table(shop_copy, "product_sales").sample(25, seed=1).to_dicts():
        end = row["event_time"]
        recent = [
            o.amount_cents
            for o in books
            if o.product == row["product"] and end - timedelta(hours=24) < o.ordered_at < end
        ]
        assert (row["orders_24h"], row["amount_mean_24h"]) == (len(recent), pytest.approx(sum(recent) / len(recent)))
    for row in table(shop_copy, "customer_history").sample(25, seed=1).to_dicts():
        end = row["event_time"]
        recent = [
            o.amount_cents
            for o in books
            if o.customer == row["customer"] and end - timedelta(days=3) <= o.ordered_at <= end
        ]
        assert (row["orders_3d"], row["spent_3d"]) == (len(recent), sum(recent))
    outcomes = {row["order_id"]: row for row in table(shop_copy, "order_returned").to_dicts()}
    assert len(outcomes) == len(books)
    for order in books:
        back = order.returned_at
        assert outcomes[order.order_id]["returned"] == (None if order.cancelled else back is not None)
        assert outcomes[order.order_id]["known_at"] == (back or order.ordered_at + timedelta(hours=48))


def test_a_missing_input_is_named(there: Platform) -> None:
    with pytest.raises(
        TableMissing,
        match="shop/category_sales reads shop/product_sales, which has not been materialized yet; materialize shop/product_sales first",
    ):
        shop.make(there, "category_sales", days=HALF)


def test_missing_days_of_an_input_are_named(there: Platform) -> None:
    day = HALF.last + timedelta(days=2)
    with pytest.raises(
        TableMissing,
        match="shop/customer_history of 2024-04-04 reads shop/orders of 2024-03-31 to 2024-04-04, of which 2024-04-03 to 2024-04-04 are not materialized",
    ):
        shop.make(there, "customer_history", days=Days(day, day))
    with pytest.raises(
        TableMissing,
        match="shop/order_returned of 2024-03-31 reads shop/orders of 2024-03-31 to 2024-04-03, of which 2024-04-03 are not",
    ):
        shop.make(there, "order_returned", days=Days(date(2024, 3, 31), date(2024, 3, 31)))
    assert there.lake.version(table_folder("shop", "customer_history")) is None


@pytest.mark.parametrize(
    ("name", "days", "message"),
    [
        ("orders", None, "shop/orders is cut into days; say which, for example 2024-03-11"),
        ("products", HALF, "shop/products has no partitions; leave out the days"),
        (
            "orders",
            Days(date(2024, 3, 1), date(2024, 3, 12)),
            "shop/orders: no such partition: 2024-03-01 to 2024-03-12; the days run from 2024-03-11 to 2024-04-14",
        ),
    ],
)
def test_days_that_do_not_fit_are_refused(there: Platform, name: str, days: Days | None, message: str) -> None:
    from platform_assets.pipelines.materialize import materialize

    with pytest.raises(PartitionError, match=message):
        materialize(there, shop.CATALOGUE, name, shop.run(), days=days)


def remade(there: Platform, name: str, days: Days = HALF, **changes: Any) -> Any:
    return shop.make(there, name, days=days, catalogue=shop.with_changed(name, **changes))[0]


def bare(orders: pl.LazyFrame) -> pl.LazyFrame:
    """Without the features."""
    return orders.select("product", event_time="ordered_at")


def timeless(orders: pl.LazyFrame) -> pl.LazyFrame:
    """With a row that has no time."""
    event_time = pl.when(pl.col("amount_cents") > 100).then("ordered_at")
    return orders.unique(["product", "ordered_at"]).select(
        "product",
        event_time=pl.when(pl.int_range(pl.len()) > 0).then(event_time),
        orders_24h=pl.lit(1, pl.Int64),
        amount_mean_24h=pl.lit(1.0),
    )


def negative(orders: pl.LazyFrame) -> pl.LazyFrame:
    """With counts that cannot be."""
    return orders.unique(["product", "ordered_at"]).select(
        "product", event_time="ordered_at", orders_24h=pl.lit(0, pl.Int64), amount_mean_24h=pl.lit(1.0)
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (bare, "shop/product_sales: its function does not return what ProductSales declares: .*orders_24h"),
        (timeless, r"shop/product_sales: 1 of \d+ rows break the contract: .*event_time\|nullability \(1 row\)"),
        (
            negative,
            r"shop/product_sales: (\d+) of \1 rows break the contract: orders_24h\|min \(\1 rows\); for example .*'orders_24h': 0",
        ),
    ],
)
def test_features_that_break_their_contract_are_refused(there: Platform, function: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        remade(there, "product_sales", transform=function)
    assert there.lake.version(table_folder("shop", "product_sales")) is None


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "SELECT customer, ordered_at AS event_time FROM orders",
            "its function does not return what CustomerHistory declares: .*orders_3d",
        ),
        (
            "SELECT customer, ordered_at AS event_time, customer AS orders_3d, 1 AS spent_3d FROM orders",
            "its SQL returns columns that cannot be read as declared",
        ),
        ("SELECT customer, ordered_at AS event_time, 0 AS orders_3d, 1 AS spent_3d FROM orders", r"orders_3d\|min"),
    ],
)
def test_sql_that_returns_something_else_is_refused(there: Platform, sql: str, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        remade(there, "customer_history", sql=sql)


def test_rows_outside_the_asked_days_are_not_published(there: Platform) -> None:
    """A look-back hands over earlier rows; what a function makes of them belongs to other days."""
    day = date(2024, 3, 20)
    made = shop.make(there, "customer_history", days=Days(day, day))[0]
    assert made.rows == {day: 8}
    assert table(there, "customer_history")["day"].unique().to_list() == [day]


def test_a_group_older_than_its_input_sees_no_rows_and_not_all_of_them(there: Platform) -> None:
    def seen(orders: pl.LazyFrame, customers: pl.LazyFrame) -> pl.LazyFrame:
        """The number of late orders that were handed over beside each order."""
        count = customers.select(late=pl.len().cast(pl.Int64) + 1)
        return (
            orders.unique(["product", "ordered_at"])
            .join(count, how="cross")
            .select("product", event_time="ordered_at", orders_24h="late", amount_mean_24h=pl.lit(1.0))
        )

    late = replace(shop.orders, name="customers", partitions=shop.OPEN.with_first(date(2024, 4, 1)))
    group = replace(shop.product_sales, name="beside", transform=seen)
    catalogue = Catalogue(name="shop", declarations=[*shop.DECLARATIONS, late, group])
    early, last = Days(shop.OPEN.first, date(2024, 3, 13)), Days(date(2024, 4, 2), date(2024, 4, 2))
    for day in Days(date(2024, 4, 1), HALF.last):
        path = there.landing.path("customers", day)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(there.landing.path("orders", day).read_bytes())
    shop.make(there, "customers", days=Days(date(2024, 4, 1), HALF.last), catalogue=catalogue)
    assert days_read(group, late, early) is None
    assert shop.make(there, "beside", days=early, catalogue=catalogue)[0].preview["orders_24h"].unique().to_list() == [
        1
    ]
    assert shop.make(there, "beside", days=last, catalogue=catalogue)[0].preview["orders_24h"].unique().to_list() == [
        16 + 1
    ]


def test_an_empty_day_stays_a_day(there: Platform) -> None:
    quiet = date(2024, 3, 20)
    shop.land_rows(there.landing.root, "orders", quiet, [])
    shop.make(there, "orders", days=Days(quiet, quiet))
    made = shop.make(there, *GROUPS, "orders_asked", days=HALF)
    assert made[-1].rows[quiet] == 0
    assert made[-1].rows[quiet + timedelta(days=1)] == 8
    assert next(check for check in made[-1].checks if check.name == "not_empty").passed is False


def test_what_was_made_names_its_inputs_and_what_it_read(finished_shop: Any) -> None:
    there = shop.platform(finished_shop)
    commit = there.lake.open(table_folder("shop", "orders_asked")).history(limit=1)[0]
    assert set(json.loads(commit["platform.inputs"])) == {"orders", "products", *GROUPS}
    assert commit["platform.fingerprint"] == shop.CATALOGUE.fingerprints["orders_asked"]


def test_a_row_joined_alone_has_the_age_it_has_among_others() -> None:
    noon = datetime(2024, 4, 1, 12, tzinfo=UTC)
    fact = pl.DataFrame({"product": ["p"], "event_time": [noon], "orders_24h": [1], "amount_mean_24h": [1.0]})
    asked = pl.DataFrame({PREDICTION_TIME: [noon + timedelta(seconds=n) for n in range(1, 200)]})
    asked = asked.with_columns(pl.col(PREDICTION_TIME).cast(pl.Datetime("us", "UTC")), product=pl.lit("p"))
    rows = fact.lazy().with_columns(pl.col("event_time").cast(pl.Datetime("us", "UTC")))
    selection = shop.product_sales.select(age=True)

    def joined(spine: pl.DataFrame) -> list[float]:
        found = join_selections(spine, {"product_sales": rows}, [selection])
        return found.get_column(selection.age_column).to_list()

    together = joined(asked)
    assert together == pytest.approx([n / 60 for n in range(1, 200)])
    assert together == [age for n in range(len(asked)) for age in joined(asked.slice(n, 1))]


def test_one_database_is_opened_once_and_nobody_sees_what_another_registers() -> None:
    opened = []

    @contextmanager
    def connect() -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect() as connection:
            opened.append(connection)
            yield connection

    with one_database(connect) as session:
        with session() as first, session() as second:
            first.register("rows", pl.DataFrame({"a": [1]}).to_arrow())
            first.execute("SET TimeZone = 'Asia/Tokyo'")
            assert first.sql("SELECT a FROM rows").fetchall() == [(1,)]
            with pytest.raises(duckdb.CatalogException):
                second.sql("SELECT a FROM rows")
            assert second.sql("SELECT current_setting('TimeZone')").fetchall() != [("Asia/Tokyo",)]
        with session() as third, pytest.raises(duckdb.CatalogException):
            third.sql("SELECT a FROM rows")
    assert len(opened) == 1
    with pytest.raises(duckdb.ConnectionException):
        opened[0].execute("SELECT 1")
