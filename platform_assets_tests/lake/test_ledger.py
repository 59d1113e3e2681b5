"""The ledger remembers every materialization, also those that changed nothing."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from deltalake.table import TableOptimizer

from platform_assets.declarations.times import Days
from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.lake.ledger import Entry
from platform_assets.lake.tables import Lake
from platform_assets_tests.lake.writers import TABLE, day, days, enter, put, rows

NOW = datetime(2024, 4, 1, tzinfo=UTC)


def entry(when: Days | None, minute: int, *, asset: str = "shop/orders", version: int = 0) -> Entry:
    return Entry(
        asset=asset,
        days=when,
        fingerprint="f00d",
        inputs={"raw": 2, "other": 1},
        version=version,
        content_hash="abc",
        rows=7,
        run_id=f"run-{minute}",
        recorded_at=NOW + timedelta(minutes=minute),
        stamps={} if when is None else {str(day): "1-2" for day in when},
    )


def test_before_the_first_entry_nothing_is_known(tmp_path: Path) -> None:
    assert ledger.entries(Lake(tmp_path), "shop/orders") == []
    assert ledger.latest(Lake(tmp_path), "shop/orders") == {}
    assert ledger.made(Lake(tmp_path), "shop/orders") == set()


def test_entries_come_back_as_they_were_newest_first(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    made = [entry(days(1, 3), 1), entry(None, 3), entry(days(2), 2, version=4)]
    for one in made:
        ledger.record(lake, one)
    ledger.record(lake, entry(days(1), 9, asset="shop/returns"))
    assert ledger.entries(lake, "shop/orders") == [made[1], made[2], made[0]]


def test_the_latest_entry_is_told_day_by_day(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    whole, part, undated = entry(days(1, 3), 1), entry(days(2), 2), entry(None, 3, asset="shop/model")
    for one in (part, whole, undated):
        ledger.record(lake, one)
    assert ledger.latest(lake, "shop/orders") == {day(1): whole, day(2): part, day(3): whole}
    assert ledger.latest(lake, "shop/model") == {None: undated}


def test_of_entries_of_one_instant_the_newer_version_counts(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for version in (1, 3, 2):
        ledger.record(lake, entry(days(1), 1, version=version))
    assert ledger.latest(lake, "shop/orders")[day(1)].version == 3


def test_days_are_those_ever_materialized(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for when in (days(1, 2), days(2, 3), days(7)):
        ledger.record(lake, entry(when, 1))
    ledger.record(lake, entry(None, 1, asset="shop/model"))
    assert ledger.made(lake, "shop/orders") == {day(1), day(2), day(3), day(7)}
    assert ledger.made(lake, "shop/model") == {None}
    assert ledger.made(lake, "shop/none") == set()


def test_a_ledger_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("not a folder")
    with pytest.raises(TableError, match=r"cannot write the table at .*ledger"):
        ledger.record(Lake(tmp_path), entry(None, 1))


def changed_since(lake: Lake, version: int, table: str = TABLE) -> set[date | None] | None:
    """What the ledger, and the log of what came after its newest entry, say changed since a version."""
    current = lake.version(table)
    assert current is not None
    told = ledger.read(lake).last_changes(table, lake.table_id(table))
    last = told.with_changes(lake.changes(table, since=told.until, until=current), until=current)
    return None if last.unsaid > version else {day for day, newest in last.by_day.items() if newest > version}


def by_a_stranger(lake: Lake) -> None:
    lake.open(TABLE).delete("value = 1 AND day = '2024-03-03'")


def live_through(lake: Lake, dice: random.Random, steps: int, *, strangers: bool) -> list[set[date | None] | None]:
    """A table's life: writes that are recorded, or not since the writer was killed, or come to nothing, or are made
    by maintenance or strangers. Gives what each version changed, kept beside it by hand."""
    happened: list[set[date | None] | None] = []
    for step in range(steps):
        first = dice.randint(1, 5)
        when = days(first, dice.randint(first, 5))
        # Two rows in a file of their own, so that there is something to compact.
        number = dice.randint(first, len(when) + first - 1)
        before = {n: sorted(cells) for n in range(1, 6) if (cells := held_on(lake, n))}
        frame = rows(*[(key, value, n) for n, cells in before.items() for key, value in cells if day(n) in when])
        if dice.random() < 0.8:
            frame = pl.concat(
                [frame.filter(pl.col("day") != day(number)), rows(("a", step, number), ("b", step, number))]
            )
        written = put(lake, frame, when)
        if written.version == len(happened):
            after = {n: sorted(cells) for n in range(1, 6) if (cells := held_on(lake, n))}
            changed = {day(n) for n in range(1, 6) if before.get(n) != after.get(n)}
            happened.append(changed if step else set(when))
        if dice.random() < 0.7:
            enter(lake, written, when)
        if strangers and dice.random() < 0.1:
            lake.open(TABLE).delete(f"day = '{day(number)}' AND key = 'a'")
            happened += [None] * ((lake.version(TABLE) or 0) + 1 - len(happened))
        if dice.random() < 0.2:
            lake.open(TABLE).optimize.z_order(["key"], min_commit_interval=0)
            happened += [set[date | None]()] * ((lake.version(TABLE) or 0) + 1 - len(happened))
    return happened


def held_on(lake: Lake, number: int) -> list[tuple[str, int]]:
    if lake.version(TABLE) is None:
        return []
    return lake.scan(TABLE, days=days(number)).select("key", "value").collect().rows()


@pytest.mark.parametrize("strangers", [False, True])
def test_what_changed_since_a_version_is_what_happened_since(tmp_path: Path, *, strangers: bool) -> None:
    told_by_the_ledger(tmp_path, 1, steps=8, strangers=strangers)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 13))
def test_many_lives_of_a_table(tmp_path: Path, seed: int) -> None:
    told_by_the_ledger(tmp_path, seed, steps=25, strangers=seed % 2 == 0)


def told_by_the_ledger(root: Path, seed: int, *, steps: int, strangers: bool) -> None:
    lake = Lake(root)
    happened = live_through(lake, random.Random(seed), steps, strangers=strangers)
    assert sum(1 for changed in happened if changed) > steps / 3
    for version in range(-1, len(happened)):
        later = happened[version + 1 :]
        expected = None if None in later else {day for changed in later if changed for day in changed}
        assert changed_since(lake, version) == expected


def test_what_is_told_needs_no_log(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for value in range(4):
        enter(lake, put(lake, rows(("a", value, value % 2 + 1)), days(value % 2 + 1)), days(value % 2 + 1))
    lake.open(TABLE).create_checkpoint()
    for version in range(3):
        (lake.path(TABLE) / "_delta_log" / f"{version:020}.json").unlink()
    assert changed_since(lake, 1) == {day(1), day(2)}
    assert changed_since(lake, 2) == {day(2)}


def test_a_version_whose_writer_was_killed_is_told_by_the_next_entry(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    enter(lake, put(lake, rows(("a", 1, 1)), days(1)), days(1))
    put(lake, rows(("a", 2, 2)), days(2))
    enter(lake, put(lake, rows(("a", 3, 3)), days(3)), days(3))
    assert ledger.entries(lake, TABLE)[0].changes == {1: {day(2)}, 2: {day(3)}}


def test_a_version_of_a_stranger_is_told_as_unknown(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    enter(lake, put(lake, rows(("a", 1, 3)), days(3)), days(3))
    by_a_stranger(lake)
    enter(lake, put(lake, rows(("a", 2, 3)), days(3)), days(3))
    assert ledger.entries(lake, TABLE)[0].changes == {1: None, 2: {day(3)}}
    assert changed_since(lake, 0) is None
    assert changed_since(lake, 1) == {day(3)}


def test_a_result_that_is_equal_changed_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for _ in range(2):
        enter(lake, put(lake, rows(("a", 1, 1)).drop("day"), None), None)
    assert [entry.changes for entry in ledger.entries(lake, TABLE)].count({}) == 1
    assert changed_since(lake, 0) == set()
    assert changed_since(lake, -1) == {None}


@pytest.mark.parametrize("again", [1, 4])
def test_entries_of_a_table_that_was_removed_tell_nothing_of_its_successor(tmp_path: Path, again: int) -> None:
    lake = Lake(tmp_path)
    for value in range(3):
        enter(lake, put(lake, rows(("a", value, 1)), days(1)), days(1))
    shutil.rmtree(lake.path(TABLE))
    for value in range(again):
        put(lake, rows(("a", value, 2)), days(2))
    assert changed_since(lake, -1) == {day(2)}
    assert changed_since(lake, again - 1) == set()


def test_a_ledger_of_before_gets_the_newer_columns_and_tells_all_that_the_log_has(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for value in (1, 2):
        enter(lake, put(lake, rows(("a", value, value)), days(value)), days(value))
    old = lake.scan("ledger").drop("table_id", "changes").collect()
    shutil.rmtree(lake.path("ledger"))
    write_deltalake(lake.path("ledger"), old, partition_by=["asset"])
    assert changed_since(lake, 0) == {day(2)}
    assert [entry.changes for entry in ledger.entries(lake, TABLE)] == [{}, {}]
    enter(lake, put(lake, rows(("a", 3, 3)), days(3)), days(3))
    newest = next(entry for entry in ledger.entries(lake, TABLE) if entry.version == 2)
    assert newest.changes == {0: {day(1)}, 1: {day(2)}, 2: {day(3)}}
    assert set(ledger.latest(lake, TABLE)) == {day(1), day(2), day(3)}


def test_one_reading_answers_for_all_assets_what_many_would(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for number, asset in enumerate(["shop/orders", "shop/returns", "shop/orders", "shop/model"]):
        ledger.record(lake, entry(None if asset == "shop/model" else days(1, number + 1), number, asset=asset))
    once = ledger.read(lake)
    for asset in ("shop/orders", "shop/returns", "shop/model", "shop/none"):
        assert once.latest(asset) == ledger.latest(lake, asset)
        assert once.entries(asset) == ledger.entries(lake, asset)
        assert once.made(asset) == set(ledger.latest(lake, asset))


def test_files_of_the_ledger_are_merged_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one lake that reads on, by others that write in between, by one that read long ago and by one that reads anew."""
    monkeypatch.setattr(ledger, "MERGED_EVERY", 7)
    lake, made, asleep = Lake(tmp_path), [], Lake(tmp_path)
    for number in range(40):
        made.append(entry(days(1, number % 5 + 1), number, version=number))
        ledger.record(Lake(tmp_path) if number % 3 == 0 else lake, made[-1])
        assert ledger.entries(lake, "shop/orders") == made[::-1]
        if number == 4:
            assert ledger.entries(asleep, "shop/orders") == made[::-1]
    assert ledger.entries(asleep, "shop/orders") == made[::-1]
    assert ledger.entries(Lake(tmp_path), "shop/orders") == made[::-1]
    assert len(lake.open("ledger").file_uris()) <= 7
    assert len(list((tmp_path / "ledger" / "_delta_log").glob("*.json"))) <= 2 * 7


