"""The rows that a performance monitor measures, and how they are cut into windows and slices.

Predictions and a training dataset are cut alike, so that what is learned from the one holds for the other. Rows are
frames of `day`, `model_version`, `truth` (0 or 1), `probability`, and a text for each column of slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from platform_assets.compute.expected import Judged, judge
from platform_assets.declarations.names import DAY
from platform_assets.declarations.performance import ALL, PerformanceMonitor
from platform_assets.declarations.times import ONE_DAY

TRUTH, PROBABILITY, VERSION = "truth", "probability", "model_version"
NO_VALUE = "(none)"
"""The slice of rows that have no value in the column."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The rows of one window in one slice."""

    day: date
    window: int
    sliced_by: str
    slice: str
    rows: pl.DataFrame

    def judged(self, *, at_least: int) -> Mapping[str, Judged] | None:
        """Every measure of it; None of too few rows."""
        if len(self.rows) < at_least:
            return None
        return judge(self.rows.get_column(TRUTH).to_numpy(), self.rows.get_column(PROBABILITY).to_numpy())


def title_of(sliced_by: str, value: str) -> str:
    """How a slice is called among others: `carrier UA`, or `all rows`."""
    return "all rows" if sliced_by == ALL else f"{sliced_by} {value}"


def slice_columns(monitor: PerformanceMonitor) -> list[pl.Expr]:
    """A text for each column of slices, by a name that nothing else has."""
    return [pl.col(name).cast(pl.String).fill_null(NO_VALUE).alias(_named(name)) for name in monitor.slices]


def cuts(monitor: PerformanceMonitor, rows: pl.DataFrame, days: Iterable[date], *, first: date) -> Iterator[Cut]:
    """Every window that ends on one of `days` and begins on `first` or later: all its rows, and its slices.

    A slice of fewer than `slice_rows` rows is left out; all rows are there even where they are none.
    """
    by_day: dict[Any, pl.DataFrame] = rows.partition_by(DAY, as_dict=True)
    for day in days:
        for window in monitor.windows:
            begins = day - (window - 1) * ONE_DAY
            if begins < first:
                continue
            held = [by_day[key] for n in range(window) if (key := (begins + n * ONE_DAY,)) in by_day]
            part = pl.concat(held) if held else rows.clear()
            yield Cut(day=day, window=window, sliced_by=ALL, slice=ALL, rows=part)
            for column in monitor.slices:
                found: dict[Any, pl.DataFrame] = part.partition_by(_named(column), as_dict=True)
                for (value,), own in sorted(found.items()):
                    if len(own) >= monitor.slice_rows:
                        yield Cut(day=day, window=window, sliced_by=column, slice=value, rows=own)


def _named(column: str) -> str:
    return f"slice {column}"
