"""Going back from a damaged newest entry: nothing readable is lost, and plans see what is to be made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from platform_assets.declarations.names import LEDGER, quarantine_folder, table_folder
from platform_assets.declarations.times import Days
from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.lake.damage import LOG
from platform_assets.lake.repair import LOST, set_back
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.plan import BACK, plan
from platform_assets.pipelines.run import Platform
from platform_assets_tests import faults, shop
from platform_assets_tests.lake.test_damage import CUTS, Damage, entry, spoil
from platform_assets_tests.lake.writers import TABLE, day, days, held, put, rows

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def went_back(lake: Lake, table: str = TABLE, now: datetime = NOW):
    return set_back(lake, table, run_id="back", now=now)


def record(lake: Lake, when: Days, version: int, number: int) -> None:
    ledger.record(
        lake,
        ledger.Entry(
            asset=TABLE,
            days=when,
            fingerprint="f00d",
            inputs={},
            version=version,
            content_hash="c0ffee",
            rows=1,
            run_id=f"run-{number}",
            recorded_at=NOW - timedelta(days=9 - number),
        ),
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Version 0 has three days, version 1 rewrote the first, version 2 the second; all recorded."""
    lake = Lake(tmp_path / "lake")
    put(lake, rows(("a", 1, 1), ("a", 2, 2), ("a", 3, 3)), days(1, 3))
    record(lake, days(1, 3), 0, 0)
    put(lake, rows(("b", 1, 1)), days(1))
    record(lake, days(1), 1, 1)
    put(lake, rows(("b", 2, 2)), days(2))
    record(lake, days(2), 2, 2)
    return lake


BEFORE_THE_LAST = [("a", 2, day(2)), ("a", 3, day(3)), ("b", 1, day(1))]


@pytest.mark.parametrize("damage", CUTS.values(), ids=CUTS)
def test_the_table_is_what_the_last_readable_version_was_and_the_number_is_not_given_again(
    lake: Lake, damage: Damage
) -> None:
    spoil(entry(lake, 2), damage)
    spoilt = entry(lake, 2).read_bytes()
    done = went_back(lake)
    assert (done.lost, done.is_now, done.days) == (2, 3, (days(2),))
    assert held(lake) == BEFORE_THE_LAST
    assert lake.version(TABLE) == 3
    assert done.kept.read_bytes() == spoilt
    assert lake.changed_days(TABLE, since=2, until=3) == {day(2)}, "whoever read the lost version is out of date"
    assert lake.changed_days(TABLE, since=1, until=2) == set()
    assert put(lake, rows(("b", 2, 2)), days(2)).version == 4
    assert held(lake) == sorted([("b", 2, day(2)), ("a", 3, day(3)), ("b", 1, day(1))])


def test_the_ledger_says_what_was_lost_and_of_nothing_else(lake: Lake) -> None:
    spoil(entry(lake, 2), lambda content: b"")
    went_back(lake)
    found = ledger.latest(lake, TABLE)
    assert {when: found[when].fingerprint for when in found} == {day(1): "f00d", day(2): LOST, day(3): "f00d"}


def test_a_write_that_no_ledger_entry_tells_of_is_told_by_its_own_entry_or_not_at_all(lake: Lake) -> None:
    put(lake, rows(("c", 3, 3)), days(3))
    whole = entry(lake, 3).read_bytes()
    spoil(entry(lake, 3), lambda content: content[:-50])
    assert went_back(lake).days == (days(3),)
    assert ledger.latest(lake, TABLE)[day(3)].fingerprint == "f00d", "what it made last was not recorded, so is planned"
    put(lake, rows(("c", 3, 3)), days(3))
    assert entry(lake, 5).read_bytes() != whole
    spoil(entry(lake, 5), lambda content: b"")
    assert went_back(lake).days is None
    assert lake.changed_days(TABLE, since=4, until=6) is None, "it cannot be said, so everything counts as changed"


def test_nothing_is_changed_when_nothing_is_damaged_or_it_is_not_the_newest(lake: Lake) -> None:
    with pytest.raises(TableError, match="table shop/orders: its log can be read, so there is nothing to go back from"):
        went_back(lake)
    with pytest.raises(TableError, match="table shop/none: its log can be read"):
        went_back(lake, "shop/none")
    spoil(entry(lake, 1), lambda content: b"")
    before = {path: path.read_bytes() for path in lake.path(TABLE).rglob("*") if path.is_file()}
    with pytest.raises(TableError, match=r"cannot set back the table at .*0{19}1.json is empty; version 0 is the last"):
        went_back(lake)
    assert {path: path.read_bytes() for path in lake.path(TABLE).rglob("*") if path.is_file()} == before


