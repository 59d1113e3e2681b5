"""The command replay, as people and scripts type it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from platform_assets.cli import main
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import Days
from platform_assets.lake.delivered import Delivered
from platform_assets.lake.landing import Landing
from platform_assets.lake.repeated import Turns
from platform_assets.orchestration import projects
from platform_assets.pipelines.replay.journal import Day, PolicyDay
from platform_assets.pipelines.replay.policies import KNOWN
from platform_assets.pipelines.replay.report import Report
from platform_assets.replays import _Follow, _short, _show_alerts, show_beginning
from platform_assets_tests import ferry, replayed, shop

DAYS = ("--from", "2023-03-29", "--to", "2023-03-31")
LAST_WEEK = Days(date(2023, 3, 27), date(2023, 4, 2))


@pytest.fixture
def data(tmp_path: Path, empty_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of a ferry that nothing was made of, and that nobody may write to but below replay/."""
    for name in [name for name in os.environ if name.startswith("PLATFORM_")]:
        monkeypatch.delenv(name)
    ferry.land(tmp_path / "landing", Days(ferry.SAILING.first, date(2023, 4, 2)))
    shutil.copytree(empty_registry, tmp_path / "mlflow")
    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path))
    monkeypatch.setattr(projects, "find_catalogues", lambda: [replayed.CATALOGUE])
    return tmp_path


def files(root: Path) -> dict[str, int]:
    """What lies outside of replay/, with when it was changed."""
    return {str(p): p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file() and root / "replay" not in p.parents}


