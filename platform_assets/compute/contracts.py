"""Which rows keep a contract and which break it, and why: rows in, a verdict out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dataframely as dy
import polars as pl

REASONS = "__reasons"
"""In `Verdict.bad`: the rules that each row breaks."""
DUPLICATE = "repeats another row"

_ROW = "__row"
_KEY = "primary_key"  # dataframely's name of the rule


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Rows divided by a contract.

    Attributes:
        good: the rows that keep every rule, in their order.
        bad: the others, with the list of broken rules in `REASONS`.
        failures: how many rows break each rule.
        examined: how many rows were looked at.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    failures: Mapping[str, int] = field(default_factory=dict)
    examined: int = 0


def judge(
    rows: pl.DataFrame,
    schema: type[dy.Schema],
    *,
    rules: Mapping[str, pl.Expr] | None = None,
    carried: Sequence[str] = (),
    apart: Sequence[str] = (),
) -> Verdict:
    """Divide rows by a dataframely schema and further rules.

    A row that repeats an earlier one in every column of the schema is bad, its twin is not; rows of one
    key that differ are all bad, since nobody can tell which of them is right. Rows that differ in a column
    of `apart` neither repeat nor contradict each other.

    Args:
        rows: the schema's columns and the carried ones.
        schema: types, nullability, ranges, keys and rules.
        rules: further rules by name; an expression that is false where a row breaks it.
        carried: columns that stay beside the row and are not judged.
        apart: those of the carried columns within which keys are unique, such as the file a row comes from.

    Raises:
        polars.exceptions.ColumnNotFoundError: when a column is missing.
        dataframely.SchemaError: when one has another type.
    """
    names = list(schema.columns())
    rows = rows.select([*names, *carried])
    _, failure = schema.filter(rows.select(names))
    marks = pl.DataFrame({_ROW: pl.int_range(len(rows), eager=True)}).with_columns(
        rows.select(~rule.fill_null(value=True).alias(name) for name, rule in (rules or {}).items())
    )
    if _KEY in failure.counts():
        repeats = ~rows.select(pl.struct(*names, *apart).is_first_distinct()).to_series()
        marks = marks.with_columns(repeats.alias(DUPLICATE))
        _, failure = schema.filter(rows.select(names).filter(~repeats))
    if len(failure):
        marks = marks.with_columns(_broken(rows.select(names), failure))
    if apart and _KEY in marks.columns:
        within = rows.with_columns(marks[DUPLICATE])
        clashes = within.select(pl.struct(*schema.primary_key(), *apart, DUPLICATE).is_duplicated()).to_series()
        marks = marks.with_columns((clashes & marks[_KEY]).alias(_KEY))
    broken = [c for c in marks.columns if c != _ROW and marks.get_column(c).any()]
    if not broken:
        return Verdict(good=rows, bad=_with_reasons(rows.clear(), marks.clear(), []), examined=len(rows))
    is_bad = marks.select(pl.any_horizontal(broken)).to_series()
    return Verdict(
        good=rows.filter(~is_bad),
        bad=_with_reasons(rows.filter(is_bad), marks.filter(is_bad), broken),
        failures={name: int(marks.get_column(name).sum()) for name in broken},
        examined=len(rows),
    )


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict on rows that were judged part by part, since a rule may compare rows and must not see two parts."""
    failures: Counter[str] = Counter()
    for verdict in verdicts:
        failures.update(verdict.failures)
    return Verdict(
        good=pl.concat([verdict.good for verdict in verdicts]),
        bad=pl.concat([verdict.bad for verdict in verdicts]),
        failures=dict(failures),
        examined=sum(verdict.examined for verdict in verdicts),
    )


def _broken(rows: pl.DataFrame, failure: dy.FailureInfo) -> list[pl.Series]:
    """A mask over `rows` for each rule that some row breaks."""
    broken = list(failure.counts())
    found = failure.details().select(*rows.columns, pl.col(broken) == "invalid").unique(rows.columns)
    matched = rows.join(found, on=rows.columns, how="left", nulls_equal=True, maintain_order="left")
    return [matched.get_column(name).fill_null(value=False) for name in broken]


def _with_reasons(rows: pl.DataFrame, marks: pl.DataFrame, broken: Sequence[str]) -> pl.DataFrame:
    if not broken:
        return rows.with_columns(pl.lit(None, dtype=pl.List(pl.String)).alias(REASONS))
    said = [pl.when(pl.col(name)).then(pl.lit(name)) for name in broken]
    return rows.with_columns(marks.select(pl.concat_list(said).list.drop_nulls().alias(REASONS)).to_series())
