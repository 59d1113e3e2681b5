"""Performance monitors: a flip of the labels is told the first day, unchanged days are quiet, and only fair rows count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from platform_assets.compute.expected import judge
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import profile_folder, table_folder
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.performance import thresholds
from platform_assets.pipelines.run import CheckResult, Materialization, Platform
from platform_assets.registry.models import Registry
from platform_assets_tests import faults, shop, watched
from platform_assets_tests.reference.expected import naive_expected

ASSET, CAME = table_folder("ferry", "late_performance"), table_folder("ferry", "late_outcomes")
CHANGED = date(2023, 4, 20)
LATER = Days(date(2023, 4, 21), date(2023, 4, 24))


@pytest.fixture(scope="module")
def quiet_ferry(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A model, its predictions and what came of them until May, and April watched; tests leave it as it is."""
    root = tmp_path_factory.mktemp("watched") / "ferry"
    days = Days(watched.LEARNED.first, date(2023, 5, 8))
    watched.land(root / "landing", days)
    there = shop.platform(root)
    there.lake.root.mkdir()
    for name in ("crossings", "boat_history", "crossings_asked"):
        make(there, name, days)
    make(there, "crossing_late", Days(days.first, watched.PREDICTED.last))
    make(there, "crossings_dataset", None)
    make(there, "late_model", None)
    make(there, "late_predictions", watched.PREDICTED)
    make(there, "late_outcomes", watched.PREDICTED)
    make(there, "late_performance", watched.WATCHED)
    return there


@pytest.fixture
def there(quiet_ferry: Platform, tmp_path: Path) -> Platform:
    """The same, to be spoilt."""
    return faults.copy(quiet_ferry, tmp_path / "ferry")


def make(
    there: Platform,
    name: str,
    days: Days | None,
    *,
    catalogue: Catalogue = watched.CATALOGUE,
    now: datetime = watched.NOW,
    draws: bool = False,
) -> Materialization:
    return materialize(there, catalogue, name, shop.run(now, draws=draws), days=days)


def on(day: date) -> Days:
    return Days(day, day)


def rows(there: Platform) -> pl.DataFrame:
    return there.lake.scan(ASSET).collect().sort("day", "window", "sliced_by", "slice", "measure")


def whole(found: pl.DataFrame, day: date, *, window: int = 1) -> dict[str, dict[str, object]]:
    """The measures of all rows on a day."""
    own = found.filter(pl.col("day") == day, pl.col("window") == window, pl.col("sliced_by") == "all")
    return {row["measure"]: row for row in own.iter_rows(named=True)}


def as_expected(made: Materialization) -> CheckResult:
    return next(check for check in made.checks if check.name == "as_expected")


def change(there: Platform, days: Days, late: str) -> None:
    """Let the crossings of some days be late in another way, as far as their outcomes know."""
    watched.land(there.landing.root, days, late=late)
    for name in ("crossings", "crossing_late", "late_outcomes"):
        make(there, name, days)


def test_unchanged_days_are_quiet_and_every_slice_is_told(quiet_ferry: Platform) -> None:
    found = rows(quiet_ferry)
    assert found.get_column("day").n_unique() == len(watched.WATCHED)
    assert set(found.select("sliced_by", "slice").unique().iter_rows()) == {
        ("all", "all"),
        ("boat", "old"),
        ("boat", "new"),
        ("boat", "fast"),
    }
    assert found.filter("alarmed").is_empty()  # half an alarm a month is allowed
    may = found.filter(pl.col("measure").is_in(list(watched.monitor.alarming)), pl.col("sliced_by") == "all")
    assert may.get_column("threshold").null_count() == 0
    assert found.filter(pl.col("measure") == "brier").get_column("threshold").null_count() == len(
        found.filter(pl.col("measure") == "brier")
    )


def test_a_day_is_what_its_outcomes_come_to(quiet_ferry: Platform) -> None:
    came = quiet_ferry.lake.scan(CAME).filter(pl.col("day").is_between(CHANGED - 6 * ONE_DAY, CHANGED)).collect()
    came = came.sort("day", "crossing_id")
    for window, part in ((1, came.filter(pl.col("day") == CHANGED)), (7, came)):
        truth, said = part["late"].cast(pl.Float64).to_numpy(), part["probability"].to_numpy()
        due, found = naive_expected(said.tolist()), whole(rows(quiet_ferry), CHANGED, window=window)
        for measure, judged in judge(truth, said).items():
            row = found[measure]
            assert row["rows"] == len(part)
            assert row["value"] == pytest.approx(judged.value)
            if measure in due:
                assert row["expected"] == pytest.approx(due[measure])
            if measure == "calibration_error":
                assert row["low"] is None
            else:
                assert row["low"] <= row["value"] <= row["high"]  # type: ignore[operator]


