"""What runs by itself: what is asked for when, and what is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.storage.tags import SENSOR_NAME_TAG

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Model
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import Daily, Days, day_ranges
from platform_assets.declarations.views import TrainingDataset
from platform_assets.orchestration.automation import MOST_DAYS_A_TICK, TRIGGER, condition_of
from platform_assets.pipelines.checks import UP_TO_DATE
from platform_assets.pipelines.plan import plan
from platform_assets_tests import quotes, shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed

Requested = dict[str, set[str]]
EARLY = Days(date(2024, 3, 11), date(2024, 3, 20))
LANDING = "shop_landing"
SALES_JOB = "shop_days_from_2024_03_11_to_2024_04_14"
RETURNS_JOB = "shop_days_from_2024_03_11_to_2024_04_17"
PREDICTIONS_JOB = "shop_days_from_2024_04_01_to_2024_04_14"


def said(*days: date) -> set[str]:
    return {str(day) for day in days}


def tick(there: Deployment, cursor: Any = None) -> tuple[Requested, Any]:
    """One evaluation of all conditions: the partitions asked for, by asset."""
    result = dg.evaluate_automation_conditions(there.definitions, there.instance, cursor=cursor)
    keys = {there.key(d.name): d.name for d in there.catalogue.declarations}
    asked = {
        name: set(result.get_requested_partitions(key)) for key, name in keys.items() if result.get_num_requested(key)
    }
    return asked, result.cursor


def follow(there: Deployment, cursor: Any) -> Requested:
    """Carry out what is asked for, tick by tick, until nothing is; everything that was asked for."""
    everything: Requested = {}
    for _ in range(10):
        asked, cursor = tick(there, cursor)
        if not asked:
            return everything
        for name in (d.name for d in there.catalogue.declarations):
            for days in day_ranges({date.fromisoformat(day) for day in asked.get(name, ())}):
                assert there.execute(name, days=days).success
        everything = {name: everything.get(name, set()) | asked.get(name, set()) for name in {**everything, **asked}}
    raise AssertionError(f"still asking: {asked}")


def ingest(there: Deployment, *days: date) -> None:
    for day in days:
        assert there.execute("orders", days=Days(day, day)).success
        assert there.execute("returns", days=Days(day, day)).success


def bring_up(there: Deployment, days: Days) -> None:
    """Land `days` and materialize everything daily that can be."""
    shop.land(there.settings.landing, days)
    assert there.execute("products").success
    assert there.execute("orders", "returns", days=days).success
    assert there.execute("product_sales", "customer_history", "category_sales", "orders_asked", days=days).success
    assert there.execute("order_returned", days=Days(days.first, days.last - timedelta(days=3))).success


def land_changed(there: Deployment, day: date, source: str = "orders") -> None:
    """Deliver a day again, with its last row left out."""
    shop.land_rows(there.settings.landing, source, day, shop.rows_to_land(source, day)[:-1])


def evaluate(there: Deployment, name: str, cursor: str | None = None) -> Any:
    repository = there.definitions.get_repository_def()
    with dg.build_sensor_context(
        instance=there.instance,
        repository_def=repository,
        cursor=cursor,
        sensor_name=name,
        resources=there.definitions.resources,
    ) as context:
        return repository.get_sensor_def(name).evaluate_tick(context)


def evaluate_schedule(there: Deployment, name: str, at: datetime) -> Any:
    repository = there.definitions.get_repository_def()
    with dg.build_schedule_context(
        instance=there.instance,
        repository_def=repository,
        scheduled_execution_time=at,
        resources=there.definitions.resources,
    ) as context:
        return repository.get_schedule_def(name).evaluate_tick(context)


def launch(there: Deployment, requests: Iterable[dg.RunRequest], job: str | None = None) -> list[bool]:
    """Run each request as the daemon would: the job, the selection, the partition, the tags."""
    return [
        there.definitions.resolve_job_def(request.job_name or job)
        .execute_in_process(
            instance=there.instance,
            asset_selection=list(request.asset_selection),
            partition_key=request.partition_key,
            tags=dict(request.tags),
            raise_on_error=False,
        )
        .success
        for request in requests
    ]


def asked_for(requests: Iterable[dg.RunRequest]) -> dict[tuple[str | None, str], set[str]]:
    return {(r.partition_key, r.job_name): {key.path[-1] for key in r.asset_selection} for r in requests}


class TestConditions:
    def test_sources_and_training_have_other_triggers(self, there: Deployment) -> None:
        graph = there.definitions.resolve_asset_graph()
        for declaration in there.catalogue.declarations:
            condition = graph.get(there.key(declaration.name)).automation_condition
            assert (condition is None) == isinstance(declaration, Source | TrainingDataset | Model)

    def test_a_training_dataset_that_says_how_stale_it_may_be_runs_by_itself(self) -> None:
        catalogue = shop.with_changed("returns_dataset", max_stale=0.05)
        labels = {
            name: condition.get_label()
            for name in ("returns_dataset", "return_model")
            if (condition := condition_of(catalogue, catalogue[name])) is not None
        }
        assert labels == {"returns_dataset": "rebuild when too stale", "return_model": "follow the inputs"}

    def test_the_runs_of_a_day_leave_the_look_at_everything_to_the_morning(self, there: Deployment) -> None:
        shop.land(there.settings.landing, [EARLY.first])
        for request in evaluate(there, LANDING).run_requests:
            assert {key.asset_key for key in request.asset_check_keys} == set(request.asset_selection)
            assert UP_TO_DATE not in {key.name for key in request.asset_check_keys}

    def test_nothing_is_asked_for_right_after_a_refresh(self, full: Deployment) -> None:
        asked, cursor = tick(full)
        assert asked == {}
        assert tick(full, cursor)[0] == {}

    def test_a_new_day_reaches_what_it_completes_and_nothing_else(self, there: Deployment) -> None:
        bring_up(there, EARLY)
        asked, cursor = tick(there)
        assert asked == {}
        new = date(2024, 3, 21)
        shop.land(there.settings.landing, [new])
        ingest(there, new)

        everything = follow(there, cursor)

        follows = {name: said(new) for name in ("product_sales", "customer_history", "category_sales", "orders_asked")}
        assert everything == follows | {"order_returned": said(date(2024, 3, 18))}

    def test_a_day_delivered_again_reaches_the_days_that_read_it(self, full: Deployment) -> None:
        _, cursor = tick(full)
        again = date(2024, 3, 15)
        land_changed(full, again)
        stale = plan(full.platform, full.catalogue, now=datetime.now(UTC))
        expected = {
            step.name: {str(day) for days in step.days or () for day in days}
            for step in stale.steps
            if full.catalogue[step.name].input_names
            and step.days
            # The plan retrains, and scores anew with what comes of it; the conditions leave both alone.
            and not step.name.startswith("return_")
        }
        assert expected["product_sales"] == said(again, date(2024, 3, 16), date(2024, 3, 17))
        ingest(full, again)

        assert follow(full, cursor) == expected

        left = plan(full.platform, full.catalogue, now=datetime.now(UTC))
        assert {step.name for step in left.steps} == {
            "returns_dataset",
            "return_model",
            "return_predictions",
            "return_outcomes",
        }

    def test_predictions_and_outcomes_follow_the_view_but_not_the_model(self, full: Deployment) -> None:
        _, cursor = tick(full)
        assert full.execute("return_model").success
        assert full.platform.registry.champion("shop", "return_model") == 2
        asked, cursor = tick(full, cursor)
        assert asked == {}

        last = date(2024, 4, 14)
        land_changed(full, last)
        ingest(full, last)
        everything = follow(full, cursor)
        assert everything["return_predictions"] == said(last)
        assert everything["return_outcomes"] == everything["order_returned"] == said(*Days(date(2024, 4, 11), last))
        assert set(full.rows("return_predictions", days=Days(last, last))["model_version"]) == {2}

    def test_a_failed_blocking_check_holds_what_is_downstream(self, full: Deployment) -> None:
        _, cursor = tick(full)
        again = date(2024, 3, 15)
        land_changed(full, again)
        shop.land_rows(full.settings.landing, "returns", again, [{"order_id": "x", "returned_at": "yesterday"}])
        assert full.execute("orders", days=Days(again, again)).success
        assert not full.execute("returns", days=Days(again, again)).success

        asked, cursor = tick(full, cursor)
        assert "product_sales" in asked
        assert "order_returned" not in asked

        land_changed(full, again, "returns")
        assert full.execute("returns", days=Days(again, again)).success
        asked, _ = tick(full, cursor)
        assert asked["order_returned"] == said(*(again - timedelta(days=n) for n in range(4)))

    def test_a_challenger_that_failed_does_not_stop_the_champion(self, full: Deployment) -> None:
        _, cursor = tick(full)
        full.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=full.key("return_model"),
                check_name="beats_baselines",
                passed=False,
                blocking=True,
                metadata={},
                severity=dg.AssetCheckSeverity.ERROR,
                description="worse",
                target_materialization_data=None,
                partition=None,
            )
        )
        day = Days(date(2024, 4, 10), date(2024, 4, 10))
        assert full.execute("orders_asked", days=day).success
        assert tick(full, cursor)[0]["return_predictions"] == said(day.first)

    def test_without_a_model_no_prediction_is_asked_for(self, there: Deployment) -> None:
        bring_up(there, Days(EARLY.first, date(2024, 4, 1)))
        _, cursor = tick(there)
        day = date(2024, 4, 2)
        shop.land(there.settings.landing, [day])
        ingest(there, day)
        everything = follow(there, cursor)
        assert everything["orders_asked"] == said(day)
        assert "return_predictions" not in everything


class TestLanding:
    def test_nothing_landed(self, there: Deployment) -> None:
        assert evaluate(there, LANDING).skip_message == "no delivery is new"

    def test_a_day_is_ingested_a_run_per_calendar(self, there: Deployment) -> None:
        day = EARLY.first
        shop.land(there.settings.landing, [day])

        found = evaluate(there, LANDING)

        assert asked_for(found.run_requests) == {
            (None, "shop_whole"): {"products"},
            (str(day), SALES_JOB): {"orders"},
            (str(day), RETURNS_JOB): {"returns"},
        }
        assert {request.tags[TRIGGER] for request in found.run_requests} == {"landing"}
        assert launch(there, found.run_requests) == [True, True, True]
        assert len(there.rows("orders")) == 30
        again = evaluate(there, LANDING, found.cursor)
        assert again.skip_message == "no delivery is new"
        assert again.run_requests == []

    def test_a_day_delivered_again_is_asked_for_once(self, there: Deployment) -> None:
        day = EARLY.first
        shop.land(there.settings.landing, [day])
        first = evaluate(there, LANDING)
        launch(there, first.run_requests)
        land_changed(there, day)
        second = evaluate(there, LANDING, first.cursor)
        assert asked_for(second.run_requests) == {(str(day), SALES_JOB): {"orders"}}
        assert second.run_requests[0].run_key not in {request.run_key for request in first.run_requests}
        assert evaluate(there, LANDING, second.cursor).run_requests == [], "asked for, though not in yet"
        assert launch(there, second.run_requests) == [True]
        assert len(there.rows("orders")) == 29

    def test_a_correction_is_asked_for_once_as_its_day(self, empty_data: Path, tmp_path: Path) -> None:
        shutil.copytree(empty_data, tmp_path / "data")
        day, noon = EARLY.first, datetime(2024, 3, 11, 12, tzinfo=UTC)
        with deployed(tmp_path / "data", quotes.CATALOGUE) as there:
            landing = there.settings.landing
            for n in range(2):
                quotes.land(landing, day + timedelta(days=n), [("chair", noon + timedelta(days=n), 100)])
            first = evaluate(there, "quotes_landing")
            assert launch(there, first.run_requests) == [True, True]
            quotes.land(landing, day, [("chair", noon, 90)], at=noon + timedelta(days=9))
            second = evaluate(there, "quotes_landing", first.cursor)
            assert asked_for(second.run_requests) == {
                (str(day), "quotes_days_from_2024_03_11_to_2024_04_14"): {"quotes"}
            }
            assert second.run_requests[0].run_key not in {request.run_key for request in first.run_requests}
            assert evaluate(there, "quotes_landing", second.cursor).run_requests == [], "asked for, though not in yet"
            assert launch(there, second.run_requests) == [True]
            assert there.rows("quotes", days=Days(day, day))["cents"].to_list() == [100, 90]
            third = evaluate(there, "quotes_landing", second.cursor)
            assert third.skip_message == "no delivery is new"
            quotes.land(landing, day, [("chair", noon, 80)], at=noon + timedelta(days=10))
            assert len(evaluate(there, "quotes_landing", third.cursor or second.cursor).run_requests) == 1

    def test_a_correction_that_is_refused_is_asked_for_once_and_says_what_to_declare(self, there: Deployment) -> None:
        day = EARLY.first
        shop.land(there.settings.landing, [day])
        first = evaluate(there, LANDING)
        launch(there, first.run_requests)
        landing = there.platform.landing
        content = landing.path("orders", day).read_bytes()
        landing.path("orders", day, datetime(2024, 3, 13, 6, tzinfo=UTC)).write_bytes(content)
        second = evaluate(there, LANDING, first.cursor)
        assert launch(there, second.run_requests) == [False]
        contract = there.check("orders", "contract")
        assert not contract.passed
        assert "is a correction, but the source keeps one version of each row" in contract.description
        assert evaluate(there, LANDING, second.cursor).run_requests == []

    def test_a_day_that_landed_before_it_is_over_is_said(self, empty_data: Path, tmp_path: Path) -> None:
        shutil.copytree(empty_data, tmp_path / "data")
        open_ended = Daily(first=EARLY.first, zone=shop.BERLIN)
        catalogue = Catalogue(name="shop", declarations=[replace(shop.orders, partitions=open_ended)])
        future = datetime.now(UTC).date() + timedelta(days=3)
        with deployed(tmp_path / "data", catalogue) as there:
            shop.land_rows(there.settings.landing, "orders", future, [])
            found = evaluate(there, LANDING)
            assert found.run_requests == []
            assert found.skip_message == f"no delivery is new; not over yet, though landed: orders of {future}"

    def test_what_lands_later_does_not_ask_for_its_neighbours_again(self, there: Deployment) -> None:
        day = EARLY.first
        shop.land_rows(there.settings.landing, "orders", day, shop.rows_to_land("orders", day))
        first = evaluate(there, LANDING)
        assert asked_for(first.run_requests) == {(str(day), SALES_JOB): {"orders"}}
        shop.land_rows(there.settings.landing, "returns", day, shop.rows_to_land("returns", day))
        second = evaluate(there, LANDING, first.cursor)
        assert asked_for(second.run_requests) == {(str(day), RETURNS_JOB): {"returns"}}

    def test_a_refused_delivery_is_not_asked_for_until_it_is_delivered_again(self, there: Deployment) -> None:
        day = EARLY.first
        landing = there.settings.landing
        shop.land_rows(landing, "returns", day, [{"order_id": "x", "returned_at": "yesterday"}])
        first = evaluate(there, LANDING)
        assert launch(there, first.run_requests) == [False]
        second = evaluate(there, LANDING, first.cursor)
        assert second.run_requests == []
        assert second.skip_message == f"the deliveries of {day} were asked for already and are not in yet"
        shop.land_rows(landing, "returns", day, shop.rows_to_land("returns", day))
        third = evaluate(there, LANDING, second.cursor or first.cursor)
        assert launch(there, third.run_requests) == [True]

    def test_sources_wait_for_the_first_delivery_of_a_snapshot_they_read(self, there: Deployment) -> None:
        from platform_assets.orchestration.automation import landed_anew

        def known(raw: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
            return raw.join(products, on="product")

        catalogue = shop.with_changed("orders", transform=known)
        landing, day, now = there.settings.landing, EARLY.first, datetime.now(UTC)
        for source in ("orders", "returns"):
            shop.land_rows(landing, source, day, [])
        assert set(landed_anew(there.platform, catalogue, now=now)[str(day)]) == {"orders", "returns"}
        (landing / "products.csv").touch()
        found = landed_anew(there.platform, catalogue, now=now)
        assert {unit: set(stamps) for unit, stamps in found.items()} == {"": {"products"}, str(day): {"returns"}}

    def test_a_day_that_is_not_over_is_left_alone(self, there: Deployment) -> None:
        from platform_assets.orchestration.automation import landed_anew

        day = EARLY.first
        shop.land(there.settings.landing, [day])
        midnight = shop.OPEN.start_of(day + timedelta(days=1))
        assert set(landed_anew(there.platform, there.catalogue, now=midnight - timedelta(seconds=1))) == {""}
        assert set(landed_anew(there.platform, there.catalogue, now=midnight)) == {"", str(day)}

    def test_a_backlog_is_asked_for_bit_by_bit_oldest_first(self, there: Deployment) -> None:
        shop.land(there.settings.landing, Days(EARLY.first, date(2024, 3, 25)))
        first = evaluate(there, LANDING)
        days = sorted({r.partition_key for r in first.run_requests if r.partition_key})
        assert days == [str(day) for day in EARLY][: MOST_DAYS_A_TICK - 1], "the snapshot counts as one"
        second = evaluate(there, LANDING, first.cursor)
        assert min(r.partition_key for r in second.run_requests) > days[-1]
        waiting = [
            there.instance.create_run_for_job(
                there.definitions.resolve_job_def(SALES_JOB),
                tags={SENSOR_NAME_TAG: LANDING},
                status=dg.DagsterRunStatus.STARTED,
            )
            for _ in range(MOST_DAYS_A_TICK)
        ]
        held = evaluate(there, LANDING, first.cursor)
        assert held.run_requests == []
        assert held.skip_message.endswith("landed; asked for when the runs under way are done")
        there.instance.report_run_canceled(waiting[0])
        assert evaluate(there, LANDING, held.cursor or first.cursor).run_requests != []

    def test_the_cursor_forgets_what_is_in(self, there: Deployment) -> None:
        shop.land(there.settings.landing, [EARLY.first])
        first = evaluate(there, LANDING)
        launch(there, first.run_requests)
        land_changed(there, EARLY.first)
        second = evaluate(there, LANDING, first.cursor)
        assert set(json.loads(second.cursor)) == {str(EARLY.first)}


class TestNight:
    AT = datetime(2024, 3, 21, 5, tzinfo=UTC)

    def test_nothing_is_left_over(self, full: Deployment) -> None:
        found = evaluate_schedule(full, f"{SALES_JOB}_nightly", datetime(2024, 4, 20, 5, tzinfo=UTC))
        assert found.skip_message == "nothing up to 2024-04-14 is left over"
        found = evaluate_schedule(full, f"{SALES_JOB}_nightly", datetime(2024, 3, 11, 5, tzinfo=UTC))
        assert found.skip_message == "no day is over yet"

    def test_the_newest_days_that_are_left_over_are_asked_for(self, there: Deployment) -> None:
        bring_up(there, Days(EARLY.first, date(2024, 3, 18)))
        late = [date(2024, 3, 19), date(2024, 3, 20)]
        shop.land(there.settings.landing, late)

        sales = evaluate_schedule(there, f"{SALES_JOB}_nightly", self.AT).run_requests
        returns = evaluate_schedule(there, f"{RETURNS_JOB}_nightly", self.AT).run_requests

        whole_day = {"orders", "product_sales", "customer_history", "category_sales", "orders_asked"}
        # The day after reads the day before, which another run is about to make: it follows by its condition.
        assert asked_for(sales) == {(str(late[0]), None): whole_day, (str(late[1]), None): {"orders"}}
        assert asked_for(returns) == {(str(day), None): {"returns"} for day in late}
        assert {request.tags[TRIGGER] for request in sales} == {"nightly"}
        assert launch(there, returns, RETURNS_JOB) == launch(there, sales, SALES_JOB) == [True, True]

        rest = evaluate_schedule(there, f"{SALES_JOB}_nightly", self.AT).run_requests
        assert asked_for(rest) == {
            (str(late[1]), None): whole_day - {"orders"},
            **{(str(day), None): {"order_returned"} for day in (date(2024, 3, 16), date(2024, 3, 17))},
        }
        assert all(launch(there, rest, SALES_JOB))
        assert evaluate_schedule(there, f"{SALES_JOB}_nightly", self.AT).run_requests == []

    def test_at_most_a_week_is_asked_for(self, there: Deployment) -> None:
        shop.land(there.settings.landing, EARLY)
        found = evaluate_schedule(there, f"{RETURNS_JOB}_nightly", self.AT)
        assert [r.partition_key for r in found.run_requests] == [str(day) for day in EARLY][-MOST_DAYS_A_TICK:]

    def test_what_a_killed_run_wrote_is_made_again(self, there: Deployment) -> None:
        """The ledger has it, Dagster does not, and what reads it would wait for ever."""
        shop.land(there.settings.landing, EARLY)
        assert there.execute("products").success
        assert there.execute("orders", days=EARLY).success
        shop.make(there.platform, "product_sales", days=Days(EARLY.first, EARLY.last))
        found = evaluate_schedule(there, f"{SALES_JOB}_nightly", self.AT).run_requests
        assert {day: "product_sales" in names for (day, _), names in asked_for(found).items()} == {
            str(day): True for day in list(EARLY)[-MOST_DAYS_A_TICK:]
        }

    def test_a_model_that_waits_for_retraining_is_not_a_reason_to_score_again(self, full: Deployment) -> None:
        day = Days(EARLY.first, EARLY.first)
        land_changed(full, day.first)
        ingest(full, day.first)
        at = datetime(2024, 4, 20, 5, tzinfo=UTC)
        assert "return_model" in {step.name for step in plan(full.platform, full.catalogue, now=at).steps}
        assert evaluate_schedule(full, f"{PREDICTIONS_JOB}_nightly", at).run_requests == []


def test_retraining_is_scheduled_and_can_be_launched_by_hand(full: Deployment) -> None:
    found = evaluate_schedule(full, "shop_retraining_monthly", datetime(2024, 5, 1, 3, tzinfo=UTC))
    (request,) = found.run_requests
    assert request.tags[TRIGGER] == "retraining"
    job = full.definitions.resolve_job_def("shop_retraining")
    assert {key.path[-1] for key in job.asset_layer.executable_asset_keys} == {"returns_dataset", "return_model"}


def test_everything_automatic_is_switched_on(there: Deployment) -> None:
    repository = there.definitions.get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {"shop_automation", "shop_landing", "shop_alerts"}
    assert {s.name for s in repository.schedule_defs} == {
        f"{SALES_JOB}_nightly",
        f"{RETURNS_JOB}_nightly",
        f"{PREDICTIONS_JOB}_nightly",
        "shop_up_to_date_daily",
        "shop_retraining_monthly",
        "shop_maintenance_weekly",
    }
    assert {s.default_status.value for s in (*repository.sensor_defs, *repository.schedule_defs)} == {"RUNNING"}


@pytest.mark.parametrize("name", [SALES_JOB, RETURNS_JOB, PREDICTIONS_JOB, "shop_whole"])
def test_every_asset_belongs_to_one_job_of_its_calendar(there: Deployment, name: str) -> None:
    """A run has one partitions definition: a job of two calendars could not be launched for a day."""
    graph = there.definitions.resolve_asset_graph()
    keys = there.definitions.resolve_job_def(name).asset_layer.executable_asset_keys
    assert keys
    assert len({graph.get(key).partitions_def for key in keys}) == 1
