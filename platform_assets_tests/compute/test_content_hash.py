"""The content hash: what it sees, what it does not see, and that it stays what it is."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.compute.content_hash import content_hash, content_hashes

BASE = pl.DataFrame(
    {
        "text": ["a", None, "", "äö"],
        "number": [1, -2, None, 3],
        "share": [0.5, float("nan"), -0.0, None],
        "flag": [True, None, False, True],
        "day": [date(2024, 1, 1), None, date(2024, 1, 2), date(2024, 1, 2)],
        "at": [
            datetime(2024, 1, 1, tzinfo=UTC),
            None,
            datetime(2024, 1, 2, tzinfo=UTC),
            datetime(2024, 1, 2, tzinfo=UTC),
        ],
        "many": [["x", "y"], [], None, [None]],
    }
)


def of(*cells: Any, dtype: Any = None) -> str:
    return content_hash(pl.DataFrame({"x": pl.Series(list(cells), dtype=dtype)}))


def test_the_scheme_is_pinned() -> None:
    """A change of these values makes every table look changed once: say so in the changelog."""
    assert content_hash(BASE) == "35ee74f2d8b31e93b52787e23276648e"
    assert content_hash(pl.DataFrame({"x": []}, schema={"x": pl.Int64})) == "1ac89b33668446c662ef0e1a07ff4b25"


def test_the_order_of_rows_and_columns_does_not_matter() -> None:
    assert content_hash(BASE.reverse()) == content_hash(BASE)
    assert content_hash(BASE.select(reversed(BASE.columns))) == content_hash(BASE)


def test_how_often_a_row_comes_does_matter() -> None:
    doubled = pl.concat([BASE, BASE])
    assert len({content_hash(BASE), content_hash(doubled), content_hash(pl.concat([doubled, BASE]))}) == 3
    assert of(1, 1, 2) != of(1, 2, 2)


@pytest.mark.parametrize(
    "changed",
    [
        BASE.rename({"text": "texts"}),
        BASE.rename({"text": "many", "many": "text"}),
        BASE.with_columns(pl.col("number").cast(pl.Int32)),
        BASE.with_columns(pl.col("at").dt.convert_time_zone("Asia/Tokyo")),
        BASE.with_columns(pl.col("at").dt.replace_time_zone(None)),
        BASE.drop("flag"),
        BASE.with_columns(pl.col("day") + timedelta(days=1)),
        BASE.with_columns(~pl.col("flag")),
        BASE.with_columns(pl.col("text").fill_null("")),
        BASE.with_columns(pl.col("number").fill_null(0)),
        BASE.with_columns(pl.col("flag").fill_null(value=False)),
        BASE.with_columns(pl.col("many").fill_null([])),
    ],
)
def test_whatever_readers_can_see_changes_it(changed: pl.DataFrame) -> None:
    assert content_hash(changed) != content_hash(BASE)


def test_zeros_are_equal_and_nans_are_equal_but_neither_is_null() -> None:
    assert of(-0.0) == of(0.0)
    assert of(float("nan")) == of(-math.nan)
    assert len({of(0.0), of(float("nan")), of(None, dtype=pl.Float64)}) == 3


def test_an_empty_text_is_not_null() -> None:
    assert of("") != of(None, dtype=pl.String)


def test_cells_do_not_run_into_each_other() -> None:
    def pair(a: str, b: str) -> str:
        return content_hash(pl.DataFrame({"a": [a], "b": [b]}))

    assert len({pair("ab", "c"), pair("a", "bc"), pair("abc", ""), pair("", "abc"), pair("c", "ab")}) == 5
    assert len({of("a\x00"), of("a"), of("\x00a"), of("\x00")}) == 4


def test_lists_are_told_apart_by_their_elements_and_places() -> None:
    texts = pl.List(pl.String)
    values = [None, [], [None], [""], ["a"], ["a", None], [None, "a"], ["a\x1fb"], ["a", "b"], ["b", "a"]]
    assert len({of(value, dtype=texts) for value in values}) == len(values)
    assert of([1, 2], [3], dtype=pl.List(pl.Int64)) != of([1], [2, 3], dtype=pl.List(pl.Int64))
    assert of([[1], [2]], dtype=pl.List(pl.List(pl.Int64))) != of([[1, 2]], dtype=pl.List(pl.List(pl.Int64)))


def test_large_unsigned_numbers_keep_their_value() -> None:
    assert of(2**64 - 1, dtype=pl.UInt64) != of(2**63, dtype=pl.UInt64)


@pytest.mark.parametrize("cell", [{"a": 1}, b"bytes"])
def test_a_type_without_a_fixed_hash_is_refused(cell: object) -> None:
    with pytest.raises(TypeError, match=r"column 'x' has the type .*, which has no fixed hash"):
        of(cell)


rows = st.lists(
    st.tuples(
        st.sampled_from([None, date(2024, 1, 1), date(2024, 1, 2)]),
        st.none() | st.text(max_size=4),
        st.none() | st.integers(-2, 2),
        st.none() | st.sampled_from([0.0, -0.0, math.nan, 1.5]),
    ),
    max_size=12,
)
SCHEMA = {"day": pl.Date, "text": pl.String, "number": pl.Int64, "share": pl.Float64}


@settings(max_examples=150)
@given(rows=rows, dice=st.randoms(use_true_random=False))
def test_each_group_hashes_as_it_would_alone(rows: list[tuple[Any, ...]], dice: Any) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    order = list(range(len(frame)))
    dice.shuffle(order)
    alone = {key[0]: content_hash(part) for key, part in frame.group_by(["day"])}
    assert content_hashes(frame[order], by="day") == alone
    assert content_hash(frame[order]) == content_hash(frame)


@settings(max_examples=150)
@given(first=rows, second=rows)
def test_it_tells_apart_what_is_different_and_only_that(first: list[Any], second: list[Any]) -> None:
    def counted(rows: list[tuple[Any, ...]]) -> list[str]:
        return sorted(repr((d, t, n, None if s is None else s + 0.0)) for d, t, n, s in rows)

    def hashed(rows: list[tuple[Any, ...]]) -> str:
        return content_hash(pl.DataFrame(rows, schema=SCHEMA, orient="row"))

    assert (hashed(first) == hashed(second)) == (counted(first) == counted(second))
