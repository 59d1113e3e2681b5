"""The folds of a walk-forward backtest: the model fitted as it would have been then, and judged on the month that came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.comparison import calibration_error
from platform_assets.compute.metrics import performance
from platform_assets.compute.splits import split_by_time
from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import DAY, asset_name, table_folder
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import PREDICTION_TIME, SPLIT
from platform_assets.errors import ModelError, PartitionError
from platform_assets.pipelines.checks import BEATS_BASELINES
from platform_assets.pipelines.plots import picture_of_folds
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run
from platform_assets.pipelines.training.baselines import said_by_baselines
from platform_assets.pipelines.training.dataset import MATURED, label_rows
from platform_assets.pipelines.training.evidence import bounds_on_report
from platform_assets.pipelines.training.fitting import FittedModel, fit
from platform_assets.registry.evidence import metric_names
from platform_assets.registry.folds import FoldRun, keep_fold

_PARTS = ("fit", "select", "report")
_FIGURES = ("auc", "log_loss", "brier", "calibration_error", "base_rate")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One month of a backtest.

    Attributes:
        month: its first day; the cutoff is the first instant of it.
        rows: of the view with their label, each in a part.
        fitted: the model, and the rows by part.
        figures: one row for the model and one for each baseline.
    """

    month: date
    rows: pl.DataFrame
    fitted: FittedModel
    figures: pl.DataFrame


def backtest(platform: Platform, catalogue: Catalogue, declared: Backtest, days: Days, run: Run) -> Materialization:
    """Fit and judge the fold of one month, enter it into the table and into MLflow.

    Raises:
        PartitionError: when more than one month is asked for; each has a run of its own.
        ModelError: when a part of the fold has no rows.
    """
    name = asset_name(catalogue.name, declared.name)
    months = declared.partitions.among(days)
    if len(months) > 1:
        msg = f"{name} is made one month at a time, each with a model of its own; ask for {months[0]} alone first"
        raise PartitionError(msg)
    month = months[0]
    inputs = Inputs.pin(platform, catalogue, declared, days)
    fold = make_fold(declared, inputs, month, run=run)
    table = _with_others(platform, catalogue, declared, fold)
    check = _beats_baselines(declared, table)
    model = fold.figures.row(by_predicate=pl.col("predictor") == declared.model.name, named=True)
    # Before the table and the ledger: what is killed in between is made again, and found to be there.
    run.say("logging to MLflow")
    keep_fold(platform.registry, catalogue.name, declared.name, _fold_run(catalogue, declared, fold, inputs, run))
    made = publish(
        platform,
        catalogue,
        declared,
        fold.figures,
        days,
        run,
        inputs,
        checks=[check],
        facts={
            **{f"{part} rows": model[f"{part}_rows"] for part in _PARTS},
            **{
                f"{figure} of {row['predictor']}": row[figure]
                for row in fold.figures.iter_rows(named=True)
                for figure in ("auc", "log_loss")
            },
            "trees": model["trees"],
        },
        pictures={"performance by month": picture_of_folds(table, declared.model.name)} if run.draws else {},
    )
    return replace(made, preview=table.drop("digest"))


def make_fold(declared: Backtest, inputs: Inputs, month: date, *, run: Run) -> Fold:
    """Fit and judge one month; it writes nothing.

    Args:
        declared: the backtest.
        inputs: the versions of its view and label.
        month: the first day of the month that is reported on.
        run: labels that were not known at its instant have not come yet; and where progress is said.
    """
    model = _at_start(declared.model)
    rows = divide_fold(declared, inputs, month, run=run)
    empty = [part for part in _PARTS if part not in set(rows.get_column(SPLIT))]
    if empty:
        msg = f"backtest {declared.name}: of {month:%Y-%m}, {' and '.join(empty)} have no rows; materialize more days"
        raise ModelError(msg)
    run.say(
        f"the fold of {month:%Y-%m}: {', '.join(f'{part} {(rows[SPLIT] == part).sum():,}' for part in _PARTS)} rows"
    )
    fitted = fit(model, rows.lazy(), run=run)
    asked, learned = fitted.parts["report"], pl.concat([fitted.parts["fit"], fitted.parts["select"]])
    scores = {model.name: fitted.classifier.score(asked), **said_by_baselines(model, learned, asked, run=run)}
    cutoff = declared.partitions.start_of(month)
    figures = pl.DataFrame(
        [
            {
                "predictor": name,
                "cutoff": cutoff,
                **{f"{part}_rows": len(fitted.parts[part]) for part in _PARTS},
                **_measured(model, fitted, score),
                "trees": fitted.classifier.booster.num_trees() if name == model.name else None,
                "digest": fitted.classifier.digest if name == model.name else None,
            }
            for name, score in scores.items()
        ],
        schema={column.name: column.dtype for column in declared.columns},
    )
    return Fold(month=month, rows=rows, fitted=fitted, figures=figures)


