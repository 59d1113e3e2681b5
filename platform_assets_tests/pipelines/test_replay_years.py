"""A replay of landed days that come again, beside one of the same days landed one by one."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from platform_assets.declarations.names import DAY
from platform_assets.declarations.times import Days
from platform_assets.lake.repeated import Turns
from platform_assets.pipelines.replay.journal import Day, Journal
from platform_assets.pipelines.replay.policies import KNOWN
from platform_assets_tests import ferry, replayed

LANDED = Days(ferry.SAILING.first, date(2023, 3, 30))
TURNS = Turns(days=Days(date(2023, 3, 17), date(2023, 3, 30)), again=2)
OPERATED = Days(date(2023, 3, 27), date(2023, 4, 20))
"""Across the first turn of the fortnight and the second, with a first of the month."""
POLICIES = {"monthly": KNOWN["monthly"]}
ZONE = ZoneInfo(ferry.SAILING.zone)
STOPPED = RuntimeError("the power went")


def numbers(days: list[Day]) -> list[object]:
    timeless = {"seconds": 0.0, "cpu_seconds": 0.0}
    own = {**timeless, "training_seconds": 0.0, "training_cpu_seconds": 0.0}
    return [
        replace(day, **timeless, policies={name: replace(one, **own) for name, one in day.policies.items()})
        for day in days
    ]


def land_one_by_one(landing: Path) -> None:
    """The same weeks again and again, each file written anew."""
    ferry.land(landing, LANDED)
    for turn in (1, 2):
        for day in TURNS.days:
            moved = timedelta(days=14 * turn)
            path = landing / "crossings" / f"{day + moved}.csv"
            rows = ferry.rows_of(day)
            for row in rows:
                wall = datetime.fromisoformat(row["left_at"]).astimezone(ZONE).replace(tzinfo=None) + moved
                row["left_at"] = f"{wall.replace(tzinfo=ZONE).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
                row["crossing_id"] += f"+{moved.days}d"
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


@pytest.fixture(scope="module")
def explicit(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> tuple[Path, list[Day]]:
    root = tmp_path_factory.mktemp("explicit")
    shutil.copytree(empty_registry, root / "replay" / "mlflow")
    land_one_by_one(root / "landing")
    return root, replayed.replay(root, days=OPERATED, policies=POLICIES, longer=TURNS.longer).go()


@pytest.mark.slow
def test_days_that_come_again_are_as_if_they_had_landed_and_it_goes_on_where_it_was_cut_off(
    explicit: tuple[Path, list[Day]], tmp_path: Path, empty_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off on the day after each turn, with what was made of it half done."""
    root, days = explicit
    shutil.copytree(empty_registry, tmp_path / "replay" / "mlflow")
    ferry.land(tmp_path / "landing", LANDED)
    keep = Journal.write
    for cut in (date(2023, 3, 31), date(2023, 4, 14)):
        with monkeypatch.context() as patched:

            def write(self: Journal, day: Day, cut: date = cut) -> None:
                if day.day == cut:
                    raise STOPPED
                keep(self, day)

            patched.setattr(Journal, "write", write)
            with pytest.raises(RuntimeError, match="the power went"):
                replayed.replay(tmp_path, days=OPERATED, policies=POLICIES, turns=TURNS).go()
    again = replayed.replay(tmp_path, days=OPERATED, policies=POLICIES, turns=TURNS).go()
    assert [day.day for day in again if not day.is_backfill] == list(OPERATED)
    assert numbers(again) == numbers(days)
    assert again[-1].policies["monthly"].trained == ()
    assert sum(len(day.policies["monthly"].trained) for day in again) == 2
    assert replayed.contents(tmp_path / "replay" / "lake") == replayed.contents(root / "replay" / "lake")


@pytest.mark.slow
def test_what_came_again_is_predicted_and_judged_like_any_other_day(explicit: tuple[Path, list[Day]]) -> None:
    root, _ = explicit
    outcomes = replayed.table(
        root / "replay" / "lake", "late_outcomes_monthly", Days(date(2023, 4, 1), date(2023, 4, 18))
    )
    assert set(outcomes[DAY]) == set(Days(date(2023, 4, 1), date(2023, 4, 18)))
    assert outcomes["crossing_id"].n_unique() == len(outcomes)
    assert outcomes["late"].null_count() == 0
