"""Maps from the scores of a model to calibrated probabilities: fitted by scikit-learn, kept and applied as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from platform_assets.errors import ModelError

Floats = npt.NDArray[np.float64]
_Point = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Probabilities:
    """What is said of each row; `low` and `high` are None where nothing tells how far off it may be.

    Attributes:
        probability: of the positive outcome.
        low: the lower end of its interval.
        high: the upper end.
    """

    probability: Floats
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """The rising line closest to the outcomes (Zadrozny and Elkan, KDD 2002), straight between its points.

    Attributes:
        scores: where the points lie, rising.
        probabilities: their heights; level outside.
    """

    method: ClassVar[str] = "isotonic"

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    @staticmethod
    def fit(scores: Floats, truth: Floats) -> Isotonic:
        """Fit on held-out scores; nothing is said to be surer than one error in all rows and two more."""
        from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]

        least = 1 / (len(scores) + 2)
        line = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(scores, truth)
        return Isotonic(
            scores=tuple(line.X_thresholds_.tolist()), probabilities=tuple(np.asarray(line.y_thresholds_).tolist())
        )

    def apply(self, scores: Floats) -> Probabilities:
        """The calibrated probability of each score."""
        return Probabilities(probability=np.interp(scores, self.scores, self.probabilities))


@dataclass(frozen=True, kw_only=True)
class Platt:
    """A straight line through the log odds, which keeps the order of the rows (Platt, 1999).

    Attributes:
        slope: by which the log odds of a score are multiplied.
        intercept: what is added.
    """

    method: ClassVar[str] = "platt"

    slope: float
    intercept: float

    @staticmethod
    def fit(scores: Floats, truth: Floats) -> Platt:
        """Fit on held-out scores, each outcome softened as Platt does, so that the line stays finite."""
        from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

        positives = truth.sum()
        soft = np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2))
        odds = log_odds(scores).reshape(-1, 1)
        line = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000).fit(
            np.concatenate([odds, odds]),
            np.repeat([1, 0], len(scores)),
            sample_weight=np.concatenate([soft, 1 - soft]),
        )
        return Platt(slope=float(line.coef_[0, 0]), intercept=float(line.intercept_[0]))

    def apply(self, scores: Floats) -> Probabilities:
        """The calibrated probability of each score."""
        return Probabilities(probability=from_log_odds(self.slope * log_odds(scores) + self.intercept))


@dataclass(frozen=True, kw_only=True)
class VennAbers:
    """Two isotonic maps that hold between them what a row is, whichever outcome it comes to.

    The inductive Venn-Abers predictor (Vovk, Petej and Fedorova, NIPS 2015): the low end is the isotonic map
    fitted as if the row had been there with a negative outcome, the high end with a positive one. One of the
    two is calibrated whatever the model, if its rows and those it was fitted on are exchangeable. The
    probability between them is the one that loses least log loss in the worst case. Both maps are steps.

    Attributes:
        low_from: the scores from which each step of the low end holds, rising.
        low: its heights, the first one below all steps.
        high_until: the scores until which each step of the high end holds, rising.
        high: its heights, the last one above all steps.
    """

    method: ClassVar[str] = "venn_abers"

    low_from: tuple[float, ...]
    low: tuple[float, ...]
    high_until: tuple[float, ...]
    high: tuple[float, ...]

    @staticmethod
    def fit(scores: Floats, truth: Floats) -> VennAbers:
        """Fit on held-out scores, in the time that sorting them takes."""
        steps, place = np.unique(scores, return_inverse=True)
        rows = np.bincount(place)
        positives = np.bincount(place, weights=truth).astype(np.int64)
        high = np.array([*_with_one_positive(rows.tolist(), positives.tolist()), 1.0])
        mirrored = _with_one_positive(rows[::-1].tolist(), (rows - positives)[::-1].tolist())
        low = np.array([0.0, *(1 - p for p in reversed(mirrored))])
        rises = np.flatnonzero(np.diff(high))
        falls = np.flatnonzero(np.diff(low))
        return VennAbers(
            low_from=tuple(steps[falls].tolist()),
            low=(0.0, *low[falls + 1].tolist()),
            high_until=tuple(steps[rises].tolist()),
            high=(*high[rises].tolist(), 1.0),
        )

    def apply(self, scores: Floats) -> Probabilities:
        """The calibrated probability of each score, with its interval."""
        known = ~np.isnan(scores)
        low = np.where(known, np.array(self.low)[np.searchsorted(self.low_from, scores, side="right")], np.nan)
        high = np.where(known, np.array(self.high)[np.searchsorted(self.high_until, scores, side="left")], np.nan)
        # The last bit of a quotient may lie outside.
        return Probabilities(probability=np.clip(high / (1 - low + high), low, high), low=low, high=high)


Calibration = Isotonic | Platt | VennAbers
_BY_METHOD: Mapping[str, type[Calibration]] = {kind.method: kind for kind in (Isotonic, Platt, VennAbers)}


def fit_calibration(method: str, scores: Floats, truth: Floats) -> Calibration:
    """Fit a map by the name of its method: isotonic, platt or venn_abers.

    Args:
        method: which.
        scores: probabilities that a model gave to rows it has not learned from.
        truth: their outcomes, 0 or 1.

    Raises:
        ModelError: where all outcomes are alike, so that there is nothing to fit.
    """
    if len(set(truth.tolist())) < 2:  # noqa: PLR2004 - two outcomes
        msg = f"calibration {method}: all of its {len(truth):,} rows came to the same outcome; give *select* more days"
        raise ModelError(msg)
    return _BY_METHOD[method].fit(scores, truth)


def calibration_to_dict(calibration: Calibration) -> dict[str, Any]:
    """As plain numbers, to be stored with the model; JSON keeps them to the bit."""
    return {"method": calibration.method, **asdict(calibration)}


def calibration_from_dict(stored: Mapping[str, Any]) -> Calibration:
    """Read back what `calibration_to_dict` wrote."""
    numbers: dict[str, Any] = {
        name: tuple(held) if isinstance(held, Sequence) else held for name, held in stored.items() if name != "method"
    }
    return _BY_METHOD[stored["method"]](**numbers)


def log_odds(probability: Floats) -> Floats:
    """The natural logarithm of the odds, at most some 34 away from even ones."""
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.log(clipped) - np.log1p(-clipped)


def from_log_odds(odds: Floats) -> Floats:
    """The probability behind log odds."""
    small = np.exp(-np.abs(odds))
    return np.where(odds >= 0, 1 / (1 + small), small / (1 + small))


def _with_one_positive(rows: Sequence[int], positives: Sequence[int]) -> list[float]:
    """The isotonic value of each group once one more positive row stood at its beginning.

    One walk along the lower hull of the summed outcomes (algorithms 1 and 2 of Vovk, Petej and Fedorova), in
    whole numbers, so that it is exact. What lies left of the added row is shifted by it, down and to the left.

    Args:
        rows: of each group, in order of the score.
        positives: of them.
    """
    points = list(zip(accumulate(rows), accumulate(positives), strict=True))
    hull: list[_Point] = []  # from the right: the leftmost corner is the last
    for point in ((-1, -1), (0, 0), *points)[::-1]:
        _add(hull, point)
    found = []
    for x, y in points:
        left, right = hull[-1], hull[-2]
        found.append((right[1] - left[1]) / (right[0] - left[0]))
        shifted = (x - 1, y - 1)
        if _turn(left, right, shifted) < 0:
            hull.pop()
            _add(hull, shifted)
    return found


def _add(hull: list[_Point], point: _Point) -> None:
    """Put a corner to the left of a lower hull, and drop those that are none any more."""
    while len(hull) > 1 and _turn(point, hull[-1], hull[-2]) <= 0:
        hull.pop()
    hull.append(point)


def _turn(a: _Point, b: _Point, c: _Point) -> int:
    """Above zero when c lies above the line from a to b, below zero when below."""
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
