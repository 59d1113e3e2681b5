"""What people are told: failed checks, drift, performance, failed runs, and assets that are overdue or out of date, once each."""

# No `from __future__ import annotations`: Dagster reads the types of contexts, not their text.
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import MAINTENANCE
from platform_assets.declarations.times import say_duration
from platform_assets.orchestration.failures import failures_of
from platform_assets.orchestration.metadata import checks_along, key_of
from platform_assets.orchestration.up_to_date import shown_staleness
from platform_assets.pipelines.checks import AS_EXPECTED, NO_DRIFT
from platform_assets.pipelines.incidents import PAST, READ_AT, REMEMBERED, SINCE, incidents_told
from platform_assets.pipelines.maintenance import KEPT_VERSIONS_WHOLE
from platform_assets.pipelines.plan import CODE

RUNS_LOOKED_AT = timedelta(days=1)
"""A failed run counts as open for so long; a check and an asset until they are well again."""

_LASTING = {NO_DRIFT: "drift", AS_EXPECTED: "worse than expected"}
"""By check that fails for as long as something lasts, what its incidents are called."""
_OVER = "over"
"""The marker of an incident that was told and is over; it is kept for as long as the monitor's table has it."""
_PAST_FAILURES = 20
"""So many failures of a monitor's check are looked through for days long past: two runs may end between two ticks."""
_AT_ONCE = 20
"""So many results of a monitor's check are looked at for the one that was read last, however many runs there are at once."""
_WEBHOOK_SECONDS = 10
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Something to tell people.

    Attributes:
        name: what it is about; an incident that is open is not told again.
        kind: `check failed`, `drift`, `worse than expected`, `run failed`, `overdue` or `out of date`.
        message: one sentence.
        marker: what makes it another incident although the name is the same.
        run_id: the run that it came up in, where there is one.
        is_past: whether it is of days long past that were watched anew, and does not last: it is told to whom nobody told it.
    """

    name: str
    kind: str
    message: str
    marker: str
    run_id: str | None = None
    is_past: bool = False


def alert_sensor(catalogue: Catalogue, *, webhook: str | None) -> dg.SensorDefinition:
    """Reports each failed check, failed run and asset that is overdue or out of date once, to the log and to the webhook if there is one."""

    @dg.sensor(
        name=f"{catalogue.name}_alerts",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports failed checks, failed runs and assets overdue or out of date, once each, to log and webhook.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        told: dict[str, str] = json.loads(context.cursor or "{}")
        found = incidents(context.instance, catalogue, now=datetime.now(UTC))
        explained = {incident.run_id for incident in found if incident.kind == "check failed"}
        known = [incident for incident in found if incident.kind == "run failed" and incident.run_id in explained]
        fresh = [one for one in found if not _was_told(one, told) and one not in known]
        delivered = []
        for incident in fresh:
            context.log.warning("%s: %s", incident.kind, incident.message)
            if webhook is None or post(webhook, incident, say=context.log.error):
                delivered.append(incident)
        names = {incident.name for incident in found if not incident.is_past}
        lasting = [one for one in found if one.kind != "run failed" and not one.is_past]
        kept = {name: marker for name, marker in told.items() if name in names}
        past = dict.fromkeys(_past(context.instance, catalogue, told.keys() - names), _OVER)
        now = {one.name: one.marker for one in (*known, *delivered)}
        context.update_cursor(json.dumps(past | kept | now, sort_keys=True))
        over = [name for name, marker in told.items() if name not in names and marker != _OVER]
        return dg.SkipReason(
            f"{len(delivered)} reported, {len(fresh) - len(delivered)} not taken, {len(over)} over, {len(lasting)} open"
        )

    return alerts


def incidents(instance: dg.DagsterInstance, catalogue: Catalogue, *, now: datetime) -> list[Incident]:
    """Everything that is not well with a catalogue at the instant `now`."""
    return [
        *_failed_checks(instance, catalogue),
        *_failed_runs(instance, catalogue, since=now - RUNS_LOOKED_AT),
        *_overdue(instance, catalogue),
        *_out_of_date(instance, catalogue),
    ]


def post(address: str, incident: Incident, *, say: Callable[[str], None]) -> bool:
    """Post an incident as JSON (`kind`, `name`, `message`, `text`); False, and a line in the log, when nobody took it."""
    body = {
        "kind": incident.kind,
        "name": incident.name,
        "message": incident.message,
        "text": f"{incident.kind}: {incident.message}",
    }
    request = urllib.request.Request(  # noqa: S310 - http(s) only, checked in the settings
        address, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS):  # noqa: S310
            return True
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        say(f"the webhook did not take it ({error}); it will be told again with the next tick")
        return False


def _failed_checks(instance: dg.DagsterInstance, catalogue: Catalogue) -> Iterator[Incident]:
    """The checks whose newest result is a failure, and what the monitors tell."""
    wanted = checks_along(catalogue, [declaration.name for declaration in catalogue.declarations])
    wanted.append(dg.AssetCheckKey(key_of(catalogue, MAINTENANCE), KEPT_VERSIONS_WHOLE))
    for check, run_id, evaluation in _evaluations(instance, wanted):
        said = evaluation.description or "no description"
        asset = check.asset_key.to_user_string()
        begun = list(_begun(asset, check.name, evaluation.metadata, run_id))
        yield from begun
        yield from _past_before(instance, check, evaluation, {one.name for one in begun})
        if begun or evaluation.passed:
            continue
        # A warning counts its cases anew in every run; only an error that reads differently is another one.
        another = said if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warned"
        yield Incident(
            name=f"{asset}:{check.name}",
            kind="check failed",
            marker=another,
            run_id=run_id,
            message=f"{asset} failed {check.name}: {said.removeprefix(f'{asset}: ')} (run {run_id})",
        )


def _evaluations(
    instance: dg.DagsterInstance, wanted: Sequence[dg.AssetCheckKey]
) -> Iterator[tuple[dg.AssetCheckKey, str, AssetCheckEvaluation]]:
    """The newest result of each check, with its run; one that a run has still to make, or never made, is none.

    Of a monitor that which was read from its table last: of two runs at once it knows what both wrote.
    """
    storage = instance.event_log_storage
    made = {AssetCheckExecutionRecordStatus.FAILED, AssetCheckExecutionRecordStatus.SUCCEEDED}
    for check, newest in storage.get_latest_asset_check_execution_by_key(wanted).items():
        past: Sequence[AssetCheckExecutionRecord] = [newest]
        if check.name in _LASTING or newest.status not in made:
            past = storage.get_asset_check_execution_history(check, _AT_ONCE, status=made)
        results = [(one.run_id, one.evaluation) for one in past if one.evaluation is not None]
        if results:
            yield check, *max(results, key=lambda result: _read_at(result[1]))


def _read_at(evaluation: AssetCheckEvaluation) -> datetime:
    """When it was read from a monitor's table; of other checks the beginning of time, as all of them are equal."""
    told = evaluation.metadata.get(READ_AT)
    return datetime.min.replace(tzinfo=UTC) if told is None else datetime.fromisoformat(str(told.value))