def divide_fold(declared: Backtest, inputs: Inputs, month: date, *, run: Run) -> pl.DataFrame:
    """The rows of one month's fold, each in a part; of what came after the month nothing is read."""
    calendar, dataset = declared.partitions, declared.model.training
    own = calendar.month_of(month)
    days = Days(dataset.view.partitions.first, own.last)
    labelled = label_rows(dataset, inputs, days, now=run.now)
    cutoff = calendar.start_of(month)
    return (
        split_by_time(
            labelled.lazy().filter(pl.col(dataset.label.value).is_not_null()),
            at=PREDICTION_TIME,
            matured=MATURED,
            select_from=cutoff - declared.select,
            report_from=cutoff,
            report_until=calendar.start_of(own.last + timedelta(days=1)),
            gap=dataset.split.gap,
            split=SPLIT,
        )
        .sort(PREDICTION_TIME, *dataset.label.keys)
        .collect()
    )


def _at_start(model: Model) -> Model:
    """The model with the settings that are declared; what was chosen later knows what came."""
    tuning = model.learner.tuning
    return model if tuning is None else replace(model, learner=model.learner.with_settings(tuning.start))


def _measured(model: Model, fitted: FittedModel, scores: npt.NDArray[np.float64]) -> dict[str, float | None]:
    truth = fitted.truth["report"]
    found, bounds = performance(truth, scores), bounds_on_report(model, fitted, scores)
    ends = {
        f"{figure}_{end}": getattr(bounds[figure], end) if figure in bounds else None
        for figure in ("auc", "log_loss")
        for end in ("low", "high")
    }
    return {
        "base_rate": found.base_rate,
        "auc": found.auc,
        "log_loss": found.log_loss,
        "brier": found.brier,
        "calibration_error": calibration_error(truth, scores),
        **ends,
    }


def _with_others(platform: Platform, catalogue: Catalogue, declared: Backtest, fold: Fold) -> pl.DataFrame:
    """The figures of all months that there are, with this fold's in place of what was there of it."""
    folder = table_folder(catalogue.name, declared.name)
    version = platform.lake.version(folder)
    if version is None:
        return fold.figures
    held = platform.lake.scan(folder, version=version).filter(pl.col(DAY) != fold.month).collect()
    known = [name for name in fold.figures.columns if name in held.columns]
    if len(known) < fold.figures.width:
        return fold.figures  # they are of another shape, and will be made again
    return pl.concat([held.select(known), fold.figures]).sort("cutoff", maintain_order=True)


def _beats_baselines(declared: Backtest, table: pl.DataFrame) -> CheckResult:
    """Whether the model is better than every average in AUC and in log loss, in every month there is."""
    behind, name = [], declared.model.name
    for (cutoff,), part in table.group_by("cutoff", maintain_order=True):
        month = part.select(declared.partitions.day_of(pl.lit(cutoff).cast(table.schema["cutoff"]))).item()
        own = part.row(by_predicate=pl.col("predictor") == name, named=True)
        others = part.filter(pl.col("predictor") != name)
        best_auc = max((auc if auc is not None else 0.5 for auc in others["auc"]), default=0.0)
        if (own["auc"] or 0.0) <= best_auc or own["log_loss"] >= others["log_loss"].min():
            behind.append(f"{month:%Y-%m}")
    count = table["cutoff"].n_unique()
    said = f"Better than every baseline in {count - len(behind)} of {count} months."
    if behind:
        said = f"{said} Not in {', '.join(behind)}."
    return CheckResult(
        name=BEATS_BASELINES,
        passed=not behind,
        blocking=False,
        description=said,
        facts={"months": count, "months behind a baseline": len(behind)},
    )


def _fold_run(catalogue: Catalogue, declared: Backtest, fold: Fold, inputs: Inputs, run: Run) -> FoldRun:
    rows = list(fold.figures.iter_rows(named=True))
    model = next(row for row in rows if row["predictor"] == declared.model.name)
    learner = _at_start(declared.model).learner
    ends = [f"{figure}_{end}" for figure in ("auc", "log_loss") for end in ("low", "high")]
    metrics = {name: model[name] for name in (*_FIGURES, *ends) if model[name] is not None}
    baselines = metric_names(row["predictor"] for row in rows if row is not model)
    metrics |= {
        f"baseline_{baselines[row['predictor']]}_{figure}": row[figure]
        for row in rows
        if row is not model
        for figure in ("auc", "log_loss")
        if row[figure] is not None
    }
    return FoldRun(
        month=fold.month,
        description=declared.description,
        digest=model["digest"],
        metrics=metrics,
        parameters={
            **learner.parameters,
            "rounds": learner.rounds,
            "seed": learner.seed,
            "trees": model["trees"],
            **{f"{part}_rows": model[f"{part}_rows"] for part in _PARTS},
        },
        tags={
            "dagster.run_id": run.run_id,
            "dagster.asset": asset_name(catalogue.name, declared.name),
            "fingerprint": catalogue.fingerprints[declared.name],
            **{f"version of {name}": str(version) for name, version in inputs.versions.items()},
        },
    )
