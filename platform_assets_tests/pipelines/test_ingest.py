"""Bad deliveries under both policies: what is refused, what is set aside, what is said, and how it heals."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import quarantine_folder, table_folder
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import Days
from platform_assets.errors import ContractError, LandedFileError, PlatformError, SourceUnavailable
from platform_assets.lake.landing import Landing
from platform_assets.pipelines.run import Materialization, Platform
from platform_assets_tests import shop

FIRST, SECOND, THIRD = (shop.OPEN.first + timedelta(days=n) for n in range(3))
THREE = Days(FIRST, THIRD)
STRICT = shop.with_changed("orders", on_invalid="fail")
FILE = f"orders/{SECOND}.csv"
TABLE, QUARANTINE = table_folder("shop", "orders"), quarantine_folder("shop", "orders")


@pytest.fixture
def there(empty_shop: Callable[..., Platform]) -> Platform:
    return empty_shop(days=Days(FIRST, shop.OPEN.first + timedelta(days=5)), per_day=6)


def good(day: date = SECOND) -> list[dict[str, str]]:
    return shop.rows_to_land("orders", day, per_day=6)


def spoil(there: Platform, change: Callable[[list[dict[str, str]]], None], day: date = SECOND) -> None:
    rows = good(day)
    change(rows)
    shop.land_rows(there.landing.root, "orders", day, rows)


def ingest(there: Platform, days: Days = THREE, catalogue: Catalogue = shop.CATALOGUE) -> Materialization:
    return shop.make(there, "orders", days=days, catalogue=catalogue)[0]


def set_aside(there: Platform) -> list[dict[str, Any]]:
    return there.lake.scan(QUARANTINE).sort("day", "file", "line").collect().to_dicts()


def kept(there: Platform, day: date = SECOND) -> set[str]:
    return set(there.lake.scan(TABLE, days=Days(day, day)).select("order_id").collect()["order_id"])


def with_cell(row: int, column: str, cell: str) -> Callable[[list[dict[str, str]]], None]:
    def change(rows: list[dict[str, str]]) -> None:
        rows[row][column] = cell

    return change


def repeated(rows: list[dict[str, str]]) -> None:
    rows.append(dict(rows[1]))


def contradicting(rows: list[dict[str, str]]) -> None:
    rows.append(rows[1] | {"amount_cents": "77"})


LATER = f"{SECOND + timedelta(days=1)}T12:00:00Z"
# Lines count from 1, the header's; row 1 of the rows is line 3.
MISTAKES = [
    pytest.param(with_cell(1, "amount_cents", "12,5"), "amount_cents: cannot read 12,5 as Int32", [3], id="no number"),
    pytest.param(
        with_cell(1, "cancelled", "maybe"), "cancelled: cannot read maybe as Boolean", [3], id="neither yes nor no"
    ),
    pytest.param(with_cell(1, "amount_cents", "20001"), "amount_cents|max", [3], id="out of range"),
    pytest.param(with_cell(1, "customer", ""), "customer|nullability", [3], id="missing value"),
    pytest.param(with_cell(1, "order_id", ""), "order_id|nullability", [3], id="missing key"),
    pytest.param(with_cell(1, "ordered_at", "yesterday"), "ordered_at|nullability", [3], id="no time"),
    pytest.param(with_cell(1, "ordered_at", LATER), "ordered_at is not on the day of its file", [3], id="another day"),
    pytest.param(repeated, "repeats another row", [8], id="repeated row"),
    pytest.param(contradicting, "primary_key", [3, 8], id="rows that contradict each other"),
]


@pytest.mark.parametrize(("change", "reason", "lines"), MISTAKES)
def test_under_quarantine_bad_rows_are_set_aside_with_reason_file_and_line(
    there: Platform, change: Callable[[list[dict[str, str]]], None], reason: str, lines: list[int]
) -> None:
    spoil(there, change)
    made = ingest(there)
    found = set_aside(there)
    assert [(row["file"], row["line"], row["day"]) for row in found] == [(FILE, line, SECOND) for line in lines]
    assert {row["reason"] for row in found} == {reason}
    ids = [row["order_id"] for row in good()]
    bad_ids = {ids[1]} if reason != "repeats another row" else set()
    assert kept(there) == set(ids) - bad_ids
    assert all(kept(there, day) == {row["order_id"] for row in good(day)} for day in (FIRST, THIRD))
    assert made.facts["rows set aside"] == len(lines)
    contract = next(check for check in made.checks if check.name == "contract")
    assert (contract.passed, contract.blocking) == (False, False)
    assert contract.facts["rows set aside"] == len(lines)


@pytest.mark.parametrize(("change", "reason", "lines"), MISTAKES)
def test_under_fail_the_table_is_untouched_and_the_message_says_where_what_and_how_many(
    there: Platform, change: Callable[[list[dict[str, str]]], None], reason: str, lines: list[int]
) -> None:
    ingest(there, catalogue=STRICT)
    before = there.lake.scan(TABLE).collect()
    spoil(there, change)
    with pytest.raises((ContractError, LandedFileError)) as refused:
        ingest(there, catalogue=STRICT)
    said = str(refused.value)
    assert said.startswith("shop/orders: ")
    assert FILE in said if "file" in said else f"{SECOND}" in said
    assert reason in said
    assert re.search(rf"\b{len(lines)} of \d+ rows", said)
    assert "Nothing was written; correct the" in said
    assert f"line {lines[0]}" in said or f"'__line': {lines[0]}" in said, "an example row"
    assert there.lake.version(TABLE) == 0
    assert there.lake.scan(TABLE).collect().equals(before)
    assert there.lake.version(QUARANTINE) is None


def test_mending_the_file_empties_the_quarantine_of_its_day_and_no_other(there: Platform) -> None:
    spoil(there, with_cell(1, "amount_cents", "0"))
    spoil(there, with_cell(2, "amount_cents", "x"), day=THIRD)
    ingest(there)
    assert [row["day"] for row in set_aside(there)] == [SECOND, THIRD]
    spoil(there, lambda rows: None)
    ingest(there, Days(SECOND, SECOND))
    assert [row["day"] for row in set_aside(there)] == [THIRD]
    assert kept(there) == {row["order_id"] for row in good()}


def test_the_refused_row_can_be_read_again_from_the_quarantine(there: Platform) -> None:
    spoil(there, with_cell(1, "amount_cents", "0"))
    ingest(there)
    row = pl.Series([set_aside(there)[0]["row"]]).str.json_decode(
        pl.Struct({"order_id": pl.String, "amount_cents": pl.Int64})
    )
    assert row.to_list() == [{"order_id": good()[1]["order_id"], "amount_cents": 0}]


def test_without_bad_rows_there_is_no_quarantine(there: Platform) -> None:
    ingest(there)
    assert there.lake.version(QUARANTINE) is None


@pytest.mark.parametrize("catalogue", [shop.CATALOGUE, STRICT])
@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda path: path.unlink(), SourceUnavailable, f"source orders: nothing landed for {SECOND} .1 of 3 files."),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), LandedFileError, "ends in the middle of a line"),
        (
            lambda path: path.write_text(path.read_text().replace("amount_cents", "amount", 1)),
            LandedFileError,
            "the column amount_cents is missing from all 6 rows",
        ),
        (lambda path: path.with_suffix(".rows").write_text("7"), LandedFileError, "promises 7 rows, the file has 6"),
    ],
)
def test_a_damaged_delivery_is_refused_under_every_policy(
    there: Platform, catalogue: Catalogue, damage: Callable[..., Any], error: type[PlatformError], message: str
) -> None:
    damage(Landing(there.landing.root).path("orders", SECOND))
    with pytest.raises(error, match=message):
        ingest(there, catalogue=catalogue)
    assert there.lake.version(TABLE) is None


def test_ingesting_twice_is_ingesting_once(there: Platform) -> None:
    first, second = ingest(there), ingest(there)
    assert (first.version, first.is_new, second.version, second.is_new) == (0, True, 0, False)
    assert first.hashes == second.hashes
    assert first.digest == second.digest


def test_days_alone_and_together_are_the_same(there: Platform, empty_shop: Callable[..., Platform]) -> None:
    together = ingest(there)
    other = empty_shop("other", days=THREE, per_day=6)
    alone = {day: ingest(other, Days(day, day)).hashes[day] for day in (THIRD, FIRST, SECOND)}
    assert alone == together.hashes


def sorting(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Orders, the dearest first."""
    return shop.orders.transform(raw).sort("amount_cents", descending=True)


