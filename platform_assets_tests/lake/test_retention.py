"""What nobody needs is really gone, and what somebody needs is whole at every instant."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from polars.testing import assert_frame_equal

from platform_assets.errors import TableError
from platform_assets.lake import retention
from platform_assets.lake.retention import Upkeep, Upkept, broken_versions, keep_up, plan_upkeep
from platform_assets.lake.tables import Lake
from platform_assets_tests.lake.writers import TABLE, day, days, held, large, put, rows

READERS = timedelta(days=7)
PINNED = ("champion of model",)
SPAWN = multiprocessing.get_context("spawn")


def later(**span: float) -> datetime:
    return datetime.now(UTC) + timedelta(**span)


def planned(
    lake: Lake,
    needed: Mapping[int, Sequence[str]] | None = None,
    *,
    now: datetime | None = None,
    told_until: int | None = None,
) -> Upkeep:
    now = now or later(days=8)
    return plan_upkeep(lake, TABLE, needed=needed or {}, readers=READERS, now=now, told_until=told_until)


def carried_out(lake: Lake, upkeep: Upkeep) -> Upkept:
    return keep_up(lake, upkeep, run_id="run-1")


def at(lake: Lake, version: int) -> pl.DataFrame:
    return lake.scan(TABLE, version=version).select("key", "value", "day").sort("key", "value", "day").collect()


def log_of(lake: Lake) -> list[str]:
    return sorted(file.name for file in (lake.path(TABLE) / "_delta_log").iterdir())


def commits_of(lake: Lake) -> list[int]:
    return [int(name[:20]) for name in log_of(lake) if name.endswith(".json")]


def bytes_of(lake: Lake) -> int:
    return sum(file.stat().st_size for file in lake.path(TABLE).rglob("*.parquet") if "_delta_log" not in file.parts)


def scattered(lake: Lake, number: int, files: int = 3) -> None:
    """More rows of a day, each in a file of its own, by a commit that says what it changed."""
    for value in range(files):
        write_deltalake(lake.path(TABLE), rows(("more", value, number)), mode="append")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Six versions: version n holds n on day 1, and day 2 as it was at first."""
    lake = Lake(tmp_path)
    put(lake, rows(("a", 0, 1), ("b", 0, 2)), days(1, 2))
    for value in range(1, 6):
        put(lake, rows(("a", value, 1)), days(1))
    return lake


def test_what_is_needed_stays_and_the_rest_is_gone_with_its_bytes(lake: Lake) -> None:
    before, needed_rows, was = at(lake, 5), at(lake, 2), bytes_of(lake)
    upkeep = planned(lake, {2: PINNED})
    assert upkeep.kept == {2: PINNED, 5: ("newest",)}
    assert upkeep.log_from == 2
    done = carried_out(lake, upkeep)
    assert done == Upkept(merged=0, files=4, bytes=upkeep.bytes, log=2)
    assert was - bytes_of(lake) == done.bytes > 0
    assert_frame_equal(at(lake, 5), before)
    assert_frame_equal(at(lake, 2), needed_rows)
    assert commits_of(lake) == [2, 3, 4, 5]
    with pytest.raises(TableError, match=r"table shop/orders: version 1 was cleaned away; .*Retention\(audit="):
        lake.open(TABLE, version=1)
    for version in (3, 4):
        assert not any(
            Path(file).exists() for file in lake.open(TABLE, version=version).file_uris() if "day=2024-03-01" in file
        )
    assert broken_versions(lake, upkeep) == {}


def test_once_done_there_is_nothing_to_do(lake: Lake) -> None:
    carried_out(lake, planned(lake, {2: PINNED}))
    again = planned(lake, {2: PINNED})
    assert (again.removes, again.log, again.merges, again.checkpoint) == ({}, (), {}, False)
    assert carried_out(lake, again) == Upkept(merged=0, files=0, bytes=0, log=0)


def test_a_version_that_is_no_longer_needed_goes(lake: Lake) -> None:
    carried_out(lake, planned(lake, {2: PINNED}))
    file = next(Path(file) for file in lake.open(TABLE, version=2).file_uris() if "day=2024-03-01" in file)
    assert file.exists()
    carried_out(lake, planned(lake))
    assert not file.exists()
    assert commits_of(lake) == [5]
    assert held(lake) == [("a", 5, day(1)), ("b", 0, day(2))]


