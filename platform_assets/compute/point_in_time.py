"""The point-in-time join: what was known of each entity at the moment a prediction is asked for.

For a spine row at time t a feature row is visible when both of its times have come: `event_time <= t`
and, with `known="then"`, `known_at <= t`. Of the visible rows the newest event time wins, then the
newest known time, then the values themselves, column by column with nulls lowest: a total order, so
that the answer does not depend on the order of the input or on the number of threads.

The features are read once, in portions and in whatever order they come, and only rows that can still win are
kept: memory follows the spine, not the group. `sight` holds the steps and says why that is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import polars as pl

from platform_assets.compute.timelines import EVENT, KNOWN, Search, Timelines
from platform_assets.declarations.times import INSTANT, Known

if TYPE_CHECKING:
    import numpy.typing as npt

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
Boundary = Literal["inclusive", "exclusive"]

_PORTION = 4_000_000
"""Cells taken in at once: rows times columns."""
_FEW_ENTITIES = 10_000
"""So many at most are looked for by name in a lazy frame."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """The rows of one group and how they are joined.

    Attributes:
        rows: the keys, two times and the values; any order. A lazy frame is read in portions, and only where
            the spine's times and keys can lie.
        on: the key columns, of the same name in the spine; a null key matches nothing.
        event_time: when a row was true; a row without it is invisible.
        known_at: when a row could be known (may be the same column); likewise.
        max_age: the largest `prediction_time - event_time` that still counts, inclusive; an older winner
            gives nulls (expired), it does not give way to another row.
        last_non_null: take for each column the newest row that has a value, instead of the newest row.
        age_column: also add `prediction_time - event_time` of the newest row (a duration), kept when it
            is expired and null when no row was ever visible: that is how to tell the two apart.
    """

    rows: pl.DataFrame | pl.LazyFrame
    on: Sequence[str]
    event_time: str
    known_at: str
    max_age: timedelta | None = None
    last_non_null: bool = False
    age_column: str | None = None

    @cached_property
    def schema(self) -> pl.Schema:
        """The columns of `rows`."""
        return self.rows.collect_schema()

    @property
    def values(self) -> list[str]:
        """The columns that the join adds, but for the age."""
        return [name for name in self.schema.names() if name not in {*self.on, self.event_time, self.known_at}]

    @property
    def added(self) -> dict[str, pl.DataType]:
        """What the join adds, in order."""
        age: dict[str, pl.DataType] = {self.age_column: pl.Duration("us")} if self.age_column else {}
        return age | {name: self.schema[name] for name in self.values}


def point_in_time_join(
    spine: Frame,
    features: pl.DataFrame | pl.LazyFrame,
    *,
    on: Sequence[str],
    prediction_time: str,
    event_time: str,
    known_at: str,
    max_age: timedelta | None = None,
    known: Known = "then",
    boundary: Boundary = "inclusive",
    last_non_null: bool = False,
    age_column: str | None = None,
) -> Frame:
    """Add to each spine row the feature values known of its key at its prediction time.

    Args:
        spine: any rows, any order, duplicates allowed; all are kept, in order.
        features: rows with the keys, two times and the values; for this and what is not told here see `Features`.
        on: see `Features`.
        prediction_time: the spine's instant column. Instants need a time zone; they are compared in microseconds.
        event_time: see `Features`.
        known_at: see `Features`.
        max_age: see `Features`.
        known: `"then"` uses what was known at the time; `"since"` also uses later corrections.
        boundary: `"inclusive"` counts times equal to the prediction time; `"exclusive"` does not.
        last_non_null: see `Features`.
        age_column: see `Features`.

    Returns:
        The spine's columns followed by the age, where asked for, and the features' other columns; lazy if the
        spine is lazy.

    Raises:
        ValueError: at once, for a missing column, a naive instant, key types that differ, a column
            that both sides have, or an option that does not exist.
    """
    group = Features(
        rows=features,
        on=on,
        event_time=event_time,
        known_at=known_at,
        max_age=max_age,
        last_non_null=last_non_null,
        age_column=age_column,
    )
    return point_in_time_joins(spine, [group], prediction_time=prediction_time, known=known, boundary=boundary)


def point_in_time_joins(
    spine: Frame,
    groups: Sequence[Features],
    *,
    prediction_time: str,
    known: Known = "then",
    boundary: Boundary = "inclusive",
) -> Frame:
    """Join many groups to one spine, each as `point_in_time_join` would; groups with the same keys share its order.

    Raises:
        ValueError: as `point_in_time_join`, and for a column that two groups have.
    """
    left = spine.collect_schema()
    taken = dict(left)
    for group in groups:
        _check(left, taken, group, prediction_time=prediction_time, known=known, boundary=boundary)
        taken |= group.added

    def joined(asked: pl.DataFrame) -> pl.DataFrame:
        timelines: dict[tuple[str, ...], Timelines] = {}
        found = [asked]
        for group in groups:
            keys = tuple(group.on)
            if keys not in timelines:
                timelines[keys] = Timelines(asked, keys, _instant(prediction_time))
            found.append(_found(timelines[keys], group, known, boundary))
        return pl.concat(found, how="horizontal")

    if isinstance(spine, pl.DataFrame):
        return joined(spine)
    return spine.map_batches(joined, schema=pl.Schema(taken), streamable=False)


def _found(timelines: Timelines, group: Features, known: Known, boundary: Boundary) -> pl.DataFrame:
    """Per spine row what the join adds to it."""
    values = pl.Schema({name: group.schema[name] for name in group.values})
    sought: dict[str | None, pl.Schema] = {None: values}
    if group.last_non_null:
        sought = {None: pl.Schema(), **dict.fromkeys(group.values, values)}
    searches = {
        column: Search(timelines, kept, then=known == "then", strictly=boundary == "exclusive")
        for column, kept in sought.items()
    }
    for rows in _portions(timelines, group, known):
        entity = timelines.number(rows)
        for column, search in searches.items():
            if column is None:
                search.take_in(rows, entity)
            else:
                there = rows.get_column(column).is_not_null()
                search.take_in(rows.filter(there), entity[there.to_numpy()])
    found: list[pl.DataFrame] = []
    for column, search in searches.items():
        number, age, rows = search.winners(aged=bool(group.age_column) or group.max_age is not None)
        wins = number >= 0
        if column is None and group.age_column:
            found.append(_where(wins, pl.Series(age).cast(pl.Duration("us"))).to_frame(group.age_column))
        if group.max_age is not None:
            wins &= age <= group.max_age // timedelta(microseconds=1)
        place = _where(wins, pl.Series(number.view(np.uint32)))
        names = [column] if column else () if group.last_non_null else group.values
        found.append(rows.select(pl.col(names).gather(place)))
    return pl.concat(found, how="horizontal")


def _where(wins: npt.NDArray[np.bool_], found: pl.Series) -> pl.Series:
    """What was found, null where nothing wins."""
    return found if wins.all() else pl.select(pl.when(pl.Series(wins)).then(found)).to_series()


def _portions(timelines: Timelines, group: Features, known: Known) -> Iterator[pl.DataFrame]:
    """The group's keys, times (in microseconds) and values; rows without a time left out."""
    laid = [
        *group.on,
        *group.values,
        _instant(group.event_time).to_physical().alias(EVENT),
        _instant(group.known_at).to_physical().alias(KNOWN),
    ]
    size = max(_PORTION // len(laid), 1)
    if isinstance(group.rows, pl.LazyFrame):
        narrowed = _narrowed(group.rows, timelines, group, known).select(laid)
        portions: Iterator[pl.DataFrame] = narrowed.collect_batches(chunk_size=size, maintain_order=False)
    else:
        portions = (rows.select(laid) for rows in group.rows.iter_slices(size))
    for rows in portions:
        lacks_time = rows.get_column(EVENT).null_count() or rows.get_column(KNOWN).null_count()
        yield rows.drop_nulls([EVENT, KNOWN]) if lacks_time else rows


def _narrowed(rows: pl.LazyFrame, timelines: Timelines, group: Features, known: Known) -> pl.LazyFrame:
    """The rows that some question can see, as far as times and few entities tell."""
    if not len(timelines.at):
        return rows.clear()
    first, last = (pl.lit(int(at), pl.Int64).cast(INSTANT) for at in timelines.at[[0, -1]])
    event, when_known = (_comparable(name, group.schema[name]) for name in (group.event_time, group.known_at))
    rows = rows.filter(event <= last)
    if known == "then" and group.known_at != group.event_time:
        rows = rows.filter(when_known <= last)
    if group.max_age is not None and group.age_column is None:
        rows = rows.filter(event >= first - group.max_age)
    for key in group.on:
        wanted = timelines.entities.get_column(key).unique()
        if len(wanted) <= _FEW_ENTITIES and (wanted.dtype.is_integer() or wanted.dtype == pl.String):
            rows = rows.filter(pl.col(key).is_in(wanted.implode()))
    return rows


def _comparable(column: str, dtype: pl.DataType) -> pl.Expr:
    """An instant to compare with UTC microseconds; of a plain column a file's statistics can tell."""
    return pl.col(column) if dtype == INSTANT else _instant(column)


def _instant(column: str) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _check(  # noqa: C901 - a line for each mistake
    left: pl.Schema,
    taken: dict[str, pl.DataType],
    group: Features,
    *,
    prediction_time: str,
    known: str,
    boundary: str,
) -> None:
    on, times, right, max_age = group.on, (group.event_time, group.known_at), group.schema, group.max_age
    if isinstance(on, str) or not on:
        msg = f"point-in-time join: on={on!r}; name the key columns as a list"
        raise ValueError(msg)
    if known not in ("then", "since") or boundary not in ("inclusive", "exclusive"):
        msg = (
            f"point-in-time join: known={known!r}, boundary={boundary!r}; known is 'then' or 'since', boundary "
            "'inclusive' or 'exclusive'"
        )
        raise ValueError(msg)
    for side, schema, needed in (("spine", left, [*on, prediction_time]), ("features", right, [*on, *times])):
        missing = [name for name in needed if name not in schema]
        if missing:
            msg = f"point-in-time join: the {side} lack {', '.join(missing)}; they have {', '.join(schema.names())}"
            raise ValueError(msg)
    for side, schema, name in (
        ("spine", left, prediction_time),
        ("features", right, times[0]),
        ("features", right, times[1]),
    ):
        dtype = schema[name]
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            msg = (
                f"point-in-time join: {name!r} of the {side} is {dtype}; an instant needs a time zone "
                "(dt.replace_time_zone tells Polars which)"
            )
            raise ValueError(msg)
    for key in on:
        if left[key] != right[key]:
            msg = f"point-in-time join: the key {key!r} is {left[key]} in the spine but {right[key]} in the features"
            raise ValueError(msg)
    age_column, values = group.age_column, group.values
    clash = [name for name in [*values, *([age_column] if age_column else [])] if name in taken]
    if clash or (age_column in values):
        msg = f"point-in-time join: {', '.join(clash) or age_column} would come twice; rename one side"
        raise ValueError(msg)
    if max_age is not None and max_age < timedelta(0):
        msg = f"point-in-time join: max_age={max_age} is negative"
        raise ValueError(msg)
