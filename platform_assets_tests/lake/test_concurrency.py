"""Writers side by side, writers killed half-way, writers that may not: real processes on real tables."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import pytest

from platform_assets.compute.content_hash import content_hash
from platform_assets.lake import ledger
from platform_assets.lake.tables import Lake
from platform_assets_tests.faults import FORKS
from platform_assets_tests.lake.writers import (
    TABLE,
    compact,
    day,
    days,
    held,
    large,
    put,
    rows,
    write_as_nobody,
    write_days,
    write_large,
)


def side_by_side(root: Path, numbers: list[list[int]], repeats: int) -> None:
    gate = FORKS.Barrier(len(numbers))
    writers = [
        FORKS.Process(target=write_days, args=(str(root), own, number, gate, repeats))
        for number, own in enumerate(numbers)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * len(numbers)


@pytest.mark.parametrize("exists", [False, True])
def test_writers_of_different_days_all_succeed(tmp_path: Path, *, exists: bool) -> None:
    lake = Lake(tmp_path)
    if exists:
        put(lake, rows(("old", 1, 1), ("old", 1, 9)), days(1, 9))
    side_by_side(tmp_path, [[1, 2], [3, 4]], repeats=2)
    new = [("w0", 1, day(1)), ("w0", 1, day(2)), ("w1", 1, day(3)), ("w1", 1, day(4))]
    assert held(lake) == ([("old", 1, day(9))] if exists else []) + new
    assert len(ledger.entries(lake, TABLE)) == 8


def test_writers_of_the_same_day_leave_what_one_of_them_wrote(tmp_path: Path) -> None:
    side_by_side(tmp_path, [[1], [1]], repeats=3)
    lake = Lake(tmp_path)
    assert held(lake) in ([("w0", 2, day(1))], [("w1", 2, day(1))])
    commits = lake.open(TABLE).history()
    assert {commit["platform.run"] for commit in commits} == {"w0", "w1"}
    assert len(ledger.entries(lake, TABLE)) == 6


@pytest.mark.slow
def test_many_writers_while_the_table_is_compacted_lose_and_double_nothing(tmp_path: Path) -> None:
    """Six writers of days of their own, three of one day, and a process that merges and cleans all the while."""
    lake, repeats = Lake(tmp_path), 6
    put(lake, rows(("old", 0, 1), ("old", 0, 30)), days(1, 30))
    for value in range(1, 5):
        lake.open(TABLE).merge(
            rows((f"part{value}", 0, 30)), "s.key = t.key AND t.day = s.day", source_alias="s", target_alias="t"
        ).when_not_matched_insert_all().execute()
    own = [[1 + 2 * writer, 2 + 2 * writer] for writer in range(6)]
    shared = [[20]] * 3
    stop, compacted = FORKS.Event(), FORKS.Queue()
    cleaner = FORKS.Process(target=compact, args=(str(tmp_path), stop, compacted))
    cleaner.start()
    side_by_side(tmp_path, [*own, *shared], repeats=repeats)
    stop.set()
    times, merged, lost = compacted.get(timeout=60)
    cleaner.join()
    assert cleaner.exitcode == 0
    found = held(lake)
    last = repeats - 1
    assert [row for row in found if row[2] <= day(12)] == sorted(
        (f"w{writer}", last, day(number)) for writer, numbers in enumerate(own) for number in numbers
    )
    assert [row for row in found if row[2] == day(20)] in [[(f"w{writer}", last, day(20))] for writer in (6, 7, 8)]
    assert [row[0] for row in found if row[2] == day(30)] == ["old", "part1", "part2", "part3", "part4"]
    assert len(found) == 12 + 1 + 5
    recorded = ledger.entries(lake, TABLE)
    assert len(recorded) == repeats * (12 + 3)
    commits = [commit for commit in lake.open(TABLE).history() if "platform.run" in commit]
    assert len(commits) == 1 + len({(entry.run_id, entry.version) for entry in recorded}), "each write made its own"
    assert times >= 1
    assert merged >= 1, f"nothing was merged in {times} times, {lost} of them lost to writers"


def undisturbed(root: Path) -> float:
    """How many seconds a writer takes from its start to its end when nobody kills it."""
    gate = FORKS.Event()
    writer = FORKS.Process(target=write_large, args=(str(root), 1, gate))
    writer.start()
    gate.wait()
    began = time.monotonic()
    writer.join()
    return time.monotonic() - began


def kill_at_random(root: Path, times: int, seed: int) -> int:
    """Kill a writer at random instants; give back how often the new version was complete all the same."""
    lake, dice, finished = Lake(root), random.Random(seed), 0
    contents = {content_hash(large(value).select("key", "value", "day")): value for value in (0, 1)}
    put(lake, large(0), days(1, 10))
    span = undisturbed(root)  # instants up to when a write is over on this machine, however busy, and a little later
    put(lake, large(0), days(1, 10))
    for _ in range(times):
        before = contents[content_hash(lake.scan(TABLE).select("key", "value", "day").collect())]
        gate = FORKS.Event()
        writer = FORKS.Process(target=write_large, args=(str(root), 1 - before, gate))
        writer.start()
        gate.wait()
        time.sleep(dice.uniform(0, 1.5 * span))
        if writer.pid is not None and writer.is_alive():
            os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        after = contents[content_hash(lake.scan(TABLE).select("key", "value", "day").collect())]
        finished += after != before
        put(lake, large(1 - before), days(1, 10))
        assert content_hash(lake.scan(TABLE).select("key", "value", "day").collect()) == content_hash(large(1 - before))
    return finished


def test_a_killed_writer_leaves_the_old_or_the_new_and_running_it_again_repairs(tmp_path: Path) -> None:
    kill_at_random(tmp_path, times=3, seed=1)


@pytest.mark.slow
def test_many_killed_writers(tmp_path: Path) -> None:
    finished = kill_at_random(tmp_path, times=30, seed=2)
    assert 0 < finished < 30, "the instants should hit both sides of the commit"


def test_a_folder_that_may_not_be_written_names_the_table(tmp_path: Path) -> None:
    put(Lake(tmp_path), rows(("a", 1, 1)), days(1))
    below = [folder for folder in tmp_path.parents if Path(tempfile.gettempdir()) in folder.parents]
    parents = [tmp_path, *below]
    modes = {parent: parent.stat().st_mode for parent in parents}
    for folder in (*parents, *(path for path in tmp_path.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    answer = FORKS.Queue()
    writer = FORKS.Process(target=write_as_nobody, args=(str(tmp_path), answer))
    try:
        writer.start()
        said = answer.get(timeout=60)
        writer.join()
    finally:
        for folder in (path for path in tmp_path.rglob("*") if path.is_dir()):
            folder.chmod(0o755)
        for parent, mode in modes.items():
            parent.chmod(mode)
    assert said.startswith(f"cannot write the table at {tmp_path}/{TABLE}: ")
    assert "Permission denied" in said
    assert said.endswith("; let this user write there and run it again. The table is as it was")
    assert held(Lake(tmp_path)) == [("a", 1, day(1))]
