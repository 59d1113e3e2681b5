"""What is stale as Dagster shows it, tells it and acts on it: once, and green again as soon as it is mended."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
import pytest
from dagster._core.loader import LoadingContextForTest

from platform_assets.cli import bring_up_to_date
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.tables import feature_group, source
from platform_assets.declarations.times import Daily, Days, after, day_ranges
from platform_assets.orchestration.alerts import Incident, incidents
from platform_assets.orchestration.automation import TRIGGER
from platform_assets.orchestration.refresh import any_stale
from platform_assets.orchestration.up_to_date import shown_staleness, up_to_date_key
from platform_assets.pipelines.checks import UP_TO_DATE
from platform_assets_tests import shop
from platform_assets_tests.orchestration.conftest import QUIET, Deployment, deployed
from platform_assets_tests.orchestration.test_automation import evaluate_schedule, ingest, land_changed

JOB = "shop_up_to_date"
LAST = shop.SOLD.last
TRAINING = {"returns_dataset", "return_model"}


def look(there: Deployment, job: str = JOB) -> dg.ExecuteInProcessResult:
    return there.definitions.resolve_job_def(job).execute_in_process(
        instance=there.instance, run_config=QUIET, raise_on_error=False
    )


def red(there: Deployment) -> set[str]:
    return {name for name, found in shown_staleness(there.instance, there.catalogue).items() if not found.passed}


def told(there: Deployment) -> list[Incident]:
    return [
        one for one in incidents(there.instance, there.catalogue, now=datetime.now(UTC)) if one.kind == "out of date"
    ]


@pytest.fixture
def tolerant(full_data: Path, tmp_path: Path) -> Iterator[Deployment]:
    """The shop up to date; its training dataset is rebuilt when more than a twentieth of its rows is stale."""
    shutil.copytree(full_data, tmp_path / "tolerant")
    with deployed(tmp_path / "tolerant", shop.with_changed("returns_dataset", max_stale=0.05)) as found:
        yield found


class TestCheck:
    def test_after_a_refresh_everything_is_green(self, full: Deployment) -> None:
        shown = shown_staleness(full.instance, full.catalogue)
        assert set(shown) == {d.name for d in full.catalogue.declarations}
        assert red(full) == set()
        assert not any_stale(full.instance, full.catalogue)

    def test_nothing_is_said_of_what_was_never_materialized(self, there: Deployment) -> None:
        assert look(there).success
        assert shown_staleness(there.instance, there.catalogue) == {}
        shop.land(there.settings.landing, [shop.OPEN.first])
        assert there.execute("orders", days=Days(shop.OPEN.first, shop.OPEN.first)).success
        assert look(there).success
        assert set(shown_staleness(there.instance, there.catalogue)) == {"orders"}

    def test_one_run_looks_at_everything_and_says_how_much_and_why(self, full: Deployment) -> None:
        land_changed(full, LAST)
        result = look(full)
        assert result.success
        assert {event.step_key for event in result.all_events if event.is_step_start} == {"shop_staleness"}
        assert red(full) == {d.name for d in full.catalogue.declarations} - {"products", "returns"}
        shown = full.check("returns_dataset", UP_TO_DATE)
        assert (shown.severity, shown.blocking) == (dg.AssetCheckSeverity.WARN, False)
        assert shown.description.endswith("% of the training rows are stale: orders of 2024-04-14 changed.")
        facts = {title: value.value for title, value in shown.metadata.items()}
        rows = len(full.rows("returns_dataset"))
        assert facts["rows"] == rows
        assert facts["stale share"] == pytest.approx(facts["stale rows"] / rows, abs=1e-6)
        assert facts["which days"] == "2024-04-11 to 2024-04-14"
        assert full.check("orders", UP_TO_DATE).description == (
            "1 of 35 days is stale (2024-04-14): its landed files changed."
        )

    def test_one_asset_can_be_looked_at(self, full: Deployment) -> None:
        land_changed(full, LAST)
        job = full.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_check_selection={up_to_date_key(full.catalogue, "orders")}
        )
        assert job.execute_in_process(instance=full.instance, run_config=QUIET).success
        assert red(full) == {"orders"}

    def test_materialized_together_an_asset_is_looked_at_afterwards(self, full: Deployment) -> None:
        """As the page does, which asks for all checks of an asset; also in a run of one day."""
        land_changed(full, LAST)
        look(full)
        job = full.definitions.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=full.instance, run_config=QUIET, asset_selection=[full.key("orders")], partition_key=str(LAST)
        )
        assert result.success
        assert "orders" not in red(full)
        assert "product_sales" in red(full)

    def test_each_morning_after_the_night(self, full: Deployment) -> None:
        at = datetime(2024, 4, 20, 5, tzinfo=UTC)
        (request,) = evaluate_schedule(full, f"{JOB}_daily", at).run_requests
        assert request.tags[TRIGGER] == "up to date"
        (schedule,) = [s for s in full.definitions.get_repository_def().schedule_defs if s.name == f"{JOB}_daily"]
        assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 7 * * *", shop.BERLIN)

    def test_a_table_that_cannot_be_read_fails_the_run_by_name(self, full: Deployment) -> None:
        log = full.settings.lake / table_folder("shop", "orders") / "_delta_log" / f"{0:020}.json"
        log.write_text("not json")
        result = look(full)
        assert not result.success
        (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        said = failure.user_failure_data.description
        assert said.startswith(f"cannot read the table at {full.settings.lake / 'shop' / 'orders'}: ")
        failed = [
            one for one in incidents(full.instance, full.catalogue, now=datetime.now(UTC)) if one.kind == "run failed"
        ]
        assert [one.message for one in failed] == [f"shop_staleness: {said} (run {result.run_id})"]


def test_dagsters_own_conditions_forget_a_failure_when_the_asset_is_materialized(full: Deployment) -> None:
    """Why `last_failed` remembers it."""
    land_changed(full, LAST)
    look(full)
    key = up_to_date_key(full.catalogue, "product_sales")

    def counts() -> bool:
        newest = full.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert newest.status.value == "FAILED"
        return asyncio.run(newest.targets_latest_materialization(LoadingContextForTest(full.instance)))

    assert counts()
    assert full.execute("product_sales", days=Days(LAST, LAST)).success
    assert not counts()


def test_more_than_a_hundred_upstream_days_are_looked_at(empty_data: Path, tmp_path: Path) -> None:
    """Dagster's own staleness does not look at them: it would say that nothing changed."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus

    days = Daily(first=date(2024, 1, 1), last=date(2024, 4, 19))
    own = {"keys": ["visitor"], "known_at": after("at"), "event_time": "at", "partitions": days, "owners": ["team:x"]}

    class Visits(dy.Schema):
        visitor = dy.String(primary_key=True, description="Who.")
        at = dy.Datetime(primary_key=True, time_zone="UTC", time_unit="us", description="When.")

    class Counted(Visits):
        visits = dy.Int64(description="How often so far.")

    @source(schema=Visits, raw={"visitor": pl.String, "at": pl.String}, **own)
    def visits(raw: pl.LazyFrame) -> pl.LazyFrame:
        """Visits."""
        return raw.with_columns(pl.col("at").str.to_datetime("%FT%TZ", time_unit="us", time_zone="UTC"))

    @feature_group(schema=Counted, lookback=timedelta(days=109), max_age=timedelta(days=1), **own)
    def counted(visits: pl.LazyFrame) -> pl.LazyFrame:
        """Visits so far."""
        return visits.group_by("visitor").agg(pl.col("at").max(), visits=pl.len().cast(pl.Int64))

    everything = Days(days.first, days.last or days.first)
    last = Days(everything.last, everything.last)
    catalogue = Catalogue(name="museum", declarations=[visits, counted])
    shutil.copytree(empty_data, tmp_path / "data")

    def deliver(day: date, hour: int) -> None:
        path = there.settings.landing / "visits" / f"{day}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"visitor,at\nann,{day}T{hour:02}:00:00Z\n")

    def dagsters() -> StaleStatus:
        graph = there.definitions.resolve_asset_graph()
        context = LoadingContextForTest(there.instance)
        return CachingStaleStatusResolver(there.instance, graph, context).get_status(
            there.key("counted"), str(last.first)
        )

    with deployed(tmp_path / "data", catalogue) as there:
        for day in everything:
            deliver(day, 9)
        assert len(everything) == 110
        assert there.execute("visits", days=everything).success
        assert there.execute("counted", days=last).success
        look(there, "museum_up_to_date")
        assert red(there) == set()
        deliver(everything.first, 10)
        assert there.execute("visits", days=Days(everything.first, everything.first)).success

        look(there, "museum_up_to_date")

        assert red(there) == {"counted"}
        said = there.check("counted", UP_TO_DATE).description
        assert said == "1 of 1 days is stale (2024-04-19): visits changed."
        assert dagsters() == StaleStatus.FRESH


