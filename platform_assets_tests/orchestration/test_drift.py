"""A monitor as Dagster runs it: the same table as by direct call, a warning on its page, told once while it lasts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from polars.testing import assert_frame_equal

from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.orchestration.alerts import incidents
from platform_assets.pipelines import drift
from platform_assets.pipelines.materialize import materialize
from platform_assets_tests import faults, monitored, shop
from platform_assets_tests.faults import Stop
from platform_assets_tests.orchestration.conftest import Deployment, deployed
from platform_assets_tests.orchestration.test_automation import evaluate

CHANGED = date(2024, 4, 5)


@pytest.fixture
def watching(empty_data: Path, tmp_path: Path) -> Iterator[Deployment]:
    """The long shop, ingested up to the day before the change, by Dagster."""
    shutil.copytree(empty_data, tmp_path / "data")
    with deployed(tmp_path / "data", catalogue=monitored.CATALOGUE) as found:
        monitored.land(found.settings.landing, monitored.LONG)
        before = Days(monitored.LONG.first, CHANGED - ONE_DAY)
        # By direct call, which is faster; Dagster hears of the days that follow.
        materialize(found.platform, monitored.CATALOGUE, "orders", shop.run(monitored.NOW), days=before)
        yield found


def day_by_day(there: Deployment, *days: date, **told: Any) -> None:
    for day in days:
        monitored.land(there.settings.landing, [day], **told)
        for name in ("orders", "order_drift"):
            assert there.execute(name, days=Days(day, day)).success


def drifts(cursor: str) -> set[str]:
    """Of what drift the sensor remembers to have told."""
    return {name.removeprefix("shop/order_drift:") for name in json.loads(cursor) if ":since " in name}


def test_dagster_makes_the_same_table_as_a_direct_call(watching: Deployment, tmp_path: Path) -> None:
    twin = faults.copy(watching.platform, tmp_path / "twin")
    day_by_day(watching, CHANGED, CHANGED + ONE_DAY, times=0.01)
    days = Days(CHANGED, CHANGED + ONE_DAY)
    monitored.land(twin.landing.root, days, times=0.01)
    for name in ("orders", "order_drift"):
        materialize(twin, monitored.CATALOGUE, name, shop.run(monitored.NOW), days=days)
    wanted = twin.lake.scan("shop/order_drift").collect()
    keys = ["day", "window", "column", "measure"]
    assert_frame_equal(watching.rows("order_drift").sort(keys), wanted.sort(keys))

    check = watching.check("order_drift", "no_drift")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"amount_cents since {CHANGED + ONE_DAY}" in check.description
    event = watching.instance.get_latest_materialization_event(watching.key("order_drift"))
    assert event is not None
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert "data:image/png;base64" in str(shown["furthest columns"].value)
    assert shown["columns that drift"].value == 1


def test_drift_is_told_once_while_it_lasts_and_anew_when_it_comes_again(watching: Deployment) -> None:
    cursor, seen = None, []
    for day in Days(CHANGED, CHANGED + 2 * ONE_DAY):
        day_by_day(watching, day, times=0.01)
        cursor = evaluate(watching, "shop_alerts", cursor).cursor
        seen.append(cursor)
    assert [drifts(cursor) for cursor in seen] == [set(), *[{f"since {CHANGED + ONE_DAY}"}] * 2]
    assert seen[1] == seen[2], "nothing more was told"

    # The days are delivered in cents after all.
    corrected = Days(CHANGED, CHANGED + 2 * ONE_DAY)
    monitored.land(watching.settings.landing, corrected)
    assert all(watching.execute(name, days=corrected).success for name in ("orders", "order_drift"))
    cursor = evaluate(watching, "shop_alerts", cursor).cursor
    assert drifts(cursor) == set()
    day_by_day(watching, CHANGED + 3 * ONE_DAY, CHANGED + 4 * ONE_DAY, times=0.01)
    cursor = evaluate(watching, "shop_alerts", cursor).cursor
    assert drifts(cursor) == {f"since {CHANGED + 4 * ONE_DAY}"}


def test_what_begins_within_a_week_is_of_the_same_incident(watching: Deployment) -> None:
    day_by_day(watching, CHANGED, CHANGED + ONE_DAY, times=0.01)
    cursor = evaluate(watching, "shop_alerts", None).cursor
    day_by_day(watching, CHANGED + 2 * ONE_DAY, CHANGED + 3 * ONE_DAY, times=0.01, product="boots")
    assert drifts(evaluate(watching, "shop_alerts", cursor).cursor) == {
        f"since {CHANGED + ONE_DAY}",
    }
    found = [one for one in incidents(watching.instance, watching.catalogue, now=monitored.NOW) if one.kind == "drift"]
    assert [one.message.partition(" (")[0] for one in found] == [
        f"shop/order_drift: drift since {CHANGED + ONE_DAY}, 2 columns: amount_cents",
    ]


STOPS = [
    Stop("after", "platform_assets.pipelines.publish:write"),
    Stop("after", "platform_assets.pipelines.publish:enter"),
    Stop("before", "platform_assets.pipelines.materialize:days_complete"),
]
"""Steps after the monitor's table has its days, before Dagster has heard of them."""


