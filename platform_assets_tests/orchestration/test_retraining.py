"""The loop as Dagster runs it: a drift asks for a training, once, and later days are predicted by what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.retraining import MONTHLY
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.orchestration.definitions import build_definitions
from platform_assets.orchestration.retraining import REASON
from platform_assets_tests import ferry, looping, shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed
from platform_assets_tests.orchestration.test_automation import evaluate, evaluate_schedule, tick

SENSOR = "ferry_retraining"
MODEL = ("crossings_dataset", "late_model", "late_promotion")
BEFORE = looping.ASKED - ONE_DAY


@dataclass
class Loop:
    """A deployment in which days land, everything follows that asks by itself, and nobody does anything."""

    there: Deployment
    cursors: dict[str, Any] = field(default_factory=dict)
    launched: list[dg.RunRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing is new to whoever looks for the first time."""
        asked, self.cursors["conditions"] = tick(self.there)
        assert asked == {}
        self.cursors["landing"] = evaluate(self.there, "ferry_landing").cursor

    def pass_day(self, day: date) -> None:
        """A day lands; sensors and conditions are evaluated, and what they ask for carried out, until they are quiet."""
        looping.land(self.there.settings.landing, [day])
        while self._landing() | self._conditions() | self._retraining():
            pass

    def _landing(self) -> bool:
        found = evaluate(self.there, "ferry_landing", self.cursors.get("landing"))
        self.cursors["landing"] = found.cursor or self.cursors.get("landing")
        for request in found.run_requests:
            self._execute(request)
        return bool(found.run_requests)

    def _conditions(self) -> bool:
        asked, self.cursors["conditions"] = tick(self.there, self.cursors.get("conditions"))
        for name in (d.name for d in self.there.catalogue.declarations):
            for key in sorted(asked.get(name, ()), key=str):
                days = None if key is None else Days(date.fromisoformat(key), date.fromisoformat(key))
                assert self.there.execute(name, days=days).success, name
        return bool(asked)

    def _retraining(self) -> bool:
        found = evaluate(self.there, SENSOR)
        known = {request.run_key for request in self.launched}
        fresh = [request for request in found.run_requests if request.run_key not in known]
        for request in fresh:
            self._execute(request)
        self.launched += fresh
        return bool(fresh)

    def _execute(self, request: dg.RunRequest) -> None:
        names = [key.path[-1] for key in request.asset_selection or ()]
        day = None if request.partition_key is None else date.fromisoformat(request.partition_key)
        assert self.there.execute(*names, days=None if day is None else Days(day, day)).success

    @property
    def champion(self) -> int | None:
        return self.there.platform.registry.champion("ferry", "late_model")


@pytest.fixture(scope="session")
def before_data(tmp_path_factory: pytest.TempPathFactory, empty_data: Path, empty_registry: Path) -> Path:
    """The ferry, trained before the drift, on the evening before enough rows are fresh."""
    data = tmp_path_factory.mktemp("loop") / "data"
    shutil.copytree(empty_data, data)
    shutil.copytree(empty_registry, data / "mlflow", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(data))
        with deployed(data, looping.CATALOGUE) as there:
            looping.land(there.settings.landing, Days(ferry.SAILING.first, looping.TRAINED))
            there.refresh()
            looping.land(there.settings.landing, Days(looping.TRAINED + ONE_DAY, BEFORE))
            there.refresh()
    return data


def looped(before_data: Path, tmp_path: Path, catalogue: Catalogue = looping.CATALOGUE) -> Any:
    shutil.copytree(before_data, tmp_path / "data")
    return deployed(tmp_path / "data", catalogue)


@pytest.fixture
def loop(before_data: Path, tmp_path: Path) -> Iterator[Loop]:
    with looped(before_data, tmp_path) as there:
        yield Loop(there)


