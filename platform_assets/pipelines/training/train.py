"""The second half of the training pipeline: a training dataset to a registered model."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from platform_assets.compute.comparison import calibration_error
from platform_assets.compute.metrics import performance
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import asset_name
from platform_assets.declarations.views import PREDICTION_TIME
from platform_assets.lake import ledger
from platform_assets.pipelines.environment import environment
from platform_assets.pipelines.manifest import manifest
from platform_assets.pipelines.plots import picture_of_model
from platform_assets.pipelines.run import Inputs, Materialization, Platform, Run, enter
from platform_assets.pipelines.training.baselines import compare_baselines
from platform_assets.pipelines.training.costs import (
    calibration_metrics,
    cost_facts,
    cost_metrics,
    costs_on_report,
    settings_after_the_trees,
)
from platform_assets.pipelines.training.evidence import beats_baselines, bounds_on_report, gains
from platform_assets.pipelines.training.fitting import fit
from platform_assets.pipelines.training.tuning import tune


def train(platform: Platform, catalogue: Catalogue, model: Model, run: Run) -> Materialization:
    """Choose what is left open of the settings, fit on *fit*, stop and calibrate on *select*, measure on *report*, log, register.

    Where no promotion chooses the champion, the alias `champion` moves to the new version when it beats every
    declared baseline on *report*.

    Raises:
        ModelError: when the training dataset has no rows to learn from or to be judged by.
    """
    inputs = Inputs.pin(platform, catalogue, model, None)
    rows = inputs.scan(model.training.name)
    tuned = tune(platform, catalogue, model, rows, run=run)
    fitted = fit(replace(model, learner=tuned.learner), rows, run=run)
    classifier, parts, truth = fitted.classifier, fitted.parts, fitted.truth
    said = classifier.predict(parts["report"])
    scores = said.probability
    measured = {"select": fitted.chosen, "report": performance(truth["report"], scores)}
    bounds = bounds_on_report(model, fitted, scores)
    error = calibration_error(truth["report"], scores)
    costs = costs_on_report(model, fitted, scores)
    compared = compare_baselines(model, fitted, scores, run=run)
    baselines = compared.on_report
    check = beats_baselines(measured["report"], baselines)
    asset = asset_name(catalogue.name, model.name)
    until = parts["select"].get_column(PREDICTION_TIME).max()
    tags = {
        "dagster.run_id": run.run_id,
        "dagster.asset": asset,
        "learned_until": str(until),
        "fingerprint": catalogue.fingerprints[model.name],
        "training_dataset": asset_name(catalogue.name, model.training.name),
        "training_dataset_version": str(inputs.versions[model.training.name]),
        **environment(model),
    }
    picture = picture_of_model(truth["report"], scores, gains(classifier))
    metrics = {f"{part}_{name}": v for part, found in measured.items() for name, v in found.to_dict().items()}
    metrics["report_calibration_error"] = error
    metrics |= cost_metrics(costs)
    honesty = calibration_metrics(fitted, said)
    metrics |= honesty
    metrics |= {f"report_{name}_{end}": v for name, b in bounds.items() for end, v in asdict(b).items()}
    metrics |= {f"baseline_{name.replace(' ', '_')}_auc": found.auc or 0.5 for name, found in baselines.items()}
    metrics |= tuned.metrics
    pictures = {"report": picture, **tuned.pictures}
    with platform.registry.run(catalogue.name, name=model.name, tags=tags, description=model.description) as run_id:
        run.say("logging to MLflow")
        logged = platform.registry.log(
            run_id,
            catalogue=catalogue.name,
            name=model.name,
            classifier=classifier,
            example=parts["report"].head(5),
            metrics=metrics,
            pictures=pictures,
            tags=tags,
            parameters={
                **tuned.learner.parameters,
                "rounds": tuned.learner.rounds,
                "early_stopping": tuned.learner.early_stopping,
                "refit": tuned.learner.refit,
                "seed": tuned.learner.seed,
                "trees": classifier.booster.num_trees(),
                **settings_after_the_trees(model),
            },
            documents={
                "candidates.csv": compared.table.write_csv(),
                "manifest.json": json.dumps(_manifest(platform, catalogue, model, inputs), indent=2),
                "preparation.json": json.dumps(classifier.preparation.to_dict(), indent=2),
                **tuned.documents,
            },
        )
    is_champion = check.passed and catalogue.promotion_of(model.name) is None
    if is_champion:
        platform.registry.crown(catalogue.name, model.name, logged.version)
    facts = {
        "is champion": is_champion,
        "MLflow run": logged.run_id,
        "trees": classifier.booster.num_trees(),
        "inputs": len(model.inputs),
        "AUC on report": measured["report"].auc,
        "log loss on report": measured["report"].log_loss,
        "calibration error on report": error,
        **{name.replace("_", " ").replace("report ", "on report, "): value for name, value in honesty.items()},
        **cost_facts(model, costs),
        **{
            f"{said} on report, 95% interval": f"{bounds[name].low:.4f} to {bounds[name].high:.4f}"
            for name, said in (("auc", "AUC"), ("log_loss", "log loss"))
            if name in bounds
        },
        "AUC on select": measured["select"].auc,
        **{f"AUC of {name}": found.auc for name, found in baselines.items()},
        **tuned.facts,
    }
    made = Materialization(
        declaration=model,
        days=None,
        version=logged.version,
        uri=logged.uri,
        rows={None: fitted.learned},
        hashes={},
        digest=classifier.digest,
        is_new=True,
        inputs=inputs.versions,
        preview=gains(classifier).head(10),
        checks=[check],
        facts=facts,
        pictures=pictures,
    )
    return enter(platform, catalogue, made, run)


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