def told(there: Deployment, cursor: str | None) -> tuple[list[str], str]:
    """What a tick of the alert sensor tells of drift, and its cursor."""
    found = evaluate(there, "shop_alerts", cursor)
    before = json.loads(cursor or "{}")
    return sorted(name for name in json.loads(found.cursor) if ":since " in name and name not in before), found.cursor


@pytest.mark.parametrize("stop", STOPS, ids=str)
def test_days_long_past_of_which_the_run_is_killed_are_told_by_the_next_one_and_once(
    watching: Deployment, stop: Stop
) -> None:
    """A correction has them watched anew; the table knows the incident, and nobody has been told."""
    past = Days(CHANGED - 20 * ONE_DAY, CHANGED - 17 * ONE_DAY)
    since = f"shop/order_drift:since {past.first + ONE_DAY}"
    assert watching.execute("order_drift", days=Days(monitored.WATCHED.first, CHANGED - ONE_DAY)).success
    nothing, cursor = told(watching, None)
    assert nothing == []

    monitored.land(watching.settings.landing, past, times=0.01)
    assert watching.execute("orders", days=past).success
    faults.kill_at_stop(
        watching.platform, "order_drift", past, stop, catalogue="platform_assets_tests.monitored:CATALOGUE"
    )
    version = watching.version("order_drift")
    nothing, cursor = told(watching, cursor)
    assert nothing == [], "Dagster has heard nothing"
    assert watching.execute("order_drift", days=past).success
    assert watching.version("order_drift") == version, "the table had it"
    first, cursor = told(watching, cursor)
    assert first == [since]

    # Once only: not the same run again, not the next day, not after that either.
    for days in (past, Days(CHANGED - ONE_DAY, CHANGED - ONE_DAY), past, Days(past.first, past.last + ONE_DAY)):
        assert watching.execute("order_drift", days=days).success
        again, cursor = told(watching, cursor)
        assert again == []


def test_days_long_past_are_told_although_another_run_has_ended_before_the_next_tick(watching: Deployment) -> None:
    """A correction and the new day are watched on the same morning; and the day is corrected back later."""
    past, newest = Days(CHANGED - 20 * ONE_DAY, CHANGED - 17 * ONE_DAY), Days(CHANGED - ONE_DAY, CHANGED - ONE_DAY)
    assert watching.execute("order_drift", days=Days(monitored.WATCHED.first, CHANGED - ONE_DAY)).success
    cursor = told(watching, None)[1]
    seen = []
    for times in (0.01, 1.0):
        monitored.land(watching.settings.landing, past, times=times)
        assert all(watching.execute(name, days=past).success for name in ("orders", "order_drift"))
        assert watching.execute("order_drift", days=newest).success
        for _ in range(2):
            first, cursor = told(watching, cursor)
            seen.append(first)
    assert seen == [[f"shop/order_drift:since {past.first + ONE_DAY}"], [], [], []]
    assert drifts(cursor) == set(), "the table has it no more"