def test_what_was_the_newest_within_the_grace_stays_for_its_readers(lake: Lake) -> None:
    upkeep = planned(lake, now=later())
    assert upkeep.kept == dict.fromkeys(range(5), ("readers",)) | {5: ("newest",)}
    assert (upkeep.removes, upkeep.log) == ({}, ())


def test_a_version_counts_as_read_until_the_grace_after_the_one_that_followed(lake: Lake) -> None:
    followed = datetime.fromtimestamp(lake.open(TABLE).history(1)[0]["timestamp"] / 1000, UTC)
    assert 4 in planned(lake, now=followed + READERS).kept
    assert 4 not in planned(lake, now=followed + READERS + timedelta(milliseconds=1)).kept


def test_a_reader_that_opened_a_version_reads_it_to_the_end(lake: Lake) -> None:
    expected, reading = at(lake, 5), lake.scan(TABLE).sort("key")
    scattered(lake, 1)
    put(lake, rows(("a", 9, 1), ("a", 10, 2)), days(1, 2))
    carried_out(lake, planned(lake, now=later(days=6)))
    assert_frame_equal(reading.select("key", "value", "day").collect(), expected)


def test_files_that_no_version_lists_go_when_their_writer_must_be_dead(lake: Lake) -> None:
    folder = lake.path(TABLE) / "day=2024-03-01"
    dead, staged, alive = folder / "part-dead.parquet", folder / "part-staged.parquet#1", folder / "part-alive.parquet"
    now = later()
    for file, age in ((dead, 8), (staged, 8), (alive, 6)):
        file.write_bytes(b"half a file")
        os.utime(file, ((now - timedelta(days=age)).timestamp(),) * 2)
    upkeep = planned(lake, now=now)
    assert {Path(name).name for name in upkeep.removes} == {"part-dead.parquet", "part-staged.parquet#1"}
    carried_out(lake, upkeep)
    assert (dead.exists(), staged.exists(), alive.exists()) == (False, False, True)


def test_files_of_a_day_are_merged_and_the_rows_stay(lake: Lake) -> None:
    scattered(lake, 1)
    scattered(lake, 2, files=1)
    before = at(lake, 9)
    upkeep = planned(lake, {9: PINNED})
    assert upkeep.merges == {"2024-03-01": 4, "2024-03-02": 2}
    assert carried_out(lake, upkeep).merged == 6
    assert len(lake.open(TABLE).file_uris()) == 2
    assert_frame_equal(at(lake, 10), before)
    assert_frame_equal(at(lake, 9), before)
    assert lake.changes(TABLE, since=9, until=10) == {10: set()}
    assert planned(lake, {9: PINNED}).merges == {}