def test_going_back_twice_from_two_losses(lake: Lake) -> None:
    spoil(entry(lake, 2), lambda content: b"")
    went_back(lake)
    with pytest.raises(TableError, match="nothing to go back from"):
        went_back(lake)
    put(lake, rows(("d", 9, 3)), days(3))
    spoil(entry(lake, 4), lambda content: content[:-3])
    assert went_back(lake).is_now == 5
    assert held(lake) == BEFORE_THE_LAST


def gone_back_until(root: str, function: str, call: int, when: str, gate) -> None:
    """In a process of its own: be killed at a step of going back."""
    faults.Stop(when, f"platform_assets.lake.repair:{function}", call).arm()
    gate.set()
    went_back(Lake(Path(root)))


@pytest.mark.parametrize(
    ("when", "function", "call"),
    [
        ("before", "_loss", 1),
        ("before", "_write", 1),
        ("after", "_write", 1),
        ("after", "_blank", 1),
        ("after", "_write", 2),
        ("after", "_write", 3),
    ],
)
def test_killed_at_any_step_it_is_finished_by_running_it_again(lake: Lake, when: str, function: str, call: int) -> None:
    spoil(entry(lake, 2), lambda content: b"")
    gate = faults.FORKS.Event()
    process = faults.FORKS.Process(target=gone_back_until, args=(str(lake.root), function, call, when, gate))
    process.start()
    process.join()
    assert process.exitcode == -9
    if (when, function, call) < ("after", "_write", 2) or when == "before":
        with pytest.raises(TableError, match="set-back shop/orders"):
            held(lake)
    else:
        assert held(lake) == BEFORE_THE_LAST
    if call < 3:
        assert went_back(lake).is_now == 3
    assert held(lake) == BEFORE_THE_LAST
    assert lake.version(TABLE) == 3
    assert lake.changed_days(TABLE, since=2, until=3) == {day(2)}
    assert ledger.latest(lake, TABLE)[day(2)].fingerprint == LOST


def newest_entry(there: Platform, folder: str) -> Path:
    return max((there.lake.path(folder) / LOG).glob("*.json"))


def reland(there: Platform, when) -> None:
    shop.land_rows(there.landing.root, "orders", when, shop.rows_to_land("orders", when)[3:])


TABLES = ("orders", "product_sales", "customer_history", "category_sales", "order_returned", "orders_asked")


def carry_out(there: Platform, now: datetime) -> None:
    """What is planned of the tables, as refresh would; training takes its time and reads nothing of this."""
    for step in plan(there, shop.CATALOGUE, now=now).steps:
        for part in step.days or () if step.name in TABLES else ():
            shop.make(there, step.name, days=part, now=now)


def contents(there: Platform) -> dict[str, str]:
    return {name: faults.meaning(there, name)[table_folder("shop", name)] for name in TABLES}


def test_after_going_back_refresh_makes_again_what_was_lost_and_what_had_read_it(shop_copy: Platform) -> None:
    changed, later = shop.CLOCKS_FORWARD, shop.NOW + timedelta(days=1)
    before = contents(shop_copy)
    reland(shop_copy, changed)
    carry_out(shop_copy, later)
    wanted = contents(shop_copy)
    assert all(wanted[name] != before[name] for name in TABLES)
    newest_entry(shop_copy, table_folder("shop", "orders")).write_bytes(b"")
    with pytest.raises(TableError, match=r"platform-assets set-back shop/orders"):
        plan(shop_copy, shop.CATALOGUE, now=later)
    went_back(shop_copy.lake, "shop/orders", now=later + timedelta(hours=1))
    decided = plan(shop_copy, shop.CATALOGUE, now=later)
    assert decided["orders"] is not None
    assert (decided["orders"].days, decided["orders"].reasons) == ((Days(changed, changed),), {BACK: 1})
    assert all(decided[name] is not None for name in TABLES)
    carry_out(shop_copy, later + timedelta(hours=2))
    assert contents(shop_copy) == wanted
    assert {step.name for step in plan(shop_copy, shop.CATALOGUE, now=later).steps}.isdisjoint(TABLES)


