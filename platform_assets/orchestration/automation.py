"""When things run by themselves: a day lands, the night comes, the month turns, something goes wrong."""

# No `from __future__ import annotations`: Dagster reads the types of contexts and resources, not their text.
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.names import asset_name
from platform_assets.declarations.tables import Declaration, Model, Source, TrainingDataset
from platform_assets.declarations.times import Daily
from platform_assets.lake import ledger
from platform_assets.orchestration.metadata import key_of
from platform_assets.orchestration.resources import PlatformResource
from platform_assets.pipelines.checks import checks_of
from platform_assets.pipelines.plan import plan
from platform_assets.pipelines.run import Platform

UnresolvedJob = Any
"""What `define_asset_job` gives; Dagster does not export its type."""

MOST_DAYS_A_TICK = 7
"""A sensor or schedule asks for so many days at once; the rest follow with the next ticks."""

_WEBHOOK_SECONDS = 10


def condition_of(catalogue: Catalogue, declaration: Declaration) -> dg.AutomationCondition | None:
    """Follow the inputs, on every day they change; sources and training have triggers of their own.

    A new champion alone does not score the past again.
    """
    if isinstance(declaration, Source | TrainingDataset | Model):
        return None
    follow = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())
    models = [key_of(catalogue, read.name) for read in catalogue.inputs(declaration) if isinstance(read, Model)]
    if models:
        follow = follow.ignore(dg.AssetSelection.assets(*models))
    return (follow & dg.AutomationCondition.all_deps_blocking_checks_passed()).with_label("follow the inputs")


def automation_sensor(catalogue: Catalogue) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions of this catalogue's assets."""
    return dg.AutomationConditionSensorDefinition(
        f"{catalogue.name}_automation", target=_everything(catalogue), minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Materializes derived assets on the days on which their inputs changed.",
    )


def jobs_of(catalogue: Catalogue) -> dict[Daily | None, UnresolvedJob]:
    """One job for each calendar (and one for what has none), since a Dagster run has one partitions definition."""
    by_calendar: dict[Daily | None, list[str]] = {}
    for declaration in catalogue.declarations:
        by_calendar.setdefault(calendar(declaration), []).append(declaration.name)
    return {
        days: dg.define_asset_job(
            _job_name(catalogue, days), selection=dg.AssetSelection.assets(*(key_of(catalogue, n) for n in names)),
            description="Everything without partitions." if days is None
            else f"Everything cut into the days from {days.first} to {days.last or 'today'}, {days.zone}.",
        )
        for days, names in by_calendar.items()
    }


def _job_name(catalogue: Catalogue, days: Daily | None) -> str:
    if days is None:
        return f"{catalogue.name}_whole"
    return f"{catalogue.name}_days_from_{days.first:%Y_%m_%d}" + (f"_to_{days.last:%Y_%m_%d}" if days.last else "")


def landing_sensor(catalogue: Catalogue, jobs: Mapping[Daily | None, UnresolvedJob]) -> dg.SensorDefinition:
    """Asks for the sources of each day whose landed files are new or changed."""

    @dg.sensor(
        name=f"{catalogue.name}_landing", jobs=list(jobs.values()), minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notices a day that landed, or landed again, and ingests it.",
    )
    def landing(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult | dg.SkipReason:
        asked = json.loads(context.cursor or "{}")
        found = landed_anew(platform.open(), catalogue, now=datetime.now(UTC))
        # A delivery that was refused is not asked for again until it is delivered again.
        fresh = {unit: stamps for unit, stamps in sorted(found.items()) if asked.get(unit) != stamps}
        if not fresh:
            return dg.SkipReason("no delivery is new" if not found else
                                 f"{len(found)} deliveries were asked for already and are not in yet")
        chosen = dict(list(fresh.items())[:MOST_DAYS_A_TICK])
        requests = [
            dg.RunRequest(
                run_key=f"{unit}@{'+'.join(stamps[name] for name in names)}", job_name=jobs[days].name,
                asset_selection=[key_of(catalogue, name) for name in names], partition_key=unit or None,
                tags={"platform/trigger": "landing"},
            )
            for unit, stamps in chosen.items()
            for days, names in _by_calendar(catalogue, list(stamps)).items()
        ]
        still = {unit: stamps for unit, stamps in (asked | chosen).items() if unit in found}
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(still, sort_keys=True))

    return landing


def landed_anew(platform: Platform, catalogue: Catalogue, *, now: datetime) -> dict[str, dict[str, str]]:
    """The deliveries that the ledger has not seen: per day ("" for snapshots) the stamp of each source."""
    found: dict[str, dict[str, str]] = {}
    for source in catalogue.of_kind(Source):
        latest = ledger.latest(platform.lake, asset_name(catalogue.name, source.name))
        days: Sequence[date | None] = [None]
        if source.partitions is not None:
            closed = source.partitions.closed_until(now)
            days = sorted(day for day in platform.landing.days(source.name) if closed is not None and day in closed)
        for day in days:
            stamp, entry = platform.landing.stamp(source.name, day), latest.get(day)
            unit = "" if day is None else str(day)
            if stamp is not None and (entry is None or entry.stamps.get(unit) != stamp):
                found.setdefault(unit, {})[source.name] = stamp
    return found


def nightly_schedules(
    catalogue: Catalogue, jobs: Mapping[Daily | None, UnresolvedJob]
) -> list[dg.ScheduleDefinition]:
    """Each night, whatever of the newest days is out of date, whether or not a sensor saw it."""
    return [_nightly(catalogue, days, job) for days, job in jobs.items() if days is not None]


