"""A fitted classifier: everything that stands between a row of the feature view and a decision."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from platform_assets.compute.band import Band
from platform_assets.compute.calibration import Calibration, Probabilities, calibration_from_dict, calibration_to_dict
from platform_assets.compute.preparation import Preparation
from platform_assets.errors import ModelError

if TYPE_CHECKING:
    import lightgbm
    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """What training hands to the registry and scoring gets back: one path from rows to probabilities for both.

    Attributes:
        preparation: what was fitted before the trees.
        booster: the trees.
        calibration: what was fitted after them; None where their scores are the probabilities.
        band: what tells the interval of each; None where the calibration does, or nothing.
        threshold: the probability from which to act; None where no costs were declared.
    """

    preparation: Preparation
    booster: lightgbm.Booster
    calibration: Calibration | None = None
    band: Band | None = None
    threshold: float | None = None

    @property
    def digest(self) -> str:
        """One hash over everything that decides a probability or a decision."""
        held = self.booster.model_to_string()
        after = self.after_the_trees()
        if any(part is not None for part in after.values()):
            held += json.dumps(after)
        return hashlib.blake2b(held.encode(), digest_size=16).hexdigest()

    def after_the_trees(self) -> dict[str, object]:
        """Calibration, band and threshold as plain numbers, to be stored with the model; JSON keeps them to the bit."""
        return {
            "calibration": None if self.calibration is None else calibration_to_dict(self.calibration),
            "band": None if self.band is None else {name: list(held) for name, held in vars(self.band).items()},
            "threshold": self.threshold,
        }

    @staticmethod
    def restore(preparation: Preparation, booster: lightgbm.Booster, after: Mapping[str, Any]) -> Classifier:
        """What `after_the_trees` told, put together again; what it did not know of is absent."""
        calibration, band = after.get("calibration"), after.get("band")
        return Classifier(
            preparation=preparation,
            booster=booster,
            calibration=None if calibration is None else calibration_from_dict(calibration),
            band=None if band is None else Band(**{name: tuple(held) for name, held in band.items()}),
            threshold=after.get("threshold"),
        )

    def predict(self, rows: pl.DataFrame) -> Probabilities:
        """The calibrated probability of the positive outcome for each row; columns are matched by name.

        Raises:
            ModelError: naming the columns that are missing or of the wrong kind.
        """
        scores = self.uncalibrated(rows)
        said = Probabilities(probability=scores) if self.calibration is None else self.calibration.apply(scores)
        if self.band is None:
            return said
        low, high = self.band.around(scores, said.probability)
        return replace(said, low=low, high=high)

    def score(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """The probabilities of `predict`, without their intervals."""
        return self.predict(rows).probability

    def uncalibrated(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """What the trees alone say of each row."""
        return np.asarray(self.booster.predict(self.preparation.encode(rows), num_threads=os.cpu_count() or 1))

    def decide(self, probability: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Whether to act on each row, by its probability.

        Raises:
            ModelError: when the model was declared without costs.
        """
        if self.threshold is None:
            msg = (
                "the model has no threshold, since it was declared without costs; add costs=Costs(...) and fit it anew"
            )
            raise ModelError(msg)
        return probability >= self.threshold

    def contributions(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """What each input adds to the log odds of each row before calibration, in the order of the inputs.

        These are the SHAP values of the trees.
        """
        matrix = self.preparation.encode(rows)
        if not len(matrix):
            return np.zeros((0, len(self.preparation.inputs)))
        found = self.booster.predict(matrix, pred_contrib=True, num_threads=os.cpu_count() or 1)
        return np.asarray(found)[:, :-1]  # the last is the expected value