def test_labels_that_flip_alarm_the_first_day_and_are_told_the_second_and_since_when(there: Platform) -> None:
    last = watched.WATCHED.last
    first, told = last - 2 * ONE_DAY, last - ONE_DAY
    change(there, Days(first, last), "flipped")
    assert as_expected(make(there, "late_performance", on(first))).passed
    assert whole(rows(there), first)["log_loss"]["alarmed"]
    second = as_expected(make(there, "late_performance", on(told)))
    assert not second.passed
    assert not second.blocking
    assert f"all rows since {told}" in second.description
    assert f"since {told}" in second.facts
    third = as_expected(make(there, "late_performance", on(last)))
    assert "all rows" in third.facts[f"since {told}"]  # still the same incident, a slice may have begun since


def test_what_lasts_is_not_over_because_a_day_of_before_is_made_anew(there: Platform) -> None:
    last = watched.WATCHED.last
    days = Days(last - 3 * ONE_DAY, last)
    change(there, days, "flipped")
    lasting = as_expected(make(there, "late_performance", days))
    assert not lasting.passed
    anew = as_expected(make(there, "late_performance", on(last - 12 * ONE_DAY)))
    assert anew.passed is False
    assert f"measures on {last - 12 * ONE_DAY} is worse" in anew.description
    assert f"Worse than the probabilities let expect on the newest day, {last}: " in anew.description
    told = [{n: said for n, said in check.facts.items() if n.startswith("since ")} for check in (lasting, anew)]
    assert told[0] == told[1] != {}


def test_a_boat_that_begins_to_be_late_alarms_as_its_own_slice(there: Platform) -> None:
    make(there, "late_performance", Days(date(2023, 5, 1), watched.PREDICTED.last))
    told = rows(there).filter("alarmed", pl.col("sliced_by") == "boat")
    assert set(told.get_column("slice")) == {"old"}
    assert told.get_column("day").min() <= date(2023, 5, 3)  # type: ignore[operator]


def test_labels_that_have_not_matured_never_count(there: Platform) -> None:
    early = datetime(2023, 4, 21, 12, tzinfo=UTC)  # half of the crossings of the day before are known
    made = make(there, "late_performance", Days(CHANGED, CHANGED + ONE_DAY), now=early)
    found = rows(there)
    known = there.lake.scan(CAME).filter(pl.col("day") == CHANGED, pl.col("known_at") <= early + timedelta(minutes=9))
    assert 0 < whole(found, CHANGED)["auc"]["rows"] <= len(known.collect()) < watched.PER_DAY  # type: ignore[operator]
    assert whole(found, CHANGED + ONE_DAY)["auc"]["rows"] == 0
    assert made.checks


def test_a_day_without_labels_is_told_as_such_and_the_check_fails(there: Platform) -> None:
    catalogue = watched.catalogue(windows=(1,))
    made = make(there, "late_performance", on(CHANGED), catalogue=catalogue, now=datetime(2023, 4, 20, 4, tzinfo=UTC))
    found = whole(rows(there), CHANGED)
    assert all(row["too_few"] and row["value"] is None and not row["alarmed"] for row in found.values())
    assert not as_expected(made).passed
    assert "Too few rows have a yes or no up to 2023-04-20 to be compared: 0." in as_expected(made).description


def test_rows_that_the_model_learned_from_never_count(there: Platform) -> None:
    make(there, "late_performance", on(watched.PREDICTED.first))
    found = rows(there).filter(pl.col("day") == watched.PREDICTED.first)
    assert found.get_column("window").unique().to_list() == [1]  # seven days would begin before the first
    assert found.get_column("rows").unique().to_list() == [0]
    assert found.get_column("too_few").all()


def test_of_a_day_with_one_outcome_there_is_no_auc_but_all_else(there: Platform) -> None:
    change(there, on(CHANGED), "never")
    make(there, "late_performance", on(CHANGED))
    found = whole(rows(there), CHANGED)
    assert found["auc"]["value"] is None
    assert found["auc"]["excess"] is None
    assert not found["auc"]["alarmed"]
    assert 0.5 < found["auc"]["expected"] <= 1  # type: ignore[operator]
    assert found["base_rate"]["value"] == 0
    assert found["log_loss"]["value"] is not None


