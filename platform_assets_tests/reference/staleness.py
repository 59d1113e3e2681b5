"""What goes stale, by asking each day of each table what it reads: no ranges, no versions, no reuse."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from platform_assets.declarations.catalogue import Catalogue, calendar, days_read
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import TrainingDataset


def is_reached(catalogue: Catalogue, declaration: Declaration, day: date, rewritten: Mapping[str, set[date]]) -> bool:
    """Whether a rewritten day of a source can reach this day of a table."""
    if day in rewritten.get(declaration.name, ()):
        return True
    for read in catalogue.inputs(declaration):
        if calendar(read) is None:
            continue
        for other in days_read(declaration, read, Days(day, day)) or ():
            if is_reached(catalogue, read, other, rewritten):
                return True
    return False


def stale_rows(
    catalogue: Catalogue, dataset: TrainingDataset, rows: pl.DataFrame, rewritten: Mapping[str, set[date]]
) -> int:
    """How many rows of a training dataset are from a day that is reached."""
    count = 0
    for row in rows.iter_rows(named=True):
        day = dataset.view.partitions.day_of(pl.lit(row[dataset.view.event_time]))
        own = pl.select(day).item()
        count += any(is_reached(catalogue, read, own, rewritten) for read in catalogue.inputs(dataset))
    return count


def differing_days(before: pl.DataFrame, after: pl.DataFrame) -> set[date]:
    """The days whose rows are not the same rows."""
    days = {*before["day"], *after["day"]}
    return {
        day
        for day in days
        if sorted(map(str, before.filter(pl.col("day") == day).iter_rows()))
        != sorted(map(str, after.filter(pl.col("day") == day).iter_rows()))
    }
