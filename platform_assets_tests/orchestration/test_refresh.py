"""Bringing everything up to date: few runs in the right order, signs of life, a named cause, and no harm by a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from polars.testing import assert_frame_equal

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.times import Days
from platform_assets.orchestration.failures import failures_of
from platform_assets.orchestration.records import UNRECORDED, compare_records, with_unrecorded
from platform_assets.orchestration.refresh import PlannedRun, Progress, RunFailed, carry_out, divide
from platform_assets.pipelines.plan import Plan, Step, plan
from platform_assets_tests import shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed

EARLY = Days(date(2024, 3, 11), date(2024, 3, 20))
DAILY = ("orders", "returns", "product_sales", "customer_history", "category_sales", "order_returned", "orders_asked")


def steps_of(catalogue: Catalogue, *wanted: tuple[str, tuple[Days, ...] | None]) -> Plan:
    """A plan of these steps, in the order of the graph."""
    days = dict(wanted)
    names = [d.name for d in catalogue.declarations if d.name in days]
    return Plan(steps=tuple(Step(name=name, days=days[name], reasons={}) for name in names))


def planned(there: Deployment) -> Plan:
    records = compare_records(there.instance, there.platform, there.catalogue)
    return with_unrecorded(plan(there.platform, there.catalogue, now=datetime.now(UTC)), there.catalogue, records)


def runs(there: Deployment) -> list[PlannedRun]:
    return divide(there.catalogue, planned(there))


def refresh(there: Deployment) -> list[Progress]:
    heard: list[Progress] = []
    carry_out(there.definitions, there.instance, there.catalogue, runs(there), report=heard.append)
    return heard


class TestDivide:
    def test_a_new_shop_takes_one_run_per_calendar_and_turn(self, there: Deployment) -> None:
        shop.land(there.settings.landing)
        found = runs(there)
        assert [(set(run.names), run.days) for run in found] == [
            ({"products"}, None),
            ({"orders", "product_sales", "customer_history", "category_sales", "orders_asked"}, shop.SOLD),
            ({"returns"}, shop.DELIVERED),
            ({"order_returned"}, shop.SOLD),
            ({"returns_dataset", "return_model"}, None),
            ({"return_predictions", "return_outcomes"}, Days(shop.PREDICTED_FROM, shop.SOLD.last)),
        ]

    def test_every_step_comes_once_and_after_what_it_reads(self, there: Deployment) -> None:
        shop.land(there.settings.landing)
        decided = plan(there.platform, there.catalogue, now=datetime.now(UTC))
        found = divide(there.catalogue, decided)
        placed = {name: at for at, run in enumerate(found) for name in run.names}
        assert sorted(name for run in found for name in run.names) == sorted(step.name for step in decided.steps)
        for name, at in placed.items():
            assert all(placed[read] <= at for read in there.catalogue[name].input_names)
            for run in found:
                assert len({calendar(there.catalogue[held]) for held in run.names}) == 1

    def test_scattered_days_take_a_run_per_range(self) -> None:
        one, other = Days(EARLY.first, EARLY.first), Days(EARLY.last, EARLY.last)
        decided = steps_of(shop.CATALOGUE, ("orders", (one, other)), ("product_sales", (one, other)))
        assert divide(shop.CATALOGUE, decided) == [
            PlannedRun(names=("orders",), days=one),
            # The second range of what is upstream comes before either range of what reads it.
            PlannedRun(names=("orders", "product_sales"), days=other),
            PlannedRun(names=("product_sales",), days=one),
        ]

    def test_nothing_takes_no_run(self) -> None:
        assert divide(shop.CATALOGUE, Plan(steps=())) == []


def test_a_second_refresh_has_nothing_to_do(full: Deployment) -> None:
    assert runs(full) == []


def test_a_refresh_makes_what_direct_calls_make(full: Deployment, tmp_path: Path) -> None:
    direct = shop.platform(tmp_path / "direct")
    shutil.copytree(full.settings.landing, tmp_path / "direct" / "landing")
    shop.make(direct, "products", *DAILY)
    for name in ("products", *DAILY):
        assert_frame_equal(full.rows(name), direct.lake.scan(f"shop/{name}").collect(), check_row_order=False)


def test_what_a_notebook_wrote_is_recorded_by_the_next_refresh(there: Deployment) -> None:
    shop.land(there.settings.landing, EARLY)
    shop.make(there.platform, "products", "orders", days=EARLY)
    step = planned(there)["orders"]
    assert step is not None
    assert (step.days, step.reasons) == ((EARLY,), {UNRECORDED: 10})
    products = planned(there)["products"]
    assert products is not None
    assert (products.days, products.reasons) == (None, {UNRECORDED: 1})
    (whole, sales, *_) = runs(there)
    carry_out(there.definitions, there.instance, there.catalogue, [whole, sales], report=lambda _: None)
    assert there.version("orders") == 0, "equal content writes nothing"
    assert there.materialized("orders") == {str(day) for day in EARLY}


def test_signs_of_life(there: Deployment) -> None:
    shop.land(there.settings.landing, EARLY)
    run = PlannedRun(names=("orders", "product_sales"), days=EARLY)
    heard: list[Progress] = []
    carry_out(there.definitions, there.instance, there.catalogue, [run], report=heard.append)
    assert [(sign.asset, sign.state) for sign in heard] == [
        ("shop/orders", "started"),
        ("shop/orders", "said"),
        ("shop/orders", "done"),
        ("shop/product_sales", "started"),
        ("shop/product_sales", "said"),
        ("shop/product_sales", "done"),
    ]
    assert heard[1].message.startswith("300 rows in ")
    (found,) = there.instance.get_runs()
    assert {sign.run for sign in heard} == {found.run_id}
    assert found.status == dg.DagsterRunStatus.SUCCESS
    assert found.tags["platform/trigger"] == "refresh"


def test_a_refused_delivery_stops_the_refresh_naming_asset_and_cause(there: Deployment) -> None:
    shop.land(there.settings.landing, EARLY)
    shop.land_rows(there.settings.landing, "returns", EARLY.last, [{"order_id": "x", "returned_at": "yesterday"}])
    with pytest.raises(RunFailed) as refused:
        refresh(there)
    said = str(refused.value)
    assert said.startswith("shop/returns: 1 of ")
    assert "What was finished is kept; run it again to go on." in said
    assert "Traceback" not in said
    assert there.materialized("orders_asked") == {str(day) for day in EARLY}, "what came before is kept"
    assert there.version("order_returned") is None

    shop.land(there.settings.landing, EARLY)
    refresh(there)
    assert there.version("order_returned") == 0
    assert there.version("returns_dataset") is None, "no day of report has landed, so there is nothing to train for"


def test_a_blocking_check_that_fails_is_named_with_what_it_said(there: Deployment) -> None:
    shop.land(there.settings.landing, Days(date(2024, 4, 2), shop.DELIVERED.last))  # days of report alone
    with pytest.raises(
        RunFailed, match=r"splits_filled: fit, select hold no rows; are the days of the split materialized\?"
    ):
        refresh(there)


def test_why_a_run_failed_can_be_read_afterwards(there: Deployment) -> None:
    result = there.execute("product_sales", days=EARLY)
    (said,) = failures_of(there.instance, result.run_id)
    assert said.startswith("shop/product_sales reads shop/orders, which has not been materialized")
    run = there.instance.create_run_for_job(
        there.definitions.resolve_implicit_global_asset_job_def(), status=dg.DagsterRunStatus.STARTED
    )
    there.instance.report_run_failed(run, "the worker was killed")
    assert failures_of(there.instance, run.run_id) == ["the worker was killed"]


_REFRESH = """
import sys
from pathlib import Path
from platform_assets_tests.orchestration.conftest import deployed
from platform_assets_tests.orchestration.test_refresh import carry_out, runs

