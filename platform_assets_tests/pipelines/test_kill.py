"""A materialization killed at every step and run again is one that was never killed."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from platform_assets.declarations.names import LEDGER, quarantine_folder, table_folder
from platform_assets.declarations.times import Days
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Platform
from platform_assets_tests import faults, shop
from platform_assets_tests.faults import Stop

FIRST = shop.OPEN.first
LANDED = Days(FIRST, FIRST + timedelta(days=5))
CHANGED = FIRST + timedelta(days=1)
ASKED = Days(FIRST, FIRST + timedelta(days=2))
ORDERS, QUARANTINE = table_folder("shop", "orders"), quarantine_folder("shop", "orders")

WRITE, RECORD = "platform_assets.lake.writes:write_deltalake", "platform_assets.lake.ledger:write_deltalake"
STOPS = [
    Stop("before", "platform_assets.pipelines.materialize:ingest"),
    Stop("before", "platform_assets.pipelines.feature:set_aside"),
    Stop("after", "platform_assets.lake.writes:plan_write"),
    Stop("within data of", WRITE),
    Stop("within commit of", WRITE),
    Stop("after", WRITE),
    Stop("before", "platform_assets.pipelines.feature:publish"),
    Stop("after", "platform_assets.lake.writes:plan_write", 2),
    Stop("within data of", WRITE, 2),
    Stop("within commit of", WRITE, 2),
    Stop("after", WRITE, 2),
    Stop("before", "platform_assets.pipelines.publish:enter"),
    Stop("within data of", RECORD),
    Stop("after", RECORD),
    Stop("before", "platform_assets.pipelines.materialize:days_complete"),
]
"""Every step of an ingestion with bad rows: quarantine, table, ledger; before, in the middle of and after each."""


def bad_row(there: Platform, day: Any, row: int) -> None:
    rows = shop.rows_to_land("orders", day, per_day=6)
    rows[row]["amount_cents"] = "0"
    rows[row + 1]["amount_cents"] = "77"
    shop.land_rows(there.landing.root, "orders", day, rows)


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A shop in which six days have landed, one with a bad row; nothing was made."""
    root = tmp_path_factory.mktemp("landed") / "shop"
    shop.land(root / "landing", days=LANDED, per_day=6)
    there = shop.platform(root)
    there.lake.root.mkdir()
    bad_row(there, ASKED.last, 0)
    return there