def distinct(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Orders, each once."""
    return shop.orders.transform(raw).unique()


def sent(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Orders that were not called off."""
    return shop.orders.transform(raw).filter(pl.col("amount_cents") > 3_000)


@pytest.mark.parametrize("function", [sorting, distinct, sent])
def test_a_function_may_sort_filter_and_deduplicate(
    there: Platform, empty_shop: Callable[..., Platform], function: Any
) -> None:
    catalogue = shop.with_changed("orders", transform=function)
    together = ingest(there, catalogue=catalogue)
    other = empty_shop("other", days=THREE, per_day=6)
    alone = {day: ingest(other, Days(day, day), catalogue).hashes[day] for day in THREE}
    assert alone == together.hashes
    assert together.facts["rows set aside"] == 0
    assert together.row_count > 0


def test_a_bad_row_of_a_function_that_filters_keeps_its_file_and_day(there: Platform) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        rows[1]["amount_cents"] = "30000"
        rows[2]["amount_cents"] = "1"

    spoil(there, change)
    ingest(there, catalogue=shop.with_changed("orders", transform=sent))
    assert [(row["file"], row["line"], row["day"]) for row in set_aside(there)] == [(FILE, None, SECOND)]


def test_a_source_reads_of_another_only_its_own_days(there: Platform) -> None:
    def priced(raw: pl.LazyFrame, orders: pl.LazyFrame) -> pl.LazyFrame:
        """Orders with the number of all orders that were read beside them."""
        return (
            shop.orders.transform(raw)
            .join(orders.select(amount_cents=pl.len().cast(pl.Int32)), how="cross", suffix="_all")
            .with_columns(amount_cents="amount_cents_all")
            .drop("amount_cents_all")
        )

    again = replace(shop.orders, name="orders_again", transform=priced)
    assert isinstance(again, Source)
    catalogue = Catalogue(name="shop", declarations=[*shop.DECLARATIONS, again])
    for day in THREE:
        path = there.landing.path("orders_again", day)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(there.landing.path("orders", day).read_bytes())
    ingest(there, catalogue=catalogue)
    alone = shop.make(there, "orders_again", days=Days(SECOND, SECOND), catalogue=catalogue)[0]
    assert alone.preview["amount_cents"].unique().to_list() == [6]


def wrong_column(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Orders under other names."""
    return shop.orders.transform(raw).rename({"amount_cents": "amount"})


def wrong_type(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Orders with a time as text."""
    return raw


@pytest.mark.parametrize(
    ("function", "culprit"), [(wrong_column, "amount_cents"), (wrong_type, "columns with invalid dtype")]
)
def test_a_function_that_returns_something_else_is_refused(there: Platform, function: Any, culprit: str) -> None:
    with pytest.raises(
        ContractError, match=f"shop/orders: its function does not return what Orders declares: .*{culprit}"
    ):
        ingest(there, catalogue=shop.with_changed("orders", transform=function))
    assert there.lake.version(TABLE) is None


def test_a_snapshot_is_ingested_and_judged_as_a_whole(there: Platform) -> None:
    shop.land_rows(
        there.landing.root,
        "products",
        None,
        [{"product": "chair", "category": "home"}, {"product": "", "category": "x"}],
    )
    made = shop.make(there, "products")[0]
    assert (made.days, made.row_count) == (None, 1)
    found = there.lake.scan(quarantine_folder("shop", "products")).collect().to_dicts()
    assert [(row["reason"], row["file"], row["line"]) for row in found] == [("product|nullability", "products.csv", 3)]
