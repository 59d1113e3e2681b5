"""Which incidents last, of what a monitor watches: each is told once.

Drift and performance share it: both write a day, a column (or a slice) and `alarmed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from platform_assets.compute.incidents import Spell, alarms_of, begun, spells
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import DAY, table_folder
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.run import Platform

SINCE = "since "
"""What the facts of a check are called that tell what began to drift together and lasts: each is an incident."""
PAST = "past, since "
"""The same of an incident that does not last to the newest day: days long past were measured anew."""
REMEMBERED = "incidents since "
"""The fact that lists the incidents which the table has, by first day; it is called by the day from which it was read."""
READ_AT = "read at"
"""The fact that says when a check was read from the monitor's table, which its run had written to: of two runs at once the one
that read last knows what both wrote."""

Moved = tuple[str, str, int, float]
"""A column (or a slice), the measure that is furthest above its threshold, its window, and how many times that is."""

_SHOWN = 3
_REMEMBERED_DAYS = 366


@dataclass(frozen=True, kw_only=True)
class Later:
    """The newest day that is watched, where it is later than the days that were just written: a correction reaches back.

    What lasts is not over because a day of before it is quiet.

    Attributes:
        day: which.
        begun: as of `Lasting`, on that day.
        moved: as `furthest` tells of those columns then.
    """

    day: date
    begun: Mapping[str, date]
    moved: Sequence[Moved]


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """Which incidents last, as the monitor's table has it with the days that were just written.

    It follows from the table alone, so that a run which is killed and made again says what it would have said, and of two
    runs at once the later one knows what both wrote. Who was told of what already is known to whoever tells.

    Attributes:
        begun: by column that drifts on the last of those days the day on which its incident began.
        later: the newest day that is watched; None where that is the last of those days.
        remembered: the first days of all incidents that the table has.
        remembered_from: the day from which it was read for that.
        rows: those of the last of those days, as the table has them.
        read_at: when it was read (UTC), by the clock.
    """

    begun: Mapping[str, date]
    later: Later | None
    remembered: Sequence[date]
    remembered_from: date
    rows: pl.DataFrame
    read_at: datetime

    @property
    def now(self) -> Mapping[str, date]:
        """As `begun`, on the newest day that is watched."""
        return self.begun if self.later is None else self.later.begun

    @property
    def past(self) -> dict[str, date]:
        """What of `begun` is of incidents that do not last to the newest day."""
        lasts = set(self.now.values())
        return {column: first for column, first in self.begun.items() if first not in lasts}


def lasting(
    platform: Platform,
    catalogue: Catalogue,
    monitor: Monitor | PerformanceMonitor,
    days: Days,
    *,
    times: pl.Expr,
    column: pl.Expr = pl.col("column"),  # noqa: B008 - an expression is a value
) -> Lasting:
    """Tell which incidents last on the last of `days`, and on the newest day that is watched.

    Which days are one incident follows from what was above a threshold before, or the name of an incident that lasts
    would change, and it would be told again. That is read from a year before `days` on, from the first of a month: what
    lasts longer is called by another day, and told again, once a month and not every day.

    Args:
        platform: where the monitor's table lies.
        catalogue: what is declared.
        monitor: whose table it is.
        days: the days that were just written to it.
        times: how many times its threshold a row of the table is.
        column: how the table's own rows name what is counted as one column.
    """
    folder, lake = table_folder(catalogue.name, monitor.name), platform.lake
    first = max(monitor.partitions.first, (days.first - _REMEMBERED_DAYS * ONE_DAY).replace(day=1))
    read_at, version, moved = datetime.now(UTC), lake.version(folder), list[Moved]()
    with lake.reading(folder):
        last = lake.scan(folder, version=version, days=Days(days.last, days.last)).collect()
        since = lake.scan(folder, version=version, days=Days(days.last, date.max)).select(pl.col(DAY).max())
        newest = since.collect().item() or days.last
        if newest > days.last:
            rows = lake.scan(folder, version=version, days=Days(newest, newest)).collect()
            moved = furthest(rows.with_columns(column.alias("column"), times.alias("times")))
        held = lake.scan(folder, version=version, days=Days(first, newest)).filter("alarmed")
        found = spells(alarms_of(held.select(DAY, column.alias("column")).collect()))
    later = _drifting(found, on=newest)
    return Lasting(
        begun=_drifting(found, on=days.last),
        later=None
        if newest == days.last
        else Later(day=newest, begun=later, moved=[one for one in moved if one[0] in later]),
        remembered=begun(found),
        remembered_from=first,
        rows=last,
        read_at=read_at,
    )


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


def incident_facts(found: Lasting, worst: Sequence[Moved], *, what: str) -> dict[str, object]:
    """A fact for each incident of columns that a check speaks of; one that lists all, and one that says when it was read.

    Args:
        found: which incidents last.
        worst: as `furthest` tells of the last of the days that were measured.
        what: what a column is called, in the singular.
    """
    now = worst if found.later is None else found.later.moved
    past = [moved for moved in worst if moved[0] in found.past]
    return {
        **_by_incident(SINCE, now, found.now, what=what),
        **_by_incident(PAST, past, found.past, what=what),
        f"{REMEMBERED}{found.remembered_from}": ", ".join(map(str, found.remembered)) or "none",
        READ_AT: found.read_at.isoformat(),
    }


def incidents_told(facts: Mapping[str, object], title: str) -> dict[str, str]:
    """What the facts of a check tell of incidents that last (`SINCE`) or do not (`PAST`), each `since` its first day."""
    return {f"{SINCE}{t.removeprefix(title)}": str(said) for t, said in facts.items() if t.startswith(title)}


def _by_incident(title: str, worst: Sequence[Moved], begun: Mapping[str, date], *, what: str) -> dict[str, object]:
    facts: dict[str, object] = {}
    for first in sorted(set(begun.values())):
        count = sum(incident == first for incident in begun.values())
        # A column of too few values today drifts on, though nothing tells how far it moved.
        moved = say_moved([moved for moved in worst if begun.get(moved[0]) == first]) or "too few values to say how far"
        facts[f"{title}{first}"] = f"{count} {what}{'s' if count > 1 else ''}: {moved}"
    return facts