def test_an_entry_is_in_also_where_the_log_cannot_be_shortened_and_the_next_time_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_: Path) -> None:
        message = "Operation not permitted"
        raise PermissionError(message)

    monkeypatch.setattr(ledger, "MERGED_EVERY", 4)
    lake, made = Lake(tmp_path), []
    log = tmp_path / "ledger" / "_delta_log"
    with monkeypatch.context() as hindered:
        hindered.setattr(Path, "unlink", locked)
        for number in range(10):
            made.append(entry(days(1), number, version=number))
            ledger.record(lake, made[-1])
        assert len(list(log.glob("*.json"))) > 2 * 4
    for number in range(10, 14):
        made.append(entry(days(1), number, version=number))
        ledger.record(Lake(tmp_path), made[-1])
    assert len(list(log.glob("*.json"))) <= 2 * 4
    assert ledger.entries(lake, "shop/orders") == made[::-1] == ledger.entries(Lake(tmp_path), "shop/orders")


def test_an_entry_is_in_also_where_the_files_cannot_be_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: TableOptimizer) -> None:
        message = "No space left on device"
        raise OSError(message)

    monkeypatch.setattr(ledger, "MERGED_EVERY", 2)
    monkeypatch.setattr(TableOptimizer, "compact", full)
    lake, made = Lake(tmp_path), [entry(days(1), number) for number in range(5)]
    for one in made:
        ledger.record(lake, one)
    assert ledger.entries(lake, "shop/orders") == made[::-1]
