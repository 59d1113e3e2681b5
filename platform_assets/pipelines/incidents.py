"""Since when what a monitor watches is above a threshold: an incident is told once while it lasts.

Drift and performance share it: both write a day, a column (or a slice) and `alarmed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import DAY, table_folder
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.run import Platform

SINCE = "since "
"""What the facts of a check are called that tell what began to be above a threshold on a day: each is an incident."""

Moved = tuple[str, str, int, float]
"""A column (or a slice), the measure that is furthest above its threshold, its window, and how many times that is."""

_LOOK_BACK = 60  # days that are at first looked at
_SHOWN = 3


def since_when(alarmed: pl.DataFrame, *, on: date) -> dict[str, date]:
    """By column that is above a threshold on a day the first of its unbroken days above one.

    Args:
        alarmed: a row for each day, column and measure above its threshold (`day`, `column`).
        on: the day.
    """
    found: dict[str, set[date]] = {}
    for day, column in alarmed.select(DAY, "column").unique().iter_rows():
        found.setdefault(column, set()).add(day)
    begun = {}
    for column, days in sorted(found.items()):
        if on in days:
            first = on
            while first - ONE_DAY in days:
                first -= ONE_DAY
            begun[column] = first
    return begun


def lasting(
    platform: Platform,
    catalogue: Catalogue,
    monitor: Monitor | PerformanceMonitor,
    days: Days,
    alarmed: pl.DataFrame,
    *,
    column: pl.Expr = pl.col("column"),  # noqa: B008 - an expression is a value
) -> dict[str, date]:
    """By column that is above a threshold on the last of `days` since when: as far back as that goes.

    Args:
        platform: where the monitor's table lies.
        catalogue: what is declared.
        monitor: whose table it is.
        days: the days that were just measured, which the table need not have.
        alarmed: what was above a threshold on them (`day`, `column`).
        column: how the table's own rows name what `alarmed` calls `column`.
    """
    folder, first, back = table_folder(catalogue.name, monitor.name), monitor.partitions.first, _LOOK_BACK
    found = since_when(alarmed, on=days.last)
    if platform.lake.version(folder) is None:
        return found
    earliest = days.first
    while earliest > first and earliest in found.values():
        earliest = max(days.first - back * ONE_DAY, first)
        late = Days(earliest, days.first - ONE_DAY)
        with platform.lake.reading(folder):
            held = platform.lake.scan(folder, days=late).filter("alarmed")
            before = held.select(DAY, column.alias("column")).collect()
        found = since_when(pl.concat([before, alarmed]), on=days.last)
        back *= 2
    return found


def furthest(newest: pl.DataFrame) -> list[Moved]:
    """Each column by its measure that is furthest above (or least below) its threshold, the furthest first.

    Args:
        newest: column, measure, window and `times` its threshold, null where there is none.
    """
    times = newest.drop_nulls("times")
    each = times.sort("times", "column", "measure", "window", descending=[True, False, False, False])
    each = each.unique("column", keep="first", maintain_order=True)
    return list(each.select("column", "measure", "window", "times").iter_rows())


def say_moved(found: Sequence[Moved]) -> str:
    """The three that moved most, by how much."""
    told = [
        f"{column} ({measure} over {window} day{'s' if window > 1 else ''}, {times:.1f} times its threshold)"
        for column, measure, window, times in found[:_SHOWN]
    ]
    return "; ".join(told) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def since_facts(worst: Sequence[Moved], begun: Mapping[str, date], *, what: str) -> dict[str, object]:
    """A fact for each day on which columns (`what`, in the singular) began to be above a threshold."""
    facts: dict[str, object] = {}
    for first in sorted(set(begun.values())):
        found = [moved for moved in worst if begun[moved[0]] == first]
        facts[f"{SINCE}{first}"] = f"{len(found)} {what}{'s' if len(found) > 1 else ''}: {say_moved(found)}"
    return facts
