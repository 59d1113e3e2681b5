"""Corrections: the versions of a row, each with the instant from which it could be known.

A row is told from others by its keys and its event time. What is delivered of it later is another version
beside the earlier ones, so that what was known then can still be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_ROW = "__row"


def fold(
    rows: pl.DataFrame,
    *,
    keys: Sequence[str],
    event_time: str,
    known_at: str,
    corrected_at: str,
    values: Sequence[str],
) -> pl.DataFrame:
    """Put deliveries on top of each other, in the order in which they came, and keep every version of a row.

    A correction's row whose values differ from the newest version is a version more, known from its own
    `known_at` or from the delivery, whichever is later; one that is equal adds nothing; one that no earlier
    delivery has is a late row. A version that a later delivery overtakes before it could be known is
    replaced: nobody ever knew it. Nothing else goes, and no version is equal to the one before it.

    Args:
        rows: the rows of all deliveries; within one delivery `keys` with `event_time` are unique, and neither
            is null. Instants are UTC microseconds.
        keys: what a row is about.
        event_time: when it was true.
        known_at: when its delivery says that it could be known.
        corrected_at: when a correction was delivered; null in a first delivery.
        values: the columns that make one version differ from another. Nulls equal nulls.

    Returns:
        The rows that are kept, by key, event time and version, with `known_at` strictly rising over the
        versions of a row.
    """
    told_by = list(dict.fromkeys([*keys, event_time]))
    laid = rows.sort(*told_by, corrected_at, nulls_last=False)
    is_same_row, is_equal = (
        pl.all_horizontal([pl.lit(value=True), *(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in names)])
        for names in (told_by, values)
    )
    told = laid.with_columns((~is_same_row).cum_sum().alias(_ROW))
    is_again = (pl.col(_ROW) == pl.col(_ROW).shift(1)).fill_null(value=False) & is_equal
    versions = told.filter(~is_again).with_columns(pl.max_horizontal(known_at, corrected_at).alias(known_at))
    overtaken = versions.filter(pl.col(_ROW) == pl.col(_ROW).shift(1), pl.col(known_at) <= pl.col(known_at).shift(1))
    if len(overtaken):
        touched = pl.col(_ROW).is_in(overtaken[_ROW].unique().implode())
        overtaken_from = pl.col(known_at).cum_min(reverse=True).shift(-1).over(_ROW)
        left = versions.filter(touched).filter(overtaken_from.is_null() | (pl.col(known_at) < overtaken_from))
        # What stood between two equal versions may just have gone.
        left = left.filter(~is_again)
        versions = pl.concat([versions.filter(~touched), left]).sort(_ROW, known_at)
    return versions.drop(_ROW)


def superseded_at(*, keys: Sequence[str], event_time: str, known_at: str) -> pl.Expr:
    """The instant from which the next version of a row is known, null for the newest.

    A version is what is known of its row from `known_at` (included) to this instant (excluded); those where
    it is null are the rows as corrected since.
    """
    return pl.col(known_at).shift(-1).over(list(dict.fromkeys([*keys, event_time])), order_by=known_at)
