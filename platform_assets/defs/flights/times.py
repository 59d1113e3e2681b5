"""From the airline's clock digits to instants, and never to a wrong one.

The operations system writes `1545` for a quarter to four on the airport's own clock: New York's for
departures, the destination's for arrivals. What cannot be read for certain becomes null and its row
stays, so that the table's contract refuses that row and shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import Final

import polars as pl

from platform_assets.declarations.times import INSTANT

NEW_YORK: Final = "America/New_York"
WALL: Final = pl.Datetime("us")

MISSING_ZONES: Final = MappingProxyType(dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico"))
"""Destinations that the registry of airports lacks. All keep Atlantic time the year round, with no summer
time: three in Puerto Rico, and St Thomas (STT), whose zone is an alias of Puerto Rico's."""

SHORTEST_BLOCK: Final = timedelta(minutes=30)
LONGEST_BLOCK: Final = timedelta(hours=20)
"""Gate to gate, as scheduled. The bounds choose the day of an arrival, and leave it open (null) when no
day fits; they need to lie less than a day of 23 hours apart. The year's flights take 50 to 700 minutes."""

_MIDNIGHT_AT_THE_END = 2400
_HOUR_MINUTES = 60
_DAY_MINUTES = 24 * _HOUR_MINUTES
_PUT_FORWARD = pl.duration(hours=1)


def calendar_day(*, year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    """The date of three numbers; null where there is no such day (`pl.date` would fail the whole file)."""
    possible = year.is_between(1, 9999) & month.is_between(1, 12) & day.is_between(1, 31)
    month_start = pl.when(possible).then(pl.date(year, pl.when(possible).then(month), 1))
    date = month_start + pl.duration(days=day - 1)
    return pl.when(date.dt.month() == month).then(date)


def minutes_after_midnight(digits: pl.Expr) -> pl.Expr:
    """Read clock digits (`517`, `2400`) as minutes from 0 to 1440; null for what no clock shows (`2561`)."""
    wide = digits.cast(pl.Int64)
    hour, minute = wide // 100, wide % 100
    readable = wide.is_between(0, _MIDNIGHT_AT_THE_END) & (minute < _HOUR_MINUTES)
    return pl.when(readable).then(hour * _HOUR_MINUTES + minute)


def wall_time(day: pl.Expr, digits: pl.Expr) -> pl.Expr:
    """The clock's reading (without a zone) on a date; 2400 is midnight at the end of that day."""
    return day.cast(WALL) + pl.duration(minutes=minutes_after_midnight(digits))


def instant_of(wall: pl.Expr, *, zone: pl.Expr | str) -> pl.Expr:
    """The instant (UTC) at which the clock of `zone` shows `wall`.

    Null where the clock skips that time in spring or shows it twice in autumn, and where the column
    `zone` is null or names no zone.
    """
    return _in_each_zone(_to_instant, wall, zone, INSTANT)


def wall_time_of(instant: pl.Expr, *, zone: pl.Expr | str) -> pl.Expr:
    """What the clock of `zone` shows at an instant; null where the column `zone` is null or names no zone."""
    return _in_each_zone(_to_wall, instant, zone, WALL)


def arrival_after(departure: pl.Expr, digits: pl.Expr, *, zone: pl.Expr | str) -> pl.Expr:
    """The instant (UTC) of a scheduled arrival, of which only the digits on the clock of `zone` are given.

    It is the first time after `SHORTEST_BLOCK` at which the clock shows them. Null where that is more
    than `LONGEST_BLOCK` away, or where the digits cannot be read.
    """
    earliest = wall_time_of(departure + SHORTEST_BLOCK, zone=zone)
    same_day = earliest.dt.truncate("1d") + pl.duration(minutes=minutes_after_midnight(digits) % _DAY_MINUTES)
    next_day = same_day + pl.duration(days=1)
    arrival = instant_of(pl.when(same_day >= earliest).then(same_day).otherwise(next_day), zone=zone)
    return pl.when((arrival - departure).is_between(SHORTEST_BLOCK, LONGEST_BLOCK)).then(arrival)


def where_clock_shows(instant: pl.Expr, digits: pl.Expr, *, zone: pl.Expr | str) -> pl.Expr:
    """The instant where the clock of `zone` shows `digits` then, null where the two disagree.

    For an hour after the clocks go forward, a clock that was not put forward is believed too: one
    flight of 9 March landed at "203", which New York skipped that night.
    """
    shown = wall_time_of(instant, zone=zone)
    not_put_forward = wall_time_of(instant - _PUT_FORWARD, zone=zone) + _PUT_FORWARD
    agrees = _shows(shown, digits) | ((not_put_forward < shown) & _shows(not_put_forward, digits))
    return pl.when(agrees).then(instant)


def _shows(wall: pl.Expr, digits: pl.Expr) -> pl.Expr:
    minutes = wall.dt.hour().cast(pl.Int64) * _HOUR_MINUTES + wall.dt.minute()
    return minutes == minutes_after_midnight(digits) % _DAY_MINUTES


def _to_instant(wall: pl.Expr, zone: str) -> pl.Expr:
    return wall.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")


def _to_wall(instant: pl.Expr, zone: str) -> pl.Expr:
    return instant.dt.convert_time_zone(zone).dt.replace_time_zone(None)


def _in_each_zone(
    convert: Callable[[pl.Expr, str], pl.Expr], times: pl.Expr, zone: pl.Expr | str, result: pl.Datetime
) -> pl.Expr:
    """Apply `convert` zone by zone: Polars itself converts a column to one zone only."""
    if isinstance(zone, str):
        return convert(times, zone)

    def convert_batch(batch: pl.Series) -> pl.Series:
        rows = batch.struct.unnest()
        named = filter(_is_zone, rows.get_column("zone").drop_nulls().unique())
        found = [pl.when(pl.col("zone") == name).then(convert(pl.col("times"), name)) for name in named]
        return rows.with_columns(pl.coalesce(pl.lit(None, result), *found).alias(batch.name)).get_column(batch.name)

    columns = pl.struct(times.alias("times"), zone.alias("zone"))
    return columns.map_batches(convert_batch, return_dtype=result, is_elementwise=True)


@cache
def _is_zone(name: str) -> bool:
    try:
        pl.select(pl.lit(0).cast(INSTANT).dt.convert_time_zone(name))
    except pl.exceptions.ComputeError:
        return False
    return True
