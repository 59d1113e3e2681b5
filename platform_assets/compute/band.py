"""How far the probabilities of one score may lie from the truth, judged by how much days differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platform_assets.errors import ModelError

Floats = npt.NDArray[np.float64]
_GROUPS = 200


@dataclass(frozen=True, kw_only=True)
class Band:
    """A band around the share of positives among rows of a score, straight between its points.

    Attributes:
        scores: where the points lie, rising.
        low: the lower end at each.
        high: the upper end.
    """

    scores: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @staticmethod
    def fit(scores: Floats, truth: Floats, days: npt.ArrayLike, *, confidence: float, draws: int, seed: int) -> Band:
        """A percentile band of the isotonic calibration curve, by a bootstrap of whole days.

        The rows of a day share their weather and their crowds, so that intervals which take them for independent
        are far too narrow. A draw takes days with replacement and every row of each, as in `uncertainty`, and fits
        the curve anew. Rows are first gathered by score into 200 groups of as equal counts as can be.

        Args:
            scores: probabilities that a model gave to rows it has not learned from.
            truth: their outcomes, 0 or 1.
            days: the day of each row.
            confidence: the share of the draws between both ends, between 0 and 1.
            draws: how many.
            seed: of the draws.

        Raises:
            ModelError: where all rows are of one day.
        """
        # The bare function: with 400 draws, what sklearn checks of its arguments costs ten times the curves.
        from scipy.optimize import isotonic_regression  # type: ignore[import-untyped]

        names, day = np.unique(np.asarray(days), return_inverse=True)
        if len(names) <= 1:
            msg = "an interval: its rows are all of one day, which cannot tell how days differ; give *select* more days"
            raise ModelError(msg)
        group = _groups(scores)
        points = np.bincount(group, weights=scores) / np.bincount(group)
        rows, positives = np.zeros((len(names), len(points))), np.zeros((len(names), len(points)))
        np.add.at(rows, (day, group), 1.0)
        np.add.at(positives, (day, group), truth)
        random = np.random.default_rng(seed)
        curves = np.empty((draws, len(points)))
        for draw in range(draws):
            weights = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))
            there, came = weights @ rows, weights @ positives
            has = there > 0
            curve = isotonic_regression(came[has] / there[has], weights=there[has]).x
            curves[draw] = np.interp(points, points[has], curve)
        low, high = np.quantile(curves, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
        return Band(scores=tuple(points.tolist()), low=tuple(low.tolist()), high=tuple(high.tolist()))

    def around(self, scores: Floats, probability: Floats) -> tuple[Floats, Floats]:
        """Both ends of each row's interval, widened to hold its probability."""
        return (
            np.minimum(np.interp(scores, self.scores, self.low), probability),
            np.maximum(np.interp(scores, self.scores, self.high), probability),
        )


def groups_within(truth: Floats, probability: Floats, low: Floats, high: Floats, *, groups: int = 10) -> float:
    """The share of groups of rows, by probability, whose share of positives lies in their mean interval.

    Of honest intervals about as many as their confidence says. A group has as equal a count of rows as can be.
    """
    parts = np.array_split(np.argsort(probability, kind="stable"), min(groups, len(probability)))
    held = [bool(low[part].mean() <= truth[part].mean() <= high[part].mean()) for part in parts]
    return sum(held) / len(held)


def _groups(scores: Floats) -> npt.NDArray[np.intp]:
    """The group of each row by its score, from 0; equal scores share one."""
    ranked = np.sort(scores)
    starts = np.unique([ranked[len(ranked) * n // _GROUPS] for n in range(_GROUPS)])
    return np.unique(np.searchsorted(starts, scores, side="right"), return_inverse=True)[1]
