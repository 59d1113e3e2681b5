"""The paired bootstrap and the calibration error, row by row."""

from __future__ import annotations

import math

import numpy as np

Three = tuple[float, float, float]


def naive_compare(
    truth: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
    days: np.ndarray,
    *,
    confidence: float,
    draws: int,
    seed: int,
) -> tuple[Three, Three | None]:
    """Draw the days (the rows, of a single day), measure both models on what was drawn, and cut off the tails."""
    parts = [np.flatnonzero(days == day) for day in np.unique(days)]
    if len(parts) == 1:
        parts = [np.array([row]) for row in range(len(truth))]
    random = np.random.default_rng(seed)
    losses, aucs = [], []
    for _ in range(draws):
        drawn = np.concatenate([parts[part] for part in random.integers(0, len(parts), len(parts))])
        losses.append(_loss(truth[drawn], one[drawn]) - _loss(truth[drawn], other[drawn]))
        both = _auc(truth[drawn], one[drawn]), _auc(truth[drawn], other[drawn])
        if None not in both:
            aucs.append(both[0] - both[1])
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    loss = (_loss(truth, one) - _loss(truth, other), *np.quantile(losses, tails))
    if _auc(truth, one) is None:
        return loss, None
    return loss, (_auc(truth, one) - _auc(truth, other), *np.quantile(aucs, tails))


def naive_calibration_error(truth: np.ndarray, probability: np.ndarray, bins: int) -> float:
    """Sort, deal out into bins whose sizes differ by one at most (the larger first), and compare the means."""
    order = sorted(range(len(truth)), key=lambda row: probability[row])
    bins = min(bins, len(truth))
    total, at = 0.0, 0
    for number in range(bins):
        size = len(truth) // bins + (number < len(truth) % bins)
        part, at = order[at : at + size], at + size
        total += abs(sum(probability[row] for row in part) - sum(truth[row] for row in part))
    return total / len(truth)


def _loss(truth: np.ndarray, probability: np.ndarray) -> float:
    clipped = [min(max(p, 1e-15), 1 - 1e-15) for p in probability]
    return sum(-math.log(p) if y else -math.log1p(-p) for y, p in zip(truth, clipped, strict=True)) / len(truth)


def _auc(truth: np.ndarray, probability: np.ndarray) -> float | None:
    """Of all pairs of a positive and a negative, how many are in order; ties count half."""
    positives = [p for y, p in zip(truth, probability, strict=True) if y]
    negatives = [p for y, p in zip(truth, probability, strict=True) if not y]
    if not positives or not negatives:
        return None
    won = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p in positives for n in negatives)
    return won / (len(positives) * len(negatives))
