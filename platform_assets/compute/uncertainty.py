"""How far the figures of one model may lie from the truth: intervals over the days, or the rows, that it was judged on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from platform_assets.compute.comparison import losses
from platform_assets.compute.draws import auc_of_days, below, drawn_days

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The lower and the upper end of an interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """The intervals of a model's figures; `auc` is None where there are too few of either outcome."""

    auc: Bounds | None
    log_loss: Bounds
    brier: Bounds
    base_rate: Bounds


def uncertainty(
    truth: Floats, probability: Floats, days: npt.ArrayLike, *, confidence: float, draws: int, seed: int
) -> Uncertainty | None:
    """Percentile intervals by a bootstrap of whole days; None of fewer than two days.

    The rows of a day share their weather and their crowds, so a draw takes days with replacement and every row
    of each (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). A mean follows from
    the sums of the days, an AUC from the pairs that each two days win: so rows are read once, and no draw reads
    them again. A draw with a single outcome says nothing of the AUC and is left out.

    Args:
        truth: outcomes, 0 or 1.
        probability: of a positive outcome.
        days: the day of each row.
        confidence: of the intervals, between 0 and 1.
        draws: how many.
        seed: of the draws.
    """
    names, day = np.unique(np.asarray(days), return_inverse=True)
    count = len(names)
    if count <= 1:
        return None
    weights = drawn_days(count, draws=draws, seed=seed)
    rows = weights @ np.bincount(day, minlength=count)
    means = [weights @ np.bincount(day, weights=own, minlength=count) / rows for own in _means(truth, probability)]
    log_loss, brier, base_rate = (_percentiles(drawn, confidence) for drawn in means)
    drawn = auc_of_days(truth, probability, day, weights)
    told = drawn[~np.isnan(drawn)]
    auc = _percentiles(told, confidence) if len(told) else None
    return Uncertainty(auc=auc, log_loss=log_loss, brier=brier, base_rate=base_rate)


def uncertainty_of_rows(truth: Floats, probability: Floats, *, confidence: float) -> Uncertainty | None:
    """Normal intervals of rows that came independently, as those of a single day are taken; None of fewer than two.

    A mean has its standard error, an AUC that of DeLong, DeLong and Clarke-Pearson (Biometrics 1988): the variance
    over the positives of the share of negatives that each is above, and over the negatives likewise. No interval
    reaches beyond what its figure can be. Of fewer than two of either outcome an AUC has none.

    Args:
        truth: outcomes, 0 or 1.
        probability: of a positive outcome.
        confidence: of the intervals, between 0 and 1.
    """
    if len(truth) <= 1:
        return None
    found = [(float(own.mean()), _squared_error(own)) for own in _means(truth, probability)]
    log_loss, brier, base_rate = (
        _normal(*told, confidence, most=most) for told, most in zip(found, (math.inf, 1.0, 1.0), strict=True)
    )
    positive, auc = truth == 1, None
    above, beneath = np.sort(probability[positive]), np.sort(probability[~positive])
    if min(len(above), len(beneath)) > 1:
        wins, losing = below(above, beneath) / len(beneath), below(beneath, above) / len(above)
        auc = _normal(float(wins.mean()), _squared_error(wins) + _squared_error(losing), confidence, most=1.0)
    return Uncertainty(auc=auc, log_loss=log_loss, brier=brier, base_rate=base_rate)


def bounds_of_mean(values: Floats, days: npt.ArrayLike, *, confidence: float, draws: int, seed: int) -> Bounds | None:
    """The interval of a mean by the same bootstrap of whole days; None of fewer than two days.

    Args:
        values: of which the mean is taken.
        days: the day of each row.
        confidence: of the interval, between 0 and 1.
        draws: how many.
        seed: of the draws.
    """
    names, day = np.unique(np.asarray(days), return_inverse=True)
    count = len(names)
    if count <= 1:
        return None
    weights = drawn_days(count, draws=draws, seed=seed)
    total, rows = np.bincount(day, weights=values, minlength=count), np.bincount(day, minlength=count)
    return _percentiles(weights @ total / (weights @ rows), confidence)


def _means(truth: Floats, probability: Floats) -> tuple[Floats, Floats, Floats]:
    """The values of which log loss, Brier score and base rate are the means."""
    return losses(truth, probability), (probability - truth) ** 2, truth


def _squared_error(values: Floats) -> float:
    return float(values.var(ddof=1)) / len(values)


def _normal(middle: float, squared_error: float, confidence: float, *, most: float) -> Bounds:
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(squared_error)
    return Bounds(low=max(middle - reach, 0.0), high=min(middle + reach, most))


def _percentiles(drawn: Floats, confidence: float) -> Bounds:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Bounds(low=float(low), high=float(high))
