"""The tail of some values: every moment summed by hand, the distribution SciPy's."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats


def naive_exceeded(values: Sequence[float], share: float) -> float:
    """What a generalized Pareto tail, fitted to the highest tenth, exceeds in this share of cases."""
    ordered = sorted(values)
    many = max(len(ordered) // 10, 10)
    start = ordered[-many - 1]
    excess = [value - start for value in ordered[-many:]]
    mean = sum(excess) / many
    weighted = sum(excess[place] * (many - 1 - place) / (many - 1) for place in range(many)) / many
    shape = 2 - mean / (mean - 2 * weighted)
    shape = min(max(shape, 0.0), 0.5)
    return start + float(stats.genpareto.isf(share * len(ordered) / many, shape, scale=mean * (1 - shape)))