def test_another_write_before_refresh_does_not_hide_what_was_lost(shop_copy: Platform) -> None:
    lost, other = shop.CLOCKS_FORWARD, shop.OPEN.first
    later = shop.NOW + timedelta(days=1)
    reland(shop_copy, lost)
    shop.make(shop_copy, "orders", days=Days(lost, lost), now=later)
    newest_entry(shop_copy, table_folder("shop", "orders")).write_bytes(b"")
    went_back(shop_copy.lake, "shop/orders", now=later + timedelta(hours=1))
    reland(shop_copy, other)
    shop.make(shop_copy, "orders", days=Days(other, other), now=later + timedelta(hours=2))
    decided = plan(shop_copy, shop.CATALOGUE, now=later)
    assert decided["orders"] is not None
    assert (decided["orders"].days, decided["orders"].reasons) == ((Days(lost, lost),), {BACK: 1})


def test_a_lost_ledger_entry_is_a_materialization_to_be_made_again(shop_copy: Platform) -> None:
    later = shop.NOW + timedelta(days=1)
    reland(shop_copy, shop.OPEN.first)
    shop.make(shop_copy, "orders", days=Days(shop.OPEN.first, shop.OPEN.first), now=later)
    newest_entry(shop_copy, LEDGER).write_bytes(b"")
    with pytest.raises(TableError, match=r"platform-assets set-back ledger"):
        plan(shop_copy, shop.CATALOGUE, now=later)
    assert went_back(shop_copy.lake, LEDGER, now=later).days is None
    decided = plan(shop_copy, shop.CATALOGUE, now=later)
    assert decided["orders"] is not None
    assert decided["orders"].days == (Days(shop.OPEN.first, shop.OPEN.first),)


def test_a_lost_quarantine_is_filled_again(empty_shop: Callable[..., Platform]) -> None:
    first = shop.OPEN.first
    there = empty_shop(days=Days(first, first + timedelta(days=2)), per_day=6)
    folder = quarantine_folder("shop", "orders")
    for when in (first, first + timedelta(days=1)):
        bad = shop.rows_to_land("orders", when, per_day=6)
        bad[0]["amount_cents"] = "0"
        shop.land_rows(there.landing.root, "orders", when, bad)
        shop.make(there, "orders", days=Days(when, when))
    wanted = faults.meaning(there, "orders")[folder]
    newest_entry(there, folder).write_bytes(b"")
    went_back(there.lake, folder)
    assert faults.meaning(there, "orders")[folder] != wanted
    decided = plan(there, shop.CATALOGUE, now=shop.NOW)
    assert decided["orders"] is not None
    assert decided["orders"].reasons[BACK] == 2
    shop.make(there, "orders", days=Days(first, first + timedelta(days=1)), now=NOW + timedelta(days=1))
    assert faults.meaning(there, "orders")[folder] == wanted


def test_a_snapshot_goes_back_as_a_whole(lake: Lake) -> None:
    snapshot = rows(("a", 1, 1)).drop("day")
    put(lake, snapshot, None, table="shop/products")
    put(lake, snapshot.with_columns(value=2), None, table="shop/products")
    path = lake.path("shop/products") / LOG / f"{1:020}.json"
    path.write_bytes(b"")
    assert went_back(lake, "shop/products").days is None
    assert lake.scan("shop/products").collect().equals(snapshot)


def test_the_command_says_what_was_lost_and_what_to_do_next(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from platform_assets.cli import main

    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path))
    assert main(["set-back", TABLE]) == 1
    assert "nothing to go back from" in capsys.readouterr().err
    spoil(entry(lake, 2), lambda content: content[:-9])
    assert main(["set-back", TABLE]) == 0
    said = capsys.readouterr().out
    assert f"shop/orders: version 2 is lost, with what it had written of {day(2)}; its entry is kept in " in said
    assert "shop/orders: version 3 is what version 1 was; run refresh next" in said
    assert held(lake) == BEFORE_THE_LAST
    assert json.loads(entry(lake, 3).read_text())["commitInfo"]["operation"] == "SET BACK"


def test_compaction_and_clean_up_after_going_back(lake: Lake) -> None:
    spoil(entry(lake, 2), lambda content: b"")
    went_back(lake)
    table = lake.open(TABLE)
    table.optimize.compact()
    table.create_checkpoint()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    shutil.rmtree(lake.path(TABLE) / "_damaged")
    assert held(lake) == BEFORE_THE_LAST
