"""Profiles of columns: what a day's values were like, in a few numbers that merge with those of other days.

A frame of profiles has one row per day and column, with the schema `PROFILES`, so that it can be a Delta table. Any
window of days is compared with any other from their profiles alone; the cost follows the new day, not the history.
The same rows give the same profile, in any order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.ascending import finite
from platform_assets.compute.content_hash import text_words
from platform_assets.compute.summaries import (
    Floats,
    Integers,
    least_hashes,
    moments,
    points_for,
    runs,
    thin,
)

Kind = Literal["numeric", "boolean", "instant", "text", "other"]
"""What a column holds. Of what is none of the first four (lists, say) only rows and nulls are counted."""

PROFILES = pl.Schema(
    {
        "day": pl.Date(),
        "column": pl.String(),
        "kind": pl.String(),
        "rows": pl.Int64(),
        "nulls": pl.Int64(),
        "nans": pl.Int64(),
        "infinities": pl.Int64(),
        "distinct": pl.Int64(),
        "hashes": pl.List(pl.Int32()),
        "minimum": pl.Float64(),
        "maximum": pl.Float64(),
        "mean": pl.Float64(),
        "m2": pl.Float64(),
        "m3": pl.Float64(),
        "m4": pl.Float64(),
        "values": pl.List(pl.Float64()),
        "texts": pl.List(pl.String()),
        "counts": pl.List(pl.Int64()),
        "error": pl.Int64(),
    }
)
"""Instants are microseconds since 1970 (UTC), booleans 0 and 1. `values` or `texts` stand for `counts` rows each;
`hashes` is null where every distinct value is listed. `error`: by how many rows the number of rows up to some value,
or with some text, may differ from what the lists say. The day is null where several were merged."""

TEXTS = 128
"""The most texts that are listed, the most frequent first; a text that came once only if all are listed."""

_TOGETHER = 1_000_000
"""As many values of columns of one kind are laid end to end; of longer tables one column."""
_MEASURED = ("minimum", "maximum", "mean", "m2", "m3", "m4")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One column on one day, or on several: the fields are those of `PROFILES`.

    `quantile`, `cdf` and the moments are None where no value is finite, or the column holds texts.
    """

    day: date | None
    column: str
    kind: Kind
    rows: int
    nulls: int
    nans: int
    infinities: int
    distinct: int
    hashes: tuple[int, ...] | None
    minimum: float | None
    maximum: float | None
    mean: float | None
    m2: float | None
    m3: float | None
    m4: float | None
    values: tuple[float, ...]
    texts: tuple[str, ...]
    counts: tuple[int, ...]
    error: int

    @staticmethod
    def of(row: dict[str, Any]) -> Profile:
        """From a named row of a frame of profiles."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
        }
        return Profile(**fields)

    @property
    def known(self) -> int:
        """How many rows have a value that is neither null, NaN nor infinite."""
        return self.rows - self.nulls - self.nans - self.infinities

    @property
    def rest(self) -> int:
        """How many rows have a text that is not listed."""
        return self.known - sum(self.counts) if self.kind == "text" else 0

    @property
    def variance(self) -> float | None:
        """The mean squared distance from the mean."""
        return None if self.m2 is None else self.m2 / self.known

    @property
    def skewness(self) -> float | None:
        """The third standardized moment; None of a constant."""
        return None if not self.m2 or self.m3 is None else float(self.known**0.5 * self.m3 / self.m2**1.5)

    @property
    def kurtosis(self) -> float | None:
        """The fourth standardized moment, 3 of a normal distribution; None of a constant."""
        return None if not self.m2 or self.m4 is None else self.known * self.m4 / self.m2**2

    def quantile(self, share: float) -> float | None:
        """The least value that at least this share (0 to 1) of the rows does not exceed."""
        if not self.values:
            return None
        upto = np.cumsum(self.counts)
        place = int(np.searchsorted(upto, share * self.known * (1 - 1e-15)))
        return self.values[min(place, len(self.values) - 1)]

    def cdf(self, value: float) -> float | None:
        """The share of rows up to this value, this included; off by `error / known` at most."""
        if not self.values:
            return None
        return sum(self.counts[: int(np.searchsorted(self.values, value, side="right"))]) / self.known


def profile(
    frame: pl.DataFrame | pl.LazyFrame, *, day: str | None = None, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """Profile the columns of a frame, day by day, in one pass over it.

    Args:
        frame: any columns; numbers are taken as 64-bit floats, instants as UTC.
        day: the column (a date) that names each row's day; without it all rows are one profile whose day is null.
        columns: those to profile; by default all but `day`.

    Returns:
        A frame of `PROFILES`, in order of day and column. Texts and points are as many as `TEXTS` and
        `points_for(rows)` at most.

    Raises:
        ValueError: when rows have no day.
    """
    names = [name for name in (columns if columns is not None else frame.collect_schema().names()) if name != day]
    wanted = [*names, *([day] if day else [])]
    held = frame[wanted] if isinstance(frame, pl.DataFrame) else frame.select(wanted).collect(engine="streaming")
    if day is None:
        days = pl.Series("day", [None], dtype=pl.Date)
        firsts = np.array([0, len(held)], dtype=np.int64)
    else:
        if held.get_column(day).null_count():
            msg = f"profile: {held.get_column(day).null_count()} rows have no {day}; leave them out or give them one"
            raise ValueError(msg)
        held = held.sort(day)
        ordered = held.get_column(day)
        firsts, _ = runs(ordered.to_numpy(), np.array([0, len(held)], dtype=np.int64))
        days = ordered[firsts[:-1]].cast(pl.Date).alias("day")
    found = [_of_columns(held[alike], kind, days, firsts) for kind, alike in _alike(held[names])]
    return _together(found).sort("day", "column")


def each(profiles: pl.DataFrame) -> Iterator[Profile]:
    """The rows of a frame of profiles as records."""
    return (Profile.of(row) for row in profiles.iter_rows(named=True))


def kind_of(dtype: pl.DataType) -> Kind:
    """What a column of this type holds."""
    if isinstance(dtype, pl.Boolean):
        return "boolean"
    if dtype.is_numeric() or isinstance(dtype, pl.Duration):
        return "numeric"
    if isinstance(dtype, (pl.Datetime, pl.Date)):
        return "instant"
    return "text" if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)) else "other"


def numbers_of(cells: pl.DataFrame) -> npt.NDArray[np.float64]:
    """The cells of columns that are neither text nor `other` as numbers, NaN where null: a column each, to be altered.

    Zero has no sign: which of two equal values comes first would depend on the order of the rows.
    """
    found = np.empty(cells.shape, order="F")
    columns = cells.select(_as_numbers(name, dtype) for name, dtype in cells.schema.items()).get_columns()
    for number, column in enumerate(columns):
        first = 0
        for part in column.get_chunks():
            np.add(part.to_numpy(), 0.0, out=found[first : first + len(part), number])
            first += len(part)
    return found


def _as_numbers(name: str, dtype: pl.DataType) -> pl.Expr:
    cells = pl.col(name)
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        cells = cells.cast(pl.Datetime("us")).dt.timestamp("us")
    elif isinstance(dtype, pl.Duration):
        cells = cells.dt.total_microseconds()
    return cells.cast(pl.Float64)


def _alike(cells: pl.DataFrame) -> Iterator[tuple[Kind, list[str]]]:
    """Columns of one kind, as many at once as are not too many values: to look at one by one takes longer than they do."""
    by_kind: dict[Kind, list[str]] = {}
    for name, dtype in cells.schema.items():
        kind = kind_of(dtype)
        by_kind.setdefault(kind, []).append(name)
    most = max(1, _TOGETHER // max(1, len(cells)))
    for kind, names in by_kind.items():
        yield from ((kind, names[first : first + most]) for first in range(0, len(names), most))


@dataclass(frozen=True, kw_only=True)
class _Lists:
    """A list for every row, laid end to end; null where marked."""

    flat: Floats | Integers | Sequence[str]
    lengths: Integers
    nulls: npt.NDArray[np.bool_] | None = None

    @staticmethod
    def of(lists: Sequence[Integers | None]) -> _Lists:
        """From one list a row."""
        flat = np.concatenate([np.zeros(0, dtype=np.int64), *(one for one in lists if one is not None)])
        lengths = np.array([0 if one is None else len(one) for one in lists], dtype=np.int64)
        return _Lists(flat=flat, lengths=lengths, nulls=np.array([one is None for one in lists], dtype=np.bool_))


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What was found of columns of one kind on some days, all days of the first column first.

    By field a number a row (NaN of a float for null), or lists. A field that is left out is 0, null or an empty list.
    """

    columns: Sequence[str]
    kind: Kind
    days: pl.Series
    fields: Mapping[str, npt.NDArray[Any] | _Lists]

    def __len__(self) -> int:
        return len(self.columns) * len(self.days)


