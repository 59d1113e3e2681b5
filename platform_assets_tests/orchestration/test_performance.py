"""A performance monitor as Dagster runs it: the same table as by direct call, a warning, told once while it lasts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from polars.testing import assert_frame_equal

from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.orchestration.alerts import incidents
from platform_assets.pipelines.materialize import materialize
from platform_assets_tests import faults, shop, watched
from platform_assets_tests.orchestration.conftest import Deployment, deployed

CHANGED = date(2023, 4, 20)
FLIPPED = Days(CHANGED, CHANGED + ONE_DAY)


@pytest.fixture
def watching(empty_data: Path, tmp_path: Path) -> Iterator[Deployment]:
    """The ferry, on two days of which it was late the other way round; made by direct call but for the monitor."""
    shutil.copytree(empty_data, tmp_path / "data")
    with deployed(tmp_path / "data", catalogue=watched.CATALOGUE) as found:
        days = Days(watched.LEARNED.first, date(2023, 4, 25))
        watched.land(found.settings.landing, days)
        watched.land(found.settings.landing, FLIPPED, late="flipped")
        known, predicted = Days(days.first, date(2023, 4, 23)), Days(date(2023, 4, 12), date(2023, 4, 23))
        order = {"crossings": days, "boat_history": days, "crossings_asked": days, "crossing_late": known}
        for name, own in (
            *order.items(),
            ("crossings_dataset", None),
            ("late_model", None),
            ("late_predictions", predicted),
            ("late_outcomes", predicted),
        ):
            materialize(found.platform, watched.CATALOGUE, name, shop.run(watched.NOW), days=own)
        yield found


def test_dagster_makes_the_same_table_and_tells_a_flip_once(watching: Deployment, tmp_path: Path) -> None:
    catalogue = watched.catalogue(windows=(1,))
    twin = faults.copy(watching.platform, tmp_path / "twin")
    with deployed(watching.settings.landing.parent, catalogue=catalogue) as there:
        told = []
        for day in (*FLIPPED, FLIPPED.last + ONE_DAY):
            assert there.execute("late_performance", days=Days(day, day)).success
            materialize(twin, catalogue, "late_performance", shop.run(watched.NOW), days=Days(day, day))
            found = incidents(there.instance, catalogue, now=datetime.now(UTC))
            told.append({one.name: one for one in found if one.kind == "worse than expected"})
        keys = ["day", "window", "sliced_by", "slice", "measure"]
        rows, wanted = (p.lake.scan("ferry/late_performance").collect() for p in (there.platform, twin))
        assert_frame_equal(rows.sort(keys), wanted.sort(keys))

        # Of single days a second one has to follow; then it is told once, for as long as it lasts.
        name = f"ferry/late_performance:since {FLIPPED.last}"
        assert told[0] == {}
        assert name in told[1]
        assert name in told[2]
        assert told[1][name].marker == told[2][name].marker
        assert "all rows (" in told[1][name].message
        key = dg.AssetKey(["ferry", "late_performance"])
        event = there.instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        shown = event.asset_materialization.metadata
        assert "data:image/png;base64" in str(shown["performance by day"].value)
        assert str(shown["slices"].value).startswith("| sliced_by | slice | rows |")
