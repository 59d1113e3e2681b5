"""The ledger remembers every materialization, also those that changed nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from platform_assets.declarations.times import Days
from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.lake.ledger import Entry
from platform_assets.lake.tables import Lake
from platform_assets_tests.lake.writers import day, days

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
    assert ledger.days(Lake(tmp_path), ["shop/orders"]) == {"shop/orders": set()}


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
    assert ledger.days(lake, ["shop/orders", "shop/model", "shop/none"]) == {
        "shop/orders": {day(1), day(2), day(3), day(7)},
        "shop/model": set(),
        "shop/none": set(),
    }


def test_a_ledger_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("not a folder")
    with pytest.raises(TableError, match=r"cannot write the table at .*ledger"):
        ledger.record(Lake(tmp_path), entry(None, 1))
