"""A classifier at every threshold, and how honest its probabilities are: the figures behind the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """What was decided against what came, when a probability of `threshold` or more counts as positive."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float | None:
        """The share of those taken for positive that were; None when none was."""
        taken = self.true_positives + self.false_positives
        return self.true_positives / taken if taken else None

    @property
    def recall(self) -> float | None:
        """The share of the positives that was found; None when there was none."""
        positives = self.true_positives + self.false_negatives
        return self.true_positives / positives if positives else None


def confusion(truth: Floats, probability: Floats, *, threshold: float) -> Confusion:
    """Count the four outcomes of a decision at `threshold` (inclusive)."""
    taken, positive = probability >= threshold, truth == 1
    return Confusion(
        threshold=threshold,
        true_positives=int((taken & positive).sum()),
        false_positives=int((taken & ~positive).sum()),
        false_negatives=int((~taken & positive).sum()),
        true_negatives=int((~taken & ~positive).sum()),
    )


def roc_curve(truth: Floats, probability: Floats, *, points: int = 300) -> pl.DataFrame | None:
    """True and false positive rate at each threshold, from none taken to all; None of a single outcome.

    Args:
        truth: outcomes, 0 or 1.
        probability: of a positive outcome.
        points: about how many to keep, evenly spread along the curve; its two ends always.
    """
    thresholds, hits, misses = _by_threshold(truth, probability)
    if not hits[-1] or not misses[-1]:
        return None
    found, false = hits / hits[-1], misses / misses[-1]
    kept = _spread(found + false, points)
    return pl.DataFrame(
        {"threshold": thresholds[kept], "false_positive_rate": false[kept], "true_positive_rate": found[kept]}
    )


def precision_recall(truth: Floats, probability: Floats, *, points: int = 300) -> pl.DataFrame | None:
    """Precision and recall at each threshold, from few taken to all; None without a positive.

    Args:
        truth: outcomes, 0 or 1.
        probability: of a positive outcome.
        points: about how many to keep, evenly spread over recall; the two ends always.
    """
    thresholds, hits, misses = (column[1:] for column in _by_threshold(truth, probability))
    if not len(hits) or not hits[-1]:
        return None
    recall, precision = hits / hits[-1], hits / (hits + misses)
    kept = _spread(recall, points)
    return pl.DataFrame({"threshold": thresholds[kept], "precision": precision[kept], "recall": recall[kept]})


def average_precision(truth: Floats, probability: Floats) -> float | None:
    """The mean precision over the steps of recall, without interpolation; None without a positive."""
    _, hits, misses = _by_threshold(truth, probability)
    if not hits[-1]:
        return None
    return float(np.diff(hits) @ (hits[1:] / (hits[1:] + misses[1:])) / hits[-1])


def calibration_table(truth: Floats, probability: Floats, *, bins: int = 10) -> pl.DataFrame:
    """What was said and what came, over bins of as equal counts as can be, in order of the probability.

    The columns are rows, lowest, highest and mean of the probability, and the share of positives.
    """
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order))) if len(order) else []
    return pl.DataFrame(
        [
            (
                len(part),
                float(probability[part[0]]),
                float(probability[part[-1]]),
                float(probability[part].mean()),
                float(truth[part].mean()),
            )
            for part in parts
        ],
        schema={
            "rows": pl.Int64,
            "lowest": pl.Float64,
            "highest": pl.Float64,
            "probability": pl.Float64,
            "share_positive": pl.Float64,
        },
        orient="row",
    )


def thinned(count: int, most: int) -> npt.NDArray[np.int64]:
    """The places of at most `most` of `count` values, evenly spread, the first and the last among them."""
    return _spread(np.arange(count, dtype=np.float64), most)


def _by_threshold(truth: Floats, probability: Floats) -> tuple[Floats, Floats, Floats]:
    """Per distinct probability, highest first: the positives and the negatives at or above it; at first none."""
    order = np.argsort(-probability, kind="stable")
    ranked, positive = probability[order], truth[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, dtype=np.int64)
    hits, misses = np.cumsum(positive)[last], np.cumsum(1 - positive)[last]
    return np.append(np.inf, ranked[last]), np.append(0.0, hits), np.append(0.0, misses)


def _spread(along: Floats, points: int) -> npt.NDArray[np.int64]:
    """Which places to keep so that they lie evenly in `along`, which never falls; the two ends always."""
    if len(along) <= points:
        return np.arange(len(along), dtype=np.int64)
    wanted = np.linspace(along[0], along[-1], points - 1)
    return np.unique(np.append(np.searchsorted(along, wanted), len(along) - 1)).astype(np.int64)
