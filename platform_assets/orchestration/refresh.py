"""Bring everything up to date: plan, divide the plan into runs, carry them out in this process, and report."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.times import Daily, Days
from platform_assets.errors import PlatformError
from platform_assets.orchestration.automation import TRIGGER
from platform_assets.orchestration.failures import Reasons, asset_of_step, say_failure
from platform_assets.orchestration.metadata import key_of
from platform_assets.orchestration.up_to_date import shown_staleness, up_to_date_job
from platform_assets.pipelines.plan import Plan

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """Assets that one Dagster run materializes, over one range of days where they are daily."""

    names: tuple[str, ...]
    days: Days | None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One sign of life of a run.

    Attributes:
        asset: the asset, `flights/departures`.
        state: `started`, `said`, `done` or `failed`.
        message: what was said, or why it failed.
        run: the Dagster run.
    """

    asset: str
    state: str
    message: str
    run: str


class RunFailed(PlatformError):
    """A run of the refresh failed; what it had finished stays, and the next refresh goes on from there."""


def divide(catalogue: Catalogue, plan: Plan) -> list[PlannedRun]:
    """Divide a plan into the fewest runs that keep its order: a run has one calendar and one range."""
    runs: list[tuple[tuple[Daily | None, Days | None], list[str]]] = []
    placed: dict[str, int] = {}
    for step in plan.steps:
        declaration = catalogue[step.name]
        after = max((placed.get(read, -1) for read in declaration.input_names), default=-1)
        last = after
        for days in step.days or (None,):
            unit = (calendar(declaration), days)
            at = next((i for i, (key, _) in enumerate(runs) if i >= max(after, 0) and key == unit), None)
            if at is None:
                runs.append((unit, []))
                at = len(runs) - 1
            runs[at][1].append(step.name)
            last = max(last, at)
        placed[step.name] = last
    return [PlannedRun(names=tuple(names), days=days) for (_, days), names in runs]


def carry_out(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    catalogue: Catalogue,
    runs: Sequence[PlannedRun],
    *,
    report: Callable[[Progress], None],
) -> None:
    """Execute runs in this process, in order, as Dagster runs that the UI shows like any other.

    Raises:
        RunFailed: at the first run that fails, naming the asset and why.
        KeyboardInterrupt: when somebody stopped it, after the step under way was called off.
    """
    # Without the check of staleness, which looks at everything and comes once, at the end.
    alone = dg.Definitions(assets=definitions.assets, resources=definitions.resources, executor=definitions.executor)
    job = alone.resolve_implicit_global_asset_job_def()
    for planned in runs:
        run_id = str(uuid.uuid4())
        reasons, failures = Reasons(), list[str]()
        instance.add_event_listener(run_id, _listener(report, reasons, failures))
        tags = {TRIGGER: "refresh"}
        if planned.days is not None:
            tags |= {RANGE_START: str(planned.days.first), RANGE_END: str(planned.days.last)}
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            tags=tags,
            raise_on_error=False,
            run_config=_QUIET,
            asset_selection=[key_of(catalogue, name) for name in planned.names],
        )
        if reasons.interrupted:
            raise KeyboardInterrupt
        if not result.success:
            first = failures[0] if failures else f"run {run_id} failed before its first step"
            msg = f"{first}\nWhat was finished is kept; run it again to go on. Details: run {run_id} in the UI"
            raise RunFailed(msg)


def look_again(definitions: dg.Definitions, instance: dg.DagsterInstance, catalogue: Catalogue) -> None:
    """Make the check `up_to_date` of everything, so that what a refresh mended does not stay red till morning.

    Raises:
        RunFailed: when it could not be made, and why.
    """
    run_id = str(uuid.uuid4())
    reasons, failures = Reasons(), list[str]()
    instance.add_event_listener(run_id, _listener(lambda _: None, reasons, failures))
    result = definitions.resolve_job_def(up_to_date_job(catalogue).name).execute_in_process(
        instance=instance, run_id=run_id, tags={TRIGGER: "refresh"}, raise_on_error=False, run_config=_QUIET
    )
    if reasons.interrupted:
        raise KeyboardInterrupt
    if not result.success:
        raise RunFailed(failures[0] if failures else f"run {run_id} failed before its first step")


def any_stale(instance: dg.DagsterInstance, catalogue: Catalogue) -> bool:
    """Whether Dagster shows any asset as stale."""
    return any(not found.passed for found in shown_staleness(instance, catalogue).values())


def _listener(report: Callable[[Progress], None], reasons: Reasons, failures: list[str]) -> Callable[[Any], None]:
    def hear(entry: Any) -> None:
        event = entry.dagster_event
        asset = asset_of_step(entry.step_key)
        if event is None:
            if entry.step_key and entry.level <= logging.INFO:  # what a pipeline says
                report(Progress(asset=asset, state="said", message=entry.user_message, run=entry.run_id))
            return
        why = reasons.hear(event)
        if event.is_step_start:
            report(Progress(asset=asset, state="started", message="", run=entry.run_id))
        elif event.is_step_success:
            report(Progress(asset=asset, state="done", message="", run=entry.run_id))
        elif why is not None:
            failures.append(say_failure(asset, why))
            report(Progress(asset=asset, state="failed", message=why, run=entry.run_id))

    return hear
