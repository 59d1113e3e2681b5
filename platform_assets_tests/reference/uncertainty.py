"""The bootstrap of whole days: the rows of each drawn day, written out and measured by scikit-learn. DeLong pair by pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

Two = tuple[float, float]


def naive_uncertainty(
    truth: np.ndarray, probability: np.ndarray, days: Sequence[object], *, confidence: float, draws: int, seed: int
) -> dict[str, Two | None] | None:
    """Draw days, copy their rows, measure, and cut off the tails."""
    names = sorted(set(days))
    if len(names) < 2:
        return None
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {"auc": [], "log_loss": [], "brier": [], "base_rate": []}
    for _ in range(draws):
        rows = [
            row
            for taken in random.integers(0, len(names), len(names))
            for row in range(len(days))
            if days[row] == names[taken]
        ]
        drawn["log_loss"].append(log_loss(truth[rows], probability[rows], labels=[0, 1]))
        drawn["brier"].append(brier_score_loss(truth[rows], probability[rows]))
        drawn["base_rate"].append(truth[rows].mean())
        if len(set(truth[rows])) == 2:
            drawn["auc"].append(roc_auc_score(truth[rows], probability[rows]))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {name: tuple(np.quantile(told, tails)) if told else None for name, told in drawn.items()}


def naive_delong(truth: np.ndarray, probability: np.ndarray, *, confidence: float) -> Two | None:
    """The AUC and its variance as in the paper: a kernel of each pair, its mean, and the spread of its means by row."""
    above, below = probability[truth == 1], probability[truth == 0]
    if min(len(above), len(below)) < 2:
        return None
    kernel = [[1.0 if x > y else 0.5 if x == y else 0.0 for y in below] for x in above]
    auc = sum(map(sum, kernel)) / (len(above) * len(below))
    by_positive = [sum(row) / len(below) for row in kernel]
    by_negative = [sum(column) / len(above) for column in zip(*kernel, strict=True)]
    squared_error = sum(
        sum((mean - auc) ** 2 for mean in means) / (len(means) - 1) / len(means) for means in (by_positive, by_negative)
    )
    reach = norm.ppf((1 + confidence) / 2) * math.sqrt(squared_error)
    return max(auc - reach, 0.0), min(auc + reach, 1.0)


def naive_normal(values: Sequence[float], *, confidence: float, most: float) -> Two:
    """A mean, and its standard error on either side."""
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    reach = norm.ppf((1 + confidence) / 2) * spread / math.sqrt(len(values))
    return max(mean - reach, 0.0), min(mean + reach, most)
