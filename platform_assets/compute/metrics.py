"""How well probabilities foretold a yes or no, and what simple averages would have said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Figures of one set of rows; `auc` is None where only one outcome occurs.

    Attributes:
        rows: how many.
        base_rate: the share of positives.
        auc: area under the ROC curve.
        log_loss: mean negative log likelihood, in nats.
        brier: mean squared error of the probability.
    """

    rows: int
    base_rate: float
    auc: float | None
    log_loss: float
    brier: float

    def to_dict(self) -> dict[str, float]:
        """The figures that exist."""
        return {name: float(value) for name, value in vars(self).items() if value is not None}


def performance(truth: npt.ArrayLike, probability: npt.ArrayLike) -> Performance:
    """Measure probabilities against outcomes (1 positive, 0 negative).

    Raises:
        ValueError: when there are no rows, or an outcome or a probability is missing.
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if not len(y):
        msg = "performance of no rows: there is nothing to measure; are any labels in?"
        raise ValueError(msg)
    if np.isnan(y).any() or np.isnan(p).any():
        msg = "performance: an outcome or a probability is missing; leave out the rows whose label is null"
        raise ValueError(msg)
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    return Performance(
        rows=len(y),
        base_rate=float(y.mean()),
        auc=area_under_roc(y, p),
        log_loss=float(-np.mean(np.where(y == 1, np.log(clipped), np.log1p(-clipped)))),
        brier=float(np.mean((p - y) ** 2)),
    )


def area_under_roc(y: Floats, p: Floats) -> float | None:
    """The Mann-Whitney form: the chance that a positive ranks above a negative, ties counting half."""
    positives = int(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return None
    ranks = pl.Series(p).rank("average").to_numpy()
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclass(frozen=True, kw_only=True)
class Averages:
    """The share of positives by group, with the overall share where a group was never seen."""

    by: tuple[str, ...]
    shares: pl.DataFrame
    overall: float

    @staticmethod
    def fit(rows: pl.DataFrame, *, by: Sequence[str], label: str) -> Averages:
        """Learn the averages from labelled rows."""
        overall = float(rows.get_column(label).cast(pl.Float64).mean() or 0.0)  # type: ignore[arg-type]
        shares = (
            rows.group_by(list(by)).agg(pl.col(label).cast(pl.Float64).mean().alias("__share")) if by else rows.clear()
        )
        return Averages(by=tuple(by), shares=shares, overall=overall)

    def predict(self, rows: pl.DataFrame) -> Floats:
        """The average of each row's group."""
        if not self.by:
            return np.full(len(rows), self.overall)
        found = rows.select(self.by).join(
            self.shares, on=list(self.by), how="left", maintain_order="left", nulls_equal=True
        )
        return found.get_column("__share").fill_null(self.overall).to_numpy()


def performance_by(rows: pl.DataFrame, *, by: str, label: str, probability: str) -> Mapping[object, Performance]:
    """Measure each group of rows that share a value in `by`, in order of that value."""
    return {
        key[0]: performance(part.get_column(label).cast(pl.Float64).to_numpy(), part.get_column(probability).to_numpy())
        for key, part in rows.sort(by).group_by([by], maintain_order=True)
    }
