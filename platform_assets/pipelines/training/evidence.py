"""What speaks for a model: its figures with intervals, beside simple averages, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from platform_assets.compute.classifier import Classifier
from platform_assets.compute.comparison import by_slice, calibration_error
from platform_assets.compute.curves import (
    Confusion,
    average_precision,
    calibration_table,
    confusion,
    precision_recall,
    roc_curve,
)
from platform_assets.compute.metrics import Performance, performance
from platform_assets.compute.uncertainty import Bounds, uncertainty
from platform_assets.declarations.models import Model
from platform_assets.declarations.promotion import Promotion
from platform_assets.pipelines.checks import BEATS_BASELINES
from platform_assets.pipelines.run import CheckResult
from platform_assets.pipelines.training.baselines import CONFIDENCE, DRAWS
from platform_assets.pipelines.training.fitting import FittedModel, days_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ROWS_EXPLAINED = 2_000
"""Of *report*; explaining a row costs some fifty times what scoring it does."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything that was measured of a fitted model, on *report* where no part is named.

    Attributes:
        scores: the probability of each row.
        parts: how good it is on each part. On *fit* it says what it has learned; on *select* it is the one that
            stopped there, which had not learned from it.
        baselines: how good each of them is.
        bounds: the intervals that can be told, by figure.
        average_precision: None without a positive.
        calibration_error: mean distance of probability and share of positives.
        calibration: what was said and what came, by tenths.
        roc: None where only one outcome occurs.
        precision_recall: None without a positive.
        slices: by column every one of its values.
        slice_rows: slices with fewer rows are in the table, and nothing is said of them.
        confusion: at the chosen threshold; None where none was chosen.
    """

    scores: npt.NDArray[np.float64]
    parts: Mapping[str, Performance]
    baselines: Mapping[str, Performance]
    bounds: Mapping[str, Bounds]
    average_precision: float | None
    calibration_error: float
    calibration: pl.DataFrame
    roc: pl.DataFrame | None
    precision_recall: pl.DataFrame | None
    slices: Mapping[str, pl.DataFrame]
    slice_rows: int
    confusion: Confusion | None

    @property
    def report(self) -> Performance:
        return self.parts["report"]

    @property
    def judged_slices(self) -> dict[str, pl.DataFrame]:
        """The slices that have enough rows."""
        return {column: found.filter(pl.col("rows") >= self.slice_rows) for column, found in self.slices.items()}


def measure(
    model: Model,
    fitted: FittedModel,
    scores: npt.NDArray[np.float64],
    *,
    baselines: Mapping[str, Performance],
    promotion: Promotion | None,
    threshold: float | None,
) -> Measured:
    """Measure a fitted model.

    Args:
        model: what is declared.
        fitted: its parts carry the columns that the promotion's slices need.
        scores: its probability of each row of *report*.
        baselines: how good each is there.
        promotion: its slices are measured by themselves; None where there is none.
        threshold: a probability of as much or more is decided as positive; None where none was chosen.
    """
    truth, rows = fitted.truth["report"], fitted.parts["report"]
    return Measured(
        scores=scores,
        parts={
            "fit": performance(fitted.truth["fit"], fitted.classifier.score(fitted.parts["fit"])),
            "select": fitted.chosen,
            "report": performance(truth, scores),
        },
        baselines=baselines,
        bounds=bounds_on_report(model, fitted, scores),
        average_precision=average_precision(truth, scores),
        calibration_error=calibration_error(truth, scores),
        calibration=calibration_table(truth, scores),
        roc=roc_curve(truth, scores),
        precision_recall=precision_recall(truth, scores),
        slices={
            column: by_slice(rows.select(promotion.slice_of(column)).to_series(), truth, scores, None, at_least=1).drop(
                "worse_by"
            )
            for column in promotion.slices
        }
        if promotion is not None
        else {},
        slice_rows=1 if promotion is None else promotion.slice_rows,
        confusion=None if threshold is None else confusion(truth, scores, threshold=threshold),
    )


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Some rows of *report*, with what each input adds to the log odds of each."""

    rows: pl.DataFrame
    contributions: npt.NDArray[np.float64]


def explain(model: Model, fitted: FittedModel) -> Explained:
    """Explain `ROWS_EXPLAINED` rows of *report*, drawn by the model's own seed; all where there are fewer."""
    rows = fitted.parts["report"]
    if len(rows) > ROWS_EXPLAINED:
        rows = rows.sample(ROWS_EXPLAINED, seed=model.learner.seed)
    return Explained(rows=rows, contributions=fitted.classifier.contributions(rows))


def importance(classifier: Classifier, explained: Explained) -> pl.DataFrame:
    """Each input with its share of gain and the mean size of its contributions, the largest gain first."""
    sizes = pl.DataFrame(
        {
            "input": classifier.preparation.inputs,
            "mean absolute SHAP (log odds)": abs(explained.contributions).mean(axis=0),
        }
    )
    return gains(classifier).join(sizes, on="input", how="left", maintain_order="left")


def bounds_on_report(model: Model, fitted: FittedModel, scores: npt.NDArray[np.float64]) -> dict[str, Bounds]:
    """The intervals that can be told, by figure; none where *report* is a single day."""
    days, seed = days_of(model, fitted.parts["report"]), model.learner.seed
    found = uncertainty(fitted.truth["report"], scores, days, confidence=CONFIDENCE, draws=DRAWS, seed=seed)
    if found is None:
        return {}
    return {"log_loss": found.log_loss} | ({"auc": found.auc} if found.auc else {})


def beats_baselines(found: Performance, baselines: Mapping[str, Performance]) -> CheckResult:
    """Whether a model is better than every baseline, in AUC and in log loss."""
    best, rival = max(baselines.items(), key=lambda item: item[1].auc or 0.0)
    least = min(b.log_loss for b in baselines.values())
    passed = (found.auc or 0.0) > (rival.auc or 0.0) and found.log_loss < least
    if found.auc is None or rival.auc is None:
        said = f"On report only one outcome occurs, so that no AUC can be told; log loss {found.log_loss:.4f} against {least:.4f}."
    else:
        said = (
            f"On report, AUC {found.auc:.4f} against {rival.auc:.4f} of {best}; log loss {found.log_loss:.4f} against "
            f"{least:.4f}."
        )
    facts = {
        "AUC": found.auc,
        **{f"AUC of {name}": b.auc for name, b in baselines.items()},
        "log loss": found.log_loss,
        **{f"log loss of {name}": b.log_loss for name, b in baselines.items()},
    }
    return CheckResult(name=BEATS_BASELINES, passed=passed, blocking=True, description=said, facts=facts)


def gains(classifier: Classifier) -> pl.DataFrame:
    """Each input with its share of what the trees gained, the largest first."""
    found = classifier.booster.feature_importance("gain")
    total = float(found.sum()) or 1.0
    return pl.DataFrame({"input": classifier.preparation.inputs, "share of gain": found / total}).sort(
        "share of gain", descending=True
    )
