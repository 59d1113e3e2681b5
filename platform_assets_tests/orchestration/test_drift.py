"""A monitor as Dagster runs it: the same table as by direct call, a warning on its page, told once while it lasts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from polars.testing import assert_frame_equal

from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.materialize import materialize
from platform_assets_tests import faults, monitored, shop
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


def day_by_day(there: Deployment, *days: date, times: float = 1.0) -> None:
    for day in days:
        monitored.land(there.settings.landing, [day], times=times)
        for name in ("orders", "order_drift"):
            assert there.execute(name, days=Days(day, day)).success


def told_of_drift(there: Deployment, cursor: str | None) -> tuple[bool, str]:
    """Whether the sensor tells of drift now, by what it remembers to have told."""
    name = "shop/order_drift:no_drift"
    before = name in (cursor or "")
    after = evaluate(there, "shop_alerts", cursor).cursor
    return name in after and not before, after


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
    assert f"amount_cents since {CHANGED}" in check.description
    event = watching.instance.get_latest_materialization_event(watching.key("order_drift"))
    assert event is not None
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert "data:image/png;base64" in str(shown["furthest columns"].value)
    assert shown["columns above a threshold"].value == 1


def test_drift_is_told_once_while_it_lasts_and_anew_when_it_comes_again(watching: Deployment) -> None:
    cursor, told = None, []
    for day, times in [(CHANGED, 0.01), (CHANGED + ONE_DAY, 0.01), (CHANGED + 2 * ONE_DAY, 0.01)]:
        day_by_day(watching, day, times=times)
        news, cursor = told_of_drift(watching, cursor)
        told.append(news)
    assert told == [True, False, False]

    # The days are delivered in cents after all.
    day_by_day(watching, *Days(CHANGED, CHANGED + 2 * ONE_DAY))
    news, cursor = told_of_drift(watching, cursor)
    assert not news
    assert "no_drift" not in cursor
    day_by_day(watching, CHANGED + 3 * ONE_DAY, times=0.01)
    assert told_of_drift(watching, cursor)[0]
