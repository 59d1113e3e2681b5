"""Two models on the same rows: whether a difference is more than luck, in which slices it lies, and how honest they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.draws import auc_of_days, drawn_days, drawn_units
from platform_assets.compute.metrics import performance

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A difference, challenger less champion, with the bounds of its bootstrap interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same rows; `auc` is None where only one outcome occurs."""

    log_loss: Interval
    auc: Interval | None


def compare(
    truth: Floats,
    challenger: Floats,
    champion: Floats,
    days: npt.ArrayLike,
    *,
    confidence: float,
    draws: int,
    seed: int,
) -> Comparison:
    """The differences in log loss (nats) and AUC with percentile intervals of a paired bootstrap of whole days.

    The rows of a day share their weather and their crowds, so a draw takes days with replacement and every row of
    each, the same for both models (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8);
    of a single day it takes rows. Rows are read once, and no draw reads them again but those of a single day. A draw
    with a single outcome says nothing of the AUC and is left out.

    Args:
        truth: outcomes, 0 or 1.
        challenger: its probabilities.
        champion: its probabilities.
        days: the day of each row.
        confidence: of the interval, between 0 and 1.
        draws: how many.
        seed: of the draws.
    """
    found, other = performance(truth, challenger), performance(truth, champion)
    worse = losses(truth, challenger) - losses(truth, champion)
    names, day = np.unique(np.asarray(days), return_inverse=True)
    if len(names) > 1:
        taken = drawn_days(len(names), draws=draws, seed=seed)
        by_loss = taken @ np.bincount(day, weights=worse) / (taken @ np.bincount(day))
        by_auc = auc_of_days(truth, challenger, day, taken) - auc_of_days(truth, champion, day, taken)
    else:
        ranked, ranked_other = weighted_auc(truth, challenger), weighted_auc(truth, champion)
        units = [
            (w @ worse / w.sum(), ranked(w) - ranked_other(w)) for w in drawn_units(len(truth), draws=draws, seed=seed)
        ]
        by_loss, by_auc = np.array(units).T
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    auc = None
    if found.auc is not None and other.auc is not None:
        low, high = np.nanquantile(by_auc, tails)
        auc = Interval(difference=found.auc - other.auc, low=float(low), high=float(high))
    low, high = np.quantile(by_loss, tails)
    loss = Interval(difference=found.log_loss - other.log_loss, low=float(low), high=float(high))
    return Comparison(log_loss=loss, auc=auc)


def calibration_error(truth: Floats, probability: Floats, *, bins: int = 10) -> float:
    """The mean distance between probability and share of positives, over bins of as equal counts as can be.

    The expected calibration error with bins of equal counts (Naeini et al., AAAI 2015; Nixon et al., 2019).
    """
    parts = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(probability)))
    gaps = [abs(float(probability[part].mean() - truth[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(truth)


def by_slice(
    values: pl.Series, truth: Floats, challenger: Floats, champion: Floats | None, *, at_least: int
) -> pl.DataFrame:
    """Each value with enough rows: rows, AUC and log loss of the challenger, and its log loss less the champion's.

    A null is a value of its own. The columns are slice, rows, auc, log_loss and worse_by, in order of the slice.
    """
    keys = values.cast(pl.String).fill_null("(none)")
    found = []
    for slice_, rows in (
        pl.DataFrame({"slice": keys}).with_row_index("row").sort("slice", "row").group_by("slice", maintain_order=True)
    ):
        where = rows.get_column("row").to_numpy()
        if len(where) < at_least:
            continue
        own = performance(truth[where], challenger[where])
        worse = None if champion is None else own.log_loss - performance(truth[where], champion[where]).log_loss
        found.append((str(slice_[0]), len(where), own.auc, own.log_loss, worse))
    schema = {"slice": pl.String, "rows": pl.Int64, "auc": pl.Float64, "log_loss": pl.Float64, "worse_by": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row")


def losses(truth: Floats, probability: Floats) -> Floats:
    """The negative log likelihood of each outcome, in nats."""
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.where(truth == 1, -np.log(clipped), -np.log1p(-clipped))


def weighted_auc(truth: Floats, probability: Floats) -> Callable[[Floats], float]:
    """The AUC of rows that count so often as their weights say, ties counting half; NaN with a single outcome."""
    order = np.argsort(probability, kind="stable")
    ranked, positive = probability[order], truth[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))

    def auc(weights: Floats) -> float:
        weighed = weights[order]
        positives = weighed * positive
        negatives = weighed - positives
        if len(starts) < len(order):  # ties
            positives, negatives = np.add.reduceat(positives, starts), np.add.reduceat(negatives, starts)
        pairs = positives.sum() * negatives.sum()
        if not pairs:
            return float("nan")
        below = np.cumsum(negatives) - negatives
        return float(positives @ (below + negatives / 2) / pairs)

    return auc
