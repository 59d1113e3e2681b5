"""What speaks for a model: its figures with intervals, beside simple averages, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from platform_assets.compute.classifier import Classifier
from platform_assets.compute.metrics import Performance
from platform_assets.compute.uncertainty import Bounds, uncertainty
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import DAY
from platform_assets.declarations.views import PREDICTION_TIME
from platform_assets.pipelines.checks import BEATS_BASELINES
from platform_assets.pipelines.run import CheckResult
from platform_assets.pipelines.training.baselines import CONFIDENCE, DRAWS
from platform_assets.pipelines.training.fitting import FittedModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def bounds_on_report(model: Model, fitted: FittedModel, scores: npt.NDArray[np.float64]) -> dict[str, Bounds]:
    """The intervals that can be told, by figure; none where *report* is a single day."""
    day = model.training.view.partitions.day_of(pl.col(PREDICTION_TIME))
    days = fitted.parts["report"].select(day.to_physical().alias(DAY)).get_column(DAY).to_numpy()
    found = uncertainty(
        fitted.truth["report"], scores, days, confidence=CONFIDENCE, draws=DRAWS, seed=model.learner.seed
    )
    if found is None:
        return {}
    return {"log_loss": found.log_loss} | ({"auc": found.auc} if found.auc else {})


def beats_baselines(found: Performance, baselines: Mapping[str, Performance]) -> CheckResult:
    """Whether a model is better than every baseline, in AUC and in log loss."""
    best, rival = max(baselines.items(), key=lambda item: item[1].auc or 0.0)
    passed = (found.auc or 0.0) > (rival.auc or 0.0) and found.log_loss < min(b.log_loss for b in baselines.values())
    said = (
        f"On report, AUC {found.auc:.4f} against {rival.auc:.4f} of {best}; log loss {found.log_loss:.4f} against "
        f"{min(b.log_loss for b in baselines.values()):.4f}."
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