class TestRefresh:
    @pytest.mark.slow
    def test_what_it_mended_is_green_at_once(self, full: Deployment) -> None:
        land_changed(full, LAST)
        look(full)
        assert red(full)
        bring_up_to_date(full.settings, shop.CATALOGUE)
        assert red(full) == set()

    @pytest.mark.slow
    def test_nothing_to_do_and_red_never_stand_side_by_side(
        self, full: Deployment, capsys: pytest.CaptureFixture[str]
    ) -> None:
        land_changed(full, LAST)
        look(full)
        full.refresh_by_hand()
        assert red(full), "what a notebook mends, Dagster does not hear of"
        bring_up_to_date(full.settings, shop.CATALOGUE)
        assert "nothing to do" in capsys.readouterr().out
        assert red(full) == set()
        runs = len(full.instance.get_runs())
        bring_up_to_date(full.settings, shop.CATALOGUE)
        assert len(full.instance.get_runs()) == runs, "when all is well there is no need to look again"


class Clock:
    """Evaluates the conditions tick by tick, and carries out what they ask for as the daemon would."""

    def __init__(self, there: Deployment) -> None:
        self.there = there
        self.cursor: Any = None

    def tick(self) -> tuple[dict[str, set[str | None]], set[str]]:
        """The partitions asked for by asset, and the checks asked for."""
        found = dg.evaluate_automation_conditions(self.there.definitions, self.there.instance, cursor=self.cursor)
        self.cursor = found.cursor
        names = [d.name for d in self.there.catalogue.declarations]
        assets = {
            name: set(found.get_requested_partitions(self.there.key(name)))
            for name in names
            if found.get_num_requested(self.there.key(name))
        }
        asked = {result.key for result in found.results if result.true_subset.size}
        return assets, {name for name in names if up_to_date_key(self.there.catalogue, name) in asked}

    def follow(self) -> tuple[set[str], set[str]]:
        """Tick and carry out until nothing is asked for; everything that was."""
        assets: set[str] = set()
        checks: set[str] = set()
        for _ in range(12):
            asked, looked_at = self.tick()
            if not asked and not looked_at:
                return assets, checks
            whole = [name for name in asked if None in asked[name]]
            if whole:
                assert self.there.execute(*whole).success
            for name in (d.name for d in self.there.catalogue.declarations if d.name in asked and d.name not in whole):
                for days in day_ranges({date.fromisoformat(str(day)) for day in asked[name]}):
                    assert self.there.execute(name, days=days).success
            if looked_at:
                chosen = {up_to_date_key(self.there.catalogue, name) for name in looked_at}
                job = self.there.definitions.resolve_implicit_global_asset_job_def()
                job.get_subset(asset_check_selection=chosen).execute_in_process(
                    instance=self.there.instance, run_config=QUIET
                )
            assets |= set(asked)
            checks |= looked_at
        raise AssertionError(f"still asking: {asked}, {looked_at}")


