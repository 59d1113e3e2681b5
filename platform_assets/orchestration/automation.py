"""When things run by themselves: a day lands, its inputs change, the night comes, the month turns."""

# No `from __future__ import annotations`: Dagster reads the types of contexts and resources, not their text.
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import SENSOR_NAME_TAG

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import asset_name
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import Daily, Days, Monthly, parse_day
from platform_assets.declarations.views import TrainingDataset
from platform_assets.lake import ledger
from platform_assets.orchestration.metadata import checks_along, key_of
from platform_assets.orchestration.records import Records, compare_records
from platform_assets.orchestration.resources import PlatformResource
from platform_assets.orchestration.up_to_date import last_failed, up_to_date_key
from platform_assets.pipelines.plan import landed_early
from platform_assets.pipelines.readiness import can_run
from platform_assets.pipelines.run import Platform

UnresolvedJob = Any
"""What `define_asset_job` gives; Dagster does not export its type."""

Deliveries = Mapping[str, Mapping[str, str]]
"""By day ("" for snapshots) and source, the stamp of a delivery."""

TRIGGER = "platform/trigger"
"""The tag that says of a run what started it."""

MOST_DAYS_A_TICK = 7
"""A sensor or schedule asks for so many days at once; the rest follow with the next ticks."""

_SHOWN = 3


def condition_of(catalogue: Catalogue, declaration: Declaration) -> dg.AutomationCondition[dg.AssetKey] | None:
    """Follow the inputs, on every day they change; sources and training have triggers of their own.

    A new champion alone does not score the past again, and a challenger that failed its check does not stop
    the champion that there is; but without any model there is nothing to score with. Of a training dataset
    that says how stale it may be, the models follow as everything else does. A backtest fits a model for each
    month: a new month is made by the night, one whose rows were corrected by a refresh or by hand.
    """
    if isinstance(declaration, TrainingDataset):
        return None if declaration.max_stale is None else _rebuild_when_too_stale(catalogue, declaration)
    if isinstance(declaration, Source | Backtest) or (
        isinstance(declaration, Model) and declaration.training.max_stale is None
    ):
        return None
    follow = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())
    follow &= dg.AutomationCondition.all_deps_blocking_checks_passed()
    if isinstance(declaration, Promotion):
        return follow.with_label("follow the model")
    models = [
        key_of(catalogue, read.name) for read in catalogue.inputs(declaration) if isinstance(read, Model | Promotion)
    ]
    if models:
        chosen = dg.AssetSelection.assets(*models)
        follow = follow.ignore(chosen) & ~dg.AutomationCondition.any_deps_missing().allow(chosen)
    return follow.with_label("follow the inputs")


def _rebuild_when_too_stale(catalogue: Catalogue, dataset: TrainingDataset) -> dg.AutomationCondition[dg.AssetKey]:
    """When its check begins to fail, and what it reads is up to date, so that a rebuild will mend it.

    Once for each time that the check begins to fail: a rebuild that did not help is not tried again and again.
    When its view or label was materialized, the check is made again first.
    """

    def staleness_of(
        condition: dg.AutomationCondition[dg.AssetCheckKey], *names: str
    ) -> dg.AutomationCondition[dg.AssetKey]:
        checks = dg.AssetSelection.checks(*(up_to_date_key(catalogue, name) for name in names))
        return dg.AutomationCondition.any_checks_match(condition).allow(checks)

    too_stale = staleness_of(dg.AutomationCondition.check_failed(), dataset.name)
    unsettled = staleness_of(last_failed(), *dataset.input_names)
    condition = (
        too_stale
        & too_stale.newly_true().since_last_handled()  # type: ignore[misc] # typed as if of both kinds of key
        & ~dg.AutomationCondition.any_deps_match(unsettled | dg.AutomationCondition.newly_updated())
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )
    return condition.with_label("rebuild when too stale")


def automation_sensor(catalogue: Catalogue) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions of this catalogue's assets."""
    return dg.AutomationConditionSensorDefinition(
        f"{catalogue.name}_automation",
        target=_everything(catalogue),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        run_tags={TRIGGER: "automation"},
        description="Materializes derived assets on the days on which their inputs changed.",
    )


