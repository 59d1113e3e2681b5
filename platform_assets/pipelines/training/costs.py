"""What follows the trees: by which settings scores become probabilities, intervals and decisions, and what those cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from platform_assets.compute.band import groups_within
from platform_assets.compute.calibration import Probabilities
from platform_assets.compute.comparison import calibration_error
from platform_assets.compute.costs import costs_of
from platform_assets.compute.metrics import performance
from platform_assets.compute.uncertainty import Bounds, bounds_of_mean
from platform_assets.declarations.models import Costs, Model
from platform_assets.pipelines.training.baselines import CONFIDENCE, DRAWS
from platform_assets.pipelines.training.fitting import FittedModel, days_of

if TYPE_CHECKING:
    import numpy.typing as npt

_CALIBRATION, _INTERVAL = "calibration", "interval"
_COSTS = "costs."
AT_THRESHOLD = "at the threshold"


@dataclass(frozen=True, kw_only=True)
class CostFigure:
    """What a row costs in the mean; `bounds` is None where *report* is a single day."""

    mean: float
    bounds: Bounds | None


def settings_after_the_trees(model: Model) -> dict[str, Any]:
    """Calibration, interval and costs as parameters of the MLflow run."""
    costs = {} if model.costs is None else {f"{_COSTS}{name}": value for name, value in vars(model.costs).items()}
    return {_CALIBRATION: model.calibration, _INTERVAL: model.interval, **costs}


def read_settings_after_the_trees(parameters: Mapping[str, str]) -> dict[str, Any]:
    """What `settings_after_the_trees` wrote, as fields of a `Model`; a run from before knew none."""
    told = {name.removeprefix(_COSTS): text for name, text in parameters.items() if name.startswith(_COSTS)}
    none = str(None)
    method, share = parameters.get(_CALIBRATION, none), parameters.get(_INTERVAL, none)
    return {
        _CALIBRATION: None if method == none else method,
        _INTERVAL: None if share == none else float(share),
        "costs": Costs(false_alarm=float(told["false_alarm"]), miss=float(told["miss"]), unit=told["unit"])
        if told
        else None,
    }


def is_after_the_trees(parameter: str) -> bool:
    """Whether a parameter of an MLflow run is a setting of calibration, interval or costs."""
    return parameter in (_CALIBRATION, _INTERVAL) or parameter.startswith(_COSTS)


def calibration_metrics(fitted: FittedModel, said: Probabilities) -> dict[str, float]:
    """How the trees alone would have done on *report*, and how honest the intervals are, where there are any.

    Args:
        fitted: with what came of the rows.
        said: of each row of *report*.
    """
    truth, found = fitted.truth["report"], dict[str, float]()
    if fitted.classifier.calibration is not None:
        before = fitted.classifier.uncalibrated(fitted.parts["report"])
        found["report_log_loss_before_calibration"] = performance(truth, before).log_loss
        found["report_calibration_error_before_calibration"] = calibration_error(truth, before)
    if said.low is not None and said.high is not None:
        found["report_groups_within_interval"] = groups_within(truth, said.probability, said.low, said.high)
        found["report_mean_interval"] = float((said.high - said.low).mean())
    return found


def costs_on_report(model: Model, fitted: FittedModel, probability: npt.NDArray[np.float64]) -> dict[str, CostFigure]:
    """What a row of *report* costs by the model's decisions, and by simpler ones; nothing where none are declared.

    Args:
        model: what is declared.
        fitted: with what came of the rows.
        probability: the model's, of each row.
    """
    if model.costs is None:
        return {}
    truth = fitted.truth["report"]
    days = days_of(model, fitted.parts["report"])
    ways = {
        AT_THRESHOLD: fitted.classifier.decide(probability),
        "acting at 0.5": probability >= 0.5,  # noqa: PLR2004 - as who knows no costs would
        "acting never": np.zeros(len(truth), dtype=bool),
        "acting always": np.ones(len(truth), dtype=bool),
    }
    found = {}
    for name, acts in ways.items():
        costs = costs_of(truth, acts, false_alarm=model.costs.false_alarm, miss=model.costs.miss)
        bounds = bounds_of_mean(costs, days, confidence=CONFIDENCE, draws=DRAWS, seed=model.learner.seed)
        found[name] = CostFigure(mean=float(costs.mean()), bounds=bounds)
    return found


def cost_metrics(found: Mapping[str, CostFigure]) -> dict[str, float]:
    """The figures as metrics of the MLflow run."""
    metrics = {}
    for name, figure in found.items():
        key = "report_cost" + ("" if name == AT_THRESHOLD else f"_{name.replace(' ', '_')}")
        metrics[key] = figure.mean
        if figure.bounds is not None:
            metrics |= {f"{key}_low": figure.bounds.low, f"{key}_high": figure.bounds.high}
    return metrics


def cost_facts(model: Model, found: Mapping[str, CostFigure]) -> dict[str, Any]:
    """The figures in words."""
    if model.costs is None:
        return {}
    said = {}
    for name, figure in found.items():
        between = "" if figure.bounds is None else f", {figure.bounds.low:.4f} to {figure.bounds.high:.4f}"
        said[f"{model.costs.unit} a row on report, {name}"] = f"{figure.mean:.4f}{between}"
    return {"threshold": model.costs.threshold, **said}