def _was_told(incident: Incident, told: Mapping[str, str]) -> bool:
    """Of days long past nobody is told twice; what lasts again is told again."""
    return told.get(incident.name) == incident.marker or (incident.is_past and incident.name in told)


def _begun(asset: str, check: str, told: Mapping[str, dg.MetadataValue], run_id: str) -> Iterator[Incident]:
    """What began to be above a threshold on one day is one incident, until none of it is any more."""
    kind = _LASTING.get(check)
    if kind is None:
        return
    facts = {title: found.value for title, found in told.items()}
    for title, said in ((SINCE, ""), (PAST, " in days past")):
        for since, moved in incidents_told(facts, title).items():
            yield Incident(
                name=f"{asset}:{since}",
                kind=kind,
                marker=_OVER if title == PAST else kind,
                run_id=run_id,
                message=f"{asset}: {kind} {since}{said}, {moved} (run {run_id})",
                is_past=title == PAST,
            )


def _past_before(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, newest: AssetCheckEvaluation, known: Collection[str]
) -> Iterator[Incident]:
    """Of days long past what other runs told, but for what the monitor's table has no more."""
    if check.name not in _LASTING:
        return
    storage, failed = instance.event_log_storage, {AssetCheckExecutionRecordStatus.FAILED}
    asset, found = check.asset_key.to_user_string(), dict[str, Incident]()
    for record in storage.get_asset_check_execution_history(check, _PAST_FAILURES, status=failed):
        if record.event is not None:
            told = record.event.get_dagster_event().asset_check_evaluation_data.metadata
            found = {one.name: one for one in _begun(asset, check.name, told, record.run_id) if one.is_past} | found
    there = _remembered(asset, newest, found)
    yield from (one for name, one in found.items() if name in there and name not in known)


