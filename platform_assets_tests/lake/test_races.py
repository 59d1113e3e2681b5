"""Another writer commits between a plan and its commit: what is lost is decided anew, never doubled or swallowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from platform_assets.declarations.declaration import Column
from platform_assets.errors import SchemaChanged, WriteConflict
from platform_assets.lake import writes
from platform_assets.lake.tables import ATTEMPTS, Lake
from platform_assets.lake.writes import Written
from platform_assets_tests.lake.writers import COLUMNS, TABLE, day, days, held, put, rows

START = rows(("a", 1, 1), ("a", 2, 2))
WITH_NOTE = (*COLUMNS, Column(name="note", dtype=pl.String()))
RETYPED = (COLUMNS[0], Column(name="value", dtype=pl.Float64()))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[Callable[[], Written]], Written]]:
    """Lets `theirs` commit just before each of the first commits of ours (once, unless told otherwise)."""

    def by(theirs: Callable[[], Any], *, times: int = 1) -> Callable[[Callable[[], Written]], Written]:
        commit, left = writes.write_deltalake, [times]

        def late(*arguments: Any, **named: Any) -> None:
            if left[0]:
                left[0] -= 1
                monkeypatch.setattr(writes, "write_deltalake", commit)
                theirs()
                monkeypatch.setattr(writes, "write_deltalake", late)
            commit(*arguments, **named)

        def ours(write: Callable[[], Written]) -> Written:
            monkeypatch.setattr(writes, "write_deltalake", late)
            written = write()
            assert left == [0], "nobody overtook it"
            return written

        return ours

    return by


@pytest.mark.parametrize("exists", [True, False], ids=["there", "new table"])
@pytest.mark.parametrize("number", [1, 7], ids=["a day that is there", "a day that is not"])
def test_both_write_the_same_day_and_the_later_one_stands(
    lake: Lake, overtaken: Callable, number: int, *, exists: bool
) -> None:
    if exists:
        put(lake, START, days(1, 2))
    theirs = overtaken(lambda: put(lake, rows(("theirs", 1, number)), days(number), run="theirs"))
    written = theirs(lambda: put(lake, rows(("ours", 1, number)), days(number), run="ours"))
    kept = [row for row in START.rows() if exists and row[2] != day(number)]
    assert held(lake) == sorted([*kept, ("ours", 1, day(number))])
    assert written.plan.base == written.version - 1, "it was planned again against what the other had written"
    assert [c["platform.run"] for c in lake.open(TABLE).history(limit=2)] == ["ours", "theirs"]


def test_both_write_different_days_and_both_stand(lake: Lake, overtaken: Callable) -> None:
    put(lake, START, days(1, 2))
    theirs = overtaken(lambda: put(lake, rows(("theirs", 1, 1), ("theirs", 1, 5)), days(1, 5)))
    theirs(lambda: put(lake, rows(("ours", 1, 8)), days(8)))
    assert held(lake) == [("ours", 1, day(8)), ("theirs", 1, day(1)), ("theirs", 1, day(5))]


def test_the_other_wrote_the_same_so_there_is_nothing_left_to_write(lake: Lake, overtaken: Callable) -> None:
    put(lake, START, days(1, 2))
    theirs = overtaken(lambda: put(lake, rows(("same", 1, 1)), days(1)))
    written = theirs(lambda: put(lake, rows(("same", 1, 1)), days(1)))
    assert (written.version, written.plan.writes) == (1, False)
    assert held(lake) == [("a", 2, day(2)), ("same", 1, day(1))]


def test_a_snapshot_that_both_replace_is_what_the_later_one_wrote(lake: Lake, overtaken: Callable) -> None:
    put(lake, START.drop("day"), None)
    theirs = overtaken(lambda: put(lake, START.drop("day").head(1), None))
    ours = START.drop("day").with_columns(value=pl.lit(9, pl.Int64))
    theirs(lambda: put(lake, ours, None))
    assert lake.scan(TABLE).collect().sort("key", "value").equals(ours)
    assert lake.version(TABLE) == 2


def test_an_empty_snapshot_that_both_fill_holds_no_row_twice(lake: Lake, overtaken: Callable) -> None:
    put(lake, START.drop("day").clear(), None)
    theirs = overtaken(lambda: put(lake, START.drop("day").head(1), None))
    theirs(lambda: put(lake, START.drop("day"), None))
    assert lake.scan(TABLE).collect().sort("value").equals(START.drop("day"))


def test_the_other_added_a_column_and_the_rows_of_ours_have_none_of_it(lake: Lake, overtaken: Callable) -> None:
    put(lake, START, days(1, 2))
    noted = rows(("theirs", 1, 2)).with_columns(note=pl.lit("n"))
    theirs = overtaken(lambda: put(lake, noted, days(2), columns=WITH_NOTE))
    with pytest.raises(SchemaChanged, match="note is gone; a write of 2024-03-01 would leave the other days"):
        theirs(lambda: put(lake, rows(("ours", 1, 1)), days(1)))
    assert held(lake) == [("a", 1, day(1)), ("theirs", 1, day(2))]


def test_both_add_the_same_column_and_both_stand(lake: Lake, overtaken: Callable) -> None:
    put(lake, START, days(1, 2))
    noted = rows(("theirs", 1, 1), ("ours", 1, 2)).with_columns(note=pl.lit("n"))
    theirs = overtaken(lambda: put(lake, noted.head(1), days(1), columns=WITH_NOTE))
    written = theirs(lambda: put(lake, noted.tail(1), days(2), columns=WITH_NOTE))
    assert written.plan.new_columns == (), "the other had added it by then"
    assert lake.scan(TABLE).select("key", "note").collect().sort("key").rows() == [("ours", "n"), ("theirs", "n")]


def test_a_write_of_the_whole_in_a_new_type_does_not_swallow_a_day_that_came_meanwhile(
    lake: Lake, overtaken: Callable
) -> None:
    put(lake, START, days(1, 2))
    theirs = overtaken(lambda: put(lake, rows(("theirs", 1, 9)), days(9)))
    with pytest.raises(SchemaChanged, match="value is Int64 there and Float64 now"):
        theirs(lambda: put(lake, START.cast({"value": pl.Float64}), days(1, 2), columns=RETYPED))
    assert held(lake) == sorted([*START.rows(), ("theirs", 1, day(9))])


def test_a_day_is_not_written_in_the_old_type_once_the_whole_has_a_new_one(lake: Lake, overtaken: Callable) -> None:
    put(lake, START, days(1, 2))
    theirs = overtaken(lambda: put(lake, START.cast({"value": pl.Float64}), days(1, 2), columns=RETYPED))
    with pytest.raises(SchemaChanged, match="value is Float64 there and Int64 now"):
        theirs(lambda: put(lake, rows(("ours", 1, 1)), days(1)))
    assert lake.scan(TABLE).collect_schema()["value"] == pl.Float64


def test_who_is_always_overtaken_gives_up_and_says_so(
    lake: Lake, overtaken: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes.time, "sleep", lambda _: None)
    put(lake, START, days(1, 2))
    values = iter(range(10, 99))
    theirs = overtaken(lambda: put(lake, rows(("theirs", next(values), 1)), days(1)), times=ATTEMPTS)
    with pytest.raises(WriteConflict, match=f"table shop/orders: other writers won {ATTEMPTS} times in a row"):
        theirs(lambda: put(lake, rows(("ours", 1, 1)), days(1)))
    assert held(lake) == [("a", 2, day(2)), ("theirs", 9 + ATTEMPTS, day(1))]


def test_compaction_in_between_is_not_a_conflict_that_loses(lake: Lake, overtaken: Callable) -> None:
    put(lake, START, days(1, 2))
    table = lake.open(TABLE)
    table.merge(
        rows(("b", 5, 1)), "s.key = t.key", source_alias="s", target_alias="t"
    ).when_not_matched_insert_all().execute()
    theirs = overtaken(lake.open(TABLE).optimize.compact)
    theirs(lambda: put(lake, rows(("ours", 1, 1)), days(1)))
    assert held(lake) == [("a", 2, day(2)), ("ours", 1, day(1))]
