"""Costs counted row by row, and the bootstrap of their mean with the rows of each drawn day written out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def naive_costs(truth: Sequence[float], acts: Sequence[bool], false_alarm: float, miss: float) -> list[float]:
    """One row after the other."""
    found = []
    for came, acted in zip(truth, acts, strict=True):
        if acted and not came:
            found.append(false_alarm)
        elif came and not acted:
            found.append(miss)
        else:
            found.append(0.0)
    return found


def naive_bounds_of_mean(
    values: Sequence[float], days: Sequence[object], *, confidence: float, draws: int, seed: int
) -> tuple[float, float] | None:
    """Draw days, copy their values, take the mean, and cut off the tails."""
    names = sorted(set(days))
    if len(names) < 2:
        return None
    random = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        drawn = [names[n] for n in random.integers(0, len(names), len(names))]
        copied = [value for day in drawn for value, own in zip(values, days, strict=True) if own == day]
        means.append(sum(copied) / len(copied))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