def test_files_of_a_table_in_one_piece_are_merged(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for value in range(3):
        write_deltalake(lake.path(TABLE), pl.DataFrame({"value": [value]}), mode="append")
    upkeep = planned(lake)
    assert upkeep.merges == {"": 3}
    assert carried_out(lake, upkeep).merged == 3
    assert lake.scan(TABLE).collect()["value"].sort().to_list() == [0, 1, 2]


def test_partitions_of_most_files_are_merged_first(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_PARTITIONS", 1)
    scattered(lake, 1, files=1)
    scattered(lake, 2, files=2)
    assert planned(lake).merges == {"2024-03-02": 3}
    carried_out(lake, planned(lake))
    assert planned(lake).merges == {"2024-03-01": 2}


def test_the_log_of_what_the_ledger_does_not_tell_stays(lake: Lake) -> None:
    assert planned(lake, told_until=5).log_from == 5
    assert planned(lake, told_until=2).log_from == 3
    assert planned(lake, told_until=-1).log_from == 0
    carried_out(lake, planned(lake, told_until=2))
    assert lake.changes(TABLE, since=2, until=5) == {3: {day(1)}, 4: {day(1)}, 5: {day(1)}}


def test_the_log_says_what_made_the_rows_of_the_oldest_kept_version(lake: Lake) -> None:
    scattered(lake, 1)
    put(lake, rows(("a", 7, 1), ("a", 8, 2)), days(1, 2))
    lake.open(TABLE).optimize.z_order(["key"], min_commit_interval=0)
    newest = lake.version(TABLE)
    assert newest is not None
    carried_out(lake, planned(lake))
    assert commits_of(lake)[0] == 9
    commit = lake.made_by(TABLE, newest)
    assert commit is not None
    assert (commit["operation"], commit["platform.run"]) == ("WRITE", "run-1")


def test_a_table_that_is_damaged_loses_nothing_more(lake: Lake) -> None:
    for file in lake.path(TABLE).glob("day=2024-03-02/*"):
        file.unlink()
    upkeep = planned(lake, {2: PINNED})
    assert set(upkeep.lost) == {2, 5}
    assert "1 of its 2 files are missing, for example day=2024-03-02/part-" in upkeep.lost[5]
    assert (upkeep.removes, upkeep.log) == ({}, ())


def test_a_needed_version_that_is_gone_is_named_and_the_rest_goes_on(lake: Lake) -> None:
    carried_out(lake, planned(lake, {2: PINNED}))
    upkeep = planned(lake, {1: PINNED, 3: PINNED})
    assert upkeep.lost == {1: "the log no longer has it", 3: upkeep.lost[3]}
    assert "1 of its 2 files are missing" in upkeep.lost[3]
    assert carried_out(lake, upkeep).files == 1
    assert set(broken_versions(lake, upkeep)) == {1, 3}
    assert held(lake) == [("a", 5, day(1)), ("b", 0, day(2))]


def test_a_file_that_a_newer_version_lists_again_stays(lake: Lake) -> None:
    upkeep, old = planned(lake), at(lake, 3)
    lake.open(TABLE).restore(3)
    carried_out(lake, upkeep)
    assert_frame_equal(at(lake, 6), old)


def test_partitions_with_odd_names_lose_nothing_that_is_listed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for value in range(2):
        frame = pl.DataFrame({"asset": ["shop/orders", "50 % ü", "a=b"], "value": [value] * 3})
        write_deltalake(lake.path(TABLE), frame, mode="overwrite", partition_by=["asset"])
    carried_out(lake, planned(lake))
    assert lake.scan(TABLE).collect()["value"].to_list() == [1, 1, 1]
    assert len([file for file in lake.path(TABLE).rglob("*.parquet") if "_delta_log" not in file.parts]) == 3


@pytest.mark.parametrize("gone", [None, 3])
def test_the_files_of_many_versions_are_those_of_each(lake: Lake, gone: int | None) -> None:
    """Looked at together, from the log; one after the other, as Delta opens them, is the twin."""
    scattered(lake, 1)
    lake.open(TABLE).optimize.compact()
    put(lake, rows(("a", 9, 1)), days(1))
    lake.open(TABLE, version=4).create_checkpoint()
    if gone is not None:
        (lake.path(TABLE) / "_delta_log" / f"{gone:020}.json").unlink()
    newest = lake.version(TABLE)
    assert newest == 10
    for versions in ([*range(11)], [0, 1, 2, 5, 6, 7, 10], [2], [10], [4, 5, 9]):
        opened: set[str] = set()
        lost = {version for version in versions if version == gone}
        for version in set(versions) - lost:
            listed = pl.DataFrame(lake.open(TABLE, version=version).get_add_actions(flatten=True))
            opened |= set(listed["path"])
        found, without = retention._files_listed(
            lake, TABLE, dict.fromkeys(versions), retention._files_there(lake.path(TABLE))
        )
        assert found == opened
        assert set(without) == lost


def test_of_many_versions_those_that_miss_a_file_are_named(lake: Lake) -> None:
    for file in lake.open(TABLE, version=3).file_uris():
        if "day=2024-03-01" in file:
            Path(file).unlink()
    assert set(planned(lake, now=later()).lost) == {3}


def test_writers_meanwhile_lose_nothing_and_gain_nothing(tmp_path: Path) -> None:
    beside_writers(tmp_path, times=2, removes=0)


@pytest.mark.slow
def test_many_writers_meanwhile(tmp_path: Path) -> None:
    beside_writers(tmp_path, times=10, removes=10)


def beside_writers(root: Path, times: int, removes: int) -> None:
    """Two writers rewrite a day each, again and again, while everything that they leave behind is cleaned away."""
    lake = Lake(root)
    put(lake, rows(*[("a", 0, number) for number in range(1, 5)]), days(1, 4))
    scattered(lake, 3)
    scattered(lake, 4)
    stop, failures = threading.Event(), list[BaseException]()
    written = {1: 0, 2: 0}

    def rewrite(number: int) -> None:
        while not stop.is_set():
            try:
                put(lake, rows(("a", written[number] + 1, number)), days(number))
            except BaseException as error:
                failures.append(error)
                return
            written[number] += 1

    writers = [threading.Thread(target=rewrite, args=(number,)) for number in written]
    for writer in writers:
        writer.start()
    removed = 0
    for _ in range(times):
        # Versions of two seconds ago are nobody's any more; the writers and readers are quicker.
        now = later(days=7, seconds=-2)
        removed += carried_out(lake, planned(lake, now=now)).files
        assert len(held(lake)) == 10
        time.sleep(0.5)
    stop.set()
    for writer in writers:
        writer.join()
    assert failures == []
    assert min(written.values()) > times
    assert removed >= removes
    assert {row for row in held(lake) if row[2] in days(1, 2)} == {("a", written[n], day(n)) for n in (1, 2)}
    carried_out(lake, planned(lake))
    assert len(held(lake)) == 10
    assert len(lake.open(TABLE).file_uris()) == 4


def killed_at(root: str, step: int) -> None:
    """In a process of its own: carry out maintenance and die before its nth change of the disk, as by kill -9."""
    lake, seen = Lake(Path(root)), 0

    def die() -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)

    from platform_assets.lake import tables

    checkpoint = tables._Table.create_checkpoint

    def checkpointing(table: DeltaTable, *arguments: object) -> None:
        die()
        checkpoint(table, *arguments)

    unlink = Path.unlink

    def remove(file: Path, *, missing_ok: bool = False) -> None:
        die()
        unlink(file, missing_ok=missing_ok)

    merge = retention._merge

    def merging(*arguments: object) -> int:
        die()
        return merge(*arguments)

    tables._Table.create_checkpoint = checkpointing
    Path.unlink = remove
    retention._merge = merging
    carried_out(lake, planned(lake, {2: PINNED}))


def killed_while(root: str, gate: object) -> None:
    """In a process of its own: carry out maintenance, to be killed by another."""
    lake = Lake(Path(root))
    upkeep = planned(lake, {2: PINNED})
    gate.set()
    carried_out(lake, upkeep)


def survives(lake: Lake, pinned: pl.DataFrame, newest: pl.DataFrame) -> None:
    """All that is needed is there, and maintenance once more leaves what it leaves when nobody dies."""
    version = lake.version(TABLE)
    assert version is not None
    assert_frame_equal(at(lake, 2), pinned)
    assert_frame_equal(at(lake, version), newest)
    for _ in range(2):
        upkeep = planned(lake, {2: PINNED})
        assert upkeep.lost == {}
        carried_out(lake, upkeep)
        assert broken_versions(lake, upkeep) == {}
    version = lake.version(TABLE)
    assert version is not None
    assert_frame_equal(at(lake, 2), pinned)
    assert_frame_equal(at(lake, version), newest)
    final = planned(lake, {2: PINNED})
    assert (final.removes, final.log, final.merges) == ({}, (), {})
    assert commits_of(lake)[0] == 2


def test_killed_before_a_step_it_leaves_all_that_is_needed(lake: Lake) -> None:
    dies_before(lake, 5)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 7, 8, 9])
