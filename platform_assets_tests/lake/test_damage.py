"""Damaged tables: what is said of them, what can still be read, and how they come back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from platform_assets.errors import TableError
from platform_assets.lake.damage import LOG, POINTER, damage_of_entry, damage_of_log
from platform_assets.lake.tables import Lake
from platform_assets_tests.lake.writers import TABLE, day, days, held, put, rows

Damage = Callable[[bytes], bytes]
CUTS: dict[str, Damage] = {
    "empty, as after a power cut": lambda content: b"",
    "cut off in a line": lambda content: content[:-40],
    "cut off after a line": lambda content: content[: content.rindex(b"\n")],
    "cut off after its first line": lambda content: content.split(b"\n")[0],
    "zeros": lambda content: bytes(len(content)),
    "garbage in the middle": lambda content: content[:200] + b"\x00\xff{" + content[203:],
    "garbage in the last line": lambda content: content[:-60] + b"\x00\xff{" + content[-57:],
}
FIX = r"run `platform-assets set-back shop/orders`, which goes back to it, and then refresh"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Versions 0 to 3; each of the last three rewrote the first day."""
    lake = Lake(tmp_path / "lake")
    put(lake, rows(("a", 1, 1), ("a", 2, 2), ("a", 3, 3)), days(1, 3))
    for value in (5, 6, 7):
        put(lake, rows(("b", value, 1)), days(1))
    return lake


def entry(lake: Lake, version: int) -> Path:
    return lake.path(TABLE) / LOG / f"{version:020}.json"


def spoil(path: Path, damage: Damage) -> None:
    path.write_bytes(damage(path.read_bytes()))


def afresh(lake: Lake) -> Lake:
    """The lake as another process finds it: one that has read a log reads only what is new in it."""
    return Lake(lake.root)


def every_use(lake: Lake) -> list[Callable[[], object]]:
    return [
        lambda: lake.version(TABLE),
        lambda: lake.scan(TABLE),
        lambda: lake.days(TABLE),
        lambda: put(lake, rows(), days(1)),
    ]


@pytest.mark.parametrize("damage", CUTS.values(), ids=CUTS)
def test_a_damaged_newest_entry_is_named_with_the_last_version_and_the_way_back(lake: Lake, damage: Damage) -> None:
    opened = lake.scan(TABLE)
    before = sorted(opened.select("key", "value", "day").collect().rows())
    spoil(entry(lake, 3), damage)
    for use in (*every_use(lake), lambda: lake.commit(TABLE, 3)):
        with pytest.raises(TableError, match=rf"at .*/shop/orders: its log entry 0{{19}}3.json .*version 2 is .*{FIX}"):
            use()
    assert sorted(lake.scan(TABLE, version=2).select("key", "value", "day").collect().rows())[2] == ("b", 6, day(1))
    assert sorted(opened.select("key", "value", "day").collect().rows()) == before, "a reader that had opened it"


@pytest.mark.parametrize("damage", CUTS.values(), ids=CUTS)
def test_of_an_older_entry_the_last_version_before_it_is_told(lake: Lake, damage: Damage) -> None:
    spoil(entry(lake, 2), damage)
    found = damage_of_log(lake.path(TABLE))
    assert found is not None
    assert (found.entry, found.readable, found.is_newest) == (2, 1, False)
    with pytest.raises(TableError, match=r"0{19}2.json .*version 1 is the last that can be read: restore it from a"):
        lake.scan(TABLE, version=2)
    assert len(lake.scan(TABLE, version=1).collect()) == 3


def test_an_entry_that_is_missing_in_the_middle(lake: Lake) -> None:
    entry(lake, 2).unlink()
    for use in every_use(lake):
        with pytest.raises(TableError, match=r"its log entry 0{19}2.json is missing; version 1 is the last"):
            use()


def test_without_a_readable_first_entry_nothing_can_be_read(lake: Lake) -> None:
    spoil(entry(lake, 0), lambda content: b"")
    with pytest.raises(TableError, match=r"0{20}.json is empty; restore it from a copy, or move .*/shop/orders away"):
        afresh(lake).version(TABLE)
    moved = lake.root / "moved"
    lake.path(TABLE).rename(moved)
    put(lake, rows(("a", 1, 1)), days(1))
    assert held(lake) == [("a", 1, day(1))]


