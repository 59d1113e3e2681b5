"""Aggregates over sliding windows, exact and independent of where a computation starts.

Whole numbers are summed and divided only at the end: a running sum of floats depends on where it began,
and a day computed alone would differ in the last bit from the same day inside a year.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from platform_assets.declarations.times import Window


def sums_at_ticks(
    streams: Sequence[pl.LazyFrame], *, keys: Sequence[str], window: Window, step: timedelta
) -> pl.LazyFrame:
    """Per key and tick, the sums of each stream's values over its items active then (active_from <= tick < active_until).

    Args:
        streams: Frames of keys, `active_from`, `active_until` (UTC, microseconds) and integer columns to sum;
            no two streams share a column.
        keys: Key columns; rows with a null key are dropped.
        window: Ticks with start <= event_time < end are returned, where anything is active.
        step: Distance between ticks, which are its multiples since the epoch.

    Returns:
        keys, event_time, and the sums (Int64).
    """
    width = step // timedelta(microseconds=1)

    def number(instant: pl.Expr) -> pl.Expr:
        """The number of the first tick at or after an instant."""
        return -(-instant.dt.timestamp("us") // width)

    first, last = (-(-int(x.timestamp() * 1_000_000) // width) for x in (window.start, window.end))
    changes: list[pl.LazyFrame] = []
    columns: list[str] = []
    for stream in streams:
        values = [c for c in stream.collect_schema().names() if c not in (*keys, "active_from", "active_until")]
        columns += values
        active = stream.select(
            *keys,
            pl.col(values).cast(pl.Int64),
            active=pl.lit(1, pl.Int64),
            begin=number(pl.col("active_from")).clip(lower_bound=first),
            finish=number(pl.col("active_until")).clip(upper_bound=last),
        ).filter(pl.col("begin") < pl.col("finish"), *(pl.col(k).is_not_null() for k in keys))
        # Everything that begins also finishes inside the window, so that one running sum over all keys
        # returns to zero at the last change of each key and needs no restart at the next.
        values += ["active"]
        changes.append(active.group_by(*keys, tick="begin").agg(pl.col(values).sum()))
        changes.append(active.group_by(*keys, tick="finish").agg(-pl.col(values).sum()))
    columns += ["active"]
    return (
        pl.concat(changes, how="diagonal")
        .group_by(*keys, "tick")
        .agg(pl.col(columns).sum())
        .sort(*keys, "tick")
        .with_columns(pl.col(columns).cum_sum(), until=pl.col("tick").shift(-1))
        .filter(pl.col("active") > 0)
        .with_columns(tick=pl.int_ranges("tick", "until"))
        .drop("active", "until")
        .explode("tick")
        .with_columns(event_time=pl.from_epoch(pl.col("tick") * width, time_unit="us").dt.replace_time_zone("UTC"))
        .drop("tick")
    )


def ratio(total: str | pl.Expr, count: str | pl.Expr) -> pl.Expr:
    """Whole-number total over whole-number count, to the nearest float; null where there is nothing to count.

    The same numbers give the same quotient in whatever frame they stand: Polars multiplies by the reciprocal of a
    column that it holds as a constant (as after `explode` of a single row, or by the portions of its streaming engine),
    which is one bit off for one quotient in four.
    """
    total, count = (pl.col(x) if isinstance(x, str) else x for x in (total, count))
    # Nothing is added, row by row, so that the count is a constant only where the total is one too.
    divisor = count + 0 * total
    return pl.when(count > 0).then(total.cast(pl.Float64) / divisor.cast(pl.Float64))


def minutes(duration: pl.Expr) -> pl.Expr:
    """Whole minutes of a duration, Int64."""
    return duration.dt.total_minutes()