def _of_columns(cells: pl.DataFrame, kind: Kind, days: pl.Series, firsts: Integers) -> _Found:
    """A group is a column on a day: the columns are laid end to end."""
    count, length = cells.width, len(cells)
    groups = np.append((np.arange(count)[:, np.newaxis] * length + firsts[:-1]).ravel(), count * length)
    rows, nulls = np.diff(groups), _nulls_of(cells, firsts)
    found: dict[str, npt.NDArray[Any] | _Lists] = {"rows": rows, "nulls": nulls}
    if kind == "text":
        texts = pl.concat([column.cast(pl.String) for column in cells.get_columns()])
        found |= _texts_of(texts, groups, np.flatnonzero(rows > nulls))
    elif kind != "other":
        found |= _numbers_of(numbers_of(cells).ravel(order="F"), groups, nulls)
    return _Found(columns=cells.columns, kind=kind, days=days, fields=found)


def _nulls_of(cells: pl.DataFrame, firsts: Integers) -> Integers:
    found = np.zeros((cells.width, len(firsts) - 1), dtype=np.int64)
    holed = [n for n, column in enumerate(cells.get_columns()) if column.null_count()]
    if holed:
        marks = cells[:, holed].select(pl.all().is_null())
        found[holed] = [_sums(column.to_numpy(), firsts) for column in marks.get_columns()]
    return found.ravel()