@pytest.mark.slow
def test_policies_side_by_side_and_production_untouched(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(data)
    assert main(["replay", *DAYS, "--policy", "never", "--policy", "monthly", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert files(data) == before
    assert [one["policy"] for one in told["policies"]] == ["never", "monthly"]
    assert [one["trainings"] for one in told["policies"]] == [1, 2]
    assert [day["day"] for day in told["days"]] == ["2023-03-28", "2023-03-29", "2023-03-30", "2023-03-31"]
    last = told["days"][-1]
    assert last["policies"]["monthly"]["why"] == "2023-04 has begun"
    assert {"rows", "alerts", "seconds", "policies"} <= last.keys()
    assert {"champion", "trained", "alerts", "rows"} <= last["policies"]["never"].keys()

    assert main(["replay", *DAYS, "--policy", "never", "--policy", "monthly"]) == 0, "over, and only told again"
    out = capsys.readouterr().out
    assert "ferry 2023-03-29 to 2023-03-31, as though live" in out
    assert "late_backtest is left out" in out
    assert len(list((data / "replay").iterdir())) == 1
    assert next((data / "replay").glob("*/report.png")).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--from", "2023-03-31", "--to", "2023-03-29"), "--from 2023-03-31 is after --to 2023-03-29"),
        (("--from", "2022-01-01", "--to", "2023-03-29"), "choose from 2023-01-21 to 2023-06-10"),
        ((*DAYS, "--policy", "often"), "no such policy: often; choose never, monthly, drift"),
        ((*DAYS, "--project", "bus"), "no project 'bus'; there are: ferry. Say --project NAME"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    assert main(["replay", *arguments]) == 1
    assert why in capsys.readouterr().err
    assert not (data / "replay").exists()


def test_nothing_is_operated_of_which_nothing_landed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(data / "landing")
    assert main(["replay", *DAYS]) == 1
    assert f"nothing landed for crossings in {data / 'landing'}, so that" in capsys.readouterr().err
    assert not (data / "replay").exists()


def test_days_that_have_not_landed_are_told(data: Path) -> None:
    calendars = {s.name: s.partitions for s in replayed.CATALOGUE.of_kind(Source) if s.partitions is not None}
    landed = Delivered.of(Landing(data / "landing"), calendars, until=shop.NOW)
    assert _short(landed, date(2023, 4, 2)) == []
    told = _short(landed, date(2023, 5, 1))
    assert told[0] == "nothing landed for crossings after 2023-04-02: what reads later days of it is not made"


def _quiet(day: date) -> Day:
    return Day(
        day=day,
        is_backfill=False,
        rows={},
        alerts=(),
        open=(),
        immature={},
        policies={},
        memory={},
        seconds=1.0,
        cpu_seconds=1.0,
    )


def test_alerts_are_told_with_their_days() -> None:
    own = {"never": PolicyDay(), "monthly": PolicyDay(alerts=("late_watch_monthly: as_expected",))}
    since = "crossing_drift: no_drift since 2023-03-30"
    quiet = _quiet(date(2023, 3, 29))
    loud = replace(quiet, day=date(2023, 3, 30), alerts=[since], policies=own, moved={since: "1 column: boat"})
    out, told = Console(record=True, width=100), SimpleNamespace(by_day=[quiet, loud])
    _show_alerts(out, cast("Report", told))
    assert [line.rstrip() for line in out.export_text().splitlines()] == [
        "",
        f"! 2023-03-30: {since}: 1 column: boat",
        "! 2023-03-30: late_watch_monthly: as_expected",
    ]
    _show_alerts(out, cast("Report", SimpleNamespace(by_day=[loud] * 10)))
    assert "and 8 more alerts, in report.json" in out.export_text()


def test_a_split_is_two_numbers_of_days(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", *DAYS, "--split", "28"])
    assert "28 is no split; write the days of select and of report, such as 28,28" in capsys.readouterr().err


@pytest.mark.parametrize("said", ["0", "-1", "ten", "101"])
def test_years_are_a_number_of_them(capsys: pytest.CaptureFixture[str], said: str) -> None:
    with pytest.raises(SystemExit):
        main(["replay", *DAYS, f"--years={said}"])
    assert f"{said} is no number of years; write one from 1 to 100, such as 10" in capsys.readouterr().err


@pytest.mark.slow
def test_landed_weeks_come_again(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten weeks landed, of which the last comes again here."""
    before, weeks = files(data), Turns.of
    monkeypatch.setattr(Turns, "of", lambda landed, *, again: replace(weeks(landed, again=again), days=LAST_WEEK))
    assert main(["replay", "--from", "2023-03-30", "--to", "2023-04-01", "--years", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert files(data) == before
    assert told["to"] == "2023-04-08"
    again = "the 7 landed days from 2023-03-27 to 2023-04-02 come once more, with later dates"
    assert f"--years 2 has the 3 days that were asked for followed by 7 more: {again}" in told["notes"]
    assert [day["day"] for day in told["days"]][-1] == "2023-04-08"
    assert all(day["policies"]["never"]["rows"] == 12 for day in told["days"][2:])
    made = sorted(path.name for path in next((data / "replay").iterdir()).glob("landing/crossings/*.csv"))
    assert made[-1] == "2023-04-08.csv", "and none for days that nobody reads"


def beginning(days: Days, over: list[Day]) -> list[str]:
    taken = replayed.setting(days, policies={"never": KNOWN["never"], "monthly": KNOWN["monthly"]})
    out = Console(record=True, width=200)
    show_beginning(out, replace(taken, notes=("one note",)), over, ["never", "monthly"], Path("there"))
    follow = _Follow(out, taken)
    follow.begin(over)
    return [*(line.rstrip() for line in out.export_text().splitlines()), follow._doing]


def test_what_will_be_operated_is_said_before_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert beginning(replayed.OPERATED, []) == [
        "ferry operates 5 days, 2023-03-29 to 2023-04-02, under never and monthly",
        "  in there",
        "· one note",
        "all days before 2023-03-29, 5 days to go",
    ]
    day = replace(_quiet(date(2023, 3, 28)), is_backfill=True)
    told = beginning(replayed.OPERATED, [day, replace(day, day=date(2023, 3, 29), is_backfill=False)])
    assert told[0] == "ferry goes on from 2023-03-30: 1 of 5 days operated, under never and monthly"
    assert told[-1] == "2023-03-30, 4 days to go"