def jobs_of(catalogue: Catalogue) -> dict[Daily | None, UnresolvedJob]:
    """One job for each calendar (and one for what has none), since a Dagster run has one partitions definition."""
    by_calendar: dict[Daily | None, list[str]] = {}
    for declaration in catalogue.declarations:
        by_calendar.setdefault(calendar(declaration), []).append(declaration.name)
    return {
        days: dg.define_asset_job(
            _job_name(catalogue, days),
            selection=dg.AssetSelection.assets(*(key_of(catalogue, n) for n in names)),
            description="Everything without partitions."
            if days is None
            else f"Everything cut into the {'months' if isinstance(days, Monthly) else 'days'} from {days.first} to {days.last or 'today'}, {days.zone}.",
        )
        for days, names in by_calendar.items()
    }


def _job_name(catalogue: Catalogue, days: Daily | None) -> str:
    if days is None:
        return f"{catalogue.name}_whole"
    unit = "months" if isinstance(days, Monthly) else "days"
    return f"{catalogue.name}_{unit}_from_{days.first:%Y_%m_%d}" + (f"_to_{days.last:%Y_%m_%d}" if days.last else "")


def landing_sensor(catalogue: Catalogue, jobs: Mapping[Daily | None, UnresolvedJob]) -> dg.SensorDefinition:
    """Asks for the sources of each day whose landed files are new or changed, oldest day first."""

    @dg.sensor(
        name=f"{catalogue.name}_landing",
        jobs=list(jobs.values()),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notices a day that landed, or landed again, and ingests it.",
    )
    def landing(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult | dg.SkipReason:
        asked: Deliveries = json.loads(context.cursor or "{}")
        opened, now = platform.open(), datetime.now(UTC)
        found = landed_anew(opened, catalogue, now=now)
        early = _say_early(landed_early(opened, catalogue, now=now))
        if not found:
            return dg.SkipReason(f"no delivery is new{early}")
        # A delivery that was refused is not asked for again until it is delivered again.
        fresh = _without(found, asked)
        if not fresh:
            said = f"the deliveries of {_say_units(found)} were asked for already and are not in yet"
            return dg.SkipReason(f"{said}{early}")
        # Without a brake, a year that lands at once would stand in the queue before everything else.
        going = dg.RunsFilter(tags={SENSOR_NAME_TAG: f"{catalogue.name}_landing"}, statuses=list(NOT_FINISHED_STATUSES))
        if context.instance.get_runs_count(going) >= MOST_DAYS_A_TICK:
            return dg.SkipReason(f"{_say_units(fresh)} landed; asked for when the runs under way are done")
        chosen = dict(list(fresh.items())[:MOST_DAYS_A_TICK])
        requests = [
            dg.RunRequest(
                run_key=f"{unit}@{'+'.join(stamps[name] for name in names)}",
                job_name=jobs[days].name,
                asset_selection=[key_of(catalogue, name) for name in names],
                asset_check_keys=checks_along(catalogue, names),
                partition_key=unit or None,
                tags={TRIGGER: "landing"},
            )
            for unit, stamps in chosen.items()
            for days, names in _by_calendar(catalogue, list(stamps)).items()
        ]
        seen = {unit: {**asked.get(unit, {}), **chosen.get(unit, {})} for unit in found}
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))

    return landing


def landed_anew(platform: Platform, catalogue: Catalogue, *, now: datetime) -> Deliveries:
    """The deliveries that the ledger has not seen and that can be read, by day.

    Sources that read a snapshot which has just landed for the first time wait until it is in.
    """
    found: dict[str, dict[str, str]] = {}
    first_time = set()
    sources = catalogue.of_kind(Source)
    entries = ledger.read(platform.lake, [asset_name(catalogue.name, source.name) for source in sources])
    for source in sources:
        latest = entries.latest(asset_name(catalogue.name, source.name))
        closed = None if source.partitions is None else source.partitions.closed_until(now)
        if source.partitions is not None and closed is None:
            continue
        for unit, stamp in platform.landing.stamps(source.name, closed).items():
            day = parse_day(unit) if unit else None
            entry = latest.get(day)
            if entry is None or entry.stamps.get(unit) != stamp:
                found.setdefault(unit, {})[source.name] = stamp
                if day is None and entry is None:
                    first_time.add(source.name)
    return {
        unit: ready
        for unit, stamps in sorted(found.items())
        if (ready := {n: stamp for n, stamp in stamps.items() if first_time.isdisjoint(catalogue[n].input_names)})
    }


