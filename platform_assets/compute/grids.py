"""Where two distributions are compared, and how many rows of some days lie where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.merging import flat
from platform_assets.compute.summaries import Floats, Integers, thin
from platform_assets.declarations.times import Days

STEPS = 65_536
"""Where a value lies in its gap is told in so many whole steps, so that sums are exact in any order."""

_EVEN = 64  # gaps of equal width between the least point and the greatest


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the distributions of one column are compared.

    The cells of numbers are, in turn, the gap before a point and the point, and the gap after the last; those of
    texts are the texts, and all others.
    """

    column: str
    kind: str
    points: Floats
    texts: pl.Series | None
    spread: float | None

    @property
    def cells(self) -> int:
        return 2 * len(self.points) + 1 if self.texts is None else len(self.texts) + 1

    @property
    def reach(self) -> float:
        """The unit of distances outside the points."""
        if not len(self.points):
            return 1.0
        return float(self.points[-1] - self.points[0]) or abs(float(self.points[0])) or 1.0


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The profiles of one column, in order of day, as arrays: the lists of all of them end to end.

    Attributes:
        kinds: those of the profiles.
        days: NaT where several were merged.
        rows: how many each profile is of, and `known` how many of them have a value.
        known: see `rows`.
        error: that of each profile.
        values: what is listed of numbers, and `texts` of texts.
        texts: see `values`.
        weights: the rows of each that is listed.
        owner: of which profile it is.
        m2: that of each profile, NaN where it has none.
    """

    kinds: frozenset[str]
    days: npt.NDArray[np.datetime64]
    rows: Floats
    known: Floats
    error: Floats
    values: Floats
    texts: pl.Series
    weights: Floats
    owner: Integers
    m2: Floats


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Rows by day or window (down) and cell (across), all whole numbers.

    `rooms` are the distances from the rows in a gap to the point after it, or from the last point, in parts of the gap.
    """

    rows: Floats
    known: Floats
    error: Floats
    cells: Floats
    rooms: Floats

    def added(self, *windows: Sequence[Integers]) -> tuple[Counts, ...]:
        """The sums over each kind of window, as `places` tells where these begin and end."""
        upto = {name: np.concatenate([np.zeros_like(n[:1]), np.cumsum(n, axis=0)]) for name, n in vars(self).items()}
        return tuple(Counts(**{name: _added(n, places) for name, n in upto.items()}) for places in windows)


def _added(upto: Floats, places: Sequence[Integers]) -> Floats:
    total: Floats = upto[places[0][1]] - upto[places[0][0]]
    for first, end in places[1:]:
        total += upto[end] - upto[first]
    return total


def places(days: npt.NDArray[np.datetime64], windows: Sequence[tuple[Days, ...]]) -> list[Integers]:
    """For the first run of days of all windows, the second and so on: where it begins and ends among `days`."""
    found = []
    for number in range(max(len(window) for window in windows)):
        held = [window[number] if number < len(window) else None for window in windows]
        first = np.array([part.first if part else date.max for part in held], dtype="datetime64[D]")
        last = np.array([part.last if part else date.max for part in held], dtype="datetime64[D]")
        found.append(np.array([np.searchsorted(days, first), np.searchsorted(days, last, side="right")]))
    return found


def by_column(profiles: pl.DataFrame) -> dict[str, Listed]:
    """The profiles of each column. All lists are laid flat at once: a column at a time costs more than what it holds."""
    ordered = profiles.sort("column", "day")
    runs_of = ordered.get_column("column").rle().struct.unnest()
    ends = np.cumsum(runs_of.get_column("len").to_numpy()).tolist()
    rows, nulls, nans, infinities, error = (
        ordered.get_column(name).to_numpy() for name in ("rows", "nulls", "nans", "infinities", "error")
    )
    known = rows - nulls - nans - infinities
    days = ordered.get_column("day").to_numpy().astype("datetime64[D]")
    kinds, m2 = ordered.get_column("kind").to_list(), ordered.get_column("m2").to_numpy()
    values, texts, weights = (flat(ordered.get_column(name)) for name in ("values", "texts", "counts"))
    found, start = {}, 0
    for column, end in zip(runs_of.get_column("value").to_list(), ends, strict=True):
        numbers, words, every = (slice(upto[start], upto[end]) for _, upto in (values, texts, weights))
        found[column] = Listed(
            kinds=frozenset(kinds[start:end]),
            days=days[start:end],
            rows=rows[start:end].astype(np.float64),
            known=known[start:end].astype(np.float64),
            error=error[start:end].astype(np.float64),
            values=values[0][numbers].to_numpy(),
            texts=texts[0][words],
            weights=weights[0][every].to_numpy().astype(np.float64),
            owner=np.repeat(np.arange(end - start), np.diff(weights[1][start : end + 1])),
            m2=m2[start:end],
        )
        start = end
    return found