class TestAutomation:
    def test_right_after_a_refresh_nothing_is_asked_for(self, tolerant: Deployment) -> None:
        clock = Clock(tolerant)
        assert clock.tick() == ({}, set())
        assert clock.tick() == ({}, set())

    def test_too_stale_it_is_rebuilt_once_upstream_has_followed_and_the_model_with_it(
        self, tolerant: Deployment
    ) -> None:
        clock = Clock(tolerant)
        clock.tick()
        day = date(2024, 4, 2)
        shop.land_rows(tolerant.settings.landing, "orders", day, shop.rows_to_land("orders", day)[5:])
        look(tolerant)
        assert "returns_dataset" in red(tolerant)
        asked, looked_at = clock.tick()
        assert (asked, looked_at) == ({}, set()), "what it reads is stale itself: a rebuild would mend nothing"
        ingest(tolerant, day)
        before, models = tolerant.version("returns_dataset"), tolerant.platform.registry.client

        assets, checks = clock.follow()

        assert assets == {
            "product_sales",
            "customer_history",
            "category_sales",
            "order_returned",
            "orders_asked",
            "return_predictions",
            "return_outcomes",
            *TRAINING,
        }
        assert {"orders", "orders_asked", *TRAINING} <= checks
        assert tolerant.version("returns_dataset") == (before or 0) + 1
        assert len(models.search_model_versions("name = 'shop.return_model'")) == 2
        assert red(tolerant).isdisjoint({"returns_dataset", "return_model", "orders_asked"})
        look(tolerant)
        assert red(tolerant) <= {"return_predictions", "return_outcomes"}, "a new champion scores no past again"
        assert clock.tick() == ({}, set())

    def test_a_little_stale_it_is_left_alone(self, tolerant: Deployment) -> None:
        clock = Clock(tolerant)
        clock.tick()
        land_changed(tolerant, LAST)
        ingest(tolerant, LAST)
        assets, _ = clock.follow()
        look(tolerant)
        shown = tolerant.check("returns_dataset", UP_TO_DATE)
        assert shown.passed
        assert 0 < shown.metadata["stale share"].value <= 0.05
        assert "5.0% may be" in shown.description
        assert assets.isdisjoint(TRAINING)
        assert clock.follow()[0].isdisjoint(TRAINING)
        assert red(tolerant) == set()
        assert told(tolerant) == []

    @pytest.mark.slow
    def test_what_the_change_could_reach_is_not_acted_on_when_less_was_changed(self, tolerant: Deployment) -> None:
        clock = Clock(tolerant)
        clock.tick()
        first = shop.OPEN.first
        rows = shop.rows_to_land("orders", first)
        rows[3]["cancelled"] = "true" if rows[3]["cancelled"] == "false" else "false"
        shop.land_rows(tolerant.settings.landing, "orders", first, rows)
        look(tolerant)
        assert tolerant.check("returns_dataset", UP_TO_DATE).metadata["stale share"].value > 0.05
        ingest(tolerant, first)
        assets, checks = clock.follow()
        assert "returns_dataset" in checks, "looked at again when its label was made"
        assert assets.isdisjoint(TRAINING)
        assert tolerant.check("returns_dataset", UP_TO_DATE).passed

    def test_a_rebuild_that_did_not_help_is_not_tried_again_and_again(self, tolerant: Deployment) -> None:
        clock = Clock(tolerant)
        clock.tick()
        report(tolerant, "returns_dataset", passed=False)
        asked, _ = clock.tick()
        assert set(asked) == TRAINING
        for _ in range(3):
            report(tolerant, "returns_dataset", passed=False)
            assert clock.tick()[0] == {}
        report(tolerant, "returns_dataset", passed=True)
        assert clock.tick()[0] == {}
        report(tolerant, "returns_dataset", passed=False)
        assert set(clock.tick()[0]) == TRAINING

    def test_when_what_it_reads_was_made_just_now_it_is_looked_at_first(self, tolerant: Deployment) -> None:
        clock = Clock(tolerant)
        clock.tick()
        report(tolerant, "returns_dataset", passed=False)
        assert tolerant.execute("orders_asked", days=Days(LAST, LAST)).success
        asked, looked_at = clock.tick()
        assert TRAINING.isdisjoint(asked)
        assert looked_at == {"returns_dataset"}

    def test_without_a_limit_it_is_never_rebuilt_by_itself(self, full: Deployment) -> None:
        clock = Clock(full)
        clock.tick()
        report(full, "returns_dataset", passed=False)
        assert clock.tick()[0] == {}

    def test_the_months_retraining_trains_once(self, tolerant: Deployment) -> None:
        clock = Clock(tolerant)
        clock.tick()
        assert tolerant.execute("returns_dataset", "return_model").success
        assert clock.tick()[0] == {}


