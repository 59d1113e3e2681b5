"""Profiles beside the tables: always those of the rows that are there, whoever was killed in between."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.compute.profiles import PROFILES, profile
from platform_assets.declarations.names import profile_folder, table_folder
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.lake.tables import Lake
from platform_assets.lake.writes import Provenance
from platform_assets.pipelines import profiling
from platform_assets.pipelines.maintenance import plan_maintenance
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.profiling import is_profiled, profiled_columns, read_profiles
from platform_assets.pipelines.run import Platform
from platform_assets_tests import faults, shop
from platform_assets_tests.faults import Stop

FIRST = shop.OPEN.first
WEEK = Days(FIRST, FIRST + timedelta(days=6))
DAY = FIRST + timedelta(days=3)
ORDERS, OF_ORDERS = table_folder("shop", "orders"), profile_folder("shop", "orders")
READER = Provenance(asset="shop/reader", fingerprint="f", run_id="run-reader", inputs={})
DAILY = ["category_sales", "customer_history", "orders", "orders_asked", "product_sales", "return_predictions"]


def naive(there: Platform, name: str, days: Days | None = None) -> pl.DataFrame:
    """The profiles of a table's days from all of its rows."""
    rows = there.lake.scan(table_folder("shop", name), days=days).collect()
    return profile(rows, day="day", columns=profiled_columns(shop.CATALOGUE[name]))  # type: ignore[arg-type]


def stored(there: Platform, name: str) -> pl.DataFrame:
    rows = there.lake.scan(profile_folder("shop", name)).collect()
    return rows.select(PROFILES.names()).sort("day", "column")


def read(there: Platform, days: Days = WEEK, *, version: int | None = None) -> pl.DataFrame:
    newest = there.lake.version(ORDERS)
    assert newest is not None
    version = newest if version is None else version
    declared = shop.CATALOGUE["orders"]
    return read_profiles(there.lake, shop.CATALOGUE, declared, set(days), version=version, provenance=READER)  # type: ignore[arg-type]


def land_otherwise(there: Platform, day: date, *, amount: str = "777") -> None:
    rows = shop.rows_to_land("orders", day)
    rows[0]["amount_cents"] = amount
    shop.land_rows(there.landing.root, "orders", day, rows)


@pytest.fixture
def there(tmp_path: Path) -> Platform:
    """A week of orders."""
    shop.land(tmp_path / "shop" / "landing", days=WEEK)
    made = shop.platform(tmp_path / "shop")
    made.lake.root.mkdir()
    shop.make(made, "orders", days=WEEK)
    return made


def test_what_is_profiled_is_what_is_written_by_the_day() -> None:
    """But for returns, in which every row has its own key and the rest is time."""
    assert sorted(d.name for d in shop.CATALOGUE.declarations if is_profiled(d)) == DAILY


@pytest.mark.parametrize("name", DAILY)
def test_the_profiles_of_a_table_are_those_of_its_rows(finished_shop: Path, name: str) -> None:
    there = shop.platform(finished_shop)
    found = stored(there, name)
    assert_frame_equal(found, naive(there, name))
    assert found.get_column("day").n_unique() == len(there.lake.days(table_folder("shop", name)))


def test_columns_that_tell_nothing_are_left_out() -> None:
    """Keys that every row has its own of, and times and lists that are never null."""
    orders, sales, said = (shop.CATALOGUE[name] for name in ("orders", "product_sales", "return_predictions"))
    assert profiled_columns(orders) == ("customer", "product", "amount_cents", "cancelled")  # type: ignore[arg-type]
    assert profiled_columns(sales) == ("product", "orders_24h", "amount_mean_24h")  # type: ignore[arg-type]
    columns = profiled_columns(said)  # type: ignore[arg-type]
    assert {"probability", "decision", "reasons"} < set(columns)
    assert not {"prediction_id", "order_id", "ordered_at"} & set(columns)


def test_equal_content_makes_no_new_profile(there: Platform) -> None:
    before = there.lake.version(OF_ORDERS)
    shop.make(there, "orders", days=WEEK)
    assert there.lake.version(OF_ORDERS) == before == 0