def test_whole_entries_are_not_found_damaged(lake: Lake) -> None:
    table = lake.open(TABLE)
    table.optimize.compact()
    table.delete("value = 2")
    table.create_checkpoint()
    put(lake, rows(("z", 1, 1), ("z", 1, 2)), days(1, 3))
    newest = lake.version(TABLE)
    assert newest is not None
    assert newest >= 5
    assert [damage_of_entry(lake.path(TABLE), version) for version in range(newest + 1)] == [None] * (newest + 1)
    assert damage_of_log(lake.path(TABLE)) is None
    assert damage_of_log(lake.path("shop/nothing")) is None


@pytest.fixture
def checkpointed(lake: Lake) -> Lake:
    """Versions 0 to 4, a checkpoint of 3."""
    lake.open(TABLE).create_checkpoint()
    put(lake, rows(("c", 8, 1)), days(1))
    return lake


def checkpoint(lake: Lake) -> Path:
    return next((lake.path(TABLE) / LOG).glob("*.checkpoint.parquet"))


LOSSES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: spoil(path, lambda content: content[:500]),
    "garbage": lambda path: spoil(path, lambda content: content[:4] + bytes(len(content) - 8) + content[-4:]),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_damaged_checkpoint_can_go_when_the_entries_are_there(checkpointed: Lake, loss: Callable) -> None:
    before = held(checkpointed)
    loss(checkpoint(checkpointed))
    with pytest.raises(
        TableError, match=r"at .*/shop/orders: its checkpoint 0{19}3\.\S+ \w+.*; nothing is lost"
    ) as said:
        afresh(checkpointed).version(TABLE)
    files = re.findall(r"(?:remove|and) (\S*(?:parquet|_checkpoint))", str(said.value))
    assert files
    for name in files:
        (checkpointed.path(TABLE) / LOG / name).unlink()
    assert held(checkpointed) == before
    assert put(checkpointed, rows(("d", 9, 1)), days(1)).version == 5


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_damaged_checkpoint_without_its_entries_has_to_be_restored(checkpointed: Lake, loss: Callable) -> None:
    for version in range(3):
        entry(checkpointed, version).unlink()
    assert len(held(checkpointed)) == 3, "the checkpoint is what is read"
    copy = checkpoint(checkpointed).read_bytes()
    where = checkpoint(checkpointed)
    loss(where)
    with pytest.raises(TableError, match=r"its checkpoint 0{19}3\..* restore it from a copy, or move"):
        afresh(checkpointed).version(TABLE)
    where.write_bytes(copy)
    assert len(held(checkpointed)) == 3


def test_an_entry_that_a_checkpoint_holds_as_well_is_not_missed(lake: Lake) -> None:
    before = held(lake)
    lake.open(TABLE).create_checkpoint()
    spoil(entry(lake, 3), lambda content: b"")
    assert held(lake) == before
    assert put(lake, rows(("c", 8, 1)), days(1)).version == 4


def test_a_damaged_line_among_those_of_files_is_found(lake: Lake) -> None:
    put(lake, rows(("d", 1, 1), ("d", 2, 2), ("d", 3, 3)), days(1, 3))
    lines = entry(lake, 4).read_bytes().split(b"\n")
    lines[3] = lines[3][:40] + b'\x00"' + lines[3][42:]
    entry(lake, 4).write_bytes(b"\n".join(lines))
    with pytest.raises(TableError, match=rf"0{{19}}4.json cannot be read from line 4 on; version 3 is .*{FIX}"):
        lake.version(TABLE)


@pytest.mark.parametrize("content", [None, b"", b'{"version"'])
def test_a_pointer_that_says_nothing_does_no_harm(checkpointed: Lake, content: bytes | None) -> None:
    pointer = checkpointed.path(TABLE) / LOG / POINTER
    pointer.unlink() if content is None else pointer.write_bytes(content)
    assert checkpointed.version(TABLE) == 4
    assert len(held(checkpointed)) == 3


def file_of(lake: Lake, number: int, table: str = TABLE) -> Path:
    return next(Path(uri) for uri in lake.open(table).file_uris() if f"day={day(number)}" in uri)


DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "is missing"),
    "cut off": (lambda path: spoil(path, lambda content: content[:300]), r"has 300 of [\d,]+ bytes"),
    "empty": (lambda path: path.write_bytes(b""), r"has 0 of [\d,]+ bytes"),
    "garbage": (
        lambda path: spoil(path, lambda content: content[:4] + bytes(len(content) - 8) + content[-4:]),
        "cannot be read",
    ),
}


