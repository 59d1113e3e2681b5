"""Corrections against a fold by hand: every version kept, each known from when it could be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.compute.corrections import fold, superseded_at
from platform_assets_tests.reference.corrections import naive_as_known, naive_fold

INSTANT = pl.Datetime("us", "UTC")
SCHEMA = {"k": pl.String, "j": pl.Int64, "event": INSTANT, "known": INSTANT, "v": pl.Int64, "w": pl.Float64}
TOLD_BY: dict[str, Any] = {"keys": ["k", "j"], "event_time": "event", "known_at": "known"}
Delivery = tuple[datetime | None, list[dict[str, Any]]]


def at(minute: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)


def row(k: str, event: int, known: int, v: int | None, w: float | None = 0.5) -> dict[str, Any]:
    return {"k": k, "j": 1, "event": at(event), "known": at(known), "v": v, "w": w}


def frame(deliveries: Sequence[Delivery]) -> pl.DataFrame:
    parts = [
        pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(
            corrected=pl.lit(delivered, INSTANT), line=pl.int_range(pl.len())
        )
        for delivered, rows in deliveries
    ]
    return pl.concat(parts)


def folded(rows: pl.DataFrame) -> pl.DataFrame:
    return fold(rows, **TOLD_BY, corrected_at="corrected", values=["v", "w"])


def versions(*deliveries: tuple[int | None, list[dict[str, Any]]]) -> list[tuple[str, int, int, int | None]]:
    """Key, event, known and value of what is kept, in minutes."""
    found = folded(frame([(None if minute is None else at(minute), rows) for minute, rows in deliveries]))
    minutes = [((pl.col(name) - at(0)).dt.total_minutes()) for name in ("event", "known")]
    return found.select("k", *minutes, "v").rows()


def test_a_first_delivery_stays_as_it_is() -> None:
    assert versions((None, [row("a", 1, 2, 7), row("b", 1, 2, None)])) == [("a", 1, 2, 7), ("b", 1, 2, None)]


def test_a_changed_row_is_a_version_more_known_from_its_delivery() -> None:
    assert versions((None, [row("a", 1, 2, 7)]), (10, [row("a", 1, 2, 8)])) == [("a", 1, 2, 7), ("a", 1, 10, 8)]


def test_a_row_that_could_be_known_only_after_the_delivery_keeps_its_own_instant() -> None:
    assert versions((None, [row("a", 1, 2, 7)]), (10, [row("a", 1, 12, 8)]))[1] == ("a", 1, 12, 8)


def test_an_equal_row_adds_nothing_also_where_a_value_is_missing() -> None:
    nan = row("c", 1, 2, 1, float("nan"))
    first = [row("a", 1, 2, 7), row("b", 1, 2, None, None), nan]
    assert len(versions((None, first), (10, first), (20, [nan | {"known": at(15)}]))) == 3


@pytest.mark.parametrize(("then", "now"), [(7, None), (None, 7)])
def test_to_and_from_a_missing_value_is_a_change(then: int | None, now: int | None) -> None:
    found = versions((None, [row("a", 1, 2, then)]), (10, [row("a", 1, 2, now)]))
    assert found == [("a", 1, 2, then), ("a", 1, 10, now)]


def test_a_correction_that_is_taken_back_is_a_third_version() -> None:
    first = [row("a", 1, 2, 7)]
    assert versions((None, first), (10, [row("a", 1, 2, 8)]), (20, first)) == [
        ("a", 1, 2, 7),
        ("a", 1, 10, 8),
        ("a", 1, 20, 7),
    ]


def test_a_late_row_is_known_from_its_delivery_and_other_rows_stay() -> None:
    assert versions((None, [row("a", 1, 2, 7)]), (10, [row("a", 0, 1, 3)])) == [("a", 0, 10, 3), ("a", 1, 2, 7)]


def test_what_is_corrected_before_it_could_be_known_is_replaced() -> None:
    plan = [row("a", 30, 20, 7)]
    assert versions((None, plan), (10, [row("a", 30, 20, 8)])) == [("a", 30, 20, 8)]
    assert versions((None, plan), (10, [row("a", 30, 5, 8)])) == [("a", 30, 10, 8)], (
        "known sooner than what it replaces"
    )
    assert versions((None, plan), (10, [row("a", 30, 40, 8)]), (12, [row("a", 30, 1, 9)])) == [("a", 30, 12, 9)]
    back = versions((None, [row("a", 1, 2, 7)]), (10, [row("a", 1, 40, 8)]), (12, [row("a", 1, 2, 7)]))
    assert back == [("a", 1, 2, 7)], "the change was taken back before anybody could know it"


def test_a_correction_never_takes_a_row_away() -> None:
    assert versions((None, [row("a", 1, 2, 7), row("b", 1, 2, 7)]), (10, [])) == [("a", 1, 2, 7), ("b", 1, 2, 7)]


def test_a_table_of_keys_and_times_alone_has_late_rows_and_no_versions() -> None:
    rows = frame([(None, [row("a", 1, 2, 7)]), (at(10), [row("a", 1, 2, 8), row("b", 1, 2, 8)])])
    found = fold(rows.drop("v", "w"), **TOLD_BY, corrected_at="corrected", values=[])
    assert found.select("k", "known").rows() == [("a", at(2)), ("b", at(10))]


minutes = st.integers(0, 8)
cells = st.tuples(
    st.sampled_from("ab"),
    st.integers(1, 2),
    st.integers(0, 1),
    minutes,
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 0.5, float("nan")]),
)
delivered_rows = st.lists(cells, max_size=8, unique_by=lambda c: c[:3])
histories = st.tuples(delivered_rows, st.dictionaries(minutes, delivered_rows, max_size=4))


def as_deliveries(history: Any) -> list[Delivery]:
    first, corrections = history

    def rows(cells: Any) -> list[dict[str, Any]]:
        return [dict(zip(SCHEMA, (k, j, at(e), at(n), v, w), strict=True)) for k, j, e, n, v, w in cells]

    return [(None, rows(first)), *((at(minute), rows(corrections[minute])) for minute in sorted(corrections))]


@settings(max_examples=100)
@given(history=histories, dice=st.randoms(use_true_random=False))
def test_it_agrees_with_its_naive_twin_in_any_order_of_the_rows(history: Any, dice: Any) -> None:
    compare_with_twin(history, dice)


@pytest.mark.slow
@settings(max_examples=1_500)
@given(history=histories, dice=st.randoms(use_true_random=False))
def test_it_agrees_with_its_naive_twin_for_long(history: Any, dice: Any) -> None:
    compare_with_twin(history, dice)


def compare_with_twin(history: Any, dice: Any) -> None:
    deliveries = as_deliveries(history)
    rows = frame(deliveries)
    order = list(range(len(rows)))
    dice.shuffle(order)
    found = folded(rows[order])
    expected = pl.DataFrame(naive_fold(deliveries, **TOLD_BY, values=["v", "w"]), schema=SCHEMA)
    assert_frame_equal(found.select(*SCHEMA), expected, check_row_order=False)
    assert found.sort("k", "j", "event", "known").equals(found)
    assert not found.select(pl.struct("k", "j", "event", "known").is_duplicated().any()).item()


@settings(max_examples=60)
@given(history=histories)
def test_folding_the_result_of_the_first_with_the_rest_is_folding_all(history: Any) -> None:
    """Nothing depends on how often it was folded before: a rebuild and a step at a time agree."""
    deliveries = as_deliveries(history)
    step: list[dict[str, Any]] = []
    for delivered, rows in deliveries:
        # What is there already keeps its own instants: it counts as delivered first.
        before = [(at(-100 + number), [version]) for number, version in enumerate(step)]
        step = naive_fold([*before, (delivered, rows)], **TOLD_BY, values=["v", "w"])
    found = folded(frame(deliveries)).select(*SCHEMA)
    assert_frame_equal(found, pl.DataFrame(step, schema=SCHEMA), check_row_order=False)


@settings(max_examples=60)
@given(history=histories, minute=st.integers(-1, 12))
def test_versions_give_way_to_each_other(history: Any, minute: int) -> None:
    found = folded(frame(as_deliveries(history))).select(*SCHEMA)
    until = superseded_at(**TOLD_BY)
    known = found.sample(fraction=1, shuffle=True, seed=minute + 1).with_columns(until=until)
    seen = known.filter(pl.col("known") <= at(minute), (pl.col("until") > at(minute)) | pl.col("until").is_null())
    expected = list(naive_as_known(found.to_dicts(), **TOLD_BY, now=at(minute)).values())
    assert_frame_equal(seen.drop("until"), pl.DataFrame(expected, schema=SCHEMA), check_row_order=False)
    assert (
        known.filter(pl.col("until").is_null()).height == found.select(pl.struct("k", "j", "event").n_unique()).item()
    )
