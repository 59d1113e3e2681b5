"""The training pipeline: view and labels to a training dataset, that to a registered model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from platform_assets.compute.comparison import calibration_error
from platform_assets.compute.metrics import Averages, Performance, performance
from platform_assets.compute.preparation import Preparation
from platform_assets.compute.splits import split_by_time
from platform_assets.compute.uncertainty import Bounds, uncertainty
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import LightGBM, Model
from platform_assets.declarations.names import DAY, asset_name
from platform_assets.declarations.views import PREDICTION_TIME, SPLIT, TrainingDataset
from platform_assets.errors import ModelError
from platform_assets.lake import ledger
from platform_assets.pipelines.checks import BEATS_BASELINES, SPLITS_FILLED
from platform_assets.pipelines.environment import environment
from platform_assets.pipelines.leaks import not_too_good, splits_apart
from platform_assets.pipelines.manifest import manifest
from platform_assets.pipelines.plots import picture_of_model
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run, enter

if TYPE_CHECKING:
    import lightgbm
    import numpy.typing as npt

CONFIDENCE = 0.95
DRAWS = 400
_MATURED = "__matured"
_LABEL_DAY = "__label_day"


@dataclass(frozen=True, kw_only=True)
class DividedRows:
    """The rows of a training dataset before they are published, with what was found on the way."""

    rows: pl.DataFrame
    checks: tuple[CheckResult, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """A model before it is registered.

    Attributes:
        booster: the trees.
        preparation: what was fitted before them.
        parts: the rows of the training dataset by part.
        truth: their outcomes, 0 or 1.
        learned: how many rows it has learned from.
        chosen: how good the one that stopped on *select* was there.
    """

    booster: lightgbm.Booster
    preparation: Preparation
    parts: Mapping[str, pl.DataFrame]
    truth: Mapping[str, npt.NDArray[np.float64]]
    learned: int
    chosen: Performance

    @property
    def digest(self) -> str:
        """One hash over the trees and the settings they were grown with."""
        import hashlib

        return hashlib.blake2b(self.booster.model_to_string().encode(), digest_size=16).hexdigest()


def build_training_dataset(
    platform: Platform, catalogue: Catalogue, dataset: TrainingDataset, run: Run
) -> Materialization:
    """Join matured labels to the feature view and divide the rows by time.

    Rows whose label is neither positive nor negative, or has not come yet, are left out and counted.
    """
    inputs = Inputs.pin(platform, catalogue, dataset, None)
    found = divide_labelled(dataset, inputs, now=run.now)
    return publish(platform, catalogue, dataset, found.rows, None, run, inputs, checks=found.checks, facts=found.facts)


def divide_labelled(dataset: TrainingDataset, inputs: Inputs, *, now: datetime) -> DividedRows:
    """Compute the rows of a training dataset from the pinned versions of its inputs; it writes nothing.

    Args:
        dataset: what is declared.
        inputs: the versions of its view and label.
        now: labels that were not known at this instant (UTC) have not come yet.
    """
    calendar, split, label = dataset.view.partitions, dataset.split, dataset.label
    days = dataset.days
    labels = (
        inputs.scan(label.name, days=days)
        .select(*label.keys, label.value, label.known_at.expr().alias(_MATURED))
        .filter(pl.col(_MATURED) <= now)
    )
    asked = inputs.scan(dataset.view.name, days=days).drop(DAY)
    labelled = asked.join(labels, on=list(label.keys), how="left", maintain_order="left").collect()
    divided = (
        split_by_time(
            labelled.lazy().filter(pl.col(label.value).is_not_null()),
            at=PREDICTION_TIME,
            matured=_MATURED,
            select_from=calendar.start_of(split.select_from),
            report_from=calendar.start_of(split.report_from),
            report_until=calendar.start_of(split.report_until + timedelta(days=1)),
            gap=split.gap,
            split=SPLIT,
        )
        .sort(PREDICTION_TIME, *label.keys)
        .collect()
    )
    leaks = [splits_apart(dataset, divided, _MATURED), not_too_good(dataset, divided)]
    rows = divided.drop(_MATURED)
    counts = dict(rows.group_by(SPLIT).len().iter_rows())
    positives = dict(rows.group_by(SPLIT).agg(pl.col(label.value).mean()).iter_rows())
    undecided = labelled.select((pl.col(label.value).is_null() & pl.col(_MATURED).is_not_null()).sum()).item()
    immature = labelled.get_column(_MATURED).is_null().sum()
    empty = [part for part in ("fit", "select", "report") if not counts.get(part)]
    check = CheckResult(
        name=SPLITS_FILLED,
        passed=not empty,
        blocking=True,
        description=f"{', '.join(empty)} hold no rows; are the days of the split materialized?"
        if empty
        else ", ".join(f"{part} {counts[part]:,}" for part in ("fit", "select", "report")) + " rows.",
        facts={f"{part} rows": counts.get(part, 0) for part in ("fit", "select", "report")},
    )
    facts = {
        "features as known": dataset.view.known,
        **{f"{part} rows": counts.get(part, 0) for part in ("fit", "select", "report")},
        **{f"{part} positives": positives.get(part, 0.0) for part in ("fit", "select", "report")},
        "left out: neither positive nor negative": undecided,
        "left out: label not in yet": immature,
        "left out: gap between the parts": len(labelled) - len(rows) - undecided - immature,
    }
    return DividedRows(rows=rows, checks=(check, *leaks), facts=facts)


def train(platform: Platform, catalogue: Catalogue, model: Model, run: Run) -> Materialization:
    """Fit on *fit*, stop early on *select*, measure on *report*, log to MLflow and register.

    Where no promotion chooses the champion, the alias `champion` moves to the new version when it beats every
    declared baseline on *report*.

    Raises:
        ModelError: when the training dataset has no rows to learn from or to be judged by.
    """
    inputs = Inputs.pin(platform, catalogue, model, None)
    fitted = fit(model, inputs.scan(model.training.name), run=run)
    booster, preparation, parts, truth = fitted.booster, fitted.preparation, fitted.parts, fitted.truth
    scores = np.asarray(booster.predict(preparation.encode(parts["report"])))
    measured = {"select": fitted.chosen, "report": performance(truth["report"], scores)}
    bounds = _bounds_on_report(model, fitted, scores)
    error = calibration_error(truth["report"], scores)
    baselines = _baselines(model, parts, truth)
    check = _beats_baselines(measured["report"], baselines)
    asset = asset_name(catalogue.name, model.name)
    until = parts["select"].get_column(PREDICTION_TIME).max()
    tags = {
        "dagster.run_id": run.run_id,
        "dagster.asset": asset,
        "learned_until": str(until),
        "fingerprint": catalogue.fingerprints[model.name],
        "training_dataset": asset_name(catalogue.name, model.training.name),
        "training_dataset_version": str(inputs.versions[model.training.name]),
        **environment(),
    }
    picture = picture_of_model(truth["report"], scores, _gains(booster, preparation))
    metrics = {f"{part}_{name}": v for part, found in measured.items() for name, v in found.to_dict().items()}
    metrics["report_calibration_error"] = error
    metrics |= {f"report_{name}_{end}": v for name, b in bounds.items() for end, v in asdict(b).items()}
    metrics |= {f"baseline_{name.replace(' ', '_')}_auc": found.auc or 0.5 for name, found in baselines.items()}
    with platform.registry.run(catalogue.name, name=model.name, tags=tags, description=model.description) as run_id:
        run.say("logging to MLflow")
        logged = platform.registry.log(
            run_id,
            catalogue=catalogue.name,
            name=model.name,
            booster=booster,
            preparation=preparation,
            example=parts["report"].head(5),
            metrics=metrics,
            pictures={"report": picture},
            tags=tags,
            parameters={
                **model.learner.parameters,
                "rounds": model.learner.rounds,
                "early_stopping": model.learner.early_stopping,
                "refit": model.learner.refit,
                "seed": model.learner.seed,
                "trees": booster.num_trees(),
            },
            documents={
                "manifest.json": json.dumps(_manifest(platform, catalogue, model, inputs), indent=2),
                "preparation.json": json.dumps(preparation.to_dict(), indent=2),
            },
        )
    is_champion = check.passed and catalogue.promotion_of(model.name) is None
    if is_champion:
        platform.registry.crown(catalogue.name, model.name, logged.version)
    facts = {
        "is champion": is_champion,
        "MLflow run": logged.run_id,
        "trees": booster.num_trees(),
        "inputs": len(model.inputs),
        "AUC on report": measured["report"].auc,
        "log loss on report": measured["report"].log_loss,
        "calibration error on report": error,
        **{
            f"{said} on report, 95% interval": f"{bounds[name].low:.4f} to {bounds[name].high:.4f}"
            for name, said in (("auc", "AUC"), ("log_loss", "log loss"))
            if name in bounds
        },
        "AUC on select": measured["select"].auc,
        **{f"AUC of {name}": found.auc for name, found in baselines.items()},
    }
    made = Materialization(
        declaration=model,
        days=None,
        version=logged.version,
        uri=logged.uri,
        rows={None: fitted.learned},
        hashes={},
        digest=fitted.digest,
        is_new=True,
        inputs=inputs.versions,
        preview=_gains(booster, preparation).head(10),
        checks=[check],
        facts=facts,
        pictures={"report": picture},
    )
    return enter(platform, catalogue, made, run)


def fit(model: Model, dataset: pl.LazyFrame, *, run: Run, threads: int | None = None) -> FittedModel:
    """Fit on *fit* and stop early on *select*; it registers nothing.

    Args:
        model: what is declared.
        dataset: the rows of its training dataset.
        run: where progress is said.
        threads: how many LightGBM uses; None for as many as the machine has.

    Raises:
        ModelError: when the training dataset has no rows to learn from or to be judged by.
    """
    label = model.training.label.value
    spine = [c for columns in model.baselines.values() for c in columns]
    wanted = list(dict.fromkeys([*model.inputs, *spine, label, SPLIT, PREDICTION_TIME]))
    rows = dataset.select(wanted).collect()
    parts = {str(key[0]): part for key, part in rows.group_by(SPLIT, maintain_order=True)}
    for part in ("fit", "select", "report"):
        if part not in parts:
            msg = (
                f"model {model.name}: its training dataset has no {part} rows; materialize more days or move the split"
            )
            raise ModelError(msg)
    truth = {part: frame.get_column(label).cast(pl.Float64).to_numpy() for part, frame in parts.items()}
    preparation = Preparation.fit(parts["fit"], inputs=model.inputs, categories=model.categories)
    run.say(f"fitting on {len(parts['fit']):,} rows of {len(model.inputs)} inputs")
    booster = fit_lightgbm(
        model.learner,
        preparation,
        parts["fit"],
        truth["fit"],
        (parts["select"], truth["select"]),
        run=run,
        threads=threads,
    )
    chosen = performance(truth["select"], booster.predict(preparation.encode(parts["select"])))
    learned = parts["fit"]
    if model.learner.refit:
        learned = pl.concat([parts["fit"], parts["select"]])
        trees = booster.best_iteration if booster.best_iteration > 0 else booster.num_trees()
        run.say(f"fitting {trees} trees anew on {len(learned):,} rows")
        preparation = Preparation.fit(learned, inputs=model.inputs, categories=model.categories)
        booster = fit_lightgbm(
            replace(model.learner, rounds=trees),
            preparation,
            learned,
            np.concatenate([truth["fit"], truth["select"]]),
            None,
            run=run,
            threads=threads,
        )
    return FittedModel(
        booster=booster, preparation=preparation, parts=parts, truth=truth, learned=len(learned), chosen=chosen
    )


def fit_lightgbm(
    learner: LightGBM,
    preparation: Preparation,
    rows: pl.DataFrame,
    truth: npt.NDArray[np.float64],
    held: tuple[pl.DataFrame, npt.NDArray[np.float64]] | None,
    *,
    run: Run,
    threads: int | None = None,
) -> lightgbm.Booster:
    """Grow the trees: the same bits for the same rows, settings and machine.

    Args:
        learner: the declared settings.
        preparation: fitted on `rows`.
        rows: what to learn from.
        truth: its outcomes, 0 or 1.
        held: rows and outcomes that decide when to stop; None to grow `learner.rounds` trees.
        run: where progress is said.
        threads: how many are used; None for as many as the machine has.
    """
    import lightgbm

    settings = {
        **learner.parameters,
        "objective": "binary",
        "metric": "binary_logloss",
        "verbosity": -1,
        "seed": learner.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads or os.cpu_count() or 1,
    }
    names = list(preparation.inputs)
    categories = [name for name in names if name in preparation.levels]
    learned = lightgbm.Dataset(
        preparation.encode(rows), truth, feature_name=names, categorical_feature=categories, params=settings
    )
    callbacks = [_progress(run, learner.rounds)]
    judged = []
    if held is not None:
        judged = [lightgbm.Dataset(preparation.encode(held[0]), held[1], reference=learned)]
        if learner.early_stopping is not None:
            callbacks.append(lightgbm.early_stopping(learner.early_stopping, verbose=False))
    return lightgbm.train(
        settings,
        learned,
        num_boost_round=learner.rounds,
        valid_sets=judged,
        valid_names=["select"] * len(judged),
        callbacks=callbacks,
    )


def _progress(run: Run, rounds: int, every: int = 20):  # type: ignore[no-untyped-def] # noqa: ANN202 - LightGBM's own type
    def say(env: lightgbm.callback.CallbackEnv) -> None:
        done = env.iteration + 1
        if done % every == 0:
            losses = [f", log loss {value:.4f} on {name}" for name, _, value, *_ in env.evaluation_result_list or []]
            run.say(f"tree {done} of at most {rounds}{''.join(losses)}")

    return say


def _baselines(
    model: Model, parts: Mapping[str, pl.DataFrame], truth: Mapping[str, npt.NDArray[np.float64]]
) -> dict[str, Performance]:
    label = model.training.label.value
    learned = pl.concat([parts["fit"], parts["select"]])
    declared = {"the base rate": (), **{name: tuple(columns) for name, columns in model.baselines.items()}}
    return {
        name: performance(truth["report"], Averages.fit(learned, by=by, label=label).predict(parts["report"]))
        for name, by in declared.items()
    }


def _bounds_on_report(model: Model, fitted: FittedModel, scores: npt.NDArray[np.float64]) -> dict[str, Bounds]:
    """The intervals that can be told, by figure; none where *report* is a single day."""
    day = model.training.view.partitions.day_of(pl.col(PREDICTION_TIME))
    days = fitted.parts["report"].select(day.to_physical().alias(DAY)).get_column(DAY).to_numpy()
    found = uncertainty(
        fitted.truth["report"], scores, days, confidence=CONFIDENCE, draws=DRAWS, seed=model.learner.seed
    )
    if found is None:
        return {}
    return {"log_loss": found.log_loss} | ({"auc": found.auc} if found.auc else {})


def _beats_baselines(found: Performance, baselines: Mapping[str, Performance]) -> CheckResult:
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


def _gains(booster: lightgbm.Booster, preparation: Preparation) -> pl.DataFrame:
    gains = booster.feature_importance("gain")
    total = float(gains.sum()) or 1.0
    return pl.DataFrame({"input": preparation.inputs, "share of gain": gains / total}).sort(
        "share of gain", descending=True
    )


def _manifest(platform: Platform, catalogue: Catalogue, model: Model, inputs: Inputs) -> dict[str, object]:
    """What the model was made of, down to the versions of the sources."""
    dataset, version = model.training, inputs.versions[model.training.name]
    entries = ledger.read(platform.lake)
    made = entries.latest(asset_name(catalogue.name, dataset.name), until=version)[None]
    behind = manifest(entries, catalogue, dataset.name, version)
    return {
        "model": asset_name(catalogue.name, model.name),
        "fingerprint": catalogue.fingerprints[model.name],
        "training_dataset": {
            "table": asset_name(catalogue.name, dataset.name),
            "version": version,
            "content_hash": made.content_hash,
            "fingerprint": made.fingerprint,
            "run": made.run_id,
            "rows": made.rows,
            "features_as_known": dataset.view.known,
            "inputs": dict(made.inputs),
        },
        "behind_it": {
            asset_name(catalogue.name, name): asdict(made_of)
            for name, made_of in behind.items()
            if name != dataset.name
        },
    }
