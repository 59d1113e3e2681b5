"""Where the ledger and Dagster disagree: a run that was killed after its write, before Dagster recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import dagster as dg

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.names import asset_name
from platform_assets.declarations.times import day_ranges, parse_day
from platform_assets.lake import ledger
from platform_assets.orchestration.metadata import key_of
from platform_assets.pipelines.plan import Plan, Step
from platform_assets.pipelines.run import Platform

UNRECORDED = "Dagster has no record of it"


@dataclass(frozen=True, kw_only=True)
class Records:
    """What has been materialized, by declaration: days, or None without partitions.

    Attributes:
        written: what the ledger has.
        lost: of that, what Dagster has no record of. What reads it would wait for it for ever, so it is made
            again; equal content writes nothing.
    """

    written: Mapping[str, set[date | None]]
    lost: Mapping[str, set[date | None]]

    @property
    def sound(self) -> dict[str, set[date | None]]:
        """What both have."""
        return {name: days - self.lost.get(name, set()) for name, days in self.written.items()}


def compare_records(instance: dg.DagsterInstance | None, platform: Platform, catalogue: Catalogue) -> Records:
    """Read the ledger and Dagster's own records; without an instance it has none."""
    written: dict[str, set[date | None]] = {}
    lost: dict[str, set[date | None]] = {}
    entries = ledger.read(platform.lake)
    for declaration in catalogue.declarations:
        key = key_of(catalogue, declaration.name)
        made = entries.made(asset_name(catalogue.name, declaration.name))
        seen: set[date | None]
        if instance is None:
            seen = set()
        elif calendar(declaration) is None:
            seen = {None} if instance.get_latest_materialization_event(key) is not None else set()
        else:
            seen = {parse_day(day) for day in instance.get_materialized_partitions(key)}
        written[declaration.name] = made
        if made - seen:
            lost[declaration.name] = made - seen
    return Records(written=written, lost=lost)


def with_unrecorded(plan: Plan, catalogue: Catalogue, records: Records) -> Plan:
    """The plan, and what Dagster has no record of, in the order of the graph."""
    planned = {step.name: step for step in plan.steps}
    steps = []
    for name in (d.name for d in catalogue.declarations if d.name in planned or d.name in records.lost):
        step = planned.get(name, Step(name=name, days=None, reasons={}))
        missing = records.lost.get(name)
        if missing:
            days = {day for part in step.days or () for day in part} | {day for day in missing if day is not None}
            step = replace(
                step,
                days=tuple(day_ranges(days)) if days else None,
                reasons={**step.reasons, UNRECORDED: len(missing)},
            )
        steps.append(step)
    return replace(plan, steps=tuple(steps))
