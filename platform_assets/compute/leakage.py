"""Looking for knowledge of the future: by taking the future away, by changing it, and by what is too good to be true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from platform_assets.compute.metrics import area_under_roc

_FEWEST_ROWS = 100


def forget(rows: pl.LazyFrame, *, known: pl.Expr, now: datetime) -> pl.LazyFrame:
    """The rows as they were at the instant `now` (UTC): without those that were known only later."""
    return rows.filter(known <= now)


def distort(rows: pl.LazyFrame, *, known: pl.Expr, now: datetime, keep: Sequence[str]) -> pl.LazyFrame:
    """The rows with every value that was known only after `now` (UTC) changed, except the columns in `keep`.

    Numbers are one more, truths are negated and texts get a mark: whoever reads them gets another answer.
    """
    schema = rows.collect_schema()
    changed = []
    for name, dtype in schema.items():
        if name in keep:
            continue
        column = pl.col(name)
        if dtype.is_numeric():
            changed.append(pl.when(known > now).then(column + 1).otherwise(column).alias(name))
        elif dtype == pl.Boolean:
            changed.append(pl.when(known > now).then(~column).otherwise(column).alias(name))
        elif dtype == pl.String:
            changed.append(pl.when(known > now).then(column + "~").otherwise(column).alias(name))
    return rows.with_columns(changed)


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A feature that tells the label almost by itself."""

    feature: str
    auc: float


def too_good(rows: pl.DataFrame, *, features: Sequence[str], label: str, limit: float) -> tuple[list[Suspect], int]:
    """The features whose value alone, or whose being null alone, ranks the label with an AUC above `limit`.

    A text feature is scored by the label's mean for its value, learned on every second row and judged on the
    others, so that many values do not look good by chance.

    Returns:
        The suspects, best first, and how many features could be judged.
    """
    truth = rows.get_column(label).cast(pl.Float64)
    suspects, judged = [], 0
    for feature in features:
        values = rows.get_column(feature)
        found = [auc for auc in (_auc_of(values, truth), _auc_of_nulls(values, truth)) if auc is not None]
        judged += bool(found)
        best = max((max(auc, 1 - auc) for auc in found), default=0.0)
        if best > limit:
            suspects.append(Suspect(feature=feature, auc=best))
    return sorted(suspects, key=lambda s: (-s.auc, s.feature)), judged


def _auc_of(values: pl.Series, truth: pl.Series) -> float | None:
    known = values.is_not_null()
    if known.sum() < _FEWEST_ROWS or values.n_unique() < 2:  # noqa: PLR2004 - one value ranks nothing
        return None
    if not known.all():
        values, truth = values.filter(known), truth.filter(known)
    if values.dtype == pl.String:
        held = pl.DataFrame({"value": values, "truth": truth}).with_row_index("row")
        means = held.filter(pl.col("row") % 2 == 0).group_by("value").agg(pl.col("truth").mean().alias("score"))
        others = held.filter(pl.col("row") % 2 == 1).join(means, on="value", how="inner", maintain_order="left")
        if len(others) < _FEWEST_ROWS:
            return None
        values, truth = others["score"], others["truth"]
    return area_under_roc(truth.to_numpy(), values.cast(pl.Float64).to_numpy())


def _auc_of_nulls(values: pl.Series, truth: pl.Series) -> float | None:
    """Of two ranks alone the AUC follows from the share of either outcome that is null."""
    positives, nulls = int(truth.sum()), values.null_count()
    negatives = len(truth) - positives
    if len(values) < _FEWEST_ROWS or nulls in {0, len(values)} or not positives or not negatives:
        return None
    came = int(truth.filter(values.is_null()).sum())
    return 0.5 + (came / positives - (nulls - came) / negatives) / 2


def moved(before: pl.DataFrame, after: pl.DataFrame, *, on: Sequence[str]) -> dict[str, int]:
    """What differs between two frames of the same columns and key `on`: rows by column, and rows on one side only.

    Nulls equal nulls. Rows that only one side has are counted under `"rows"`.
    """
    both = before.join(after, on=list(on), how="inner", suffix="__after", nulls_equal=True)
    values = [name for name in before.columns if name not in on]
    counted = both.select(pl.col(name).ne_missing(pl.col(f"{name}__after")).sum().alias(name) for name in values)
    differing = {name: int(count) for name, count in counted.row(0, named=True).items() if count} if values else {}
    alone = len(before) + len(after) - 2 * len(both)
    return differing | ({"rows": alone} if alone else {})