def test_killed_before_any_step_it_leaves_all_that_is_needed(lake: Lake, step: int) -> None:
    dies_before(lake, step)


def dies_before(lake: Lake, step: int) -> None:
    scattered(lake, 2)
    pinned, newest = at(lake, 2), at(lake, 8)
    worker = SPAWN.Process(target=killed_at, args=(str(lake.root), step))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL, "there are more steps than that"
    survives(lake, pinned, newest)


@pytest.mark.slow
def test_killed_at_any_instant_it_leaves_all_that_is_needed(tmp_path: Path) -> None:
    dice, interrupted = random.Random(3), 0
    for attempt in range(6):
        lake = Lake(tmp_path / str(attempt))
        put(lake, large(0), days(1, 10))
        for value in (1, 2, 3):
            put(lake, large(value), days(1, 10))
        pinned, newest = at(lake, 2), at(lake, 3)
        gate = SPAWN.Event()
        worker = SPAWN.Process(target=killed_while, args=(str(lake.root), gate))
        worker.start()
        gate.wait()
        time.sleep(dice.uniform(0, 0.02))
        if worker.pid is not None and worker.is_alive():
            os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        interrupted += worker.exitcode == -signal.SIGKILL
        survives(lake, pinned, newest)
    assert interrupted > 1
