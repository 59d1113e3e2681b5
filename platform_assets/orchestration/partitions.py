"""Days as Dagster partitions, and windows as Dagster partition mappings."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from platform_assets.declarations.catalogue import Reach, calendar, reach
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.times import Daily, Days, parse_day


def partitions_of(declaration: Declaration) -> dg.DailyPartitionsDefinition | None:
    """The daily partitions of a declaration."""
    days = calendar(declaration)
    return None if days is None else daily_partitions(days)


def daily_partitions(days: Daily) -> dg.DailyPartitionsDefinition:
    """A calendar as Dagster's own; its end date is the first day that is not a partition."""
    return dg.DailyPartitionsDefinition(
        start_date=str(days.first),
        end_date=None if days.last is None else str(days.last + timedelta(days=1)),
        timezone=days.zone,
    )


def dependency(catalogue_key: dg.AssetKey, reader: Declaration, read: Declaration) -> dg.AssetDep:
    """How one asset depends on another; the mapping follows from the declared windows."""
    extent = reach(reader, read)
    if extent is None:
        return dg.AssetDep(catalogue_key)
    return dg.AssetDep(catalogue_key, partition_mapping=mapping(extent))


def mapping(extent: Reach) -> dg.TimeWindowPartitionMapping:
    """The upstream days that a day reads; at the calendar's edges there are fewer."""
    return dg.TimeWindowPartitionMapping(
        start_offset=-extent.days_back, end_offset=extent.days_forth, allow_nonexistent_upstream_partitions=True
    )


def days_of_run(context: dg.AssetExecutionContext) -> Days | None:
    """The days a run is to materialize: one, a range, or None without partitions."""
    if not context.has_partition_key and not context.has_partition_key_range:
        return None
    keys = context.partition_key_range
    return Days(parse_day(keys.start), parse_day(keys.end))
