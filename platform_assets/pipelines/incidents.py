"""Which incidents last, of what a monitor watches: each is told once.

Drift and performance share it: both write a day, a column (or a slice) and `alarmed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from platform_assets.compute.incidents import alarms_of, spells
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import DAY, table_folder
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.run import Platform

SINCE = "since "
"""What the facts of a check are called that tell what began to drift together: each is an incident."""

Moved = tuple[str, str, int, float]
"""A column (or a slice), the measure that is furthest above its threshold, its window, and how many times that is."""

_SHOWN = 3
_REMEMBERED = 366 * ONE_DAY


def lasting(
    platform: Platform,
    catalogue: Catalogue,
    monitor: Monitor | PerformanceMonitor,
    days: Days,
    alarmed: pl.DataFrame,
    *,
    column: pl.Expr = pl.col("column"),  # noqa: B008 - an expression is a value
) -> dict[str, date]:
    """By column that drifts on the last of `days` the day on which its incident began.

    Which days are one incident follows from what was above a threshold before, or the name of an incident that lasts
    would change, and it would be told again. A year of that is read, however long the history is.

    Args:
        platform: where the monitor's table lies.
        catalogue: what is declared.
        monitor: whose table it is.
        days: the days that were just measured, which the table need not have.
        alarmed: what was above a threshold on them (`day`, `column`).
        column: how the table's own rows name what `alarmed` calls `column`.
    """
    folder = table_folder(catalogue.name, monitor.name)
    first = max(monitor.partitions.first, days.first - _REMEMBERED)
    if days.first > first and platform.lake.version(folder) is not None:
        with platform.lake.reading(folder):
            held = platform.lake.scan(folder, days=Days(first, days.first - ONE_DAY)).filter("alarmed")
            before = held.select(DAY, column.alias("column")).collect()
        alarmed = pl.concat([before, alarmed.select(before.columns)])
    found = spells(alarms_of(alarmed))
    return {spell.column: spell.incident for spell in sorted(found, key=lambda s: s.column) if spell.drifts(days.last)}


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
    """A fact for each incident of columns (`what`, in the singular), under the day on which it began."""
    facts: dict[str, object] = {}
    for first in sorted(set(begun.values())):
        count = sum(incident == first for incident in begun.values())
        # A column of too few values today drifts on, though nothing tells how far it moved.
        moved = say_moved([moved for moved in worst if begun[moved[0]] == first]) or "too few values to say how far"
        facts[f"{SINCE}{first}"] = f"{count} {what}{'s' if count > 1 else ''}: {moved}"
    return facts
