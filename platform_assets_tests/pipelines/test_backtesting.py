"""A walk-forward backtest: nothing of a fold is known after it, nothing else touches it, and MLflow shows it as it stands."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from platform_assets.compute.metrics import performance
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.times import Days
from platform_assets.declarations.tuning import Tuning, whole
from platform_assets.errors import ModelError, PartitionError, TableMissing
from platform_assets.lake import ledger
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.plan import plan
from platform_assets.pipelines.run import Inputs, Materialization, Platform
from platform_assets.pipelines.staleness import staleness
from platform_assets.pipelines.training import backtesting
from platform_assets.pipelines.training.backtesting import divide_fold, make_fold
from platform_assets_tests import ferry, shop

NOW = datetime(2023, 7, 2, tzinfo=UTC)
APRIL, MAY, JUNE = ferry.MONTHS
FOLD = ferry.late_backtest


def day(*when: int) -> Days:
    return Days(date(*when), date(*when))


def make(
    there: Platform, *names: str, days: Days = ferry.SAILED, catalogue: Catalogue = ferry.CATALOGUE
) -> list[Materialization]:
    return [materialize(there, catalogue, name, shop.run(NOW), days=days) for name in names]


def make_month(
    there: Platform, month: date, catalogue: Catalogue = ferry.CATALOGUE, *, draws: bool = False
) -> Materialization:
    return materialize(there, catalogue, FOLD.name, shop.run(NOW, draws=draws), days=Days(month, month))


@pytest.fixture(scope="module")
def finished_ferry(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Path:
    """Everything up to the view, and the three months."""
    root = tmp_path_factory.mktemp("ferry")
    shutil.copytree(empty_registry, root / "mlflow")
    ferry.land(root / "landing")
    there = shop.platform(root)
    make(there, *ferry.TO_VIEW)
    for month in ferry.MONTHS:
        make_month(there, month)
    return root


@pytest.fixture
def there(finished_ferry: Path) -> Platform:
    return shop.platform(finished_ferry)


@pytest.fixture
def copy(finished_ferry: Path, tmp_path: Path) -> Platform:
    shutil.copytree(finished_ferry, tmp_path / "ferry")
    return shop.platform(tmp_path / "ferry")


def table(there: Platform) -> pl.DataFrame:
    return there.lake.scan("ferry/late_backtest").collect().sort("cutoff", "predictor")


def pinned(there: Platform, month: date, catalogue: Catalogue = ferry.CATALOGUE) -> Inputs:
    return Inputs.pin(there, catalogue, catalogue[FOLD.name], Days(month, month))


def correct(there: Platform, days: Days, *, spoilt: bool = True) -> None:
    """Another delivery of `days`, and everything before the backtest made from it."""
    ferry.land(there.landing.root, days, spoilt=spoilt)
    decided = plan(there, ferry.CATALOGUE, now=NOW)
    for step in decided.steps:
        if step.name in ferry.TO_VIEW:
            make_days = step.days or ()
            for part in make_days:
                make(there, step.name, days=part)


def stale(there: Platform, catalogue: Catalogue = ferry.CATALOGUE) -> set[date]:
    step = plan(there, catalogue, now=NOW)[FOLD.name]
    return {day for days in step.days or () for day in days} if step else set()


def naive_parts(month: date) -> dict[str, str]:
    """Each crossing's part, from the books: no frames, no ranges."""
    begin = {m: ferry.SAILING.start_of(m) for m in (*ferry.MONTHS, date(2023, 7, 1))}
    cutoff = begin[month]
    end = begin[date(month.year, month.month + 1, 1)]
    parts = {}
    for of in ferry.SAILED:
        for row in ferry.rows_of(of):
            left = datetime.strptime(row["left_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            known, gap = left + ferry.MATURES_AFTER, timedelta(days=2)
            select = cutoff - FOLD.select
            if left < select - gap and known < select - gap:
                parts[row["crossing_id"]] = "fit"
            elif select <= left < cutoff - gap and known < cutoff - gap:
                parts[row["crossing_id"]] = "select"
            elif cutoff <= left < end:
                parts[row["crossing_id"]] = "report"
    return parts


@pytest.mark.parametrize("month", ferry.MONTHS, ids=str)
def test_the_parts_of_a_fold_are_those_of_the_books(there: Platform, month: date) -> None:
    rows = divide_fold(FOLD, pinned(there, month), month, run=shop.run(NOW))
    found = dict(rows.select("crossing_id", "split").iter_rows())
    assert len(found) == len(rows), "no row is in two parts"
    assert found == naive_parts(month)
    assert set(found.values()) == {"fit", "select", "report"}


def test_a_fold_has_a_row_for_the_model_and_each_baseline(there: Platform) -> None:
    rows = table(there)
    assert rows.group_by("day").len().sort("day").rows() == [(month, 3) for month in ferry.MONTHS]
    assert set(rows["predictor"]) == {"late_model", "the base rate", "averages by boat"}
    assert rows["cutoff"].unique().sort().to_list() == [ferry.SAILING.start_of(month) for month in ferry.MONTHS]
    model = rows.filter(pl.col("predictor") == "late_model")
    assert model["trees"].null_count() == 0
    assert (model["auc"] > 0.7).all()
    within = (pl.col("auc_low") <= pl.col("auc")) & (pl.col("auc") <= pl.col("auc_high"))
    assert model.select(within.all()).item()
    assert rows.filter(pl.col("predictor") != "late_model").select(pl.col("trees", "digest").is_null().all()).row(
        0
    ) == (True, True)


def test_its_figures_are_those_of_the_fitted_fold(there: Platform) -> None:
    fold = make_fold(FOLD, pinned(there, MAY), MAY, run=shop.run(NOW))
    report = fold.rows.filter(pl.col("split") == "report")
    found = performance(report["late"].cast(pl.Float64).to_numpy(), fold.fitted.classifier.score(report))
    row = table(there).row(by_predicate=(pl.col("day") == MAY) & (pl.col("predictor") == "late_model"), named=True)
    assert (row["auc"], row["log_loss"], row["brier"]) == (found.auc, found.log_loss, found.brier)
    assert row["digest"] == fold.fitted.classifier.digest
    learned = fold.rows.filter(pl.col("split") != "report")
    base = np.full(len(report), learned["late"].mean())
    told = performance(report["late"].cast(pl.Float64).to_numpy(), base)
    rate = table(there).row(by_predicate=(pl.col("day") == MAY) & (pl.col("predictor") == "the base rate"), named=True)
    assert rate["log_loss"] == pytest.approx(told.log_loss, abs=1e-12)


def test_what_comes_after_the_month_changes_nothing(copy: Platform) -> None:
    before = table(copy)
    correct(copy, Days(date(2023, 5, 1), date(2023, 6, 10)))
    again = make_month(copy, APRIL)
    assert not again.is_new
    assert table(copy).filter(pl.col("day") == APRIL).equals(before.filter(pl.col("day") == APRIL))


def test_what_comes_in_the_month_changes_its_figures_and_not_its_model(copy: Platform) -> None:
    before = table(copy)
    correct(copy, Days(date(2023, 4, 1), date(2023, 4, 30)))
    assert make_month(copy, APRIL).is_new
    own = [
        rows.row(by_predicate=(pl.col("day") == APRIL) & (pl.col("predictor") == "late_model"), named=True)
        for rows in (before, table(copy))
    ]
    assert own[0]["digest"] == own[1]["digest"]
    assert own[0]["log_loss"] != own[1]["log_loss"]
    others = pl.col("day") != APRIL
    assert table(copy).filter(others).equals(before.filter(others))


def test_labels_that_are_not_in_yet_are_no_rows_of_it(there: Platform) -> None:
    then = ferry.SAILING.start_of(date(2023, 5, 20))
    rows = divide_fold(FOLD, pinned(there, MAY), MAY, run=shop.run(then))
    last = rows["left_at"].max()
    assert isinstance(last, datetime)
    assert last + ferry.MATURES_AFTER <= then + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("corrected", "wanted"),
    [
        (day(2023, 2, 3), {APRIL, MAY, JUNE}),
        (day(2023, 4, 30), {APRIL, MAY, JUNE}),
        (day(2023, 5, 2), {MAY, JUNE}),
        (day(2023, 6, 3), {JUNE}),
    ],
)
def test_a_corrected_day_makes_stale_the_months_that_read_it(
    copy: Platform, corrected: Days, wanted: set[date]
) -> None:
    """Foreseen before its inputs are made, and seen after; nothing is stale once they are made again."""
    assert stale(copy) == set()
    ferry.land(copy.landing.root, corrected, spoilt=True)
    assert stale(copy) == wanted
    correct(copy, corrected)
    assert stale(copy) == wanted
    found = staleness(copy, ferry.CATALOGUE, now=NOW)[FOLD.name]
    assert (found.unit, found.stale, found.total) == ("month", len(wanted), 3)
    for month in sorted(wanted):
        make_month(copy, month)
    assert stale(copy) == set()


def test_a_month_is_planned_when_its_last_day_is_over_and_its_labels_are_in(tmp_path: Path) -> None:
    there = shop.platform(tmp_path)
    ferry.land(there.landing.root, Days(ferry.SAILED.first, date(2023, 4, 29)))
    make(there, *ferry.TO_VIEW, days=Days(ferry.SAILED.first, date(2023, 4, 29)))
    assert stale(there) == set()
    ferry.land(there.landing.root, day(2023, 4, 30))
    assert stale(there) == {APRIL}
    with pytest.raises(TableMissing, match=r"ferry/late_backtest of 2023-04-01 reads .* of which 2023-04-30 are not"):
        make_month(there, APRIL)


def test_the_ledger_tells_of_each_month(there: Platform) -> None:
    latest = ledger.latest(there.lake, "ferry/late_backtest")
    assert set(latest) == set(ferry.MONTHS)
    assert all(set(entry.inputs) == {"crossings_asked", "crossing_late"} for entry in latest.values())


def test_one_month_at_a_time(there: Platform) -> None:
    with pytest.raises(
        PartitionError, match="one month at a time, each with a model of its own; ask for 2023-04-01 alone"
    ):
        make(there, FOLD.name, days=Days(APRIL, JUNE))
    with pytest.raises(PartitionError, match="ferry/late_backtest: no such partition: 2023-04-02"):
        make(there, FOLD.name, days=day(2023, 4, 2))


def test_a_part_without_rows_is_refused(there: Platform) -> None:
    early = shop.run(ferry.SAILING.start_of(APRIL))
    with pytest.raises(
        ModelError, match="backtest late_backtest: of 2023-04, report have no rows; materialize more days"
    ):
        make_fold(FOLD, pinned(there, APRIL), APRIL, run=early)


def test_it_takes_the_declared_settings_and_not_what_tuning_chose(there: Platform) -> None:
    """What was chosen on a later *select* knows what came."""
    learner = replace(
        ferry.late_model.learner,
        parameters={"min_data_in_leaf": 10, "learning_rate": 0.3},
        tuning=Tuning(trials=2, space={"num_leaves": whole(2, 9, start=4)}),
    )
    tuned = replace(FOLD, model=replace(ferry.late_model, learner=learner))
    fold = make_fold(tuned, pinned(there, APRIL), APRIL, run=shop.run(NOW))
    assert fold.fitted.classifier.digest in set(table(there)["digest"])


def test_every_month_has_to_beat_the_baselines(copy: Platform) -> None:
    made = make_month(copy, APRIL, draws=True)
    check = next(check for check in made.checks if check.name == "beats_baselines")
    assert (check.passed, check.blocking) == (True, False)
    assert check.description == "Better than every baseline in 3 of 3 months."
    correct(copy, Days(date(2023, 5, 1), date(2023, 5, 31)))
    undrawn = make_month(copy, MAY)
    assert undrawn.pictures == {}
    check = next(check for check in undrawn.checks if check.name == "beats_baselines")
    assert not check.passed
    assert check.description == "Better than every baseline in 2 of 3 months. Not in 2023-05."
    assert made.pictures["performance by month"].startswith(b"\x89PNG")
    assert len(made.preview) == 9


def runs(there: Platform, filter_string: str = "") -> list[Any]:
    client = there.registry.client
    experiment = client.get_experiment_by_name("ferry")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], filter_string))