NOTHING = Listed(
    kinds=frozenset(),
    days=np.zeros(0, dtype="datetime64[D]"),
    **{name: np.zeros(0) for name in ("rows", "known", "error", "values", "weights", "m2")},
    texts=pl.Series(dtype=pl.String),
    owner=np.zeros(0, dtype=np.int64),
)
"""A column of which there is no profile."""


def grids(whole: pl.DataFrame, *, points: int | None = None) -> Iterator[Grid]:
    """The grid of each merged profile: its points, at most so many, and some at equal distances, or its texts."""
    for column, only in by_column(whole).items():
        (kind,) = only.kinds
        values = only.values
        if points is not None:
            before = np.append(0, np.cumsum(only.weights)).astype(np.int64)
            values = values[thin(before, np.array([0, len(values)]), np.array([points]))[0]]
        if len(values) > 1:
            values = np.union1d(values, np.linspace(values[0], values[-1], _EVEN + 1))
        yield Grid(
            column=column,
            kind=kind,
            points=values,
            texts=only.texts.sort() if kind == "text" else None,
            spread=None if np.isnan(only.m2[0]) else float(only.m2[0] / only.known[0]) ** 0.5,
        )


def count_profiles(grid: Grid, profiles: Listed) -> Counts:
    """The rows of each profile in each cell.

    Raises:
        ValueError: when a profile is of another kind than the grid.
    """
    others = profiles.kinds - {grid.kind}
    if others:
        msg = f"drift: column {grid.column!r} is {grid.kind} in the reference and {min(others)} since; was it changed?"
        raise ValueError(msg)
    count, size = len(profiles.rows), len(grid.points)
    rooms = np.zeros((count, size + 1))
    if grid.texts is None:
        values = profiles.values
        place = np.searchsorted(grid.points, values)
        at_point = grid.points[np.minimum(place, size - 1)] == values if size else np.zeros(len(values), dtype=np.bool_)
        cell = 2 * place + at_point
        gap = np.flatnonzero(~at_point)
        room = np.rint(_rooms(grid, values[gap], place[gap]) * STEPS) * profiles.weights[gap]
        rooms = _matrix(profiles.owner[gap], place[gap], room, rooms.shape)
    else:
        items = profiles.texts
        cell = grid.texts.search_sorted(items).to_numpy().astype(np.int64)
        held = grid.texts.gather(np.minimum(cell, len(grid.texts) - 1)) if len(grid.texts) else items.clear()
        cell = np.where((held == items).to_numpy(), cell, len(grid.texts)) if len(held) else np.zeros_like(cell)
    cells = _matrix(profiles.owner, cell, profiles.weights, (count, grid.cells))
    if grid.texts is not None:
        cells[:, -1] += profiles.known - cells.sum(axis=1)
    return Counts(rows=profiles.rows, known=profiles.known, error=profiles.error, cells=cells, rooms=rooms)


def _rooms(grid: Grid, values: Floats, place: Integers) -> Floats:
    points, size = grid.points, len(grid.points)
    if not size:
        return np.zeros(len(values))
    after = points[np.minimum(place, size - 1)]
    before = points[np.maximum(np.minimum(place, size - 1) - 1, 0)]
    inside = (place > 0) & (place < size)
    return np.where(
        inside, (after - values) / np.where(inside, after - before, 1.0), np.abs(after - values) / grid.reach
    )


def _matrix(down: Integers, across: Integers, weights: Floats, shape: tuple[int, int]) -> Floats:
    flat = np.bincount(down * shape[1] + across, weights=weights, minlength=shape[0] * shape[1])
    return flat.astype(np.float64).reshape(shape)


def count_texts(reference: pl.Series, current: pl.Series) -> tuple[Grid, tuple[Counts, Counts]]:
    """A grid of every text of two columns, and their rows in its cells."""
    held = [cells.cast(pl.String).drop_nulls().value_counts(name="rows") for cells in (reference, current)]
    items = [counted.to_series(0) for counted in held]
    texts = pl.concat([cells.rename("text") for cells in items]).unique().sort()
    grid = Grid(column=reference.name, kind="text", points=np.zeros(0), texts=texts, spread=None)
    weights = [counted.get_column("rows").to_numpy() for counted in held]
    was, is_now = (
        Counts(
            rows=np.array([len(cells)], dtype=np.float64),
            known=np.array([weight.sum()], dtype=np.float64),
            error=np.zeros(1),
            cells=_matrix(
                np.zeros(len(own), dtype=np.int64), texts.search_sorted(own).to_numpy(), weight, (1, grid.cells)
            ),
            rooms=np.zeros((1, 1)),
        )
        for cells, own, weight in zip((reference, current), items, weights, strict=True)
    )
    return grid, (was, is_now)
