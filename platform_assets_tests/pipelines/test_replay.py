"""A replay: nothing sees later rows, whatever happens it goes on, and it does what direct calls do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from platform_assets.compute.content_hash import content_hash
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Predictions
from platform_assets.declarations.monitor import Fixed, Monitor, TrainedOn
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.retraining import NEVER
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.declarations.views import RollingSplit
from platform_assets.errors import DeclarationError, PartitionError, TableError
from platform_assets.lake import ledger
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.advance import Made, make
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.replay.journal import Day, Journal
from platform_assets.pipelines.replay.judging import unjudged
from platform_assets.pipelines.replay.operate import _moved, _wrong
from platform_assets.pipelines.replay.picture import picture_of_replay
from platform_assets.pipelines.replay.policies import DRIFT, read_policies, read_policy
from platform_assets.pipelines.replay.report import report_on
from platform_assets.pipelines.replay.setting import set_up
from platform_assets.pipelines.run import Run
from platform_assets.registry.locks import locked
from platform_assets_tests import ferry, monitored, replayed, shop

STOPPED = RuntimeError("the power went")


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Path:
    root = tmp_path_factory.mktemp("landed")
    ferry.land(root / "landing", Days(ferry.SAILING.first, date(2023, 4, 2)))
    shutil.copytree(empty_registry, root / "replay" / "mlflow")
    return root


@pytest.fixture(scope="module")
def undisturbed(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Day]]:
    root = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(landed, root, dirs_exist_ok=True)
    return root, replayed.replay(root).go()


@pytest.fixture
def fresh(landed: Path, tmp_path: Path) -> Path:
    shutil.copytree(landed, tmp_path, dirs_exist_ok=True)
    return tmp_path


def numbers(days: list[Day]) -> list[object]:
    """The journal without what the clock measured."""
    timeless = {"seconds": 0.0, "cpu_seconds": 0.0}
    own = {**timeless, "training_seconds": 0.0, "training_cpu_seconds": 0.0}
    return [
        replace(day, **timeless, policies={name: replace(one, **own) for name, one in day.policies.items()})
        for day in days
    ]


@pytest.mark.slow
def test_each_day_is_predicted_by_the_champion_of_the_moment_and_labels_follow(
    undisturbed: tuple[Path, list[Day]],
) -> None:
    root, days = undisturbed
    assert [day.day for day in days] == [replayed.OPERATED.first - ONE_DAY, *replayed.OPERATED]
    assert [day.day for day in days if day.policies["monthly"].trained] == [date(2023, 3, 28), date(2023, 3, 31)]
    predicted = replayed.table(root / "replay" / "lake", "late_predictions_monthly")
    assert predicted.group_by("day").agg(pl.col("model_version").unique()).height == len(replayed.OPERATED)
    assert not predicted["in_sample"].any(), "a model that was trained before a day has not seen it"
    outcomes = replayed.table(root / "replay" / "lake", "late_outcomes_monthly")
    late_maturing = outcomes.group_by("day").agg(pl.col("late").is_not_null().sum()).sort("day")
    assert late_maturing["late"].sum() > 0


@pytest.mark.slow
def test_a_training_has_the_days_that_were_said_before(undisturbed: tuple[Path, list[Day]]) -> None:
    watch = PerformanceMonitor(
        name="watch", description="How good.", of=replayed.outcomes, windows=(1,), owners=["team:ferry"]
    )
    catalogue = Catalogue(name="ferry", declarations=[*replayed.CATALOGUE.declarations, watch])
    taken = set_up(catalogue, days=replayed.OPERATED, policies=["never"])
    (told,) = unjudged(taken, {"never": NEVER})
    first = ledger.entries(Lake(undisturbed[0] / "replay" / "lake"), "ferry/crossings_dataset")[-1]
    report = Days(*(date.fromisoformat(first.stamps[name]) for name in ("report_from", "report_until")))
    assert f"on {replayed.OPERATED.first - ONE_DAY}, has {len(report)} days of report" in told


@pytest.mark.slow
def test_later_files_change_nothing(undisturbed: tuple[Path, list[Day]], fresh: Path) -> None:
    root, days = undisturbed
    after = Days(replayed.OPERATED.last + ONE_DAY, replayed.OPERATED.last + timedelta(days=20))
    ferry.land(fresh / "landing", after, spoilt=True)
    again = replayed.replay(fresh).go()
    assert numbers(again) == numbers(days)
    assert replayed.contents(fresh / "replay" / "lake") == replayed.contents(root / "replay" / "lake")


@pytest.mark.slow
def test_its_tables_are_those_of_direct_calls(undisturbed: tuple[Path, list[Day]], tmp_path: Path) -> None:
    root, _ = undisturbed
    there = shop.platform(tmp_path / "live")
    there = replace(there, landing=replace(there.landing, root=root / "landing"))
    catalogue = replayed.setting().catalogue
    whole = Days(ferry.SAILING.first, replayed.OPERATED.last)
    for name in (*ferry.TO_VIEW, "crossing_drift"):
        days = whole if name in ferry.TO_VIEW else Days(replayed.REFERENCE.last + ONE_DAY, whole.last)
        materialize(there, catalogue, name, Run(run_id="live", now=shop.NOW), days=days)
        live = replayed.table(tmp_path / "live" / "lake", name)
        mine = replayed.table(root / "replay" / "lake", name)
        assert content_hash(mine) == content_hash(live), name


@pytest.mark.slow
@pytest.mark.parametrize("instant", ["before the journal", "after the promotion", "in the middle of a turn"])
def test_one_that_was_cut_off_goes_on_to_the_same_numbers(
    undisturbed: tuple[Path, list[Day]], fresh: Path, instant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, days = undisturbed
    first, cut = replayed.replay(fresh), date(2023, 3, 31)
    with monkeypatch.context() as patched:
        if instant == "before the journal":
            keep = Journal.write

            def write(self: Journal, day: Day) -> None:
                if day.day == cut:
                    raise STOPPED
                keep(self, day)

            patched.setattr(Journal, "write", write)
        elif instant == "after the promotion":

            def verdict(*_: object) -> str:
                raise STOPPED

            patched.setattr(type(first), "_verdict", verdict)
        else:
            module = sys.modules["platform_assets.pipelines.advance"]
            made = module.make  # type: ignore[attr-defined]

            def make(platform, catalogue, name, run, **told):
                if name == "late_outcomes_monthly":
                    raise STOPPED
                return made(platform, catalogue, name, run, **told)

            patched.setattr(module, "make", make)
        with pytest.raises(RuntimeError, match="the power went"):
            first.go()
    again = replayed.replay(fresh).go()
    assert numbers(again) == numbers(days)
    assert replayed.contents(fresh / "replay" / "lake") == replayed.contents(root / "replay" / "lake")


@pytest.mark.slow
def test_one_that_is_killed_again_and_again_comes_to_the_same_numbers(
    undisturbed: tuple[Path, list[Day]], fresh: Path
) -> None:
    root, days = undisturbed
    program = (
        "import sys; from pathlib import Path; from platform_assets_tests import replayed; "
        "replayed.replay(Path(sys.argv[1])).go()"
    )
    for seconds in (9.0, 13.0, 11.0, 15.0, 600.0):
        process = subprocess.Popen([sys.executable, "-c", program, str(fresh)])
        try:
            assert process.wait(timeout=seconds) == 0
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(0.1)
    assert numbers(Journal(fresh / "replay").read()) == numbers(days)
    assert replayed.contents(fresh / "replay" / "lake") == replayed.contents(root / "replay" / "lake")


@pytest.mark.slow
def test_one_that_is_over_does_nothing_more(undisturbed: tuple[Path, list[Day]]) -> None:
    root, days = undisturbed
    before = replayed.contents(root / "replay" / "lake")
    assert replayed.replay(root).go() == days
    assert replayed.contents(root / "replay" / "lake") == before


@pytest.mark.slow
def test_the_report_tells_what_the_outcomes_say(undisturbed: tuple[Path, list[Day]]) -> None:
    root, days = undisturbed
    made = replayed.replay(root)
    report = report_on(made.setting, made.lake, days, ["monthly"])
    rows = replayed.table(root / "replay" / "lake", "late_outcomes_monthly")
    rows = rows.filter(pl.col("late").is_not_null(), ~pl.col("in_sample"))
    said = [p if late else 1 - p for p, late in rows.select("probability", "late").iter_rows()]
    loss = -sum(pl.Series(said).log()) / len(said)
    found = report.policies[0]
    assert found.overall is not None
    assert found.overall.rows == len(rows)
    assert found.overall.log_loss == pytest.approx(loss)
    assert sum(month.rows for month in found.months.values()) == len(rows)
    assert found.trainings == 2
    assert picture_of_replay(report).startswith(b"\x89PNG")
    assert [one["day"] for one in report.plain()["days"]] == [day.day for day in days]


@pytest.mark.slow
def test_a_last_line_that_was_cut_off_is_a_day_to_be_made_again(
    undisturbed: tuple[Path, list[Day]], tmp_path: Path
) -> None:
    content = (undisturbed[0] / "replay" / "journal.jsonl").read_bytes()
    (tmp_path / "journal.jsonl").write_bytes(content[:-9])
    assert Journal(tmp_path).read() == undisturbed[1][:-1]


def test_what_a_replay_takes_knows_nothing_of_later() -> None:
    taken = replayed.setting()
    dataset, predicted = taken.catalogue["crossings_dataset"], taken.catalogue["late_predictions_monthly"]
    assert dataset.split == RollingSplit(select=timedelta(days=30), report=timedelta(days=41), gap=timedelta(days=2))
    assert isinstance(predicted, Predictions)
    assert predicted.first == replayed.OPERATED.first
    assert predicted.is_by_day
    assert any("late_backtest is left out" in note for note in taken.notes)


def test_what_tells_no_time_is_told() -> None:
    taken = set_up(shop.PROMOTING, days=Days(date(2024, 4, 2), date(2024, 4, 5)), policies=["never"])
    assert taken.notes[0] == "nothing tells since when products have been so: each day sees them as they are now"


def test_a_monitor_of_what_a_model_was_trained_on_gets_days_that_are_over() -> None:
    watched = replace(replayed.drift, reference=TrainedOn(model=ferry.late_model))
    others = [d for d in replayed.CATALOGUE.declarations if d.name != watched.name]
    catalogue = replace(replayed.CATALOGUE, declarations=[*others, watched])
    operated = Days(date(2023, 2, 10), date(2023, 4, 10))
    taken = set_up(catalogue, days=operated, policies=["never"])
    made = taken.catalogue["crossing_drift"]
    assert isinstance(made, Monitor)
    assert made.reference == Fixed(days=Days(ferry.SAILING.first, date(2023, 3, 20)))
    assert made.partitions.first > made.settled.last
    short = set_up(catalogue, days=Days(operated.first, date(2023, 3, 1)), policies=["never"])
    assert "crossing_drift" not in short.catalogue
    assert any("crossing_drift is left out" in note for note in short.notes)


def test_days_that_a_project_does_not_have_are_refused() -> None:
    with pytest.raises(PartitionError, match="ferry has days from 2023-01-20 to 2023-06-10; a replay from 2023-01-20"):
        replayed.setting(Days(ferry.SAILING.first, date(2023, 4, 1)))


def test_policies_are_named_or_read_from_a_file(tmp_path: Path) -> None:
    assert read_policy("drift") == ("drift", DRIFT)
    file = tmp_path / "eager.toml"
    file.write_text('every = "month"\nalarms = 1\ncool_down_days = 7\n')
    name, policy = read_policy(str(file))
    assert (name, policy.every, policy.alarms, policy.cool_down) == ("eager", "month", 1, timedelta(days=7))
    file.write_text("cooldown = 7\n")
    with pytest.raises(DeclarationError, match="it says cooldown; the keys are every, alarms"):
        read_policy(str(file))
    with pytest.raises(DeclarationError, match="no such policy: often; choose never, monthly, drift"):
        read_policy("often")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ('every = "week"', "retraining policy: every='week'"),
        ("alarms = true", "retraining policy: alarms=True is no number of days in a row"),
        ('every = "month"\ncool_down_days = -3', "cool_down_days = -3; write a number of days up to 10000"),
        ('every = "month"\ncool_down_days = 100000000000', "cool_down_days = 100000000000; write a number"),
        ("", "it asks for no training; write every"),
    ],
)
def test_what_a_file_must_not_say_is_refused_by_its_name(tmp_path: Path, told: str, why: str) -> None:
    file = tmp_path / "eager.toml"
    file.write_text(told)
    with pytest.raises(DeclarationError, match=f"^policy {file}: {why}"):
        read_policy(str(file))


def test_two_policies_have_two_names(tmp_path: Path) -> None:
    told = []
    for folder, alarms in (("one", 1), ("other", 2)):
        (tmp_path / folder).mkdir()
        told.append(tmp_path / folder / "eager.toml")
        told[-1].write_text(f"alarms = {alarms}\n")
    with pytest.raises(DeclarationError, match=f"two policies are called eager, the second of them {told[1]}"):
        read_policies([*map(str, told), "never"])
    assert list(read_policies(["monthly", "never", "monthly"])) == ["monthly", "never"]


def test_an_incident_is_told_beside_one_that_lasts_and_beside_what_cannot_be_judged() -> None:
    turn = [
        Made(
            name="drift",
            days=None,
            failed={"no_drift": ""},
            begun={"no_drift": {"since 2023-04-01": "", "since 2023-04-09": ""}},
        ),
        Made(name="watch", days=None, failed={"as_expected": "too few rows"}, begun={"as_expected": {}}),
    ]
    wrong = _wrong(turn, {"drift: no_drift since 2023-04-01", "watch: as_expected since 2023-03-01", "other: contract"})
    assert wrong == {
        "drift: no_drift since 2023-04-01",
        "drift: no_drift since 2023-04-09",
        "watch: as_expected",
        "other: contract",
    }


def test_what_a_monitor_says_has_begun_is_kept_with_what_was_made(tmp_path: Path) -> None:
    monitored.land(tmp_path / "landing", monitored.LONG)
    changed = Days(monitored.LONG.last - ONE_DAY, monitored.LONG.last)
    monitored.land(tmp_path / "landing", changed, times=0.01)
    there, run = shop.platform(tmp_path), shop.run(monitored.NOW)
    there.lake.root.mkdir()
    make(there, monitored.CATALOGUE, "orders", run, days=monitored.LONG)
    made = make(there, monitored.CATALOGUE, "order_drift", run, days=changed)
    assert list(made.begun["no_drift"]) == [f"since {changed.last}"]
    assert made.begun["no_drift"][f"since {changed.last}"].startswith("1 column: amount_cents (")
    assert _wrong([made], set()) == {f"order_drift: no_drift since {changed.last}"}

    corrected = Days(changed.first - 20 * ONE_DAY, changed.last - 20 * ONE_DAY)
    monitored.land(tmp_path / "landing", corrected, times=0.01)
    make(there, monitored.CATALOGUE, "orders", run, days=corrected)
    anew = make(there, monitored.CATALOGUE, "order_drift", run, days=corrected)
    assert _wrong([anew], set()) == {f"order_drift: no_drift since {changed.last}"}, "what was past is not open"
    moved = _moved([anew])
    assert moved.keys() == {f"order_drift: no_drift since {days.last}" for days in (changed, corrected)}
    assert all(said.startswith("1 column: amount_cents (") for said in moved.values())


def test_a_damaged_line_of_the_journal_is_named(tmp_path: Path) -> None:
    day = Day(
        day=replayed.OPERATED.first,
        is_backfill=True,
        rows={},
        alerts=[],
        open=[],
        immature={},
        policies={},
        memory={},
        seconds=1.0,
        cpu_seconds=1.0,
    )
    journal = Journal(tmp_path)
    journal.write(day)
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"day": "2023-\n')
    with pytest.raises(TableError, match=r"line 2 of the journal .*; remove its folder to replay from the beginning"):
        journal.read()


def test_nobody_operates_what_another_process_operates(landed: Path) -> None:
    with (
        locked(landed / "replay" / "lock"),
        pytest.raises(TableError, match=r"another process operates this replay, in"),
    ):
        replayed.replay(landed).go()
    assert not (landed / "replay" / "journal.jsonl").exists()