def children(there: Platform) -> dict[str, Any]:
    found = runs(there, "tags.`backtest.month` LIKE '%'")
    assert len({run.data.tags["backtest.month"] for run in found}) == len(found), "one child for each month"
    return {run.data.tags["backtest.month"]: run for run in found}


def test_mlflow_has_a_run_with_a_child_for_each_month(there: Platform) -> None:
    (parent,) = runs(there, "tags.backtest = 'late_backtest'")
    months = children(there)
    assert set(months) == {str(month) for month in ferry.MONTHS}
    for month, run in months.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED"
        row = table(there).row(
            by_predicate=(pl.col("day") == date.fromisoformat(month)) & (pl.col("predictor") == "late_model"),
            named=True,
        )
        assert run.data.metrics["auc"] == row["auc"]
        assert run.data.metrics["log_loss_low"] == row["log_loss_low"]
        assert run.data.params["num_leaves"] == "4"
        assert "baseline_averages_by_boat_auc" in run.data.metrics


def test_a_month_that_comes_out_the_same_is_not_logged_again_and_another_takes_its_place(copy: Platform) -> None:
    before = children(copy)
    make_month(copy, MAY)
    assert children(copy)["2023-05-01"].info.run_id == before["2023-05-01"].info.run_id
    correct(copy, day(2023, 5, 2))
    make_month(copy, MAY)
    after = children(copy)
    assert after["2023-05-01"].info.run_id != before["2023-05-01"].info.run_id
    assert after["2023-04-01"].info.run_id == before["2023-04-01"].info.run_id
    assert copy.registry.client.get_run(before["2023-05-01"].info.run_id).info.lifecycle_stage == "deleted"


