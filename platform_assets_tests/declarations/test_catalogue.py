"""Declarations that do not fit together, and how far one reads into another."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.declarations.catalogue import Catalogue, calendar, days_affected, days_read, reach
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.tables import FeatureGroup, Label, Source
from platform_assets.declarations.times import Daily, Days, after, before
from platform_assets.errors import CatalogueError
from platform_assets_tests import shop


def group(name: str, *inputs: str, **changes: Any) -> FeatureGroup:
    return replace(shop.customer_history, name=name, inputs=inputs, **changes)


def problems_of(*declarations: Declaration, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    given = [d for d in shop.DECLARATIONS if d.name not in without]
    with pytest.raises(CatalogueError) as refused:
        Catalogue(name="shop", declarations=[*given, *declarations])
    return refused.value.problems


def test_the_declarations_come_in_an_order_in_which_they_can_be_computed() -> None:
    for declarations in (shop.DECLARATIONS, shop.DECLARATIONS[::-1]):
        catalogue = Catalogue(name="shop", declarations=declarations)
        names = [d.name for d in catalogue.declarations]
        assert sorted(names) == sorted(d.name for d in shop.DECLARATIONS)
        for declared in catalogue.declarations:
            assert all(names.index(read) < names.index(declared.name) for read in declared.input_names)


def test_a_catalogue_is_asked_by_name_and_kind() -> None:
    assert shop.CATALOGUE["orders"] is shop.orders
    assert "orders" in shop.CATALOGUE
    assert "ordres" not in shop.CATALOGUE
    assert {d.name for d in shop.CATALOGUE.of_kind(FeatureGroup)} == {
        "product_sales",
        "customer_history",
        "category_sales",
    }
    assert [d.name for d in shop.CATALOGUE.inputs(shop.orders_asked)] == [
        "orders",
        "products",
        "product_sales",
        "customer_history",
        "category_sales",
    ]


def test_an_unknown_input_is_named() -> None:
    assert problems_of(group("new", "odrers")) == (
        "feature group 'new' reads 'odrers', which is not in the catalogue; add it, or correct the name",
    )


def test_a_duplicate_is_named() -> None:
    assert problems_of(shop.orders) == ("the name 'orders' is declared twice",)


def test_a_circle_is_shown() -> None:
    found = problems_of(group("one", "two"), group("two", "three"), group("three", "one"))
    assert len(found) == 1
    assert found[0].startswith("these read each other in a circle: ")
    assert {"one", "two", "three"} <= set(found[0].replace("->", " ").split())


def test_a_label_is_never_a_feature() -> None:
    assert problems_of(group("new", "order_returned")) == (
        "feature group 'new' reads the label 'order_returned'; a label is never a feature",
    )


def test_features_are_made_of_sources_and_features() -> None:
    assert problems_of(group("new", "return_predictions")) == (
        "feature group 'new' cannot read the predictions 'return_predictions'",
    )


def spine_of(name: str) -> Any:
    spines = {
        "returns": lambda returns: returns,
        "product_sales": lambda product_sales: product_sales,
        "products": lambda products: products,
    }
    return spines[name]


def view_of(spine: str, **changes: Any) -> Declaration:
    return replace(shop.orders_asked, name="asked_otherwise", transform=spine_of(spine), **changes)


def test_a_spine_reads_only_what_is_known_by_the_prediction_time() -> None:
    assert problems_of(view_of("returns")) == (
        (
            "the spine of 'asked_otherwise' reads 'returns', known at returned_at; that is not shown to be by the "
            "prediction time, ordered_at"
        ),
    )
    hour_before = replace(shop.orders_asked, name="asked_before", prediction_time=before("ordered_at", hours=1))
    assert problems_of(hour_before) == (
        (
            "the spine of 'asked_before' reads 'orders', known at ordered_at; that is not shown to be by the prediction "
            "time, 1 hour before ordered_at"
        ),
    )


def test_a_spine_is_made_of_sources() -> None:
    assert (
        "the spine of 'asked_otherwise' reads the feature group 'product_sales'; a spine is made of sources"
        in problems_of(view_of("product_sales"))
    )


@pytest.mark.parametrize("accepted", [{}, {"products": " "}, {"orders": "irrelevant"}])
def test_a_time_that_nobody_knows_is_accepted_by_name_and_with_a_reason(accepted: dict[str, str]) -> None:
    found = problems_of(view_of("products", accepts_unknown=accepted))
    assert found == (
        (
            "'asked_otherwise' uses 'products', of which nobody knows when it was known (the list of products is undated); "
            "accept it by name with accepts_unknown={'products': 'why that is harmless'}, or leave it out"
        ),
    )


def test_zones_agree() -> None:
    utc = replace(shop.OPEN, zone="UTC")
    assert problems_of(group("new", "orders", partitions=utc)) == (
        "'new' is cut into days of UTC, but its input 'orders' into days of Europe/Berlin; use one zone",
    )


def test_what_is_referred_to_is_what_is_in_the_catalogue() -> None:
    other = replace(shop.product_sales, max_age=timedelta(days=9))
    view = replace(shop.orders_asked, name="asked_otherwise", features=[other.select()])
    assert problems_of(view) == (
        "feature view 'asked_otherwise' refers to another feature group 'product_sales' than the one in the catalogue",
    )


def test_a_view_has_the_keys_that_it_joins_on() -> None:
    view = replace(
        shop.orders_asked, name="asked_otherwise", features=[shop.product_sales.select(on={"product": "article"})]
    )
    assert problems_of(view) == ("'asked_otherwise' joins 'product_sales' on 'article', which its spine does not have",)


def test_labels_and_views_have_the_same_keys() -> None:
    label = replace(shop.order_returned, name="by_time", keys=["order_id", "ordered_at"])
    dataset = replace(shop.returns_dataset, name="other_dataset", label=label)
    assert problems_of(label, dataset) == (
        (
            "training dataset 'other_dataset': its label 'by_time' is keyed by order_id, ordered_at, its view "
            "'orders_asked' by order_id; they must be the same"
        ),
    )


def test_all_problems_come_at_once() -> None:
    label = replace(shop.order_returned, name="by_time", keys=["order_id", "ordered_at"])
    found = problems_of(
        shop.orders,
        group("reads_nothing", "odrers"),
        group("one", "two"),
        group("two", "one"),
        group("peeks", "order_returned"),
        group("elsewhere", "orders", partitions=replace(shop.OPEN, zone="UTC")),
        replace(shop.orders_asked, name="late", transform=spine_of("returns")),
        replace(shop.orders_asked, name="undated", transform=spine_of("products"), accepts_unknown={}),
        replace(
            shop.orders_asked, name="stranger", features=[replace(shop.product_sales, max_age=timedelta(9)).select()]
        ),
        label,
        replace(shop.returns_dataset, name="other_dataset", label=label),
    )
    wanted = [
        "'orders' is declared twice",
        "reads 'odrers'",
        "in a circle",
        "a label is never a feature",
        "use one zone",
        "not shown to be by the prediction time",
        "accept it by name",
        "another feature group",
        "they must be the same",
    ]
    assert [w for w in wanted if not any(w in problem for problem in found)] == []
    assert len(found) == len(wanted)


def test_the_message_lists_the_problems_line_by_line() -> None:
    with pytest.raises(CatalogueError, match=r"catalogue 'x' has 2 problems:\n  - .*\n  - ") as refused:
        Catalogue(name="x", declarations=[group("new", "a", "b")])
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize(
    ("reader", "read", "back", "forth"),
    [
        ("product_sales", "orders", timedelta(hours=24), timedelta(0)),
        ("customer_history", "orders", timedelta(days=3), timedelta(0)),
        ("category_sales", "product_sales", timedelta(0), timedelta(0)),
        ("order_returned", "returns", timedelta(0), timedelta(hours=48)),
        ("orders_asked", "orders", timedelta(0), timedelta(0)),
        ("orders_asked", "customer_history", timedelta(days=5), timedelta(0)),
        ("return_predictions", "orders_asked", timedelta(0), timedelta(0)),
        ("return_outcomes", "order_returned", timedelta(0), timedelta(0)),
    ],
)
def test_reach(reader: str, read: str, back: timedelta, forth: timedelta) -> None:
    found = reach(shop.CATALOGUE[reader], shop.CATALOGUE[read])
    assert found is not None
    assert (found.back, found.forth) == (back, forth)
    assert (found.days_back, found.days_forth) == (shop.OPEN.days_touching(back), shop.OPEN.days_touching(forth))


@pytest.mark.parametrize(
    ("asked", "back", "forth"),
    [(before("ordered_at", hours=2), 2, 0), (after("ordered_at"), 0, 0), (after("ordered_at", hours=3), 0, 3)],
)
def test_a_view_reaches_as_far_as_its_prediction_time_lies_from_its_event_time(
    asked: Any, back: int, forth: int
) -> None:
    found = reach(replace(shop.orders_asked, prediction_time=asked), shop.product_sales)
    assert found is not None
    assert found.back == shop.product_sales.max_age + timedelta(hours=back)
    assert found.forth == timedelta(hours=forth)


def test_what_has_no_days_has_no_reach() -> None:
    assert reach(shop.orders_asked, shop.products) is None
    assert reach(shop.returns_dataset, shop.orders_asked) is None
    assert days_read(shop.returns_dataset, shop.orders_asked, shop.SOLD) is None
    assert days_affected(shop.returns_dataset, shop.orders_asked, shop.SOLD) is None
    assert calendar(shop.products) is None


spans = st.integers(0, 100).map(lambda hours: timedelta(hours=hours))
day_numbers = st.integers(0, 30)
FIRST = date(2024, 3, 20)


def daily(number: int, length: int | None, zone: str) -> Daily:
    first = FIRST + timedelta(days=number)
    return Daily(first=first, last=None if length is None else first + timedelta(days=length), zone=zone)


@given(
    span=spans,
    lead=spans,
    kind=st.sampled_from(["group", "label", "view"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    own=st.tuples(day_numbers, st.none() | day_numbers),
    other=st.tuples(day_numbers, st.none() | day_numbers),
    data=st.data(),
)
def test_a_day_reads_exactly_the_days_that_affect_it(
    span: timedelta, lead: timedelta, kind: str, zone: str, own: Any, other: Any, data: st.DataObject
) -> None:
    mine, theirs = daily(*own, zone), daily(*other, zone)
    reader: FeatureGroup | Label | Declaration
    read: Source | FeatureGroup = replace(shop.orders, partitions=theirs)
    if kind == "group":
        reader = replace(shop.customer_history, partitions=mine, lookback=span)
    elif kind == "label":
        reader = replace(shop.order_returned, partitions=mine, lookahead=span)
    else:
        read = replace(shop.product_sales, partitions=theirs, max_age=span + timedelta(hours=1))
        asked = data.draw(
            st.sampled_from(
                [
                    before("ordered_at", hours=lead / timedelta(hours=1)),
                    after("ordered_at", hours=lead / timedelta(hours=1)),
                ]
            )
        )
        reader = replace(shop.orders_asked, partitions=mine, prediction_time=asked)
    horizon = Days(FIRST, FIRST + timedelta(days=65))
    my_days, their_days = (
        horizon.clip(Days(mine.first, mine.last or horizon.last)),
        horizon.clip(Days(theirs.first, theirs.last or horizon.last)),
    )
    assert my_days is not None
    assert their_days is not None
    for day in my_days:
        reads = set(days_read(reader, read, Days(day, day)) or ()) & set(their_days)
        affected_by = {d for d in their_days if day in (days_affected(reader, read, Days(d, d)) or ())}
        assert reads == affected_by


@given(first=day_numbers, length=st.integers(0, 10))
def test_many_days_read_what_each_of_them_reads(first: int, length: int) -> None:
    days = Days(
        shop.OPEN.first + timedelta(days=first), min(shop.OPEN.first + timedelta(days=first + length), shop.SOLD.last)
    )
    alone: set[date] = set()
    for day in days:
        alone |= set(days_read(shop.customer_history, shop.orders, Days(day, day)) or ())
    assert alone == set(days_read(shop.customer_history, shop.orders, days) or ())


def test_days_that_an_input_does_not_have_are_not_read() -> None:
    later = replace(shop.orders, partitions=shop.OPEN.with_first(date(2024, 4, 1)))
    assert days_read(shop.product_sales, later, Days(date(2024, 3, 12), date(2024, 3, 14))) is None
    assert days_read(shop.product_sales, later, Days(date(2024, 3, 31), date(2024, 4, 2))) == Days(
        date(2024, 4, 1), date(2024, 4, 2)
    )


@pytest.mark.parametrize(
    "name", ["../../evil", "shop'; DROP TABLE x; --", "quarantine", "ledger", "profiles", "my__shop", "Shop"]
)
def test_a_catalogue_s_name_is_a_folder_of_its_own(name: str) -> None:
    with pytest.raises(CatalogueError, match="must be words in lower case joined by single underscores"):
        Catalogue(name=name, declarations=[])


def test_a_comma_too_many_in_the_list_is_told_by_its_place() -> None:
    with pytest.raises(
        CatalogueError,
        match=r"number 1 of its declarations is a tuple, not a declaration; is there a comma or a bracket too many",
    ):
        Catalogue(name="shop", declarations=[(shop.orders,)])  # type: ignore[list-item]