def _nightly(catalogue: Catalogue, own: Daily, job: UnresolvedJob) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job.name}_nightly", cron_schedule="0 6 * * *", execution_timezone=own.zone, job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The day's run: brings the newest days up to date.",
    )
    def nightly(context: dg.ScheduleEvaluationContext, platform: PlatformResource) -> Iterator[Any]:
        at = context.scheduled_execution_time
        by_day: dict[date, list[str]] = {}
        for step in plan(platform.open(), catalogue, now=at).steps:
            if calendar(catalogue[step.name]) == own:
                for day in (day for days in step.days or () for day in days):
                    by_day.setdefault(day, []).append(step.name)
        if not by_day:
            closed = own.closed_until(at)
            yield dg.SkipReason(f"every day up to {closed.last} is up to date" if closed else "no day is over yet")
        for day in sorted(by_day)[-MOST_DAYS_A_TICK:]:
            yield dg.RunRequest(
                run_key=f"{at:%Y-%m-%d}/{day}", partition_key=str(day),
                asset_selection=[key_of(catalogue, name) for name in by_day[day]], tags={"platform/trigger": "nightly"},
            )

    return nightly


def _by_calendar(catalogue: Catalogue, names: Sequence[str]) -> dict[Daily | None, list[str]]:
    groups: dict[Daily | None, list[str]] = {}
    for name in names:
        groups.setdefault(calendar(catalogue[name]), []).append(name)
    return groups


def retraining_schedule(catalogue: Catalogue) -> dg.ScheduleDefinition | None:
    """On the first of each month: training datasets and models."""
    wanted = [d.name for d in catalogue.declarations if isinstance(d, TrainingDataset | Model)]
    if not wanted:
        return None
    return dg.ScheduleDefinition(
        name=f"{catalogue.name}_retraining", cron_schedule="0 3 1 * *",
        target=dg.AssetSelection.assets(*(key_of(catalogue, name) for name in wanted)),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Rebuilds the training datasets and fits the models anew, once a month.",
    )


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Something to tell people: what, since when it counts, and in one sentence why."""

    name: str
    kind: str
    message: str
    marker: str


def alert_sensor(catalogue: Catalogue, *, webhook: str | None) -> dg.SensorDefinition:
    """Reports each failed check and stale asset once, to the log and to the webhook if there is one."""

    @dg.sensor(
        name=f"{catalogue.name}_alerts", minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports failed checks and stale assets once each, to the log and the webhook.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        told: dict[str, str] = json.loads(context.cursor or "{}")
        found = {incident.name: incident for incident in incidents(context.instance, catalogue)}
        fresh = [incident for incident in found.values() if told.get(incident.name) != incident.marker]
        delivered = []
        for incident in fresh:
            context.log.warning(f"{incident.kind}: {incident.message}")
            if webhook is None or post(webhook, incident, say=context.log.error):
                delivered.append(incident)
        ended = [name for name in told if name not in found]
        kept = {name: marker for name, marker in told.items() if name in found}
        context.update_cursor(json.dumps(kept | {i.name: i.marker for i in delivered}, sort_keys=True))
        return dg.SkipReason(f"{len(fresh)} reported, {len(ended)} over, {len(found)} open")

    return alerts


def incidents(instance: dg.DagsterInstance, catalogue: Catalogue) -> list[Incident]:
    """The checks whose newest result is a failure, and the assets that their freshness policy calls stale."""
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

    keys = {key_of(catalogue, d.name): d for d in catalogue.declarations}
    wanted = [dg.AssetCheckKey(key, check.name) for key, d in keys.items() for check in checks_of(d)]
    found = []
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(wanted)
    for check, record in latest.items():
        if record.status != AssetCheckExecutionRecordStatus.FAILED or record.event is None:
            continue
        evaluation = record.event.dagster_event.event_specific_data  # type: ignore[union-attr]
        said = getattr(evaluation, "description", None) or "no description"
        found.append(Incident(
            name=f"{check.asset_key.to_user_string()}:{check.name}", kind="check failed", marker=said,
            message=f"{check.asset_key.to_user_string()} failed {check.name}: {said} (run {record.run_id})",
        ))
    dated = [key for key, d in keys.items() if d.freshness is not None]
    for key, record in instance.get_freshness_state_records(dated).items():
        state = record.freshness_state.value
        if state == "FAIL":
            limit = keys[key].freshness
            found.append(Incident(
                name=f"{key.to_user_string()}:freshness", kind="stale", marker=state,
                message=f"{key.to_user_string()} has not been materialized within {limit.fail if limit else 'its limit'}",
            ))
    return found


def post(address: str, incident: Incident, *, say: Callable[[str], None]) -> bool:
    """Post an incident as JSON (`kind`, `name`, `message`, `text`); False, and a line in the log, when nobody took it."""
    body = {"kind": incident.kind, "name": incident.name, "message": incident.message,
            "text": f"{incident.kind}: {incident.message}"}
    request = urllib.request.Request(  # noqa: S310 - http(s) only, checked in the settings
        address, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS):  # noqa: S310
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        say(f"the webhook did not take it ({error}); it will be told again with the next tick")
        return False


def _everything(catalogue: Catalogue) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(key_of(catalogue, d.name) for d in catalogue.declarations))


