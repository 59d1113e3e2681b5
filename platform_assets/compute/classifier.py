"""A fitted classifier: everything that stands between a row of the feature view and a probability."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from platform_assets.compute.preparation import Preparation

if TYPE_CHECKING:
    import lightgbm
    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """What training hands to the registry and scoring gets back: one path from rows to probabilities for both.

    Attributes:
        preparation: what was fitted before the trees.
        booster: the trees.
    """

    preparation: Preparation
    booster: lightgbm.Booster

    @property
    def digest(self) -> str:
        """One hash over everything that decides a probability."""
        return hashlib.blake2b(self.booster.model_to_string().encode(), digest_size=16).hexdigest()

    def score(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """The probability of the positive outcome for each row; columns are matched by name.

        Raises:
            ModelError: naming the columns that are missing or of the wrong kind.
        """
        return np.asarray(self.booster.predict(self.preparation.encode(rows), num_threads=os.cpu_count() or 1))

    def contributions(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """What each input adds to the log odds of each row, in the order of the inputs (SHAP values of the trees)."""
        matrix = self.preparation.encode(rows)
        if not len(matrix):
            return np.zeros((0, len(self.preparation.inputs)))
        found = self.booster.predict(matrix, pred_contrib=True, num_threads=os.cpu_count() or 1)
        return np.asarray(found)[:, :-1]  # the last is the expected value