def test_stopped_between_mlflow_and_the_table_it_is_made_again_and_logged_once(
    copy: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct(copy, day(2023, 6, 2))

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backtesting, "publish", stopped)
        with pytest.raises(KeyboardInterrupt):
            make_month(copy, JUNE)
    assert stale(copy) == {JUNE}, "the table and the ledger know nothing of it"
    logged = children(copy)["2023-06-01"]
    make_month(copy, JUNE)
    assert children(copy)["2023-06-01"].info.run_id == logged.info.run_id
    assert stale(copy) == set()


def test_half_a_child_is_replaced(copy: Platform) -> None:
    """As a kill leaves it while it is logged."""
    client, old = copy.registry.client, children(copy)["2023-04-01"]
    half = client.create_run(old.info.experiment_id, tags={**old.data.tags})
    make_month(copy, APRIL)
    assert children(copy)["2023-04-01"].info.run_id == old.info.run_id
    assert client.get_run(half.info.run_id).info.lifecycle_stage == "deleted"


def test_another_declaration_has_a_run_of_its_own(copy: Platform) -> None:
    longer = ferry.with_backtest(select=timedelta(days=21))
    assert stale(copy, longer) == set(ferry.MONTHS)
    make_month(copy, APRIL, longer)
    assert len(runs(copy, "tags.backtest = 'late_backtest'")) == 2
