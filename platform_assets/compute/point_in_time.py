"""The point-in-time join: what was known of each entity at the moment a prediction is asked for.

For a spine row at time t a feature row is visible when both of its times have come: `event_time <= t`
and, with `known="then"`, `known_at <= t`. Of the visible rows the newest event time wins, then the
newest known time, then the values themselves, column by column with nulls lowest: a total order, so
that the answer does not depend on the order of the input or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, TypeVar

import polars as pl

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
Known = Literal["then", "since"]
Boundary = Literal["inclusive", "exclusive"]

_ASKED, _FACT, _RANK = "__asked", "__fact", "__rank"
_AT, _EVENT, _KNOWN, _SEEN, _AGE = "__at", "__event", "__known", "__seen", "__age"


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
        ValueError: at once, for a missing column, a naive instant, key types that differ, a column
            that both sides have, or an option that does not exist.
    """
    facts = features.lazy()
    left, right = spine.lazy().collect_schema(), facts.collect_schema()
    values = [name for name in right.names() if name not in {*on, event_time, known_at}]
    _check(
        left,
        right,
        on=on,
        prediction_time=prediction_time,
        times=(event_time, known_at),
        values=values,
        age_column=age_column,
        max_age=max_age,
        known=known,
        boundary=boundary,
    )

    def joined(asked: pl.DataFrame) -> pl.DataFrame:
        at = asked.select(*on, _instant(prediction_time).alias(_AT)).with_row_index(_ASKED)
        at = at.filter(pl.col(_AT).is_not_null()).sort(_AT)
        rows: pl.DataFrame = facts.select(
            *on, *values, _instant(event_time).alias(_EVENT), _instant(known_at).alias(_KNOWN)
        ).collect()
        times = rows.select(*on, _EVENT, _KNOWN).with_row_index(_FACT).drop_nulls()

        def newest(visible: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
            """Per asked row `columns` of the winner, null when it is expired, and how old the winner is."""
            ordered = _in_order_of_sight(visible, rows.select(values), on, known)
            matched = at.join_asof(
                ordered,
                left_on=_AT,
                right_on=_SEEN,
                by=list(on),
                strategy="backward",
                allow_exact_matches=boundary == "inclusive",
                check_sortedness=False,
            )
            winner = matched.select(_ASKED, _FACT, (pl.col(_AT) - pl.col(_EVENT)).alias(_AGE))
            winner = asked.select(pl.int_range(pl.len(), dtype=pl.get_index_type()).alias(_ASKED)).join(
                winner, on=_ASKED, how="left", maintain_order="left"
            )
            fresh: pl.Series = winner.get_column(_FACT)
            if max_age is not None:
                fresh = winner.select(pl.when(pl.col(_AGE) <= max_age).then(_FACT)).to_series()
            return pl.DataFrame([winner.get_column(_AGE), *(rows.get_column(name).gather(fresh) for name in columns)])

        if last_non_null:
            filled: list[pl.DataFrame] = [
                newest(times.filter(rows[name].is_not_null().gather(times[_FACT])), [name]) for name in values
            ]
            found = pl.concat([newest(times, []), *(f.drop(_AGE) for f in filled)], how="horizontal")
        else:
            found = newest(times, values)
        found = found.select(*([pl.col(_AGE).alias(age_column)] if age_column else []), *values)
        return asked.hstack(found)

    if isinstance(spine, pl.DataFrame):
        return joined(spine)
    added = {age_column: pl.Duration("us")} if age_column else {}
    schema = pl.Schema({**left, **added, **{name: right[name] for name in values}})
    return spine.map_batches(joined, schema=schema, streamable=False)


def _instant(column: str) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _in_order_of_sight(times: pl.DataFrame, values: pl.DataFrame, on: Sequence[str], known: Known) -> pl.DataFrame:
    """The rows that can win, in the order in which they come into sight; the last of equal instants wins.

    A row comes into sight when both of its times have passed. A late row about an older event never
    wins, since a newer event is already in sight: it is dropped, because the as-of join that follows
    looks at the time of sight alone and would let it shadow the newer fact.
    """
    seen = pl.max_horizontal(_EVENT, _KNOWN) if known == "then" else pl.col(_EVENT)
    ordered = times.with_columns(seen.alias(_SEEN))
    ties = ordered.select(pl.struct(*on, _SEEN, _EVENT, _KNOWN).is_duplicated()).to_series()
    order = [_SEEN, _EVENT, _KNOWN]
    if values.width and ties.any():
        # Only rows that tie in both times need their values compared.
        tied = ordered.filter(ties)
        ranked = tied.select(_FACT).hstack(values[tied[_FACT]]).sort(values.columns).select(_FACT).with_row_index(_RANK)
        ordered = ordered.join(ranked, on=_FACT, how="left")
        order.append(_RANK)
    ordered = ordered.sort(order)
    if known == "then":
        ordered = ordered.filter(pl.col(_EVENT) >= pl.col(_EVENT).cum_max().over(list(on)))
    return ordered.select(*on, _SEEN, _EVENT, _FACT)


def _check(  # noqa: C901 - a line for each mistake
    left: pl.Schema,
    right: pl.Schema,
    *,
    on: Sequence[str],
    prediction_time: str,
    times: tuple[str, str],
    values: Sequence[str],
    age_column: str | None,
    max_age: timedelta | None,
    known: str,
    boundary: str,
) -> None:
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
    clash = [name for name in [*values, *([age_column] if age_column else [])] if name in left]
    if clash or (age_column in values):
        msg = f"point-in-time join: {', '.join(clash) or age_column} would come twice; rename one side"
        raise ValueError(msg)
    if max_age is not None and max_age < timedelta(0):
        msg = f"point-in-time join: max_age={max_age} is negative"
        raise ValueError(msg)