def report(sign):
    print(sign.state, sign.asset, flush=True)
    if (sign.state, sign.asset) == ("said", "shop/customer_history"):
        sys.stdin.read()

with deployed(Path(sys.argv[1])) as there:
    carry_out(there.definitions, there.instance, there.catalogue, runs(there), report=report)
"""


def test_a_refresh_killed_between_its_write_and_dagsters_record_is_made_up_for(
    empty_data: Path, full_data: Path, tmp_path: Path
) -> None:
    data = tmp_path / "killed"
    shutil.copytree(empty_data, data)
    shutil.copytree(full_data / "landing", data / "landing", dirs_exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", _REFRESH, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DAGSTER_HOME": str(data / "dagster")},
    )
    try:
        assert process.stdout is not None
        assert any(line.split() == ["said", "shop/customer_history"] for line in process.stdout)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()

    with deployed(data) as there:
        before = planned(there)
        assert [step.name for step in before.steps if UNRECORDED in step.reasons] == ["customer_history"]
        daily = [run for run in divide(there.catalogue, before) if set(run.names) <= {"products", *DAILY}]
        carry_out(there.definitions, there.instance, there.catalogue, daily, report=lambda _: None)
        assert not {step.name for step in planned(there).steps} & {"products", *DAILY}
        for name in ("products", *DAILY):
            good = shop.platform(full_data).lake.scan(f"shop/{name}").collect()
            assert_frame_equal(there.rows(name), good, check_row_order=False)
            assert there.version(name) == 0