def test_a_changed_day_alone_is_profiled_anew(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    profiled: list[int] = []

    def counting(rows: pl.DataFrame, **named: object) -> pl.DataFrame:
        profiled.append(len(rows))
        return profile(rows, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(profiling, "profile", counting)
    land_otherwise(there, DAY)
    shop.make(there, "orders", days=WEEK)
    assert profiled == [30]
    assert there.lake.changes(OF_ORDERS, since=0, until=1) == {1: {DAY}}
    assert_frame_equal(stored(there, "orders"), naive(there, "orders"))


def test_days_apart_that_changed_are_one_commit(there: Platform) -> None:
    for day in (DAY, DAY + 2 * ONE_DAY):
        land_otherwise(there, day)
    shop.make(there, "orders", days=WEEK)
    assert there.lake.changes(OF_ORDERS, since=0, until=1) == {1: {DAY, DAY + 2 * ONE_DAY}}
    assert there.lake.version(OF_ORDERS) == 1
    assert_frame_equal(stored(there, "orders"), naive(there, "orders"))


def test_a_day_without_rows_has_a_profile(there: Platform) -> None:
    shop.land_rows(there.landing.root, "orders", DAY, [])
    shop.make(there, "orders", days=WEEK)
    found = stored(there, "orders").filter(pl.col("day") == DAY)
    assert found.get_column("rows").to_list() == [0] * 4
    assert_frame_equal(read(there).filter(pl.col("day") == DAY), found)


def test_current_profiles_are_read_without_a_row(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, scanned = Lake.scan, list[str]()

    def noting(lake: Lake, folder: str, **named: object) -> pl.LazyFrame:
        scanned.append(folder)
        return scan(lake, folder, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "scan", noting)
    found = read(there)
    assert ORDERS not in scanned
    assert OF_ORDERS in scanned
    monkeypatch.undo()
    assert_frame_equal(found, naive(there, "orders"))


def test_a_table_from_before_there_were_profiles_gets_them_from_whoever_reads(there: Platform) -> None:
    wanted = stored(there, "orders")
    shutil.rmtree(there.lake.path(OF_ORDERS))
    assert_frame_equal(read(there), wanted)
    assert_frame_equal(stored(there, "orders"), wanted)
    assert (there.lake.commit(OF_ORDERS, 0) or {})["platform.asset"] == "shop/reader"


PROFILE = "platform_assets.pipelines.profiling"
TABLE_WRITTEN = [
    Stop("after", "platform_assets.pipelines.publish:write"),
    Stop("before", f"{PROFILE}:write"),
    Stop("after", "platform_assets.lake.writes:plan_write", 2),
    Stop("within data of", "platform_assets.lake.writes:write_deltalake", 2),
    Stop("within commit of", "platform_assets.lake.writes:write_deltalake", 2),
]
"""Between the table and its profiles: the one has the new rows, the others are of the old."""
PROFILED = [
    Stop("after", f"{PROFILE}:write"),
    Stop("before", "platform_assets.pipelines.publish:enter"),
]


@pytest.mark.parametrize("stop", [*TABLE_WRITTEN, *PROFILED], ids=str)
def test_killed_between_table_and_profiles_nobody_takes_the_old_ones_for_current(there: Platform, stop: Stop) -> None:
    land_otherwise(there, DAY)
    old = stored(there, "orders")
    faults.kill_at_stop(there, "orders", WEEK, stop)
    now = naive(there, "orders")
    assert not now.equals(old), "the kill was to come after the table was written"
    assert stored(there, "orders").equals(old) == (stop in TABLE_WRITTEN)
    healed = faults.copy(there, there.lake.root.parents[1] / "healed")
    assert_frame_equal(read(there), now)
    assert_frame_equal(stored(there, "orders"), now)
    materialize(healed, shop.CATALOGUE, "orders", faults.run(2_000), days=WEEK)
    assert_frame_equal(stored(healed, "orders"), now)
    version = healed.lake.version(OF_ORDERS)
    read(healed)
    assert healed.lake.version(OF_ORDERS) == version, "what the run healed is current"


def test_profiles_of_a_later_version_are_not_taken_for_those_of_an_earlier_one(there: Platform) -> None:
    before = naive(there, "orders")
    land_otherwise(there, DAY)
    shop.make(there, "orders", days=WEEK)
    found = stored(there, "orders")
    assert_frame_equal(read(there, version=0), before)
    assert_frame_equal(stored(there, "orders"), found)
    assert_frame_equal(read(there), found)


def test_profiles_of_another_table_of_the_same_name_are_not_taken_for_its_own(there: Platform) -> None:
    """The table was moved away and made again; the run was killed before it profiled."""
    shutil.rmtree(there.lake.path(ORDERS))
    land_otherwise(there, DAY, amount="888")
    faults.kill_at_stop(there, "orders", WEEK, TABLE_WRITTEN[0])
    assert there.lake.version(ORDERS) == 0
    assert_frame_equal(read(there), naive(there, "orders"))


def test_maintenance_does_not_change_what_is_current(there: Platform) -> None:
    there.lake.open(ORDERS).optimize.z_order(["product"])
    profiles = there.lake.version(OF_ORDERS)
    assert_frame_equal(read(there), naive(there, "orders"))
    assert there.lake.version(OF_ORDERS) == profiles


def test_profiles_are_maintained_as_tables_are(there: Platform, empty_registry: Path) -> None:
    shutil.copytree(empty_registry, there.lake.root.parent / "mlflow")
    plans, failed = plan_maintenance(there, shop.CATALOGUE, now=shop.NOW)
    assert OF_ORDERS in {upkeep.table for upkeep in plans}
    assert failed == {}