def _sums(marks: np.ndarray[Any, np.dtype[np.bool_]], firsts: Integers) -> Integers:
    upto: Integers = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(marks, dtype=np.int64)])
    return upto[firsts[1:]] - upto[firsts[:-1]]


def _numbers_of(numbers: Floats, firsts: Integers, nulls: Integers) -> dict[str, npt.NDArray[Any] | _Lists]:
    """What numbers are like, group by group; their order is altered."""
    nans, infinities = -nulls, np.zeros_like(nulls)
    measured, known = np.full((len(nulls), len(_MEASURED)), np.nan), []
    for group, (first, end) in enumerate(itertools.pairwise(firsts.tolist())):
        every = numbers[first:end]
        ours = finite(every)
        known.append(ours)
        if len(ours) < len(every):
            missing = len(every) - int(np.searchsorted(every, np.inf, side="right"))
            nans[group] += missing
            infinities[group] = len(every) - missing - len(ours)
        if len(ours):
            measured[group] = (ours[0], ours[-1], *moments(ours))
    lengths = np.array([len(ours) for ours in known], dtype=np.int64)
    firsts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    numbers = known[0] if len(known) == 1 else np.concatenate([np.zeros(0), *known])
    bounds, starts = runs(numbers, firsts)
    distinct, points = np.diff(starts), points_for(lengths)
    kept, counts, stay, error = thin(bounds, starts, points)
    hashes: list[Integers | None] = [None] * len(known)
    for group in np.flatnonzero(distinct > points).tolist():
        own = known[group] if distinct[group] == lengths[group] else numbers[bounds[starts[group] : starts[group + 1]]]
        hashes[group] = least_hashes(own.view(np.uint64))
    return {
        "nans": nans,
        "infinities": infinities,
        "distinct": distinct,
        "hashes": _Lists.of(hashes),
        **{name: measured[:, n] for n, name in enumerate(_MEASURED)},
        "values": _Lists(flat=numbers[bounds[kept]], lengths=stay),
        "counts": _Lists(flat=counts, lengths=stay),
        "error": error,
    }


