"""Maintenance as Dagster runs it: an asset of its own, on a schedule, with a table of what it did and a check."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from platform_assets.declarations.retention import Retention
from platform_assets.declarations.times import Days
from platform_assets.orchestration import maintenance
from platform_assets.orchestration.alerts import Incident, incidents
from platform_assets.orchestration.automation import TRIGGER
from platform_assets.orchestration.maintenance import why_kept
from platform_assets.orchestration.records import compare_records
from platform_assets.pipelines.plan import plan
from platform_assets_tests import shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed

FIRST = shop.OPEN.first
ONE_DAY = Days(FIRST, FIRST)


class InAWeek:
    """A clock by which all readers are done."""

    @staticmethod
    def now(zone: Any) -> datetime:
        return datetime.now(zone) + timedelta(days=8)


def told(there: Deployment, *, kind: str) -> list[Incident]:
    """What is told of maintenance."""
    found = incidents(there.instance, there.catalogue, now=datetime.now(UTC))
    return [one for one in found if one.kind == kind and "maintenance" in one.message]


def run(there: Deployment) -> tuple[dg.ExecuteInProcessResult, dict[str, Any]]:
    result = there.execute("maintenance")
    assert result.success
    (event,) = result.get_asset_materialization_events()
    return result, {title: value.value for title, value in event.materialization.metadata.items()}


@pytest.fixture
def kept_little(empty_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A shop that keeps nothing but what is newest, in which a day was delivered three times."""
    monkeypatch.setattr(maintenance, "datetime", InAWeek)
    shutil.copytree(empty_data, tmp_path / "data")
    catalogue = replace(shop.CATALOGUE, retention=Retention(audit=timedelta(0)))
    with deployed(tmp_path / "data", catalogue) as there:
        for drop in range(3):
            shop.land_rows(there.settings.landing, "orders", FIRST, shop.rows_to_land("orders", FIRST)[drop:])
            assert there.execute("orders", days=ONE_DAY).success
        yield there


def test_a_run_shows_what_it_did_table_by_table(kept_little: Deployment) -> None:
    result, shown = run(kept_little)
    titles, _, *lines = (line.strip("| ").split(" | ") for line in shown["tables"].splitlines())
    assert titles == [
        "table", "versions kept", "because of", "files merged", "files removed", "bytes removed", "log files removed",
    ]  # fmt: skip
    assert [line[0] for line in lines] == ["shop/orders", "profiles/shop/orders", "ledger"]
    orders, profiles = (dict(zip(titles, line, strict=True)) for line in lines[:2])
    assert (orders["versions kept"], orders["because of"], orders["files removed"]) == ("1", "newest", "2")
    assert (profiles["versions kept"], profiles["because of"], profiles["files removed"]) == ("1", "newest", "2")
    assert (shown["versions kept"], shown["files removed"], shown["files merged"]) == (3, 4, 3)
    removed = [int(table["bytes removed"].replace(",", "")) for table in (orders, profiles)]
    assert sum(removed) == shown["bytes removed"]
    assert min(removed) > 0
    assert shown["log files removed"] == 6
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.check_name) == (True, "kept_versions_whole")
    assert check.description == "All 3 kept versions open and have all their files."
    assert len(kept_little.rows("orders")) == 28


def test_a_version_that_is_not_whole_warns_and_is_alerted(kept_little: Deployment) -> None:
    for file in (kept_little.settings.lake / "shop" / "orders").rglob("day=*/*.parquet"):
        file.unlink()
    run(kept_little)
    check = kept_little.check("maintenance", "kept_versions_whole")
    assert (check.passed, check.blocking, check.severity) == (False, False, dg.AssetCheckSeverity.WARN)
    assert "shop/orders version 2 (newest): 1 of its 1 files are missing" in check.description
    (incident,) = told(kept_little, kind="check failed")
    assert incident.name == "shop/maintenance:kept_versions_whole"
    assert f"shop/maintenance failed kept_versions_whole: {check.description}" in incident.message


def test_a_table_that_fails_stands_in_the_table(kept_little: Deployment) -> None:
    (kept_little.settings.lake / "shop" / "orders" / "_delta_log" / f"{2:020}.json").write_text("{")
    _, shown = run(kept_little)
    assert "cannot read the table at" in shown["tables"].splitlines()[-1]
    assert shown["files merged"] == 3, "the ledger's"


def test_a_failed_run_is_alerted_once(kept_little: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        msg = "out of order"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(maintenance, "maintain", broken)
    assert not kept_little.execute("maintenance").success
    (incident,) = told(kept_little, kind="run failed")
    assert "shop/maintenance: ZeroDivisionError: out of order" in incident.message


def test_it_runs_early_on_sunday_by_the_clock_of_the_shop(there: Deployment) -> None:
    repository = there.definitions.get_repository_def()
    schedule = repository.get_schedule_def("shop_maintenance_weekly")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 4 * * 0", shop.BERLIN)
    context = dg.build_schedule_context(
        instance=there.instance,
        scheduled_execution_time=datetime(2024, 4, 21, 2, 30, tzinfo=UTC),
        repository_def=repository,
    )
    data = schedule.evaluate_tick(context)
    (request,) = data.run_requests or []
    assert request.tags[TRIGGER] == "maintenance"
    job = repository.get_job(schedule.job_name)
    assert job.asset_layer.executable_asset_keys == {there.key("maintenance")}


def test_it_stands_in_the_graph_beside_the_others(there: Deployment) -> None:
    key, graph = there.key("maintenance"), there.definitions.resolve_asset_graph()
    node = graph.get(key)
    assert (node.group_name, node.parent_keys, node.child_keys, node.partitions_def) == (
        "maintenance", set(), set(), None,
    )  # fmt: skip
    repository = there.definitions.get_repository_def()
    sensor = repository.get_sensor_def("shop_automation")
    assert key not in sensor.asset_selection.resolve(graph)
    assert [job.name for job in repository.get_all_jobs() if key in job.asset_layer.executable_asset_keys] != []


def test_nothing_else_trips_over_it(full: Deployment) -> None:
    before = plan(full.platform, full.catalogue, now=shop.NOW)
    assert before.steps == ()
    open_before = incidents(full.instance, full.catalogue, now=datetime.now(UTC))
    assert full.execute("maintenance").success
    assert incidents(full.instance, full.catalogue, now=datetime.now(UTC)) == open_before
    assert plan(full.platform, full.catalogue, now=shop.NOW) == before
    assert compare_records(full.instance, full.platform, full.catalogue).lost == {}


def test_reasons_are_counted() -> None:
    assert why_kept([("audit",), ("audit", "readers"), ("newest",)]) == "audit (2), readers, newest"