@pytest.mark.parametrize(("loss", "says"), DATA.values(), ids=DATA)
def test_a_damaged_data_file_is_named_where_it_is_read(lake: Lake, loss: Callable, says: str) -> None:
    spoilt = file_of(lake, 1)
    loss(spoilt)
    fix = "restore from a copy, or materialize 2024-03-01 of shop/orders again"
    with (
        pytest.raises(TableError, match=rf"at .*/shop/orders: day=2024-03-01/{spoilt.name} {says}; {fix}"),
        lake.reading("shop/nothing", TABLE),
    ):
        lake.scan(TABLE).collect()
    assert len(lake.scan(TABLE, days=days(2, 3)).collect()) == 2, "the other days can be read"
    assert len(lake.scan(TABLE, version=2).collect()) == 3, "and so can the version before"


@pytest.mark.parametrize(("loss", "says"), DATA.values(), ids=DATA)
def test_materializing_the_day_again_replaces_what_is_damaged(lake: Lake, loss: Callable, says: str) -> None:
    before, others = held(lake), {number: file_of(lake, number).read_bytes() for number in (2, 3)}
    loss(file_of(lake, 1))
    written = put(lake, rows(("b", 7, 1), ("a", 2, 2), ("a", 3, 3)), days(1, 3))
    assert written.plan.replace == (days(1),)
    assert held(lake) == before
    assert {number: file_of(lake, number).read_bytes() for number in (2, 3)} == others


@pytest.mark.parametrize(("loss", "says"), DATA.values(), ids=DATA)
def test_a_snapshot_that_is_damaged_is_replaced_as_a_whole(lake: Lake, loss: Callable, says: str) -> None:
    snapshot = rows(("a", 1, 1)).drop("day")
    put(lake, snapshot, None, table="shop/products")
    loss(Path(lake.open("shop/products").file_uris()[0]))
    with (
        pytest.raises(TableError, match=rf"parquet {says}.* materialize shop/products again"),
        lake.reading("shop/products"),
    ):
        lake.scan("shop/products").collect()
    assert put(lake, snapshot, None, table="shop/products").version == 1
    assert lake.scan("shop/products").collect().equals(snapshot)


def test_many_damaged_files_are_counted(lake: Lake) -> None:
    put(lake, rows(*[("n", n, n) for n in range(1, 8)]), days(1, 7))
    for file in lake.path(TABLE).rglob("*.parquet"):
        file.unlink()
    with (
        pytest.raises(TableError, match=r"and 4 more files; .* 2024-03-01, 2024-03-02, 2024-03-03, ... of shop"),
        lake.reading(TABLE),
    ):
        lake.scan(TABLE).collect()


def test_a_file_that_was_cleaned_away_under_a_reader_asks_to_run_again(lake: Lake) -> None:
    old = lake.scan(TABLE, version=1)
    lake.open(TABLE).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with (
        pytest.raises(TableError, match=r"part-\S+ has been removed since a newer version .*; run it again"),
        lake.reading(TABLE),
    ):
        old.collect()


def test_an_error_that_no_file_explains_stays_what_it_was(lake: Lake) -> None:
    with pytest.raises(OSError, match="of somebody else"), lake.reading(TABLE, "shop/nothing"):
        raise OSError("of somebody else")


def test_files_of_a_killed_writer_are_never_read(lake: Lake) -> None:
    before = held(lake)
    left = file_of(lake, 1)
    shutil.copy2(left, left.with_name("part-00000-11111111-1111-1111-1111-111111111111-c000.snappy.parquet"))
    left.with_name("part-00000-22222222-2222-2222-2222-222222222222-c000.snappy.parquet").write_bytes(b"PAR1 half")
    left.with_name("part-00000-33333333-3333-3333-3333-333333333333-c000.snappy.parquet#1").write_bytes(b"PA")
    (lake.path(TABLE) / LOG / f"{4:020}.json#1").write_bytes(b'{"add"')
    (lake.path(TABLE) / LOG / "_commit_11111111-1111-1111-1111-111111111111.json.tmp").write_bytes(b'{"add"')
    assert held(lake) == before
    assert lake.version(TABLE) == 3
    assert put(lake, rows(("e", 1, 1)), days(1)).version == 4
    assert len(held(lake)) == 3
    assert Path(f"{entry(lake, 4)}#1").exists(), "it stood in nobody's way"
