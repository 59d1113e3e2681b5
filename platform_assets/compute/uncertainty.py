"""How far the figures of one model may lie from the truth: intervals over the days that it was judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platform_assets.compute.comparison import drawn_units, losses, weighted_auc

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The lower and the upper end of an interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """The intervals of a model's figures; `auc` is None where no draw held both outcomes."""

    log_loss: Bounds
    auc: Bounds | None


def uncertainty(
    truth: Floats, probability: Floats, days: npt.ArrayLike, *, confidence: float, draws: int, seed: int
) -> Uncertainty | None:
    """Percentile intervals of log loss (nats) and AUC by a bootstrap of whole days; None of fewer than two days.

    The rows of a day share their weather and their crowds, so a draw takes days with replacement and every row
    of each (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). The rows are
    ranked once; a draw only weighs them. A draw with a single outcome says nothing of the AUC and is left out.

    Args:
        truth: outcomes, 0 or 1.
        probability: of a positive outcome.
        days: the day of each row.
        confidence: of the intervals, between 0 and 1.
        draws: how many.
        seed: of the draws.
    """
    log_loss = bounds_of_mean(losses(truth, probability), days, confidence=confidence, draws=draws, seed=seed)
    if log_loss is None:
        return None
    names, day = np.unique(np.asarray(days), return_inverse=True)
    ranked = weighted_auc(truth, probability)
    drawn = np.array([ranked(weights[day]) for weights in drawn_units(len(names), draws=draws, seed=seed)])
    told = drawn[~np.isnan(drawn)]
    return Uncertainty(log_loss=log_loss, auc=_bounds(told, confidence) if len(told) else None)


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
    rows = np.bincount(day, minlength=count).astype(np.float64)
    total = np.bincount(day, weights=values, minlength=count)
    drawn = [weights @ total / (weights @ rows) for weights in drawn_units(count, draws=draws, seed=seed)]
    return _bounds(np.array(drawn), confidence)


def _bounds(drawn: Floats, confidence: float) -> Bounds:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Bounds(low=float(low), high=float(high))
