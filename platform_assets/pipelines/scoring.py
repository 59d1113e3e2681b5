"""What predictions say of a row, as their columns: the one place that inference and its parity check share."""

from __future__ import annotations

import polars as pl

from platform_assets.compute.calibration import Probabilities
from platform_assets.compute.classifier import Classifier
from platform_assets.declarations.models import DECISION, INTERVAL, Predictions

PROBABILITY = "probability"


def said_of(predictions: Predictions, said: Probabilities, classifier: Classifier) -> pl.DataFrame:
    """The probability, and the interval and decision where they are declared.

    They are null where the version gives none: it was fitted before they were declared.

    Args:
        predictions: what is declared.
        said: by the model, of each row.
        classifier: which version it was.
    """
    rows = len(said.probability)
    columns = [pl.Series(PROBABILITY, said.probability, dtype=pl.Float64)]
    declared = {column.name for column in predictions.columns}
    for name, end in zip(INTERVAL, (said.low, said.high), strict=True):
        if name in declared:
            columns.append(pl.Series(name, [None] * rows if end is None else end, dtype=pl.Float64))
    if DECISION in declared:
        acts = [None] * rows if classifier.threshold is None else classifier.decide(said.probability)
        columns.append(pl.Series(DECISION, acts, dtype=pl.Boolean))
    return pl.DataFrame(columns)