@pytest.fixture(scope="module")
def ingested(landed: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The same, ingested; then one day was delivered anew, with a bad row of its own."""
    there = faults.copy(landed, tmp_path_factory.mktemp("ingested") / "shop")
    materialize(there, shop.CATALOGUE, "orders", faults.run(0), days=LANDED)
    bad_row(there, CHANGED, 2)
    return there


@pytest.fixture(scope="module")
def unkilled(ingested: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of ingesting what was delivered anew, without a kill."""
    return never_killed(ingested, tmp_path_factory.mktemp("unkilled") / "shop")


@pytest.fixture
def nothing_made(landed: Platform, tmp_path: Path) -> Platform:
    return faults.copy(landed, tmp_path / "shop")


@pytest.fixture
def delivered_anew(ingested: Platform, tmp_path: Path) -> Platform:
    return faults.copy(ingested, tmp_path / "shop")


def finish(there: Platform, name: str = "orders") -> dict[str, Any]:
    materialize(there, shop.CATALOGUE, name, faults.run(2_000), days=ASKED)
    return faults.meaning(there, name)


def never_killed(there: Platform, root: Path, name: str = "orders") -> dict[str, Any]:
    """What comes of it without a kill (twice, as the killed ones are run again), which is not what there was."""
    twin = faults.copy(there, root)
    finish(twin, name)
    found = finish(twin, name)
    assert found != faults.meaning(there, name)
    return found


def require_old_or_new(there: Platform, before: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What readers see after a kill: of every table the old or the new, and nothing of later steps alone."""
    seen = faults.meaning(there, "orders")
    news = [seen.get(key) == wanted[key] != before.get(key) for key in (QUARANTINE, ORDERS, f"{LEDGER} {CHANGED}")]
    for key, value in seen.items():
        assert value in (before.get(key), wanted[key]), f"{key} is neither as it was nor as it should be"
    assert news == sorted(news, reverse=True), f"a later step was seen without an earlier one: {news}"
    return f"{sum(news)} of 3 steps done"


@pytest.mark.parametrize("stop", STOPS, ids=str)
def test_killed_at_a_step_and_run_again_it_is_as_if_it_had_not_been_killed(
    delivered_anew: Platform, unkilled: dict[str, Any], stop: Stop
) -> None:
    before = faults.meaning(delivered_anew, "orders")
    others = faults.files_of_other_days(delivered_anew.lake, ORDERS, Days(CHANGED, CHANGED))
    faults.kill_at_stop(delivered_anew, "orders", ASKED, stop)
    require_old_or_new(delivered_anew, before, unkilled)
    assert finish(delivered_anew) == unkilled
    assert faults.files_of_other_days(delivered_anew.lake, ORDERS, Days(CHANGED, CHANGED)) == others
    assert len(others) == len(LANDED) - 1


def test_the_steps_are_hit_where_they_say(delivered_anew: Platform, unkilled: dict[str, Any], tmp_path: Path) -> None:
    before = faults.meaning(delivered_anew, "orders")
    found, orphans = [], {}
    for number, stop in enumerate((STOPS[4], STOPS[6], STOPS[9], STOPS[11], STOPS[14])):
        there = faults.copy(delivered_anew, tmp_path / str(number))
        faults.kill_at_stop(there, "orders", ASKED, stop)
        found.append(require_old_or_new(there, before, unkilled)[0])
        orphans[stop] = len(list(there.lake.root.rglob("*.parquet"))) - len(
            list(delivered_anew.lake.root.rglob("*.parquet"))
        )
    assert found == ["0", "1", "1", "2", "3"]
    assert orphans[STOPS[4]] == 1, "its data was written, its commit was not"


@pytest.mark.slow
@pytest.mark.parametrize("stop", [stop for stop in STOPS if stop.call == 1 or stop.when != "within commit of"], ids=str)
def test_killed_while_the_tables_are_made_it_makes_them_when_run_again(
    nothing_made: Platform, tmp_path: Path, stop: Stop
) -> None:
    wanted = never_killed(nothing_made, tmp_path / "twin")
    faults.kill_at_stop(nothing_made, "orders", ASKED, stop)
    assert finish(nothing_made) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("name", ["product_sales", "customer_history"])
@pytest.mark.parametrize(
    "stop", [stop for stop in STOPS[2:] if stop.call == 1 and "feature" not in stop.function], ids=str
)
def test_a_feature_group_killed_at_a_step_and_run_again(
    delivered_anew: Platform, tmp_path: Path, name: str, stop: Stop
) -> None:
    there, table = delivered_anew, table_folder("shop", name)
    materialize(there, shop.CATALOGUE, name, faults.run(1), days=LANDED)
    materialize(there, shop.CATALOGUE, "orders", faults.run(2), days=ASKED)
    reached = Days(CHANGED, ASKED.last)
    others = faults.files_of_other_days(there.lake, table, reached)
    wanted = never_killed(there, tmp_path / "twin", name)
    faults.kill_at_stop(there, name, ASKED, stop)
    assert finish(there, name) == wanted
    assert faults.files_of_other_days(there.lake, table, reached) == others


STEPS_HIT = 4
"""So many of the five ends of a kill are to be seen: after each of the three steps, before the first, after the run."""


def kill_many(there: Platform, root: Path, tries: int, seed: int) -> Counter[str]:
    """Kill at random times and as soon as the n-th file appears, by turns; count what was done by then.

    Where a busy machine lets the instants miss a step, at most three times as often.
    """
    dice = random.Random(seed)
    wanted, before = never_killed(there, root / "twin"), faults.meaning(there, "orders")
    others = faults.files_of_other_days(there.lake, ORDERS, Days(CHANGED, CHANGED))
    alone, began = faults.start(faults.copy(there, root / "timed"), "orders", ASKED), time.monotonic()
    alone.join()
    span = 1.25 * (time.monotonic() - began)  # what it takes on this machine, and some more: it may be busier later
    found: Counter[str] = Counter()
    for number in range(3 * tries):
        if number >= tries and len(found) >= STEPS_HIT:
            break
        here = faults.copy(there, root / "killed")
        ripe = (
            faults.after_files(faults.folders(here.lake.root), 1 + number // 2 % 9)
            if number % 2
            else faults.after_seconds(dice.uniform(0, span))
        )
        killed = faults.kill_when(faults.start(here, "orders", ASKED), ripe)
        found[require_old_or_new(here, before, wanted) if killed else "ended before the kill"] += 1
        assert finish(here) == wanted, f"try {number}"
        assert faults.files_of_other_days(here.lake, ORDERS, Days(CHANGED, CHANGED)) == others, f"try {number}"
    return found


@pytest.mark.slow
def test_killed_at_any_time_nothing_is_lost_or_doubled(delivered_anew: Platform, tmp_path: Path) -> None:
    found = kill_many(delivered_anew, tmp_path, tries=40, seed=3)
    assert found.total() >= 40
    assert len(found) >= STEPS_HIT, f"the instants should hit every step: {found}"
