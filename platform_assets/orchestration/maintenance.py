"""Maintenance as one asset per catalogue, on a schedule of its own."""

# No `from __future__ import annotations`: Dagster reads the types of contexts and resources, not their text.
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.names import MAINTENANCE
from platform_assets.orchestration.automation import TRIGGER
from platform_assets.orchestration.metadata import check_result, key_of
from platform_assets.orchestration.resources import PlatformResource
from platform_assets.pipelines.maintenance import KEPT_VERSIONS_WHOLE, Maintained, maintain
from platform_assets.pipelines.run import Run


def maintenance_asset(catalogue: Catalogue) -> dg.AssetsDefinition:
    """The asset that keeps a catalogue's tables small; it reads nothing that Dagster knows of."""
    key = key_of(catalogue, MAINTENANCE)

    @dg.asset(
        key=key,
        group_name=MAINTENANCE,
        kinds={"deltalake"},
        description="Merges small files, and removes versions that no model with an alias, no audit and no reader needs.",
        check_specs=[
            dg.AssetCheckSpec(
                name=KEPT_VERSIONS_WHOLE,
                asset=key,
                description="Does every version that is to be kept open, with all of its files?",
            )
        ],
    )
    def body(context: dg.AssetExecutionContext, platform: PlatformResource) -> Iterator[object]:
        run = Run(run_id=context.run.run_id, now=datetime.now(UTC), say=context.log.info)
        done = maintain(platform.open(), catalogue, run)
        yield dg.MaterializeResult(asset_key=key, metadata=shown(done), check_results=[check_result(key, done.check)])

    return body


def maintenance_schedule(catalogue: Catalogue) -> dg.ScheduleDefinition:
    """Early on Sunday, by the clock of the catalogue's days."""
    zones = (own.zone for own in map(calendar, catalogue.declarations) if own is not None)
    return dg.ScheduleDefinition(
        name=f"{catalogue.name}_maintenance_weekly",
        target=dg.AssetSelection.assets(key_of(catalogue, MAINTENANCE)),
        cron_schedule="30 4 * * 0",
        execution_timezone=next(zones, "UTC"),
        tags={TRIGGER: MAINTENANCE},
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Keeps the tables small, once a week.",
    )


def shown(done: Maintained) -> dict[str, Any]:
    """What maintenance did, as Dagster shows it: a line per table, and the sums."""
    rows = []
    for upkeep in done.plans:
        did = done.done.get(upkeep.table)
        figures = (did.merged, did.files, f"{did.bytes:,}", did.log) if did else ("failed",) * 4
        rows.append((upkeep.table, len(upkeep.kept), why_kept(upkeep.kept.values()), *figures))
    titles = (
        "table",
        "versions kept",
        "because of",
        "files merged",
        "files removed",
        "bytes removed",
        "log files removed",
    )
    lines = [
        titles,
        ("---",) * len(titles),
        *rows,
        *((table, "", why, *("",) * 4) for table, why in done.failed.items()),
    ]
    return {
        "tables": dg.MetadataValue.md("\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)),
        "versions kept": sum(len(upkeep.kept) for upkeep in done.plans),
        "files merged": sum(did.merged for did in done.done.values()),
        "files removed": sum(did.files for did in done.done.values()),
        "bytes removed": sum(did.bytes for did in done.done.values()),
        "log files removed": sum(did.log for did in done.done.values()),
    }


def why_kept(reasons: Iterable[tuple[str, ...]]) -> str:
    """The reasons for which versions are kept, with how many each keeps: `newest, audit (12)`."""
    counted = Counter(why for some in reasons for why in some)
    return ", ".join(f"{why} ({count})" if count > 1 else why for why, count in counted.most_common())


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
