"""The point-in-time join: what was known of each entity at the moment a prediction is asked for.

For a spine row at time t a feature row is visible when both of its times have come: `event_time <= t`
and, with `known="then"`, `known_at <= t`. Of the visible rows the newest event time wins, then the
newest known time, then the values themselves, column by column with nulls lowest: a total order, so
that the answer does not depend on the order of the input or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, TypeVar, cast

import polars as pl

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
Known = Literal["then", "since"]
Boundary = Literal["inclusive", "exclusive"]

_INSTANT = pl.Datetime("us", "UTC")
_ROW, _AT, _EVENT, _KNOWN, _SEEN = "__row", "__at", "__event", "__known", "__seen"


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
        features: rows with the keys, two times and the values; any order.
        on: the key columns, of the same name on both sides; a null key matches nothing.
        prediction_time: the spine's instant column. Instants need a time zone.
        event_time: when a feature row was true; a row without it is invisible.
        known_at: when a feature row could be known (may be the same column); likewise.
        max_age: the largest `prediction_time - event_time` that still counts, inclusive; an older winner
            gives nulls (expired), it does not give way to another row.
        known: `"then"` uses what was known at the time; `"since"` also uses later corrections.
        boundary: `"inclusive"` counts times equal to the prediction time; `"exclusive"` does not.
        last_non_null: take for each column the newest row that has a value, instead of the newest row.
        age_column: also add `prediction_time - event_time` of the newest row (a duration), kept when it
            is expired and null when no row was ever visible: that is how to tell the two apart.

    Returns:
        The spine's columns followed by the features' other columns; lazy if the spine is lazy.

    Raises:
        ValueError: at once, for a missing column, a naive instant, key types that differ or a column
            that both sides have.
    """
    rows, facts = spine.lazy(), features.lazy()
    left, right = rows.collect_schema(), facts.collect_schema()
    values = [name for name in right.names() if name not in {*on, event_time, known_at}]
    _check(left, right, on=on, prediction_time=prediction_time, times=(event_time, known_at), values=values,
           age_column=age_column, max_age=max_age)

    facts = facts.select(
        *on,
        pl.col(event_time).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(_EVENT),
        pl.col(known_at).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(_KNOWN),
        *values,
    ).drop_nulls([*on, _EVENT, _KNOWN])
    at = pl.col(prediction_time).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(_AT)
    asked = rows.select(*on, at).with_row_index(_ROW).filter(pl.col(_AT).is_not_null()).sort(_AT)

    def newest(columns: Sequence[str], visible: pl.LazyFrame) -> pl.LazyFrame:
        """One row per asked row: its number, the winner's event time and `columns`, nulls when expired."""
        joined = asked.join_asof(
            _in_order_of_sight(visible.select(*on, _EVENT, _KNOWN, *columns), on, columns, known),
            left_on=_AT, right_on=_SEEN, by=list(on), strategy="backward",
            allow_exact_matches=boundary == "inclusive", check_sortedness=False,
        )
        if max_age is not None:
            fresh = pl.col(_AT) - pl.col(_EVENT) <= pl.lit(max_age, dtype=pl.Duration("us"))
            joined = joined.with_columns(pl.when(fresh).then(pl.col(c)).alias(c) for c in columns)
        return joined.select(_ROW, (pl.col(_AT) - pl.col(_EVENT)).alias(_EVENT), *columns)

    found = newest([] if last_non_null else values, facts)
    if last_non_null:
        for column in values:
            filled = newest([column], facts.filter(pl.col(column).is_not_null())).select(_ROW, column)
            found = found.join(filled, on=_ROW, how="left", maintain_order="left")
    found = found.rename({_EVENT: age_column}) if age_column else found.drop(_EVENT)
    result = rows.with_row_index(_ROW).join(found, on=_ROW, how="left", maintain_order="left").drop(_ROW)
    return cast("Frame", result if isinstance(spine, pl.LazyFrame) else result.collect())


def _in_order_of_sight(
    facts: pl.LazyFrame, on: Sequence[str], values: Sequence[str], known: Known
) -> pl.LazyFrame:
    """The rows that ever win, in the order in which they come into sight.

    A row comes into sight when both of its times have passed. A late row about an older event never
    wins, since a newer event is already in sight: it is dropped, because the as-of join that follows
    looks at the time of sight alone and would let it shadow the newer fact. Of rows that come into
    sight together the last in the total order stays.
    """
    seen = pl.max_horizontal(_EVENT, _KNOWN) if known == "then" else pl.col(_EVENT)
    ordered = facts.with_columns(seen.alias(_SEEN)).sort(_SEEN, _EVENT, _KNOWN, *values)
    if known == "then":
        ordered = ordered.filter(pl.col(_EVENT) >= pl.col(_EVENT).cum_max().over(list(on)))
    return ordered.unique([*on, _SEEN], keep="last", maintain_order=True).drop(_KNOWN)


def _check(
    left: pl.Schema,
    right: pl.Schema,
    *,
    on: Sequence[str],
    prediction_time: str,
    times: tuple[str, str],
    values: Sequence[str],
    age_column: str | None,
    max_age: timedelta | None,
) -> None:
    if isinstance(on, str) or not on:
        msg = f"point-in-time join: on={on!r}; name the key columns as a list"
        raise ValueError(msg)
    for side, schema, needed in (("spine", left, [*on, prediction_time]), ("features", right, [*on, *times])):
        missing = [name for name in needed if name not in schema]
        if missing:
            msg = f"point-in-time join: the {side} lack {', '.join(missing)}; they have {', '.join(schema.names())}"
            raise ValueError(msg)
    for side, schema, name in (
        ("spine", left, prediction_time), ("features", right, times[0]), ("features", right, times[1]),
    ):
        dtype = schema[name]
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            msg = (f"point-in-time join: {name!r} of the {side} is {dtype}; an instant needs a time zone "
                   "(dt.replace_time_zone tells Polars which)")
            raise ValueError(msg)
    for key in on:
        if left[key] != right[key]:
            msg = f"point-in-time join: the key {key!r} is {left[key]} in the spine but {right[key]} in the features"
            raise ValueError(msg)
    clash = [name for name in [*values, *([age_column] if age_column else [])] if name in left]
    if clash or (age_column in values):
        msg = f"point-in-time join: {', '.join(clash) or age_column} would come twice; rename one side"
        raise ValueError(msg)
    if max_age is not None and max_age < timedelta(0):
        msg = f"point-in-time join: max_age={max_age} is negative"
        raise ValueError(msg)
