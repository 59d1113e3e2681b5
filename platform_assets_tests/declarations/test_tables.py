"""Every way to declare a table wrongly, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import date, timedelta
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from platform_assets.declarations.declaration import Declaration, columns_of
from platform_assets.declarations.models import LightGBM
from platform_assets.declarations.tables import FeatureGroup, feature_group
from platform_assets.declarations.times import after, before, unknown
from platform_assets.declarations.views import TimeSplit
from platform_assets.errors import DeclarationError
from platform_assets_tests import quotes, shop


class Undescribed(shop.Orders):
    note = dy.String(nullable=True)
    remark = dy.String(nullable=True)


class NaiveTime(shop.Orders):
    ordered_at = dy.Datetime(nullable=False, description="When it was ordered.")


class TimeMayBeNull(shop.Orders):
    ordered_at = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us", description="When it was ordered.")


class NoPrimaryKey(quotes.Quotes):
    product = dy.String(nullable=False, description="The product.")
    quoted_at = dy.Datetime(nullable=False, time_zone="UTC", time_unit="us", description="When it was quoted.")


class Unsigned(shop.Orders):
    count = dy.UInt32(description="How many.")
    wait = dy.Duration(description="How long.")


class OnlyKeysAndTimes(dy.Schema):
    product = dy.String(description="The product.")
    event_time = dy.Datetime(nullable=False, time_zone="UTC", time_unit="us", description="When.")


class OutcomeNamedLikeAFeature(shop.OrderOutcome):
    weekday = dy.Int8(nullable=True, description="A label by the name of a feature.")


class AskedMayBeNull(shop.AskedOrder):
    ordered_at = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us", description="When it was ordered.")


class AskedTwoTimes(shop.AskedOrder):
    sent_at = dy.Datetime(nullable=False, time_zone="UTC", time_unit="us", description="When it was sent.")


def no_parameters() -> pl.LazyFrame:
    """Nothing."""
    return pl.LazyFrame()


MISTAKES: list[tuple[Declaration, dict[str, Any], str]] = [
    # Every declaration
    (
        shop.orders,
        {"name": "Orders"},
        "source 'Orders': the name must be words in lower case joined by single underscores",
    ),
    (shop.orders, {"name": "or__ders"}, "the name must be words in lower case"),
    (
        shop.orders,
        {"partitions": (shop.OPEN,)},
        r"partitions is a tuple, not a Daily\(...\); is there a comma too many\?",
    ),
    (shop.orders, {"description": " "}, "nobody can tell what it holds; describe it in one line"),
    (
        shop.orders,
        {"owners": "team:shop"},
        r"owners must be a list such as \['team:weather'\], not 'team:shop'; did you forget the \[\]\?",
    ),
    (shop.orders, {"owners": []}, r"owners must be a list such as .*, not \[\]"),
    (shop.orders, {"owners": ["shop"]}, "the owner 'shop' is neither 'team:name' nor an e-mail address"),
    # Keys, schemas and times
    (shop.orders, {"keys": "order_id"}, r"keys='order_id' is a string; did you mean keys=\['order_id'\]\?"),
    (shop.orders, {"keys": []}, "it has no keys; name the columns that identify what a row is about"),
    (
        shop.orders,
        {"keys": ["id"]},
        r"keys names the column 'id', which Orders does not have \(it has order_id, customer",
    ),
    (
        shop.orders,
        {"schema": Undescribed},
        "Undescribed does not describe note, remark; add description='...' with the unit",
    ),
    (
        shop.orders,
        {"schema": Unsigned},
        r"types that a Delta table does not give back: count \(UInt32\), wait \(Duration",
    ),
    (shop.orders, {"event_time": "sold_at"}, "event_time names the column 'sold_at', which Orders does not have"),
    (shop.orders, {"schema": NaiveTime}, r"event_time 'ordered_at' is Datetime.*; instants are UTC microseconds"),
    (
        shop.orders,
        {"known_at": after("amount_cents")},
        "known_at 'amount_cents' is Int32; instants are UTC microseconds",
    ),
    (
        shop.orders,
        {"schema": TimeMayBeNull},
        "'ordered_at' may be null, but a row without its time is invisible to every join",
    ),
    # Sources
    (shop.orders, {"event_time": None}, "a dated source has both event_time and partitions, a snapshot has neither"),
    (shop.orders, {"partitions": None}, "a dated source has both event_time and partitions, a snapshot has neither"),
    (
        shop.products,
        {"known_at": after("product")},
        r"a snapshot has no time of its own; declare known_at=unknown\('why nobody knows'\)",
    ),
    (shop.orders, {"on_invalid": "ignore"}, "on_invalid='ignore'; choose 'fail' or 'quarantine'"),
    (shop.orders, {"on_correction": "merge"}, "on_correction='merge'; choose 'refuse' or 'keep'"),
    (
        shop.products,
        {"on_correction": "keep"},
        "a snapshot is delivered whole and has no corrections; leave out on_correction",
    ),
    *(
        (
            declared,
            {"on_correction": "keep", "known_at": known_at},
            (
                rf"a correction is known later than what it corrects, which known_at={said} cannot say; give it a column of "
                r"its own, known_at=after\('known_at'\), that its function fills and a correction raises"
            ),
        )
        for declared, known_at, said in (
            (shop.orders, after("ordered_at"), "ordered_at"),
            (quotes.quotes, after("quoted_at", minutes=5), "5 minutes after quoted_at"),
            (quotes.quotes, after("known_at", minutes=5), "5 minutes after known_at"),
            (quotes.quotes, before("known_at", hours=1), "1 hour before known_at"),
            (quotes.quotes, unknown("who knows"), "unknown: who knows"),
        )
    ),
    (
        quotes.quotes,
        {"keys": ["product", "known_at"]},
        "which known_at=known_at cannot say; give it a column of its own",
    ),
    (
        quotes.quotes,
        {"schema": quotes.QuoteVersions},
        (
            "the primary key of QuoteVersions is product, quoted_at, known_at, but corrected rows are told apart by keys and "
            "event_time; give primary_key=True to exactly product, quoted_at"
        ),
    ),
    (
        quotes.quotes,
        {"schema": NoPrimaryKey},
        "the primary key of NoPrimaryKey is missing, but .* give primary_key=True to exactly product, quoted_at",
    ),
    (shop.orders_asked, {"known": "now"}, r"known='now'; choose 'then' \(as known then\) or 'since'"),
    (
        shop.orders,
        {"transform": no_parameters},
        "its function takes no parameter; the first is the raw frame of the landed file",
    ),
    (
        shop.orders,
        {"raw": {"ordered_at": pl.Datetime("us")}},
        r"raw reads 'ordered_at' as Datetime.*: read it as pl.String and parse it in the function",
    ),
    # Feature groups
    (
        shop.product_sales,
        {"sql": "SELECT 1", "inputs": ["orders"]},
        "give it either a function or sql=..., not both and not neither",
    ),
    (shop.product_sales, {"transform": None}, "give it either a function or sql=..., not both and not neither"),
    (
        shop.customer_history,
        {"inputs": []},
        r"its SQL reads tables that nobody named; add inputs=\['departures', ...\]",
    ),
    (shop.customer_history, {"inputs": "orders"}, r"inputs='orders' is a string; did you mean inputs=\['orders'\]\?"),
    (
        shop.product_sales,
        {"lookback": timedelta(-1)},
        "lookback .* must not be negative and max_age .* must be positive",
    ),
    (shop.product_sales, {"max_age": timedelta(0)}, "lookback .* must not be negative and max_age .* must be positive"),
    (shop.product_sales, {"schema": OnlyKeysAndTimes}, "it has keys and times but no feature"),
    # Labels
    (shop.order_returned, {"value": "late"}, "value names the column 'late', which OrderOutcome does not have"),
    (
        shop.order_returned,
        {"known_at": unknown("who knows")},
        "a label matures at a known time; declare known_at as a column",
    ),
    (shop.order_returned, {"lookahead": timedelta(-1)}, "lookahead .* must not be negative"),
    # Feature views
    (shop.orders_asked, {"features": []}, "it selects no features"),
    (shop.orders_asked, {"features": "product_sales"}, "features='product_sales' is a string"),
    (
        shop.orders_asked,
        {"features": [shop.product_sales]},
        r"features holds product_sales, which is no selection; write product_sales.select\('feature', ...\)",
    ),
    (
        shop.orders_asked,
        {"features": [shop.product_sales.select(), shop.product_sales.select("orders_24h")]},
        "the column product_sales__orders_24h comes twice; give one selection another prefix=...",
    ),
    (
        shop.orders_asked,
        {"prediction_time": unknown("nobody asked")},
        r"prediction_time must be derived from a column, such as before\('departure', hours=1\)",
    ),
    (
        shop.orders_asked,
        {"prediction_time": before("sold_at")},
        "prediction_time names the column 'sold_at', which AskedOrder does not have",
    ),
    (
        shop.orders_asked,
        {"prediction_time": before("sent_at"), "schema": AskedTwoTimes},
        "prediction_time is derived from 'sent_at', its days from 'ordered_at'",
    ),
    (shop.orders_asked, {"schema": AskedMayBeNull}, "'ordered_at' may be null"),
    # What follows from them
    (
        shop.returns_dataset,
        {"label": replace(shop.order_returned, schema=OutcomeNamedLikeAFeature, value="weekday")},
        "its view 'orders_asked' has a column 'weekday' like the label; rename one of them",
    ),
    *(
        (
            shop.returns_dataset,
            {"max_stale": share},
            rf"max_stale={share!r} is no share of its rows; write 0.05 for five in a hundred, or leave it out",
        )
        for share in (5, 1, 1.0, -0.01, True, "5%", float("nan"))
    ),
    (shop.return_model, {"request": "product"}, r"request='product' is a string; did you mean request=\['product'\]\?"),
    (
        shop.return_model,
        {"request": ["returned"]},
        "request names the column 'returned', which AskedOrder does not have",
    ),
    (shop.return_model, {"categories": "product"}, "categories='product' is a string"),
    (shop.return_model, {"categories": ["customer"]}, "categories names 'customer', which is not among its inputs"),
    (shop.return_model, {"baselines": {"by hand": "product"}}, r"baselines\['by hand'\]='product' is a string"),
    (
        shop.return_model,
        {"baselines": {"by hand": ["size"]}},
        "baseline 'by hand' names the column 'size', which AskedOrder does not have",
    ),
    (
        shop.return_predictions,
        {"first": date(2024, 3, 1)},
        "first=2024-03-01 is not among the days of 'orders_asked', 2024-03-11 to 2024-04-14",
    ),
    (shop.return_predictions, {"first": date(2025, 3, 1)}, "first=2025-03-01 is not among the days of 'orders_asked'"),
]


@pytest.mark.parametrize(("declared", "change", "message"), MISTAKES)
def test_a_wrong_declaration_is_refused_naming_it_and_the_fix(
    declared: Declaration, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DeclarationError, match=message) as refused:
        replace(declared, **change)
    assert str(refused.value).startswith(f"{declared.kind} {change.get('name', declared.name)!r}: ")


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (lambda: shop.product_sales.select("orders"), "it has no feature 'orders'; it has orders_24h, amount_mean_24h"),
        (
            lambda: shop.product_sales.select(on={"prodcut": "product"}),
            "on= names 'prodcut', which is not among its keys, product",
        ),
        (lambda: shop.product_sales.select("product"), "it has no feature 'product'"),
    ],
)
def test_a_wrong_selection_is_refused(select: Callable[[], object], message: str) -> None:
    with pytest.raises(DeclarationError, match=f"feature group 'product_sales': {message}"):
        select()


@pytest.mark.parametrize(
    ("select", "report", "until", "gap"),
    [
        (date(2024, 1, 5), date(2024, 1, 5), date(2024, 1, 9), timedelta(0)),
        (date(2024, 1, 5), date(2024, 1, 7), date(2024, 1, 6), timedelta(0)),
        (date(2024, 1, 5), date(2024, 1, 7), date(2024, 1, 9), timedelta(-1)),
    ],
)
def test_a_split_whose_days_do_not_follow_each_other_is_refused(
    select: date, report: date, until: date, gap: timedelta
) -> None:
    with pytest.raises(DeclarationError, match="the days must follow each other and the gap not be negative"):
        TimeSplit(select_from=select, report_from=report, report_until=until, gap=gap)


def test_settings_that_the_platform_needs_are_not_taken_from_people() -> None:
    with pytest.raises(
        DeclarationError, match="num_threads, seed are set by the platform so that a model can be made again"
    ):
        LightGBM(parameters={"seed": 1, "num_threads": 2, "num_leaves": 3}, rounds=10)


def test_no_trees_are_refused() -> None:
    with pytest.raises(DeclarationError, match="rounds=0 grows no tree"):
        LightGBM(parameters={}, rounds=0)


def test_declarations_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        shop.orders.name = "other"  # type: ignore[misc]


def test_a_decorated_function_gives_name_description_and_inputs() -> None:
    declared = shop.product_sales
    assert isinstance(declared, FeatureGroup)
    assert (declared.name, declared.input_names, declared.wants_window) == ("product_sales", ("orders",), True)
    assert declared.description == "Sales of a product over the last 24 hours, every six hours."
    assert shop.category_sales.input_names == ("product_sales", "products")
    assert shop.orders.input_names == ()
    assert shop.customer_history.input_names == ("orders",)


def test_a_function_without_a_docstring_is_refused() -> None:
    def silent(orders: pl.LazyFrame) -> pl.LazyFrame:
        return orders

    with pytest.raises(DeclarationError, match="feature group 'silent': nobody can tell what it holds"):
        feature_group(
            keys=["product"],
            event_time="event_time",
            known_at=after("event_time"),
            partitions=shop.OPEN,
            schema=shop.ProductSales,
            max_age=timedelta(1),
            owners=["team:shop"],
        )(silent)


def test_the_columns_of_a_view_are_its_spine_the_prediction_time_and_the_features() -> None:
    names = [column.name for column in shop.orders_asked.columns]
    assert names == [
        *shop.AskedOrder.column_names(),
        "prediction_time",
        "product_sales__orders_24h",
        "product_sales__amount_mean_24h",
        "product_sales__age_minutes",
        "customer_history__orders_3d",
        "customer_history__spent_3d",
        "category__orders_24h",
    ]
    assert {column.dtype for column in shop.orders_asked.columns if column.name.endswith("age_minutes")} == {
        pl.Float64()
    }
    assert all(column.description for column in shop.orders_asked.columns)


def test_a_selection_says_where_each_column_comes_from() -> None:
    selection = shop.product_sales.select("orders_24h", age=True, on={"product": "gift"}, prefix="gift")
    assert selection.column_sources == {"gift__orders_24h": "orders_24h", "gift__age_minutes": "event_time"}
    assert selection.spine_keys == ("gift",)


def test_what_follows_from_the_view_has_its_columns() -> None:
    dataset = {column.name for column in shop.returns_dataset.columns}
    assert dataset == {*(c.name for c in shop.orders_asked.columns), "returned", "split"}
    assert shop.return_model.inputs == (
        "product",
        "category",
        "amount_cents",
        "weekday",
        *shop.orders_asked.feature_columns,
    )
    outcomes = [column.name for column in shop.return_outcomes.columns]
    assert len(outcomes) == len(set(outcomes))
    assert {"prediction_id", "probability", "in_sample", "returned", "known_at"} <= set(outcomes)
    assert shop.return_outcomes.partitions == shop.OPEN.with_first(shop.PREDICTED_FROM)


def test_columns_are_those_of_the_schema() -> None:
    assert [(c.name, c.dtype, c.nullable) for c in columns_of(shop.ProductSales)] == [
        ("product", pl.String(), False),
        ("event_time", pl.Datetime("us", "UTC"), False),
        ("orders_24h", pl.Int64(), False),
        ("amount_mean_24h", pl.Float64(), True),
    ]


def test_building_a_declaration_opens_no_file_and_reads_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins
    import time

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a declaration is inert")

    for owner, name in ((builtins, "open"), (time, "time"), (time, "monotonic"), (time, "time_ns")):
        monkeypatch.setattr(owner, name, refuse)
    assert replace(shop.orders, name="orders_again").name == "orders_again"
    assert replace(shop.return_model, name="model_again").inputs == shop.return_model.inputs