@pytest.mark.slow
def test_a_drift_is_answered_by_a_training_and_the_next_days_by_its_model(loop: Loop) -> None:
    there = loop.there
    assert loop.champion == 1, "new labels alone train nothing"
    assert evaluate(there, SENSOR).run_requests == []

    loop.pass_day(looping.ASKED)
    (asked,) = loop.launched
    assert asked.run_key == f"late_retraining/{looping.ASKED}"
    assert [key.path[-1] for key in asked.asset_selection or ()] == list(MODEL)
    assert asked.tags["platform/trigger"] == "retraining"
    assert "crossings_drift alarmed on 3 days in a row" in asked.tags[REASON]
    assert loop.champion == 2, "what was trained is better and becomes champion"
    rows_then = there.rows("late_retraining", days=Days(looping.ASKED, looping.ASKED)).to_dicts()
    assert rows_then[0]["asked"]

    after = Days(looping.ASKED + ONE_DAY, looping.ASKED + 3 * ONE_DAY)
    for day in after:
        loop.pass_day(day)
    assert len(loop.launched) == 1, "asked once, trained once, and left alone in the cool-down"
    rows = there.rows("late_retraining", days=after)
    assert not rows["asked"].any()
    assert rows["alarmed"].to_list() == ["crossings_drift"] * len(after), "the reference stays, and so does the alarm"
    said = rows.sort("day")["why"].to_list()
    assert said[:2] == ["nothing asks for one"] * 2, "alarms on days that the training knew are answered"
    assert "left alone until 2023-04-29" in said[2]
    assert set(there.rows("late_predictions", days=after)["model_version"]) == {2}
    assert set(there.rows("late_predictions", days=Days(looping.ASKED, looping.ASKED))["model_version"]) == {1}
    assert set(there.rows("late_outcomes", days=after)["model_version"]) == {2}, "and the new champion is judged"
    assert there.check("late_retraining", "trained_when_asked").passed

    assert there.execute("late_retraining", days=Days(looping.ASKED, looping.ASKED)).success
    again = there.rows("late_retraining", days=Days(looping.ASKED, looping.ASKED)).to_dicts()
    assert again == rows_then, "a day that is decided on again knows nothing of what it led to"


@pytest.mark.slow
def test_where_a_human_has_to_approve_the_loop_waits_for_one(before_data: Path, tmp_path: Path) -> None:
    with looped(before_data, tmp_path, looping.catalogue(approval="human")) as there:
        there.refresh()
        loop = Loop(there)
        loop.pass_day(looping.ASKED)
        loop.pass_day(looping.ASKED + ONE_DAY)
        assert len(loop.launched) == 1, "what waits is not trained once more"
        assert loop.champion == 1
        check = there.check("late_promotion", "promoted")
        assert not check.passed
        assert "waits" in check.description
        after = Days(looping.ASKED + ONE_DAY, looping.ASKED + ONE_DAY)
        assert set(there.rows("late_predictions", days=after)["model_version"]) == {1}


def test_an_old_day_that_asks_launches_nothing(loop: Loop) -> None:
    there = loop.there
    late = Days(looping.ASKED, looping.ASKED + 2 * ONE_DAY)
    looping.land(there.settings.landing, late)
    for name in ("crossings", "boat_history", "crossing_late", "crossings_asked", "crossings_drift"):
        assert there.execute(name, days=late).success
    assert there.execute("late_retraining", days=Days(late.first, late.first)).success
    assert there.rows("late_retraining", days=Days(late.first, late.first))["asked"].all()
    held = evaluate(there, SENSOR)
    assert held.run_requests == []
    assert f"the labels of {late.last} are in" in held.skip_message

    assert there.execute("late_retraining", days=Days(late.first + ONE_DAY, late.last)).success
    (asked,) = evaluate(there, SENSOR).run_requests
    assert asked.run_key == f"late_retraining/{late.last}"
    check = there.check("late_retraining", "trained_when_asked")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"{late.last - ONE_DAY} asked for a training of late_model, which was not trained since" in check.description


def test_the_months_training_is_left_to_models_of_which_no_retraining_asks(there: Deployment, tmp_path: Path) -> None:
    assert "shop_retraining_monthly" in {s.name for s in there.definitions.schedules or ()}
    found = evaluate_schedule(there, "shop_retraining_monthly", datetime(2024, 5, 1, 3, tzinfo=UTC))
    assert [key.path[-1] for key in found.run_requests[0].asset_selection] == ["returns_dataset", "return_model"]
    monthly = looping.catalogue(policy=MONTHLY)
    definitions = build_definitions(monthly, settings=there.settings)
    assert not [s for s in definitions.schedules or () if "monthly" in s.name]
    assert SENSOR in {s.name for s in definitions.sensors or ()}
    assert not [s for s in there.definitions.sensors or () if s.name == "shop_retraining"]
    assert shop.CATALOGUE.name == there.catalogue.name
