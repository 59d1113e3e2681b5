"""The bootstrap of whole days: the rows of each drawn day, written out and measured by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

Two = tuple[float, float]


def naive_uncertainty(
    truth: np.ndarray, probability: np.ndarray, days: Sequence[object], *, confidence: float, draws: int, seed: int
) -> tuple[Two, Two | None] | None:
    """Draw days, copy their rows, measure, and cut off the tails."""
    names = sorted(set(days))
    if len(names) < 2:
        return None
    random = np.random.default_rng(seed)
    losses, aucs = [], []
    for _ in range(draws):
        rows = [
            row
            for drawn in random.integers(0, len(names), len(names))
            for row in range(len(days))
            if days[row] == names[drawn]
        ]
        losses.append(log_loss(truth[rows], probability[rows], labels=[0, 1]))
        if len(set(truth[rows])) == 2:
            aucs.append(roc_auc_score(truth[rows], probability[rows]))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return tuple(np.quantile(losses, tails)), tuple(np.quantile(aucs, tails)) if aucs else None