def nightly_schedules(catalogue: Catalogue, jobs: Mapping[Daily | None, UnresolvedJob]) -> list[dg.ScheduleDefinition]:
    """Each night, whatever of the newest days was left over, whether or not a sensor saw it."""
    return [_nightly(catalogue, days, job) for days, job in jobs.items() if days is not None]


def _nightly(catalogue: Catalogue, own: Daily, job: UnresolvedJob) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job.name}_nightly",
        cron_schedule="0 6 * * *",
        execution_timezone=own.zone,
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The day's run: deliveries that are not in, and days that were never computed.",
    )
    def nightly(context: dg.ScheduleEvaluationContext, platform: PlatformResource) -> Iterator[Any]:
        at = context.scheduled_execution_time
        opened = platform.open()
        wanted = left_over(opened, catalogue, own, now=at, records=compare_records(context.instance, opened, catalogue))
        if not wanted:
            closed = own.closed_until(at)
            yield dg.SkipReason(f"nothing up to {closed.last} is left over" if closed else "no day is over yet")
        for day in sorted(wanted)[-MOST_DAYS_A_TICK:]:
            yield dg.RunRequest(
                run_key=f"{at:%Y-%m-%d}/{day}",
                partition_key=str(day),
                asset_selection=[key_of(catalogue, name) for name in wanted[day]],
                asset_check_keys=checks_along(catalogue, wanted[day]),
                tags={TRIGGER: "nightly"},
            )

    return nightly


def left_over(
    platform: Platform, catalogue: Catalogue, own: Daily, *, now: datetime, records: Records
) -> dict[date, list[str]]:
    """What could run on each closed day of a calendar: deliveries that are not in, days that were never computed.

    A changed declaration is left to a refresh, which rewrites every day of it and not just the newest; what
    waits for another calendar's run follows it by its condition.

    Args:
        platform: where everything lives.
        catalogue: what is declared.
        own: the calendar.
        now: days that are not over at this instant (UTC) are not looked at.
        records: what is materialized.
    """
    delivered, there = landed_anew(platform, catalogue, now=now), records.sound
    left: dict[date, list[str]] = {}
    for declaration in catalogue.declarations:
        name = declaration.name
        closed = own.closed_until(now) if calendar(declaration) == own else None
        for day in () if closed is None else own.among(closed):
            if isinstance(declaration, Source):
                wanted = name in delivered.get(str(day), {}) or day in records.lost.get(name, ())
            else:
                wanted = day not in there[name] and can_run(catalogue, declaration, day, there, left)
            if wanted:
                left.setdefault(day, []).append(name)
    return left


def _by_calendar(catalogue: Catalogue, names: Sequence[str]) -> dict[Daily | None, list[str]]:
    groups: dict[Daily | None, list[str]] = {}
    for name in names:
        groups.setdefault(calendar(catalogue[name]), []).append(name)
    return groups


def _without(found: Deliveries, asked: Deliveries) -> Deliveries:
    """The deliveries that were not asked for yet, as they stand now."""
    left = {
        unit: {name: stamp for name, stamp in stamps.items() if asked.get(unit, {}).get(name) != stamp}
        for unit, stamps in found.items()
    }
    return {unit: stamps for unit, stamps in left.items() if stamps}


def _say_early(early: Mapping[str, Sequence[Days]]) -> str:
    said = [f"{name} of {', '.join(map(str, ranges[:_SHOWN]))}" for name, ranges in early.items()]
    return f"; not over yet, though landed: {'; '.join(said)}" if said else ""


def _say_units(deliveries: Deliveries) -> str:
    units = [unit or "snapshots" for unit in deliveries]
    return ", ".join(units[:_SHOWN]) + (f" and {len(units) - _SHOWN} more" if len(units) > _SHOWN else "")


def _everything(catalogue: Catalogue) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(key_of(catalogue, d.name) for d in catalogue.declarations))
