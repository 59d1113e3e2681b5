"""How far the values of some days are from those of others, from their profiles.

Two distributions are compared on a grid that is made from a reference and kept: its points, and between the least
and the greatest as many again at equal distances that no gap is wide. Rows are counted at each point and in each
gap, day by day; days are added up, so that any window of days is compared with any other at the cost of an
addition. All counts are whole numbers: a day alone is measured as it is among many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute import ascending
from platform_assets.compute.ascending import finite
from platform_assets.compute.compiling import steps
from platform_assets.compute.grids import (
    NOTHING,
    STEPS,
    Counts,
    Grid,
    by_column,
    count_profiles,
    count_texts,
    grids,
    places,
)
from platform_assets.compute.merging import merge
from platform_assets.compute.profiles import kind_of, numbers_of
from platform_assets.compute.summaries import Floats, Integers
from platform_assets.declarations.times import ONE_DAY, Days

MEASURES = (
    "psi",
    "jensen_shannon",
    "infinity_norm",
    "kolmogorov_smirnov",
    "wasserstein",
    "wasserstein_in_spreads",
    "missing",
    "unseen",
)
"""What is measured of two distributions, the reference p and the current q; null where it means nothing or rows are few.

- psi: the population stability index, the sum of (q - p) ln(q / p) over bins, half a row added to each bin.
- jensen_shannon: the distance (not the divergence), to the base 2: 0 of equals, 1 of strangers; over the same bins.
- infinity_norm: the greatest difference in the share of one text or one value (of numbers that came between two points
  of the grid, in the share of all that did): what a stuck sensor raises and a lost category lowers. Numbers beyond
  the grid have no value in common but are unseen.
- kolmogorov_smirnov: the greatest difference of the distribution functions. Numbers only.
- wasserstein: the area between the distribution functions, in the column's unit; and the same in standard
  deviations of the reference that the grid was made from. Numbers only.
- missing: the difference in the share of rows that are null, NaN or infinite.
- unseen: the share of values outside the range of the reference, or texts that it does not have.

