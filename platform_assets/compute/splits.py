"""Dividing labelled rows by time, so that no part learns from what the next is judged by."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl


def split_by_time(
    rows: pl.LazyFrame,
    *,
    at: str,
    matured: str,
    select_from: datetime,
    report_from: datetime,
    report_until: datetime,
    gap: timedelta,
    split: str,
) -> pl.LazyFrame:
    """Put each row into `fit`, `select` or `report`, and drop those that belong to none.

    Args:
        rows: labelled rows.
        at: the instant column the rows are divided by.
        matured: the instant column of when the label was known.
        select_from: the first instant of `select`.
        report_from: the first instant of `report`.
        report_until: the instant at which `report` ends (excluded).
        gap: left out before `select_from` and before `report_from`; a row whose label matured later than
            the gap's start is left out too.
        split: the name of the new column.
    """

    def part(name: str, start: datetime | None, end: datetime, margin: timedelta) -> tuple[pl.Expr, pl.Expr]:
        last = end - margin
        inside = (pl.col(at) < last) & (pl.col(matured) < (end if not margin else last))
        return (inside if start is None else inside & (pl.col(at) >= start)), pl.lit(name)

    fit, named_fit = part("fit", None, select_from, gap)
    select, named_select = part("select", select_from, report_from, gap)
    report = (pl.col(at) >= report_from) & (pl.col(at) < report_until)
    placed = pl.when(fit).then(named_fit).when(select).then(named_select).when(report).then(pl.lit("report"))
    return rows.with_columns(placed.alias(split)).filter(pl.col(split).is_not_null())