def at_once(there: Deployment, monkeypatch: pytest.MonkeyPatch, first: Days, last: Days) -> None:
    """Watch two stretches of days at once: the one that begins first has read its inputs, then the other one ends."""
    kept, ended = drift.publish, list[bool]()

    def overtaken(*arguments: Any, **named: Any) -> Any:
        if not ended:
            ended.append(False)
            ended[0] = there.execute("order_drift", days=last).success
        return kept(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(drift, "publish", overtaken)
        assert there.execute("order_drift", days=first).success
    assert ended == [True]


PAST, NEW = Days(CHANGED - 20 * ONE_DAY, CHANGED - 17 * ONE_DAY), Days(CHANGED, CHANGED + ONE_DAY)
AT_ONCE = {
    "the new days and a correction": (NEW, PAST, [PAST, NEW]),
    "a correction and the new days": (PAST, NEW, [PAST, NEW]),
    "one new day and the other, which only together drift": (
        Days(NEW.last, NEW.last),
        Days(NEW.first, NEW.first),
        [NEW],
    ),
    "days past that are as before, and the new days": (Days(PAST.first, PAST.first), NEW, [NEW]),
}


@pytest.mark.parametrize("case", AT_ONCE)
def test_what_two_runs_at_once_find_is_told_and_once(
    watching: Deployment, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    first, last, found = AT_ONCE[case]
    assert watching.execute("order_drift", days=Days(monitored.WATCHED.first, CHANGED - ONE_DAY)).success
    day_by_day(watching, *NEW)
    nothing, cursor = told(watching, None)
    assert nothing == []
    for days in found:
        monitored.land(watching.settings.landing, days, times=0.01)
        assert watching.execute("orders", days=days).success
    at_once(watching, monkeypatch, first, last)
    seen, cursor = told(watching, cursor)
    assert seen == [f"shop/order_drift:since {days.first + ONE_DAY}" for days in found]
    for days in (NEW, PAST):
        assert watching.execute("order_drift", days=days).success
        again, cursor = told(watching, cursor)
        assert again == []
    assert drifts(cursor) >= {f"since {NEW.last}"}


def test_a_check_that_is_stored_late_does_not_end_what_lasts(
    watching: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of days past has read the table; before Dagster hears of that, the new days are watched, and told."""
    assert watching.execute("order_drift", days=Days(monitored.WATCHED.first, CHANGED - ONE_DAY)).success
    day_by_day(watching, *NEW)
    cursor = told(watching, None)[1]
    monitored.land(watching.settings.landing, NEW, times=0.01)
    assert watching.execute("orders", days=NEW).success
    kept, seen = drift.lasting, list[list[str]]()

    def late(*arguments: Any, **named: Any) -> Any:
        nonlocal cursor
        found = kept(*arguments, **named)
        if not seen:
            seen.append([])
            assert watching.execute("order_drift", days=NEW).success
            seen[0], cursor = told(watching, cursor)
        return found

    monkeypatch.setattr(drift, "lasting", late)
    assert watching.execute("order_drift", days=PAST).success
    assert seen == [[f"shop/order_drift:since {NEW.last}"]]
    ended = evaluate(watching, "shop_alerts", cursor)
    assert ended.skip_message is not None
    assert ended.skip_message.startswith("0 reported, 0 not taken, 0 over")
    assert drifts(ended.cursor) == {f"since {NEW.last}"}


def test_of_a_table_that_is_made_anew_the_old_checks_say_nothing(watching: Deployment) -> None:
    day_by_day(watching, *NEW, times=0.01)
    cursor = told(watching, None)[1]
    assert drifts(cursor) == {f"since {NEW.last}"}
    monitored.land(watching.settings.landing, NEW)
    assert watching.execute("orders", days=NEW).success
    shutil.rmtree(watching.settings.lake / "shop" / "order_drift")
    assert watching.execute("order_drift", days=NEW).success
    assert drifts(told(watching, cursor)[1]) == set()


def test_of_a_table_that_was_put_back_from_a_copy_the_later_check_speaks(watching: Deployment, tmp_path: Path) -> None:
    """Its versions begin to count again where the copy was made."""
    assert watching.execute("order_drift", days=Days(monitored.WATCHED.first, CHANGED - ONE_DAY)).success
    folder = watching.settings.lake / "shop" / "order_drift"
    shutil.copytree(folder, tmp_path / "copy")
    day_by_day(watching, *NEW, times=0.01)
    cursor = told(watching, None)[1]
    assert drifts(cursor) == {f"since {NEW.last}"}
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    monitored.land(watching.settings.landing, NEW)
    assert all(watching.execute(name, days=NEW).success for name in ("orders", "order_drift"))
    assert drifts(told(watching, cursor)[1]) == set()