def report(there: Deployment, name: str, *, passed: bool) -> None:
    """Let the check of one asset say something."""
    there.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=there.key(name),
            check_name=UP_TO_DATE,
            passed=passed,
            blocking=False,
            metadata={"reasons": "something changed"},
            severity=dg.AssetCheckSeverity.WARN,
            description="as it was told",
            target_materialization_data=None,
            partition=None,
        )
    )


class TestAlerts:
    def changed(self, there: Deployment, **changes: Any) -> Catalogue:
        """After a deploy that changed three declarations."""
        catalogue = there.catalogue
        for name in ("product_sales", "category_sales", "order_returned"):
            other = (
                {"lookahead": timedelta(hours=49)} if name == "order_returned" else {"lookback": timedelta(hours=25)}
            )
            catalogue = shop.with_changed(name, catalogue=catalogue, **other)
        return catalogue

    @pytest.mark.slow
    def test_a_deploy_is_told_in_one_message_and_not_before_the_morning(self, full: Deployment) -> None:
        with deployed(full.settings.data, self.changed(full)) as later:
            assert told(later) == [], "nobody has looked yet: there is time for a refresh"
            look(later)
            (one,) = told(later)
            assert one.message == (
                "shop: declarations changed (product_sales, order_returned), and with what reads them "
                "8 assets are out of date; run refresh"
            )
            look(later)
            assert told(later) == [one], "the same one, which is told once"
            later.instance.create_run_for_job(later.definitions.resolve_job_def(JOB))
            key = up_to_date_key(later.catalogue, "product_sales")
            newest = later.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
            assert newest.status.value == "PLANNED"
            assert told(later) == [one], "also while it is looked at again"
            later.refresh()
            assert told(later) == []

    def test_only_what_is_stale_for_no_others_sake_is_told(self, full: Deployment) -> None:
        land_changed(full, LAST)
        look(full)
        (one,) = told(full)
        assert (one.name, one.kind) == ("shop/orders:up_to_date", "out of date")
        assert one.message == (
            "shop/orders is out of date: 1 of 35 days is stale (2024-04-14): its landed files changed."
        )
