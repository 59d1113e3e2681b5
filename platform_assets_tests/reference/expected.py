"""Expected performance over every pair of rows, and as the mean over many made-up outcomes."""

from __future__ import annotations

import math

import numpy as np

from platform_assets.compute.expected import MEASURES, judge


def naive_expected(probability: list[float]) -> dict[str, float | None]:
    """AUC, log loss and Brier score by the definitions: every outcome of every row, every pair of rows."""
    right = pairs = 0.0
    for i, above in enumerate(probability):
        for j, below in enumerate(probability):
            if i != j:
                weight = above * (1 - below)
                pairs += weight
                right += weight * (1.0 if above > below else 0.5 if above == below else 0.0)
    count = len(probability)
    loss = sum(-q * math.log(q) for p in probability for q in (p, 1 - p) if q > 0)
    return {
        "auc": right / pairs if pairs > 0 else None,
        "log_loss": loss / count,
        "brier": sum(p * (1 - p) ** 2 + (1 - p) * p**2 for p in probability) / count,
        "base_rate": sum(probability) / count,
    }


def simulated(probability: np.ndarray, *, draws: int, seed: int) -> dict[str, tuple[float, float]]:
    """Mean and standard error of each measure over outcomes drawn as the probabilities say."""
    dice = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(draws):
        truth = (dice.uniform(size=len(probability)) < probability).astype(float)
        for name, judged in judge(truth, probability).items():
            if judged.value is not None:
                found[name].append(judged.value)
    return {name: (float(np.mean(seen)), float(np.std(seen) / math.sqrt(len(seen)))) for name, seen in found.items()}
