"""Splitting by time: who belongs where, and who nowhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.compute.splits import split_by_time

START = datetime(2024, 1, 1, tzinfo=UTC)
SELECT, REPORT, END = 100, 200, 300


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def split(rows: list[tuple[int, int]], *, gap: int) -> list[str | None]:
    frame = pl.DataFrame({"row": range(len(rows)), "at": [at(a) for a, _ in rows], "known": [at(k) for _, k in rows]})
    placed = split_by_time(
        frame.lazy(),
        at="at",
        matured="known",
        select_from=at(SELECT),
        report_from=at(REPORT),
        report_until=at(END),
        gap=timedelta(hours=gap),
        split="part",
    ).collect()
    assert placed["part"].null_count() == 0
    parts = dict(placed.select("row", "part").iter_rows())
    return [parts.get(n) for n in range(len(rows))]


@pytest.mark.parametrize(
    ("asked", "matured", "gap", "part"),
    [
        (0, 1, 10, "fit"),
        (89, 89, 10, "fit"),
        (90, 90, 10, None),
        (89, 90, 10, None),
        (99, 99, 0, "fit"),
        (99, 100, 0, None),
        (100, 101, 10, "select"),
        (189, 189, 10, "select"),
        (189, 195, 10, None),
        (195, 195, 10, None),
        (199, 200, 0, None),
        (200, 400, 10, "report"),
        (299, 999, 10, "report"),
        (300, 301, 10, None),
    ],
)
def test_the_borders(asked: int, matured: int, gap: int, part: str | None) -> None:
    assert split([(asked, matured)], gap=gap) == [part]


@given(
    rows=st.lists(st.tuples(st.integers(0, 320), st.integers(0, 80)).map(lambda r: (r[0], r[0] + r[1])), max_size=30),
    gap=st.integers(0, 50),
)
def test_no_part_learns_from_what_the_next_is_judged_by(rows: list[tuple[int, int]], gap: int) -> None:
    starts = {"fit": 0, "select": SELECT, "report": REPORT}
    ends = {"fit": SELECT, "select": REPORT}
    for (asked, matured), part in zip(rows, split(rows, gap=gap), strict=True):
        if part is None:
            continue
        assert asked >= starts[part]
        if part in ends:
            assert max(asked, matured) < ends[part] - gap
