"""Which incidents last, of what a monitor watches: each is told once.

Drift and performance share it: both write a day, a column (or a slice) and `alarmed`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from platform_assets.compute.incidents import Spell, alarms_of, spells
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
    first = _remembered_from(monitor, days)
    if days.first > first and platform.lake.version(table_folder(catalogue.name, monitor.name)) is not None:
        before = _alarmed(platform, catalogue, monitor, Days(first, days.first - ONE_DAY), column)
        alarmed = pl.concat([before, alarmed.select(before.columns)])
    return _drifting(spells(alarms_of(alarmed)), on=days.last)


@dataclass(frozen=True, kw_only=True)
class Since:
    """What is known of later days than those that were just measured: a correction has days measured anew that are long past.

    What lasts is not over because a day of before it is quiet, and what was over is not told again for it.

    Attributes:
        begun: as `lasting` tells of the newest day that is watched; nothing where none is later.
        moved: as `furthest` tells of those columns then.
        known: the incidents that the table told of already.
    """

    begun: Mapping[str, date] = field(default_factory=dict)
    moved: Sequence[Moved] = ()
    known: Collection[date] = ()


def since(
    platform: Platform,
    catalogue: Catalogue,
    monitor: Monitor | PerformanceMonitor,
    days: Days,
    alarmed: pl.DataFrame,
    *,
    times: pl.Expr,
    column: pl.Expr = pl.col("column"),  # noqa: B008 - an expression is a value
) -> Since:
    """Look at the days after `days` that are watched.

    The arguments are those of `lasting`, and how many times its threshold a row of the table is.
    """
    folder, later = table_folder(catalogue.name, monitor.name), Days(days.last + ONE_DAY, date.max)
    if platform.lake.version(folder) is None:
        return Since()
    with platform.lake.reading(folder):
        newest = platform.lake.scan(folder, days=later).select(pl.col(DAY).max()).collect().item()
        if newest is None:
            return Since()
        rows = platform.lake.scan(folder, days=Days(newest, newest)).collect()
    held = _alarmed(platform, catalogue, monitor, Days(_remembered_from(monitor, days), newest), column)
    others = held.filter(~pl.col(DAY).is_between(days.first, days.last))
    begun = _drifting(spells(alarms_of(pl.concat([others, alarmed.select(others.columns)]))), on=newest)
    moved = furthest(rows.with_columns(column.alias("column"), times.alias("times")))
    return Since(
        begun=begun,
        moved=[found for found in moved if found[0] in begun],
        known={spell.incident for spell in spells(alarms_of(held))},
    )


def _remembered_from(monitor: Monitor | PerformanceMonitor, days: Days) -> date:
    return max(monitor.partitions.first, days.first - _REMEMBERED)


def _alarmed(
    platform: Platform, catalogue: Catalogue, monitor: Monitor | PerformanceMonitor, days: Days, column: pl.Expr
) -> pl.DataFrame:
    """What the table has above a threshold."""
    folder = table_folder(catalogue.name, monitor.name)
    with platform.lake.reading(folder):
        held = platform.lake.scan(folder, days=days).filter("alarmed")
        return held.select(DAY, column.alias("column")).collect()


def _drifting(found: Sequence[Spell], *, on: date) -> dict[str, date]:
    return {spell.column: spell.incident for spell in sorted(found, key=lambda s: s.column) if spell.drifts(on)}


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


def say_since(worst: Sequence[Moved], begun: Mapping[str, date]) -> str:
    """What moved most, each with the day on which its incident began; "" of too few values."""
    return say_moved([(f"{moved[0]} since {begun[moved[0]]}", *moved[1:]) for moved in worst])


def since_facts(worst: Sequence[Moved], begun: Mapping[str, date], *, what: str) -> dict[str, object]:
    """A fact for each incident of columns (`what`, in the singular), under the day on which it began."""
    facts: dict[str, object] = {}
    for first in sorted(set(begun.values())):
        count = sum(incident == first for incident in begun.values())
        # A column of too few values today drifts on, though nothing tells how far it moved.
        moved = say_moved([moved for moved in worst if begun[moved[0]] == first]) or "too few values to say how far"
        facts[f"{SINCE}{first}"] = f"{count} {what}{'s' if count > 1 else ''}: {moved}"
    return facts