def _past(instance: dg.DagsterInstance, catalogue: Catalogue, names: Collection[str]) -> set[str]:
    """Of incidents that are open no more those that a monitor's table has: days long past may be watched anew."""
    found = set[str]()
    if not names:
        return found
    watched = checks_along(catalogue, [declaration.name for declaration in catalogue.declarations])
    for check, _, evaluation in _evaluations(instance, [check for check in watched if check.name in _LASTING]):
        found |= _remembered(check.asset_key.to_user_string(), evaluation, names)
    return found


def _remembered(asset: str, evaluation: AssetCheckEvaluation, names: Collection[str]) -> set[str]:
    """Those of some incidents that a monitor's table has, or may have: they began before the days that were read."""
    begun, found = f"{asset}:{SINCE}", set[str]()
    for title, told in evaluation.metadata.items():
        if title.startswith(REMEMBERED):
            first, held = title.removeprefix(REMEMBERED), str(told.value).split(", ")
            days = {name: name.removeprefix(begun) for name in names if name.startswith(begun)}
            found |= {name for name, day in days.items() if day in held or day < first}
    return found


def _failed_runs(instance: dg.DagsterInstance, catalogue: Catalogue, *, since: datetime) -> Iterator[Incident]:
    """The runs that failed of late, since a later run of other days may have set the check right."""
    ours = {key_of(catalogue, name) for name in (*(d.name for d in catalogue.declarations), MAINTENANCE)}
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    for run in instance.get_runs(filters=failed):
        chosen = {*(run.asset_selection or ()), *(check.asset_key for check in run.asset_check_selection or ())}
        if chosen and not ours & chosen:
            continue
        yield Incident(
            name=f"run {run.run_id}",
            kind="run failed",
            marker="failed",
            run_id=run.run_id,
            message=f"{'; '.join(failures_of(instance, run.run_id))} (run {run.run_id})",
        )


def _overdue(instance: dg.DagsterInstance, catalogue: Catalogue) -> Iterator[Incident]:
    """The assets that were not materialized within their freshness limit."""
    limits = {key_of(catalogue, d.name): d.freshness.fail for d in catalogue.declarations if d.freshness is not None}
    for key, record in instance.get_freshness_state_records(list(limits)).items():
        if record.freshness_state.value == "FAIL":
            yield Incident(
                name=f"{key.to_user_string()}:freshness",
                kind="overdue",
                marker="overdue",
                message=f"{key.to_user_string()} has not been materialized within {say_duration(limits[key])}",
            )


def _out_of_date(instance: dg.DagsterInstance, catalogue: Catalogue) -> Iterator[Incident]:
    """What is stale for no other's sake; of declarations that changed, as with a deploy, all in one.

    A deploy alone tells nothing: the check speaks in the morning, when nobody has run a refresh by then.
    """
    shown = shown_staleness(instance, catalogue)
    stale = [d for d in catalogue.declarations if d.name in shown and not shown[d.name].passed]
    names = {declaration.name for declaration in stale}
    first = [declaration.name for declaration in stale if names.isdisjoint(declaration.input_names)]
    changed = [name for name in first if CODE in str(shown[name].metadata["reasons"].value)]
    if changed:
        listed = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
        yield Incident(
            name=f"{catalogue.name}:declarations",
            kind="out of date",
            marker="out of date",
            message=f"{catalogue.name}: declarations changed ({listed}), and with what reads them {len(stale)} assets "
            "are out of date; run refresh",
        )
    for name in first:
        if name not in changed:
            asset = key_of(catalogue, name).to_user_string()
            yield Incident(
                name=f"{asset}:up_to_date",
                kind="out of date",
                marker="out of date",
                message=f"{asset} is out of date: {shown[name].description}",
            )
