"""What a table holds, which days a version changed, and what is said when it cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from polars.testing import assert_frame_equal

from platform_assets.errors import TableError, TableMissing
from platform_assets.lake.tables import Lake
from platform_assets_tests.lake.writers import TABLE, day, days, put, rows


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    put(lake, rows(("a", 1, 1), ("a", 2, 2), ("a", 3, 3)), days(1, 3))
    return lake


def log_of(lake: Lake) -> Path:
    return lake.path(TABLE) / "_delta_log"


def test_a_table_that_was_never_written_has_no_version(lake: Lake) -> None:
    assert lake.version("shop/returns") is None
    with pytest.raises(
        TableMissing,
        match=r"table shop/returns: nothing has been written to .*shop/returns yet; materialize shop/returns first",
    ):
        lake.scan("shop/returns")


def test_days_are_read_from_the_log_and_filter_what_is_read(lake: Lake) -> None:
    assert lake.days(TABLE) == {day(1), day(2), day(3)}
    assert lake.scan(TABLE, days=days(2, 3)).select("value").collect()["value"].sort().to_list() == [2, 3]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 3), (1, 3), (4, 9)])
def test_the_files_of_the_days_alone_say_what_a_scan_of_the_table_says_of_them(
    lake: Lake, first: int, last: int
) -> None:
    """Also across columns that came later, and of a version that has been replaced."""
    write_deltalake(
        lake.path(TABLE),
        rows(("b", 2, 2)).with_columns(note=pl.lit("new")),
        mode="overwrite",
        predicate="day = '2024-03-02'",
        schema_mode="merge",
    )
    for version in (0, 1):
        table = lake.open(TABLE, version=version)
        naive = pl.scan_delta(table).filter(pl.col("day").is_between(day(first), day(last)))
        found = lake.scan(TABLE, version=version, days=days(first, last))
        assert found.collect_schema() == naive.collect_schema()
        assert_frame_equal(found.collect(), naive.collect(), check_row_order=False)


def test_a_damaged_file_of_another_day_does_not_disturb(lake: Lake) -> None:
    for file in lake.path(TABLE).glob("day=2024-03-0[13]/*.parquet"):
        file.write_bytes(b"no parquet")
    assert lake.scan(TABLE, days=days(2)).collect()["value"].to_list() == [2]


def test_each_version_changed_the_days_that_it_rewrote(lake: Lake) -> None:
    put(lake, rows(("b", 1, 1)), days(1))
    put(lake, rows(("b", 2, 2), ("a", 3, 3)), days(2, 3))
    put(lake, rows(), days(3))
    assert lake.changes(TABLE, since=0, until=3) == {1: {day(1)}, 2: {day(2)}, 3: {day(3)}}
    assert lake.changes(TABLE, since=1, until=2) == {2: {day(2)}}
    assert lake.changes(TABLE, since=-1, until=0) == {0: {day(1), day(2), day(3)}}
    assert lake.changes(TABLE, since=3, until=3) == {}


def test_a_version_of_a_table_without_days_changed_all_of_it(lake: Lake) -> None:
    for value in (1, 2):
        put(lake, rows(("a", value, 1)).drop("day"), None, table="shop/products")
    assert lake.changes("shop/products", since=-1, until=1) == {0: {None}, 1: {None}}


def test_a_table_made_again_is_another_table(lake: Lake) -> None:
    before = lake.table_id(TABLE)
    put(lake, rows(("b", 1, 1)), days(1))
    assert lake.table_id(TABLE) == before
    shutil.rmtree(lake.path(TABLE))
    put(lake, rows(("b", 1, 1)), days(1))
    assert lake.table_id(TABLE) != before


def test_compaction_changes_no_day(lake: Lake) -> None:
    for value in range(3):
        put(lake, rows(*[("b", value, 1)] * (value + 1)), days(1))
    lake.open(TABLE).optimize.compact(min_commit_interval=0)
    first = lake.version(TABLE)
    put(lake, rows(("c", 1, 2)), days(2))
    table = lake.open(TABLE)
    table.optimize.z_order(["key"])
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    until = lake.version(TABLE)
    assert first is not None
    assert until is not None
    assert until > first + 1
    found = lake.changes(TABLE, since=first, until=until)
    assert list(found.values()) == [{day(2)}, *[set()] * (until - first - 1)]


def test_a_commit_of_a_stranger_makes_the_changed_days_unknown(lake: Lake) -> None:
    lake.open(TABLE).delete("value = 2")
    put(lake, rows(("a", 5, 1)), days(1))
    assert lake.changes(TABLE, since=0, until=2) == {1: None, 2: {day(1)}}


def test_a_commit_that_was_cleaned_away_makes_the_changed_days_unknown(lake: Lake) -> None:
    put(lake, rows(("b", 1, 1)), days(1))
    put(lake, rows(("b", 2, 2)), days(2))
    lake.open(TABLE).create_checkpoint()
    (log_of(lake) / f"{1:020}.json").unlink()
    assert lake.changes(TABLE, since=0, until=2) == {1: None, 2: {day(2)}}


@pytest.mark.parametrize("name", ["My Documents", "Müll", "100%", "a#b?c"])
def test_a_lake_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / name / "lake")
    put(lake, rows(("a", 1, 1), ("a", 2, 2)), days(1, 2))
    put(lake, rows(("b", 3, 2)), days(2))
    assert sorted(lake.scan(TABLE).select("value").collect()["value"]) == [1, 3]
    assert lake.scan(TABLE, days=days(2)).select("key").collect()["key"].to_list() == ["b"]
    assert all(Path(uri).is_file() for uri in lake.open(TABLE).file_uris())
    assert lake.damaged_files(TABLE) == []


def test_a_missing_folder_is_a_table_that_was_never_written(lake: Lake) -> None:
    shutil.rmtree(lake.path(TABLE))
    assert lake.version(TABLE) is None
    with pytest.raises(TableMissing, match="table shop/orders: nothing has been written"):
        lake.days(TABLE)


def test_a_file_in_the_place_of_the_folder_names_the_table(lake: Lake) -> None:
    shutil.rmtree(lake.path(TABLE))
    lake.path(TABLE).write_text("not a folder")
    with pytest.raises(TableError, match=r"cannot read the table at .*shop/orders"):
        lake.version(TABLE)


def test_a_version_that_is_not_there_names_the_table(lake: Lake) -> None:
    with pytest.raises(TableError, match=r"cannot read the table at .*shop/orders: .*version 9"):
        lake.open(TABLE, version=9)


def test_of_the_ledger_only_what_is_damaged_is_named(lake: Lake) -> None:
    """Its folders are named by asset, and Delta spells the slash of a name otherwise than the disk."""
    table = lake.path("ledger")
    for asset in ("shop/orders", "shop/products"):
        write_deltalake(table, pl.DataFrame({"asset": [asset], "rows": [1]}), mode="append", partition_by=["asset"])
    assert lake.damaged_files("ledger") == []
    lost = next(table.glob("*orders/*.parquet"))
    lost.unlink()
    assert [table / file.path for file in lake.damaged_files("ledger")] == [lost]
