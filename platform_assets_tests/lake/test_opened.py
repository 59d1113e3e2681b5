"""Tables that are kept open: current, and at their version as long as anybody holds them."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from platform_assets.declarations.declaration import Column
from platform_assets.declarations.times import Days
from platform_assets.lake import ledger
from platform_assets.lake.tables import Lake
from platform_assets.lake.writes import Provenance, write

DAY = date(2024, 1, 1)
TABLE = "shop/orders"


def put(lake: Lake, number: int, *, days: int = 0) -> int:
    day = DAY + timedelta(days=days)
    frame = pl.DataFrame({"number": [number], "day": [day]})
    told = Provenance(asset=TABLE, fingerprint="f", run_id="r", inputs={})
    columns = [Column(name="number", dtype=pl.Int64())]
    return write(lake, TABLE, frame, columns=columns, days=Days(day, day), provenance=told).version


def numbers(lake: Lake) -> list[int]:
    return sorted(lake.scan(TABLE).collect()["number"])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path)
    put(made, 0)
    return made


def test_it_is_opened_once_while_nothing_changes(lake: Lake) -> None:
    assert lake.open(TABLE) is lake.open(TABLE)


def test_what_another_writer_adds_is_seen_at_once(lake: Lake) -> None:
    other = Lake(lake.root)
    for number in range(1, 6):
        put(other, number, days=number)
        assert lake.version(TABLE) == number
        assert numbers(lake) == list(range(number + 1))


def test_what_is_held_stays_at_its_version(lake: Lake) -> None:
    held, lazy = lake.open(TABLE), lake.scan(TABLE)
    put(lake, 1, days=1)
    put(Lake(lake.root), 2, days=2)
    assert numbers(lake) == [0, 1, 2]
    assert held.version() == 0
    assert lazy.collect()["number"].to_list() == [0]


def test_a_lazy_frame_alone_holds_its_table(lake: Lake) -> None:
    lazy = lake.scan(TABLE)
    for number in range(1, 4):
        put(lake, number, days=number)
        assert lake.version(TABLE) == number
    assert lazy.collect()["number"].to_list() == [0]


def test_a_table_that_was_made_again_is_another(lake: Lake) -> None:
    before = lake.table_id(TABLE)
    shutil.rmtree(lake.path(TABLE))
    assert lake.version(TABLE) is None
    put(Lake(lake.root), 7)
    assert lake.table_id(TABLE) != before
    assert numbers(lake) == [7]


def test_threads_share_one_lake(lake: Lake) -> None:
    def work(number: int) -> None:
        put(lake, number, days=number)
        assert number in numbers(lake)

    threads = [Thread(target=work, args=[number]) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(lake) == numbers(Lake(lake.root)) == list(range(7))


def test_a_ledger_that_is_read_on_is_the_one_that_is_read_anew(tmp_path: Path) -> None:
    dice, lakes = random.Random("ledger"), [Lake(tmp_path), Lake(tmp_path)]
    for number in range(25):
        first = DAY + timedelta(days=dice.randrange(9))
        entry = ledger.Entry(
            asset=dice.choice(["shop/a", "shop/b"]),
            days=dice.choice([None, Days(first, first + timedelta(days=dice.randrange(3)))]),
            fingerprint="f",
            inputs={},
            version=number,
            content_hash=f"h{number}",
            rows=1,
            run_id="r",
            recorded_at=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=dice.randrange(9)),
            table_id=dice.choice(["one", "two"]),
            changes={dice.randrange(number + 1): dice.choice([None, {first}])},
        )
        ledger.record(dice.choice(lakes), entry)
        if number % 9 == 4:  # maintenance merges files, which adds no row
            with lakes[0].writing("ledger", version=lakes[0].version("ledger") or 0) as table:
                table.optimize.compact()
        known, anew = dice.choice(lakes), Lake(tmp_path)
        for asset in ("shop/a", "shop/b"):
            assert ledger.latest(known, asset) == ledger.latest(anew, asset)
            assert ledger.made(known, asset) == ledger.read(anew, [asset]).made(asset)
            for table_id in ("one", "two"):
                found = ledger.last_changes(known, asset, table_id)
                assert found == ledger.read(anew, [asset]).last_changes(asset, table_id)


def test_a_table_is_opened_anew_from_each_checkpoint(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object carries every entry of the log that it was moved on by: each commit would cost more than the last."""
    opened: list[tuple[Lake, int]] = []

    def open_anew(self: Lake, folder: str, version: int | None) -> DeltaTable:
        table = straight(self, folder, version)
        opened.append((self, table.version()))
        return table

    straight = Lake._open
    monkeypatch.setattr(Lake, "_open", open_anew)
    writer, reader = Lake(lake.root), Lake(lake.root)
    for number in range(1, 44):
        assert put(writer, number, days=number) == reader.version(TABLE) == number
        assert numbers(reader) == list(range(number + 1))
    assert [version for by, version in opened if by is writer] == [0, 19, 39]
    assert [version for by, version in opened if by is reader] == [1, 19, 39]


def test_no_commit_looks_for_old_entries_of_the_log(lake: Lake) -> None:
    """To look takes longer the longer the log is, at each commit; maintenance shortens it."""
    lake.open(TABLE).alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    for number in range(1, 22):
        put(Lake(lake.root), number, days=number)
    assert lake.commit(TABLE, 0) is not None


def test_an_entry_is_not_read_by_who_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Lake(tmp_path), Lake(tmp_path)
    read: list[tuple[Lake, int]] = []
    straight = Lake.files_added

    def files_added(self: Lake, folder: str, version: int) -> dict[Path, dict[str, Any]] | None:
        read.append((self, version))
        return straight(self, folder, version)

    monkeypatch.setattr(Lake, "files_added", files_added)
    for number, by in enumerate([ours, ours, ours, theirs, ours, ours]):
        first = DAY + timedelta(days=number)
        entry = ledger.Entry(
            asset="shop/a",
            days=Days(first, first),
            fingerprint="f",
            inputs={},
            version=number,
            content_hash="h",
            rows=1,
            run_id="r",
            recorded_at=datetime(2024, 1, 1, tzinfo=UTC),
        )
        ledger.record(by, entry)
        assert ledger.made(ours, "shop/a") == {DAY + timedelta(days=known) for known in range(number + 1)}
    assert [version for by, version in read if by is ours] == [3]
