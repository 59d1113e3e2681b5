"""Why a run failed, in the words of whatever refused to go on."""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.errors import DagsterExecutionInterruptedError

_TOLD_BY = {DagsterEventType.ASSET_CHECK_EVALUATION, DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}


class Reasons:
    """Hears the events of one run, and says of a failed step why it failed.

    Attributes:
        interrupted: whether somebody stopped it (Ctrl-C), which Dagster counts as a failure.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._failed_checks: dict[str, list[str]] = {}

    def hear(self, event: dg.DagsterEvent) -> str | None:
        """Take in an event; the reason, when it is the failure of a step."""
        step = event.step_key or ""
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if check.blocking and not check.passed:
                said = f"{check.check_name}: {check.description or 'failed'}"
                self._failed_checks.setdefault(step, []).append(said)
        return self._why(step, event.step_failure_data) if event.is_step_failure else None

    def _why(self, step: str, failure: Any) -> str:
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            return str(failure.user_failure_data.description)
        if step in self._failed_checks:
            return "; ".join(self._failed_checks[step])
        error, asset, where = failure.error, asset_of_step(step), ""
        self.interrupted |= error is not None and error.cls_name == DagsterExecutionInterruptedError.__name__
        said = "no reason given"
        while error is not None:
            # What a library says of a mistake can run to pages; the run's page in the UI has all of it.
            said, *more = str(error.message).strip().splitlines() or [error.cls_name or said]
            notes = [line.removeprefix(f"{asset}: ") for line in more if line.startswith(f"{asset}: ")]
            where = notes[0] if notes else where
            error = error.cause
        return f"{said} ({where})" if where else said


def asset_of_step(step_key: str | None) -> str:
    """The asset that a step materializes: `flights/departures` of `flights__departures`."""
    return (step_key or "").replace("__", "/", 1)


def say_failure(asset: str, why: str) -> str:
    """The asset and why it failed; most reasons name the asset themselves."""
    return why if why.startswith((f"{asset}:", f"{asset} ")) else f"{asset}: {why}"


def failures_of(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """What failed in a run that is over: each asset and why, or why the run never got so far."""
    reasons, found, ended = Reasons(), [], "it ended without a reason"
    for entry in instance.all_logs(run_id, of_type=_TOLD_BY):
        event = entry.get_dagster_event()
        why = reasons.hear(event)
        if why is not None:
            found.append(say_failure(asset_of_step(event.step_key), why))
        elif event.event_type == DagsterEventType.RUN_FAILURE:
            ended = event.message or ended
    return found or [ended]