def _texts_of(cells: pl.Series, firsts: Integers, filled: Integers) -> dict[str, npt.NDArray[Any] | _Lists]:
    """The texts of each group: the most frequent first, those as frequent by the alphabet."""
    group = pl.Series("group", np.repeat(np.arange(len(firsts) - 1), np.diff(firsts)))
    counted = (
        pl.LazyFrame([group, cells.alias("text")])
        .drop_nulls()
        .group_by("group", "text")
        .agg(pl.len().cast(pl.Int64).alias("rows"))
        .sort("group", "rows", "text", descending=[False, True, False])
        .collect()
    )
    starts = np.searchsorted(counted.get_column("group").to_numpy(), np.arange(len(firsts)))
    distinct = np.diff(starts)
    lengths, error = np.zeros((2, len(distinct)), dtype=np.int64)
    hashes: list[Integers | None] = [None] * len(distinct)
    parts = [counted.clear()]
    for full in filled:
        ours = counted.slice(starts[full], distinct[full])
        listed, error[full] = _listed(ours)
        if len(listed) < len(ours):
            hashes[full] = least_hashes(text_words(ours.get_column("text")))
        lengths[full] = len(listed)
        parts.append(listed)
    kept = pl.concat(parts)
    return {
        "distinct": distinct,
        "hashes": _Lists.of(hashes),
        "texts": _Lists(flat=kept.get_column("text").to_list(), lengths=lengths),
        "counts": _Lists(flat=kept.get_column("rows").to_numpy(), lengths=lengths),
        "error": error,
    }


def _listed(counted: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The texts that are listed of some in order of frequency, and how often the first came that is not."""
    if len(counted) <= TEXTS:
        return counted, 0
    listed = counted.head(TEXTS).filter(pl.col("rows") > 1)
    return listed, int(counted.get_column("rows")[len(listed)])


def _together(found: Sequence[_Found]) -> pl.DataFrame:
    """One frame of all: a series a field, since a frame a column costs more than what it tells."""
    if not found:
        return PROFILES.to_frame()
    columns = [
        pl.concat([one.days for one in found for _ in one.columns]).alias("day"),
        _repeated("column", [(name, len(one.days)) for one in found for name in one.columns]),
        _repeated("kind", [(one.kind, len(one)) for one in found]),
    ]
    columns += [
        _lists(name, dtype, found) if isinstance(dtype, pl.List) else _numbers(name, dtype, found)
        for name, dtype in PROFILES.items()
        if name not in {"day", "column", "kind"}
    ]
    return pl.DataFrame(columns)


def _repeated(name: str, told: Sequence[tuple[str, int]]) -> pl.Series:
    return pl.Series(name, [text for text, times in told for _ in range(times)], dtype=pl.String)


def _numbers(name: str, dtype: pl.DataType, found: Sequence[_Found]) -> pl.Series:
    nothing = np.nan if dtype == pl.Float64 else 0
    parts = [one.fields.get(name, np.full(len(one), nothing)) for one in found]
    return pl.Series(name, np.concatenate(parts), nan_to_null=True).cast(dtype)  # type: ignore[arg-type]


def _lists(name: str, dtype: pl.List, found: Sequence[_Found]) -> pl.Series:
    """The lists of a field; where a column has none they are empty, or null where they would be of hashes."""
    nullable = name == "hashes"
    parts = []
    for one in found:
        given, count = one.fields.get(name), len(one)
        zeros = np.zeros(count, dtype=np.int64)
        parts.append(given if isinstance(given, _Lists) else _Lists(flat=[], lengths=zeros, nulls=zeros == 0))
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate([p.lengths for p in parts]))])
    nulls = np.concatenate([np.zeros(len(p.lengths), dtype=np.bool_) if p.nulls is None else p.nulls for p in parts])
    flat: Any = (
        [text for part in parts for text in part.flat]
        if dtype.inner == pl.String
        else np.concatenate(
            [np.asarray(part.flat, dtype=np.float64 if dtype.inner == pl.Float64 else np.int64) for part in parts]
        )
    )
    import pyarrow as pa  # type: ignore[import-untyped] # only where a profile is put together

    items = pl.Series(flat, dtype=dtype.inner).to_arrow(compat_level=pl.CompatLevel.oldest())
    laid = pa.LargeListArray.from_arrays(offsets, items, mask=pa.array(nulls) if nullable else None)
    return pl.Series(name, laid)
