"""The checks that failed, as events of the timeline: only Dagster's own record knows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import asset_name
from platform_assets.orchestration.metadata import checks_along
from platform_assets.pipelines.checks import AS_EXPECTED, NO_DRIFT
from platform_assets.pipelines.timeline import CHECK_FAILED, Event

_MOST = 1000


def failed_checks(instance: dg.DagsterInstance, catalogue: Catalogue) -> Iterator[Event]:
    """Each time a check began to fail, or failed otherwise than the time before, and whether it has passed since.

    Of incidents the monitors' tables tell.
    """
    storage, failures = instance.event_log_storage, {AssetCheckExecutionRecordStatus.FAILED}
    for key in checks_along(catalogue, [declaration.name for declaration in catalogue.declarations]):
        if key.name in (NO_DRIFT, AS_EXPECTED):
            continue
        if not storage.get_asset_check_execution_history(key, limit=1, status=failures):
            continue  # most checks never failed, and reading a thousand records is dear
        past = storage.get_asset_check_execution_history(key, limit=_MOST)
        yield from _failures(catalogue, key, list(reversed(past)))


def _failures(
    catalogue: Catalogue, key: dg.AssetCheckKey, past: Sequence[AssetCheckExecutionRecord]
) -> Iterator[Event]:
    """The failures among records, the oldest first, each with when the check passed again."""
    open_ones, before = list[Event](), None
    for record in past:
        at = datetime.fromtimestamp(record.create_timestamp, UTC)
        if record.status == AssetCheckExecutionRecordStatus.SUCCEEDED:
            yield from (
                replace(one, said=f"{one.said} It passed at {at:%Y-%m-%d %H:%M}.", is_over=True) for one in open_ones
            )
            open_ones, before = [], None
        elif record.status == AssetCheckExecutionRecordStatus.FAILED and record.event is not None:
            said = record.event.get_dagster_event().asset_check_evaluation_data.description or "no description"
            if said != before:
                asset = asset_name(catalogue.name, key.asset_key.path[-1])
                told = f"{key.name}: {said if said.endswith('.') else f'{said}.'}"
                open_ones.append(Event(at=at, kind=CHECK_FAILED, asset=asset, said=told, is_over=False))
            before = said
    yield from open_ones
