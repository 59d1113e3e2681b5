"""Calibration as its papers define it: one isotonic fit a row and outcome, one curve a draw, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.isotonic import IsotonicRegression


def naive_venn_abers(scores: Sequence[float], truth: Sequence[float], asked: float) -> tuple[float, float]:
    """Add the asked row with either outcome, fit anew, and read the fit there."""
    ends = [IsotonicRegression().fit([*scores, asked], [*truth, outcome]).predict([asked])[0] for outcome in (0.0, 1.0)]
    return float(ends[0]), float(ends[1])


def naive_band(
    scores: Sequence[float],
    truth: Sequence[float],
    days: Sequence[int],
    *,
    confidence: float,
    draws: int,
    seed: int,
) -> dict[float, tuple[float, float]]:
    """Copy out the rows of each drawn day, fit the curve to them, and read it at every score.

    Without groups: for no more than 200 distinct scores.
    """
    names = sorted(set(days))
    random = np.random.default_rng(seed)
    read: dict[float, list[float]] = {score: [] for score in scores}
    for _ in range(draws):
        drawn = [names[n] for n in random.integers(0, len(names), len(names))]
        rows = [row for day in drawn for row in range(len(days)) if days[row] == day]
        curve = IsotonicRegression(out_of_bounds="clip").fit([scores[r] for r in rows], [truth[r] for r in rows])
        for score, values in read.items():
            values.append(float(curve.predict([score])[0]))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {score: tuple(np.quantile(values, tails).tolist()) for score, values in read.items()}


def naive_groups_within(
    truth: Sequence[float], probability: Sequence[float], low: Sequence[float], high: Sequence[float], groups: int
) -> float:
    """Deal the rows into groups by probability, larger ones first, and look at each."""
    order = sorted(range(len(truth)), key=lambda row: (probability[row], row))
    groups = min(groups, len(truth))
    held = 0
    for group in range(groups):
        size = len(truth) // groups + (group < len(truth) % groups)
        part, order = order[:size], order[size:]
        share = sum(truth[row] for row in part) / size
        held += sum(low[row] for row in part) / size <= share <= sum(high[row] for row in part) / size
    return held / groups