def test_two_champions_in_a_window_are_both_named_and_the_newest_sets_the_threshold(there: Platform) -> None:
    other = watched.catalogue(learner=replace(watched.model.learner, rounds=6))
    make(there, "late_model", None, catalogue=other)
    make(there, "late_predictions", LATER, catalogue=other)
    make(there, "late_outcomes", LATER, catalogue=other)
    make(there, "late_performance", on(LATER.last), catalogue=other)
    found = rows(there).filter(pl.col("day") == LATER.last)
    assert whole(found, LATER.last, window=7)["auc"]["model_versions"] == [1, 2]
    assert whole(found, LATER.last)["auc"]["model_versions"] == [2]
    kept = there.lake.scan(profile_folder("ferry", "late_performance")).collect()
    own = kept.filter(pl.col("model_version") == 2, pl.col("window") == 7, pl.col("sliced_by") == "all")
    for measure, threshold in own.select("measure", "threshold").iter_rows():
        assert whole(found, LATER.last, window=7)[measure]["threshold"] == threshold


def test_thresholds_are_learned_once_for_a_version(there: Platform) -> None:
    said: list[str] = []
    run = replace(shop.run(watched.NOW), say=said.append)
    materialize(there, watched.CATALOGUE, "late_performance", run, days=on(CHANGED))
    assert not said
    looser = watched.catalogue(alarms_per_month=2.0)
    materialize(there, looser, "late_performance", run, days=on(CHANGED))
    assert said == ["ferry/late_performance: learns from report what is too much of version 1"]


def test_thresholds_that_were_learned_in_another_way_are_learned_anew(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    run = replace(shop.run(watched.NOW), say=said.append)
    monkeypatch.setattr(thresholds, "_METHOD", "another")
    for _ in range(2):
        materialize(there, watched.CATALOGUE, "late_performance", run, days=on(CHANGED))
    assert said == ["ferry/late_performance: learns from report what is too much of version 1"]


def test_where_there_are_too_few_days_to_learn_from_nothing_is_scored(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be scored again with each day."""
    monkeypatch.setattr(thresholds, "FEWEST_WINDOWS", 1_000)
    monkeypatch.setattr(thresholds, "_METHOD", "another")
    monkeypatch.setattr(thresholds, "_scored", lambda *_: pytest.fail("it was scored"))
    made = make(there, "late_performance", on(CHANGED))
    assert whole(rows(there), CHANGED)["log_loss"]["threshold"] is None
    assert "version 1 of ferry.late_model: ferry/late_performance: fewer than 1000 windows of 1 days" in (
        as_expected(made).description
    )


def test_of_a_version_that_is_gone_days_are_measured_and_the_check_says_so(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "_version", lambda *_: None)
    made = make(there, "late_performance", on(CHANGED))
    found = whole(rows(there), CHANGED)
    assert found["log_loss"]["value"] is not None
    assert found["log_loss"]["threshold"] is None
    assert not as_expected(made).passed
    assert "version 1 of ferry.late_model is no longer in MLflow" in as_expected(made).description


def test_predictions_tell_what_to_expect_of_them_before_any_label_is_in(there: Platform) -> None:
    made = make(there, "late_predictions", on(CHANGED))
    said = there.lake.scan(table_folder("ferry", "late_predictions")).filter(pl.col("day") == CHANGED).collect()
    probability = np.asarray(said["probability"])
    due = naive_expected(probability.tolist())
    assert made.facts["expected log loss (if calibrated)"] == pytest.approx(due["log_loss"])
    assert made.facts["expected AUC (if calibrated)"] == pytest.approx(due["auc"])
    in_sample = make(there, "late_predictions", on(watched.PREDICTED.first))
    assert not any(title.startswith("expected") for title in in_sample.facts)


def test_a_day_made_again_is_the_same_and_no_new_version(there: Platform) -> None:
    before = rows(there)
    made = make(there, "late_performance", Days(CHANGED, CHANGED + 2 * ONE_DAY), draws=True)
    assert not made.is_new
    assert rows(there).equals(before)
    assert all(picture.startswith(b"\x89PNG") for picture in made.pictures.values())
    assert made.tables["slices"].height == 4