The bins of numbers lie between quantiles of the reference, with one below its least value and one above its
greatest. Each text is a bin, but those of less than a tenth of a bin's share are one together with the unseen.
"""

BINS = 10
AT_LEAST = 50

DRIFT = pl.Schema(
    {
        "day": pl.Date(),
        "window": pl.Int64(),
        "column": pl.String(),
        "rows": pl.Int64(),
        "known": pl.Int64(),
        "too_few": pl.Boolean(),
        **{measure: pl.Float64() for measure in MEASURES},
        "error": pl.Float64(),
    }
)
"""`day` is the last of the current window and `window` how many days that has, both null where it was merged; `known` of
its `rows` have a value. `error`: by how much kolmogorov_smirnov may differ from that of the rows; unseen may by twice
that, and wasserstein by (error + 1/32) of the range."""


@dataclass(frozen=True, kw_only=True)
class Against:
    """The days of a current window, and those that it is compared with."""

    current: Days
    reference: tuple[Days, ...]


def fixed(days: Days, reference: Days, *, length: int = 1) -> list[Against]:
    """Each window of `length` days that ends on one of `days`, against the same reference."""
    return [Against(current=_window(day, length), reference=(reference,)) for day in days]


def trailing(days: Days, *, reference: int, length: int = 1) -> list[Against]:
    """Each window of `length` days that ends on one of `days`, against the `reference` days before it."""
    found = [_window(day, length) for day in days]
    return [Against(current=now, reference=(_window(now.first - ONE_DAY, reference),)) for now in found]


def year_ago(days: Days, *, around: int, length: int = 1) -> list[Against]:
    """Each window of `length` days that ends on one of `days`, against the days around it 364 days before.

    Weekdays fall on weekdays.
    """
    found = []
    for day in days:
        now, back = _window(day, length), ONE_DAY * 364
        season = Days(now.first - back - around * ONE_DAY, now.last - back + around * ONE_DAY)
        found.append(Against(current=now, reference=(season,)))
    return found


def drift(
    reference: pl.DataFrame, current: pl.DataFrame, *, bins: int = BINS, at_least: int = AT_LEAST
) -> pl.DataFrame:
    """Each profile of `current` against the merged profile of all days of `reference`.

    Args:
        reference: profiles of any days, merged or not.
        current: profiles of each day, or of a merged window.
        bins: how many between the quantiles of the reference.
        at_least: fewer values than these, on either side, are too few to be measured.

    Returns:
        A frame of `DRIFT` in order of day, window and column, for the columns that the reference has.
    """
    whole = merge(reference)
    then, now = by_column(whole), by_column(current)
    found = []
    for grid in grids(whole):
        ours = now.get(grid.column, NOTHING)
        was, is_now = count_profiles(grid, then[grid.column]), count_profiles(grid, ours)
        told = {"day": ours.days, "window": np.where(np.isnat(ours.days), np.nan, 1)}
        found.append((grid.column, told | _measured(grid, was, is_now, bins=bins, at_least=at_least)))
    return _together(found)


def drift_over(
    profiles: pl.DataFrame,
    windows: Sequence[Against],
    *,
    grid: pl.DataFrame,
    points: int | None = None,
    bins: int = BINS,
    at_least: int = AT_LEAST,
) -> pl.DataFrame:
    """Many windows against their references, for all columns.

    Args:
        profiles: one for each day and column.
        windows: what is compared with what, of one length or of several; days without a profile count as days without
            rows.
        grid: merged profiles of the columns, from a reference that stays the same while figures are to be compared.
        points: how many points of them to compare at; by default all. With 256 the differences of distribution functions
            are told to some 0.002.
        bins: as for `drift`.
        at_least: as for `drift`.

    Returns:
        A frame of `DRIFT` in order of day, window and column, for the columns that the grid has.
    """
    if not windows:
        return DRIFT.to_frame()
    current, references = [(against.current,) for against in windows], [against.reference for against in windows]
    if len(set(references)) == 1:
        references = references[:1]
    ends = {
        "day": np.array([against.current.last for against in windows], dtype="datetime64[D]"),
        "window": np.array([len(against.current) for against in windows], dtype=np.float64),
    }
    held, found = by_column(profiles), []
    places_of: dict[bytes, tuple[list[Integers], ...]] = {}
    for where in grids(grid, points=points):
        ours = held.get(where.column, NOTHING)
        days = ours.days.tobytes()
        if days not in places_of:
            places_of[days] = places(ours.days, references), places(ours.days, current)
        was, is_now = count_profiles(where, ours).added(*places_of[days])
        found.append((where.column, ends | _measured(where, was, is_now, bins=bins, at_least=at_least)))
    return _together(found)


def exact_drift(reference: pl.Series, current: pl.Series, *, bins: int = BINS) -> dict[str, float | None]:
    """The measures of two columns from their values, without profiles; None where they mean nothing."""
    kind = kind_of(reference.dtype)
    if kind == "text":
        grid, (was, is_now) = count_texts(reference, current)
        measured = _measured(grid, was, is_now, bins=bins, at_least=1)
        found = {name: float(value[0]) for name, value in measured.items()}
    else:
        p, q = (np.zeros(side.count()) if kind == "other" else _finite(side) for side in (reference, current))
        found = {}
        if len(reference) and len(current):
            found["missing"] = abs((1 - len(q) / len(current)) - (1 - len(p) / len(reference)))
        if len(p) and len(q) and kind in {"numeric", "boolean"}:
            found |= _values_apart(p, q, bins)
    return {name: found[name] if math.isfinite(found.get(name, math.nan)) else None for name in MEASURES}


def _finite(cells: pl.Series) -> Floats:
    return finite(numbers_of(cells.to_frame())[:, 0])


def _values_apart(p: Floats, q: Floats, bins: int) -> dict[str, float]:
    """What `_numbers_apart` tells, of the values themselves, ascending: each is a point, and nothing lies between two."""
    gap, furthest, area = steps(ascending, len(p) + len(q)).apart(p, q)
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(p.std())
    ends = np.append(p[(np.arange(1, bins) * len(p) + bins - 1) // bins - 1], p[-1])
    upto = [
        np.array([0, np.searchsorted(side, p[0]), *np.searchsorted(side, ends, side="right"), len(side)])
        for side in (p, q)
    ]
    binned = [np.diff(rows)[np.newaxis].astype(np.float64) for rows in upto]
    real = np.concatenate([[True, True], np.diff(ends) > 0, [True]])
    with np.errstate(invalid="ignore"):
        found = _binned(binned[0], binned[1], real[np.newaxis])
    return {name: float(value[0]) for name, value in found.items()} | {
        "infinity_norm": furthest,
        "kolmogorov_smirnov": gap,
        "wasserstein": area,
        "wasserstein_in_spreads": area / spread if spread else math.nan,
        "unseen": float(binned[1][0, 0] + binned[1][0, -1]) / len(q),
    }


def _window(last: date, length: int) -> Days:
    return Days(last - (length - 1) * ONE_DAY, last)


def _together(found: Sequence[tuple[str, Mapping[str, npt.NDArray[Any]]]]) -> pl.DataFrame:
    """One frame of all columns, of what was found of each by field: null where NaN or not found."""
    if not found:
        return DRIFT.to_frame()
    sizes = [len(told["day"]) for _, told in found]
    laid: dict[str, Any] = {
        "column": [column for (column, _), size in zip(found, sizes, strict=True) for _ in range(size)]
    }
    for name in DRIFT.names():
        if name not in laid:
            parts = [told.get(name, np.full(size, np.nan)) for (_, told), size in zip(found, sizes, strict=True)]
            laid[name] = np.concatenate(parts)
    ordered = {name: laid[name] for name in DRIFT.names()}
    return pl.DataFrame(ordered, schema=DRIFT, nan_to_null=True).sort("day", "window", "column")


def _measured(grid: Grid, was: Counts, is_now: Counts, *, bins: int, at_least: int) -> dict[str, npt.NDArray[Any]]:
    """The fields of `DRIFT` that follow from what was counted, NaN where they mean nothing; those of no meaning are left out."""
    shape = is_now.known.shape
    enough = np.broadcast_to((was.known >= at_least) & (is_now.known >= at_least) & (was.known > 0), shape)
    asked = np.broadcast_to((was.rows >= at_least) & (is_now.rows >= at_least) & (was.rows > 0), shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        gone = np.abs((1 - is_now.known / is_now.rows) - (1 - was.known / was.rows))
        if grid.kind == "text":
            values = _texts_apart(was.cells, is_now.cells, bins)
        elif grid.kind in {"numeric", "boolean"} and len(grid.points):
            values = _numbers_apart(grid, was, is_now, bins)
        else:
            values = {}
        gaps = np.minimum(was.cells / was.known[:, None], is_now.cells / is_now.known[:, None])[:, ::2]
        between = gaps.max(axis=1) if grid.texts is None else 0.0
        values["error"] = was.error / was.known + is_now.error / is_now.known + between
    return {
        "rows": is_now.rows,
        "known": is_now.known,
        "too_few": ~enough,
        "missing": np.where(asked, gone, np.nan),
        **{name: np.where(enough, value, np.nan) for name, value in values.items()},
    }


def _numbers_apart(grid: Grid, was: Counts, is_now: Counts, bins: int) -> dict[str, Floats]:
    upto_p, upto_q = np.cumsum(was.cells, axis=1), np.cumsum(is_now.cells, axis=1)
    p, q = was.known[:, None], is_now.known[:, None]
    apart = upto_p / p - upto_q / q
    area = _area(grid, apart, was.rooms / p / STEPS - is_now.rooms / q / STEPS)
    edges = _edges(was, upto_p, bins)
    ends = _between(upto_q, edges)
    found = _binned(_between(upto_p, edges), ends, np.diff(edges, axis=1) > 0)
    return found | {
        "infinity_norm": np.abs(was.cells / p - is_now.cells / q)[:, 1:-1].max(axis=1),
        "kolmogorov_smirnov": np.abs(apart).max(axis=1),
        "wasserstein": area,
        "wasserstein_in_spreads": area / (grid.spread or np.nan),
        "unseen": (ends[:, 0] + ends[:, -1]) / is_now.known,
    }


def _area(grid: Grid, apart: Floats, rooms: Floats) -> Floats:
    """The area between the distribution functions; in a gap where they cross, as though both were straight."""
    size = len(grid.points)
    width = np.diff(grid.points)
    left, right = apart[:, 1 : 2 * size - 2 : 2], apart[:, 2 : 2 * size - 1 : 2]
    plain = np.abs(left + rooms[:, 1:size])
    both = np.abs(left) + np.abs(right)
    crossed = (left * left + right * right) / np.where(both > 0, 2 * both, 1.0)
    inner = np.where(left * right < 0, np.maximum(plain, crossed), plain) * width
    outer = (np.abs(rooms[:, 0]) + np.abs(rooms[:, size])) * grid.reach
    area: Floats = inner.sum(axis=1) + outer
    return area


def _edges(was: Counts, upto: Floats, bins: int) -> npt.NDArray[np.int64]:
    """How many cells lie below each edge of the bins: the first and the last bin hold nothing of the reference."""
    cells, points = was.cells.shape[1], upto[:, 1::2]
    low = np.argmax(was.cells > 0, axis=1)
    high = cells - np.argmax(was.cells[:, ::-1] > 0, axis=1)
    shares = np.arange(1, bins) * was.known[:, None]
    inner = (points[:, None, :] * bins < shares[:, :, None]).sum(axis=2) * 2 + 2
    inner = np.minimum(inner, high[:, None])
    return np.column_stack([np.zeros_like(low), low, inner, high, np.full_like(low, cells)])


def _between(upto: Floats, edges: npt.NDArray[np.int64]) -> Floats:
    """The rows of each window between edges."""
    padded = np.concatenate([np.zeros((len(upto), 1)), upto], axis=1)
    at_edges = np.take_along_axis(padded, np.broadcast_to(edges, (len(padded), edges.shape[1])), axis=1)
    return np.diff(at_edges, axis=1)


def _binned(p: Floats, q: Floats, real: npt.NDArray[np.bool_]) -> dict[str, Floats]:
    count = real.sum(axis=1, keepdims=True)
    rows_p, rows_q = p.sum(axis=1, keepdims=True), q.sum(axis=1, keepdims=True)
    like_p, like_q = (p + 0.5) / (rows_p + count / 2), (q + 0.5) / (rows_q + count / 2)
    psi = np.where(real, (like_q - like_p) * np.log(like_q / like_p), 0.0).sum(axis=1)
    p, q = p / rows_p, q / rows_q
    middle = (p + q) / 2
    halves = [np.where(side > 0, side * np.log2(np.where(side > 0, side / middle, 1.0)), 0.0) for side in (p, q)]
    divergence = (halves[0] + halves[1]).sum(axis=1) / 2
    return {"psi": psi, "jensen_shannon": np.sqrt(np.maximum(divergence, 0.0))}


def _texts_apart(p: Floats, q: Floats, bins: int) -> dict[str, Floats]:
    rows = p.sum(axis=1, keepdims=True)
    rare = p * 10 * bins < rows
    rare[:, -1] = True
    rare = np.broadcast_to(rare, q.shape)
    p_all = np.broadcast_to(p, q.shape)
    binned = [
        np.concatenate([np.where(rare, 0.0, side), np.where(rare, side, 0.0).sum(axis=1, keepdims=True)], axis=1)
        for side in (p_all, q)
    ]
    real = np.concatenate([~rare, np.ones((len(q), 1), dtype=np.bool_)], axis=1)
    shares_p, shares_q = p / rows, q / q.sum(axis=1, keepdims=True)
    new = np.where(shares_p[:, :-1] == 0, shares_q[:, :-1], 0.0).sum(axis=1)
    more = np.maximum(shares_q[:, -1] - shares_p[:, -1], 0.0)
    furthest = np.abs(shares_p - shares_q).max(axis=1)
    return _binned(binned[0], binned[1], real) | {"infinity_norm": furthest, "unseen": new + more}
