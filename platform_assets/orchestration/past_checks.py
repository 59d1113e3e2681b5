"""The checks that failed, as events of the timeline: only Dagster's own record knows them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import asset_name
from platform_assets.orchestration.metadata import checks_along
from platform_assets.pipelines.checks import AS_EXPECTED, NO_DRIFT
from platform_assets.pipelines.timeline import CHECK_FAILED, Event

_MOST = 1000


def failed_checks(instance: dg.DagsterInstance, catalogue: Catalogue) -> Iterator[Event]:
    """Each time a check began to fail, or failed otherwise than the time before; of incidents the monitors' tables tell."""
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

    storage, failures = instance.event_log_storage, {AssetCheckExecutionRecordStatus.FAILED}
    for key in checks_along(catalogue, [declaration.name for declaration in catalogue.declarations]):
        if key.name in (NO_DRIFT, AS_EXPECTED):
            continue
        if not storage.get_asset_check_execution_history(key, limit=1, status=failures):
            continue  # most checks never failed, and reading a thousand records is dear
        before = None
        past = storage.get_asset_check_execution_history(key, limit=_MOST)
        for record in reversed(past):
            if record.status not in (AssetCheckExecutionRecordStatus.FAILED, AssetCheckExecutionRecordStatus.SUCCEEDED):
                continue
            event = record.event.get_dagster_event() if record.event is not None else None
            failed = record.status == AssetCheckExecutionRecordStatus.FAILED and event is not None
            said = event.asset_check_evaluation_data.description or "no description" if failed and event else None
            if said is not None and said != before:
                yield Event(
                    at=datetime.fromtimestamp(record.create_timestamp, UTC),
                    kind=CHECK_FAILED,
                    asset=asset_name(catalogue.name, key.asset_key.path[-1]),
                    said=f"{key.name}: {said}",
                )
            before = said
