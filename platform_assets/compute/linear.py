"""A logistic regression on standardised numbers and one-hot categories: what a model with interactions is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.calibration import from_log_odds, log_odds
from platform_assets.compute.preparation import Preparation

Floats = npt.NDArray[np.float64]
_MOST_STEPS = 300


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A fitted logistic regression.

    A number is standardised by the rows it was fitted on; a missing one (null, NaN or infinite) counts as their
    mean, with a column of its own where they have missing ones. A category has a column for each of their levels; a
    null or an unseen level has none. Of rows with a single outcome, or without any column, it is the base rate.

    Attributes:
        preparation: the input columns and levels.
        means: of each input that is a number.
        deviations: likewise; 1 where all were alike.
        gaps: the inputs that are numbers and had missing ones, by place.
        intercept: the log odds of a row that is average in everything.
        coefficients: of the columns, in the order of `_columns`.
    """

    preparation: Preparation
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    gaps: tuple[int, ...]
    intercept: float
    coefficients: tuple[float, ...]

    @staticmethod
    def fit(
        rows: pl.DataFrame, truth: Floats, *, inputs: Sequence[str], categories: Sequence[str], penalty: float
    ) -> Linear:
        """Fit by scikit-learn: the same rows give the same bits on the same machine.

        Args:
            rows: what to learn from.
            truth: their outcomes, 0 or 1.
            inputs: the columns, in order.
            categories: those of them that are text.
            penalty: the weight of the squared coefficients, per standard deviation of a number.
        """
        from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

        preparation = Preparation.fit(rows, inputs=inputs, categories=categories)
        matrix = preparation.encode(rows)
        numbers = matrix[:, _numbers(preparation)]
        known = np.isfinite(numbers)
        count = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, numbers, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, numbers - means, 0.0) ** 2).sum(axis=0) / count)
        alike = Linear(
            preparation=preparation,
            means=tuple(means.tolist()),
            deviations=tuple(np.where(spread > 0, spread, 1.0).tolist()),
            gaps=tuple(np.flatnonzero((~known).any(axis=0)).tolist()),
            intercept=float(log_odds(truth.mean())),
            coefficients=(),
        )
        columns = alike._columns(matrix)
        if not columns.shape[1] or len(np.unique(truth)) == 1:
            return replace(alike, coefficients=(0.0,) * columns.shape[1])
        line = LogisticRegression(C=1 / penalty, max_iter=_MOST_STEPS, tol=1e-4).fit(columns, truth)
        return replace(alike, intercept=float(line.intercept_[0]), coefficients=tuple(line.coef_[0].tolist()))

    def score(self, rows: pl.DataFrame) -> Floats:
        """The probability of the positive outcome for each row; columns are matched by name."""
        odds = self._columns(self.preparation.encode(rows)) @ np.array(self.coefficients) + self.intercept
        return from_log_odds(np.asarray(odds))

    def _columns(self, matrix: Floats) -> Any:
        """Numbers, then gaps, then levels, as a sparse matrix."""
        from scipy import sparse  # type: ignore[import-untyped]

        places = _numbers(self.preparation)
        numbers = (matrix[:, places] - np.array(self.means)) / np.array(self.deviations)
        missing = ~np.isfinite(numbers)
        parts = [sparse.csr_matrix(np.where(missing, 0.0, numbers)), sparse.csr_matrix(missing[:, list(self.gaps)])]
        for place, name in enumerate(self.preparation.inputs):
            levels = self.preparation.levels.get(name)
            if levels is not None:
                held = np.flatnonzero(~np.isnan(matrix[:, place]))
                which = matrix[held, place].astype(np.int64)
                shape = (len(matrix), len(levels))
                parts.append(sparse.csr_matrix((np.ones(len(held)), (held, which)), shape=shape))
        return sparse.hstack(parts, format="csr", dtype=np.float64)


def _numbers(preparation: Preparation) -> list[int]:
    """The places of the inputs that are numbers."""
    return [place for place, name in enumerate(preparation.inputs) if name not in preparation.levels]
