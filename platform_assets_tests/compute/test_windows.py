"""Sums over sliding windows against their naive twin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.compute.windows import minutes, ratio, sums_at_ticks
from platform_assets.declarations.times import Window
from platform_assets_tests.reference.windows import naive_sums_at_ticks

START = datetime(2024, 1, 1, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def stream(items: list[tuple[Any, ...]], *values: str) -> pl.DataFrame:
    schema = {"key": pl.String, "active_from": INSTANT, "active_until": INSTANT, **dict.fromkeys(values, pl.Int64)}
    return pl.DataFrame([(k, at(a), at(b), *v) for k, a, b, *v in items], schema=schema, orient="row")


instants = st.integers(-30, 90)
KEYS = st.sampled_from(["a", "b", None])
NUMBERS = st.none() | st.integers(-5, 5)
firsts = st.lists(st.tuples(KEYS, instants, instants, NUMBERS), max_size=8)
seconds = st.lists(st.tuples(KEYS, instants, instants, NUMBERS, NUMBERS), max_size=8)


def by_key_and_tick(frame: pl.DataFrame) -> dict[Any, dict[str, Any]]:
    found = {(row.pop("key"), row.pop("event_time")): row for row in frame.to_dicts()}
    assert len(found) == len(frame)
    return found


@settings(max_examples=150)
@given(
    first=firsts, second=seconds, start=st.integers(-5, 40), length=st.integers(1, 60), step=st.sampled_from([1, 7, 15])
)
def test_it_agrees_with_its_naive_twin(first: Any, second: Any, start: int, length: int, step: int) -> None:
    one, two = stream(first, "x"), stream(second, "y", "z")
    window = Window(start=at(start), end=at(start + length))
    span = timedelta(minutes=step)
    expected = naive_sums_at_ticks(
        [one.to_dicts(), two.to_dicts()],
        key="key",
        columns=[["x"], ["y", "z"]],
        start=window.start,
        end=window.end,
        step=span,
    )
    found = sums_at_ticks([one.lazy(), two.lazy()], keys=["key"], window=window, step=span).collect()
    assert by_key_and_tick(found) == expected


@settings(max_examples=80)
@given(items=firsts, start=st.integers(0, 50))
def test_a_later_start_gives_the_same_sums(items: Any, start: int) -> None:
    def sums(first: int) -> pl.DataFrame:
        window = Window(start=at(first), end=at(60))
        return sums_at_ticks(
            [stream(items, "x").lazy()], keys=["key"], window=window, step=timedelta(minutes=5)
        ).collect()

    whole = sums(0).filter(pl.col("event_time") >= at(start))
    assert by_key_and_tick(sums(start)) == by_key_and_tick(whole)


def test_an_item_is_active_from_its_first_instant_until_before_its_last() -> None:
    one = stream([("a", 10, 20, 1)], "x")
    window = Window(start=at(0), end=at(60))
    found = sums_at_ticks([one.lazy()], keys=["key"], window=window, step=timedelta(minutes=10)).collect()
    assert found["event_time"].to_list() == [at(10)]
    assert found.schema["event_time"] == INSTANT


def test_a_ratio_of_nothing_is_null() -> None:
    found = pl.DataFrame({"total": [3, 0, 0], "count": [2, 4, 0]}).select(
        ratio("total", pl.col("count")).alias("share")
    )
    assert found["share"].to_list() == [1.5, 0.0, None]


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_ratio_is_the_same_beside_whatever_rows(engine: Literal["in-memory", "streaming"]) -> None:
    for count in range(1, 60):
        totals = list(range(-60, 60))
        expected = [total / count for total in totals]
        rows = pl.LazyFrame({"total": totals, "count": [count] * len(totals)})
        alike = pl.LazyFrame({"total": totals}).with_columns(count=pl.lit(count))
        exploded = pl.LazyFrame({"total": [totals], "count": [count]}).explode("total")
        for frame in (rows, alike, exploded):
            found = frame.select(share=ratio("total", "count")).collect(engine=engine)
            assert found["share"].to_list() == expected, count
        literal = pl.LazyFrame({"total": totals}).select(share=ratio("total", pl.lit(count)))
        assert literal.collect(engine=engine)["share"].to_list() == expected
    for total in range(10):
        alone = pl.LazyFrame({"total": [total], "count": [3]}).select(share=ratio("total", "count"))
        assert alone.collect(engine=engine)["share"].to_list() == [total / 3]


def test_minutes_are_whole() -> None:
    spans = pl.DataFrame({"span": [timedelta(minutes=3, seconds=59), timedelta(hours=-1), None]})
    assert spans.select(minutes(pl.col("span")))["span"].to_list() == [3, -60, None]
