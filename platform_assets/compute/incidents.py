"""From days above a threshold to incidents: runs of days that somebody is told of once.

A column drifts once it has been above a threshold on several days close together, in windows of whatever length;
it drifts until it has been below all of them for some days (hysteresis: it takes more to begin than to last). Columns
that begin within a week are one incident, named by its first day, for as long as any of them drifts; one that begins
later is another, or a lasting drift would hide all that comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from platform_assets.declarations.times import ONE_DAY

DAYS, AMONG = 2, 3
"""A column drifts once it is above a threshold on so many of so many days."""
QUIET = 3
"""It drifts no more once so many days in a row are below every threshold."""
TOGETHER = 7
"""Columns that begin fewer days than this after the first are of its incident."""

Alarm = tuple[date, str]
"""A day, and a column that is above a threshold then."""


@dataclass(frozen=True, kw_only=True)
class Spell:
    """Days for which a column drifts.

    Attributes:
        column: which.
        incident: the day on which its incident began.
        first: the day on which the column began.
        last: the last day above a threshold; it drifts for `QUIET` - 1 days more.
    """

    column: str
    incident: date
    first: date
    last: date

    def drifts(self, on: date) -> bool:
        """Whether the column drifts on a day, as far as that was known then."""
        return self.first <= on < self.last + QUIET * ONE_DAY


def spells(alarms: Iterable[Alarm]) -> list[Spell]:
    """What drifted when, in order of the first day and the column.

    A day counts on what came before it alone: later days change the `last` of a spell, and nothing else.

    Args:
        alarms: each day and column above a threshold, in any order and any number of times.
    """
    by_column: dict[str, set[date]] = {}
    for day, column in alarms:
        by_column.setdefault(column, set()).add(day)
    found = sorted((first, column, last) for column, days in by_column.items() for first, last in _of_one_column(days))
    made: list[Spell] = []
    incident = date.min
    for first, column, last in found:
        if first - incident >= TOGETHER * ONE_DAY:
            incident = first
        made.append(Spell(column=column, incident=incident, first=first, last=last))
    return made


def alarms_of(alarmed: pl.DataFrame) -> list[Alarm]:
    """The rows of a frame of `day` and `column`, each once."""
    return list(alarmed.select("day", "column").unique().iter_rows())


def begun(found: Sequence[Spell]) -> list[date]:
    """The days on which incidents began."""
    return sorted({spell.incident for spell in found})


def _of_one_column(days: set[date]) -> list[tuple[date, date]]:
    runs: list[tuple[date, date]] = []
    lasts: date | None = None  # the last day above a threshold of the run that is open
    for day in sorted(days):
        if lasts is not None and day <= lasts + QUIET * ONE_DAY:
            runs[-1] = (runs[-1][0], day)
            lasts = day
            continue
        near = sum(day - n * ONE_DAY in days for n in range(AMONG))
        lasts = day if near >= DAYS else None
        if lasts is not None:
            runs.append((day, day))
    return runs
