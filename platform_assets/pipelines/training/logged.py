"""What of a model goes into its MLflow run and onto its page in Dagster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from platform_assets.compute.curves import thinned
from platform_assets.declarations.models import Model
from platform_assets.pipelines import plots
from platform_assets.pipelines.environment import installed
from platform_assets.pipelines.training.evidence import Explained, Measured, gains, importance
from platform_assets.pipelines.training.fitting import FittedModel
from platform_assets.registry.evidence import metric_names

_MOST_STEPS = 200
_FIGURES = ("auc", "log_loss", "rows")


def metrics(measured: Measured) -> dict[str, float]:
    """Figures by name: of each part, of the baselines, and of each slice that has enough rows."""
    found = {f"{part}_{name}": v for part, seen in measured.parts.items() for name, v in seen.to_dict().items()}
    found["report_calibration_error"] = measured.calibration_error
    if measured.average_precision is not None:
        found["report_average_precision"] = measured.average_precision
    found |= {f"report_{name}_{end}": v for name, b in measured.bounds.items() for end, v in asdict(b).items()}
    baselines = metric_names(measured.baselines)
    found |= {f"baseline_{baselines[name]}_auc": b.auc or 0.5 for name, b in measured.baselines.items()}
    if measured.confusion is not None:
        counted = asdict(measured.confusion)
        rates = {"precision": measured.confusion.precision, "recall": measured.confusion.recall}
        found |= {f"report_{name}": float(v) for name, v in (counted | rates).items() if v is not None}
    columns = metric_names(measured.judged_slices)
    for column, judged in measured.judged_slices.items():
        names = metric_names(judged["slice"])
        for row in judged.iter_rows(named=True):
            told = {f"slices/{columns[column]}.{names[row['slice']]}.{figure}": row[figure] for figure in _FIGURES}
            found |= {name: float(value) for name, value in told.items() if value is not None}
    return found


def learning_curves(fitted: FittedModel) -> dict[str, list[tuple[int, float]]]:
    """The log loss of each part by how many trees there were."""
    steps = {part: list(losses.items()) for part, losses in fitted.learning.items()}
    return {
        f"learning/{part}_log_loss": [told[place] for place in thinned(len(told), _MOST_STEPS)]
        for part, told in steps.items()
    }


def pictures(model: Model, fitted: FittedModel, measured: Measured, explained: Explained) -> dict[str, bytes]:
    """PNG files by title; what cannot be told has no picture."""
    found, classifier = {}, fitted.classifier
    auc = measured.report.auc
    if measured.roc is not None and auc is not None:
        found["ROC"] = plots.picture_of_roc(measured.roc, auc, measured.bounds.get("auc"))
    if measured.precision_recall is not None and measured.average_precision is not None:
        found["precision and recall"] = plots.picture_of_precision_recall(
            measured.precision_recall, measured.average_precision, measured.report.base_rate
        )
    found["calibration"] = plots.picture_of_calibration(
        measured.calibration, measured.scores, measured.calibration_error
    )
    if measured.confusion is not None:
        found["confusion"] = plots.picture_of_confusion(measured.confusion)
    if auc is not None and any(judged["auc"].count() for judged in measured.judged_slices.values()):
        found["slices"] = plots.picture_of_slices(measured.judged_slices, auc)
    found["learning curve"] = plots.picture_of_learning(
        fitted.learning, fitted.kept_trees, stops_early=model.learner.early_stopping is not None
    )
    found["gain"] = plots.picture_of_gains(gains(classifier))
    found["SHAP"] = plots.picture_of_contributions(
        explained.contributions,
        classifier.preparation.encode(explained.rows),
        classifier.preparation.inputs,
        classifier.preparation.levels,
    )
    return found


def tables(measured: Measured) -> dict[str, pl.DataFrame]:
    """The tables that people look at, by title."""
    parts = pl.DataFrame([{"part": part, **asdict(found)} for part, found in measured.parts.items()])
    shown = {"performance by part": parts, "calibration by tenths": measured.calibration}
    weakest = weakest_slices(measured)
    return shown | ({"weakest slices": weakest} if len(weakest) else {})


def weakest_slices(measured: Measured, most: int = 5) -> pl.DataFrame:
    """The slices with the lowest AUC, the lowest first, of those that have enough rows and both outcomes."""
    schema = {"column": pl.String, "slice": pl.String, "rows": pl.Int64, "auc": pl.Float64, "log_loss": pl.Float64}
    return slices_table(measured.judged_slices).match_to_schema(schema).drop_nulls("auc").sort("auc").head(most)


def slices_table(slices: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The slices of all columns as one table."""
    schema = {"column": pl.String, "slice": pl.String, "rows": pl.Int64, "auc": pl.Float64, "log_loss": pl.Float64}
    found = [part.select(pl.lit(column).alias("column"), pl.all()) for column, part in slices.items()]
    return pl.concat([pl.DataFrame(schema=schema), *found])


def documents(
    fitted: FittedModel,
    measured: Measured,
    explained: Explained,
    *,
    manifest: Mapping[str, Any],
    environment: Mapping[str, str],
) -> dict[str, str]:
    """Text files by name; the card is not among them."""
    preparation = fitted.classifier.preparation
    example = fitted.parts["report"].head(5).select(preparation.inputs)
    found = {
        "manifest.json": _json(manifest),
        "preparation.json": _json(preparation.to_dict()),
        "environment.json": _json({**environment, "libraries": dict(installed())}),
        # The example that is stored with the model is what the trees are given; this is what the view holds.
        "example_rows.json": _json(example.to_dicts()),
        "calibration.csv": measured.calibration.write_csv(),
        "importance.csv": importance(fitted.classifier, explained).write_csv(),
    }
    if measured.slices:
        found["slices.csv"] = slices_table(measured.slices).write_csv()
    if measured.roc is not None:
        found["roc.csv"] = measured.roc.write_csv()
    if measured.precision_recall is not None:
        found["precision_recall.csv"] = measured.precision_recall.write_csv()
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str)
