"""Days as Dagster partitions, and windows as Dagster partition mappings."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import Reach, calendar, reach
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.times import Daily, Days, Monthly, parse_day

_EVER = 1_200
"""Months: further back than any calendar begins."""


def partitions_of(declaration: Declaration) -> dg.TimeWindowPartitionsDefinition | None:
    """The daily or monthly partitions of a declaration."""
    days = calendar(declaration)
    if days is None:
        return None
    return monthly_partitions(days) if isinstance(days, Monthly) else daily_partitions(days)


def monthly_partitions(months: Monthly) -> dg.MonthlyPartitionsDefinition:
    """A calendar of months as Dagster's own; the last one ends where it would without an end of the calendar."""
    after = None if months.last is None else (months.last.replace(day=1) + timedelta(days=32)).replace(day=1)
    return dg.MonthlyPartitionsDefinition(
        start_date=str(months.first), end_date=None if after is None else str(after), timezone=months.zone
    )


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
    if isinstance(reader, Backtest) and calendar(read) is not None:
        everything_before = dg.TimeWindowPartitionMapping(
            start_offset=-_EVER, allow_nonexistent_upstream_partitions=True
        )
        return dg.AssetDep(catalogue_key, partition_mapping=everything_before)
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
