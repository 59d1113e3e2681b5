"""The second half of the training pipeline: a training dataset to a registered model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import asset_name, table_folder
from platform_assets.declarations.views import PREDICTION_TIME
from platform_assets.lake import ledger
from platform_assets.pipelines.environment import environment
from platform_assets.pipelines.manifest import manifest
from platform_assets.pipelines.run import Inputs, Materialization, Platform, Run, enter
from platform_assets.pipelines.training.baselines import CANDIDATES, compare_baselines
from platform_assets.pipelines.training.card import model_card, with_origin_and_picture
from platform_assets.pipelines.training.costs import (
    calibration_metrics,
    cost_facts,
    cost_metrics,
    costs_on_report,
    settings_after_the_trees,
)
from platform_assets.pipelines.training.evidence import beats_baselines, explain, importance, measure
from platform_assets.pipelines.training.fitting import fit
from platform_assets.pipelines.training.logged import documents, learning_curves, metrics, pictures, tables
from platform_assets.pipelines.training.tuning import tune
from platform_assets.registry.evidence import Evidence, TableUsed


def train(platform: Platform, catalogue: Catalogue, model: Model, run: Run) -> Materialization:
    """Choose what is left open of the settings, fit on *fit*, stop and calibrate on *select*, measure on *report*, register.

    Where no promotion chooses the champion, the alias `champion` moves to the new version when it beats every
    declared baseline on *report*.

    Raises:
        ModelError: when the training dataset has no rows to learn from or to be judged by.
    """
    inputs = Inputs.pin(platform, catalogue, model, None)
    promotion = catalogue.promotion_of(model.name)
    columns = model.training.view.schema.columns()
    beside = () if promotion is None else tuple(name for name in promotion.slices if name in columns)
    rows = inputs.scan(model.training.name)
    tuned = tune(platform, catalogue, model, rows, run=run)
    fitted = fit(replace(model, learner=tuned.learner), rows, run=run, beside=beside)
    classifier, parts = fitted.classifier, fitted.parts
    run.say("measuring")
    said = classifier.predict(parts["report"])
    compared = compare_baselines(model, fitted, said.probability, run=run)
    measured = measure(
        model,
        fitted,
        said.probability,
        baselines=compared.on_report,
        promotion=promotion,
        threshold=classifier.threshold,
    )
    costs = costs_on_report(model, fitted, said.probability)
    honesty = calibration_metrics(fitted, said)
    explained = explain(model, fitted)
    check = beats_baselines(measured.report, measured.baselines)
    asset = asset_name(catalogue.name, model.name)
    tags = {
        "dagster.run_id": run.run_id,
        "dagster.asset": asset,
        "learned_until": str(parts["select"].get_column(PREDICTION_TIME).max()),
        "fingerprint": catalogue.fingerprints[model.name],
        "content_hash": classifier.digest,
        "training_dataset": asset_name(catalogue.name, model.training.name),
        "training_dataset_version": str(inputs.versions[model.training.name]),
        **environment(model),
    }
    drawn = {}
    if run.draws:
        run.say("drawing")
        drawn = {**pictures(model, fitted, measured, explained), **tuned.pictures}
    made_of = _manifest(platform, catalogue, model, inputs)
    card = model_card(catalogue, model, fitted, measured, run=run)
    evidence = Evidence(
        logged_at=run.now,
        metrics={**metrics(measured), **cost_metrics(costs), **honesty, **tuned.metrics},
        curves=learning_curves(fitted),
        pictures=drawn,
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
            **documents(fitted, measured, explained, manifest=made_of, environment=environment(model)),
            **tuned.documents,
            CANDIDATES: compared.table.write_csv(),
            "model_card.md": with_origin_and_picture(card, asset, made_of, drawn.get("calibration")),
        },
        tables=_tables_used(platform, model, made_of),
        card=card,
    )
    with platform.registry.run(catalogue.name, name=model.name, tags=tags, description=card) as run_id:
        run.say("logging to MLflow")
        logged = platform.registry.log(
            run_id,
            catalogue=catalogue.name,
            name=model.name,
            classifier=classifier,
            example=parts["report"].head(5),
            evidence=evidence,
            tags=tags,
        )
    is_champion = check.passed and promotion is None
    if is_champion:
        platform.registry.crown(catalogue.name, model.name, logged.version)
    facts = {
        "is champion": is_champion,
        "MLflow run": logged.run_id,
        "trees": classifier.booster.num_trees(),
        "inputs": len(model.inputs),
        "AUC on report": measured.report.auc,
        "log loss on report": measured.report.log_loss,
        "calibration error on report": measured.calibration_error,
        **{name.replace("_", " ").replace("report ", "on report, "): value for name, value in honesty.items()},
        **cost_facts(model, costs),
        **{
            f"{said} on report, 95% interval": f"{measured.bounds[name].low:.4f} to {measured.bounds[name].high:.4f}"
            for name, said in (("auc", "AUC"), ("log_loss", "log loss"))
            if name in measured.bounds
        },
        "AUC on select": measured.parts["select"].auc,
        **{f"AUC of {name}": found.auc for name, found in measured.baselines.items()},
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
        preview=importance(classifier, explained).head(10),
        checks=[check],
        facts=facts,
        pictures=drawn,
        tables={"candidates": compared.table, **tables(measured)},
        card=card,
    )
    return enter(platform, catalogue, made, run)


def _tables_used(platform: Platform, model: Model, made_of: Mapping[str, Any]) -> list[TableUsed]:
    """The training dataset, told by its content, and the tables behind it, told by their versions."""
    dataset = made_of["training_dataset"]

    def uri(asset: str) -> str:
        return str(platform.lake.path(table_folder(*asset.split("/"))))

    training = TableUsed(
        name=dataset["table"],
        version=dataset["version"],
        digest=dataset["content_hash"],
        uri=uri(dataset["table"]),
        role="training",
        columns={column.name: str(column.dtype) for column in model.training.columns},
        rows=dataset["rows"],
        tags={"fingerprint": dataset["fingerprint"]},
    )
    behind = [
        TableUsed(
            name=asset,
            version=made["version"],
            digest=f"version {made['version']}",
            uri=uri(asset),
            role="behind it",
            tags={"fingerprint": ", ".join(made["fingerprints"])},
        )
        for asset, made in made_of["behind_it"].items()
    ]
    return [training, *behind]


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
