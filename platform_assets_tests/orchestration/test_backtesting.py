"""A backtest as Dagster runs it: month by month, behind the view and the label, the same as by a direct call."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from platform_assets.declarations.times import Days
from platform_assets.orchestration.automation import left_over
from platform_assets.orchestration.records import compare_records
from platform_assets.orchestration.refresh import divide
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.plan import plan
from platform_assets_tests import ferry, shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed

APRIL, MAY, JUNE = (Days(month, month) for month in ferry.MONTHS)
NOW = datetime(2023, 7, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def sailed(tmp_path_factory: pytest.TempPathFactory, empty_data: Path, empty_registry: Path) -> Path:
    """Everything up to the view, made by Dagster; no month yet."""
    data = tmp_path_factory.mktemp("sailed") / "data"
    shutil.copytree(empty_data, data)
    shutil.copytree(empty_registry, data / "mlflow", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(data))
        with deployed(data, ferry.CATALOGUE) as there:
            ferry.land(there.settings.landing)
            assert there.execute(*ferry.TO_VIEW, days=ferry.SAILED).success
    return data


@pytest.fixture
def sailing(sailed: Path, tmp_path: Path) -> Iterator[Deployment]:
    shutil.copytree(sailed, tmp_path / "data")
    with deployed(tmp_path / "data", ferry.CATALOGUE) as there:
        yield there


def test_a_month_made_by_dagster_is_the_month_of_a_direct_call(
    sailing: Deployment, sailed: Path, tmp_path: Path
) -> None:
    shutil.copytree(sailed, tmp_path / "direct")
    direct = shop.platform(tmp_path / "direct")
    made = materialize(direct, ferry.CATALOGUE, "late_backtest", shop.run(NOW), days=MAY)

    assert sailing.execute("late_backtest", days=MAY).success

    assert sailing.materialized("late_backtest") == {"2023-05-01"}
    rows = sailing.rows("late_backtest").sort("predictor")
    assert rows.equals(direct.lake.scan("ferry/late_backtest").collect().sort("predictor"))
    shown = sailing.instance.get_latest_materialization_event(sailing.key("late_backtest"))
    assert shown is not None
    assert shown.asset_materialization.partition == "2023-05-01"
    metadata = {name: value.value for name, value in shown.asset_materialization.metadata.items()}
    assert metadata["content hash"] == made.hashes[MAY.first]
    assert metadata["performance by month"].startswith("![performance by month](data:image/png;base64,")
    assert metadata["trees"] == made.facts["trees"]
    assert sailing.check("late_backtest", "beats_baselines").passed


def test_the_night_makes_the_months_that_were_never_made_and_nothing_else(sailing: Deployment) -> None:
    own = ferry.late_backtest.partitions

    def wanted(now: datetime) -> dict[date, list[str]]:
        records = compare_records(sailing.instance, sailing.platform, ferry.CATALOGUE)
        return left_over(sailing.platform, ferry.CATALOGUE, own, now=now, records=records)

    assert wanted(datetime(2023, 6, 5, tzinfo=UTC)) == {m: ["late_backtest"] for m in ferry.MONTHS[:2]}
    assert sailing.execute("late_backtest", days=APRIL).success
    assert wanted(NOW) == {m: ["late_backtest"] for m in ferry.MONTHS[1:]}
    (job,) = (job for job in sailing.definitions.jobs or () if "months_from" in job.name)
    assert job.name == "ferry_months_from_2023_04_01_to_2023_06_10"
    schedules = {schedule.job_name for schedule in sailing.definitions.schedules or ()}
    assert job.name in schedules


def test_a_refresh_makes_each_month_in_a_run_of_its_own_and_is_done(sailing: Deployment) -> None:
    runs = [run for run in divide(ferry.CATALOGUE, plan(sailing.platform, ferry.CATALOGUE, now=NOW)) if run.days]
    assert [(run.names, run.days) for run in runs] == [(("late_backtest",), month) for month in (APRIL, MAY, JUNE)]
    sailing.refresh()
    assert sailing.materialized("late_backtest") == {str(month) for month in ferry.MONTHS}
    assert plan(sailing.platform, ferry.CATALOGUE, now=datetime.now(UTC)).steps == ()
    assert sailing.check("late_backtest", "up_to_date").passed
    assert sailing.check("late_backtest", "days_complete").passed
    assert sailing.rows("late_backtest").filter(pl.col("predictor") == "late_model").height == 3


def test_it_stands_behind_the_view_and_the_label_with_a_run_for_each_month(sailing: Deployment) -> None:
    node = sailing.definitions.resolve_asset_graph().get(sailing.key("late_backtest"))
    assert {key.path[-1] for key in node.parent_keys} == {"crossings_asked", "crossing_late"}
    assert node.backfill_policy == dg.BackfillPolicy.multi_run()
    assert node.automation_condition is None
    assert node.kinds >= {"deltalake", "lightgbm"}
