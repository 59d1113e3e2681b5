"""What is logged of a model: all of it, right, and there before the version is."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from platform_assets.compute.metrics import performance
from platform_assets.declarations.names import table_folder
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Inputs, Materialization, Platform
from platform_assets.pipelines.training import evidence, logged
from platform_assets.pipelines.training.baselines import compare_baselines
from platform_assets.pipelines.training.card import limits, model_card
from platform_assets.pipelines.training.fitting import FIT_EVERY, FittedModel, fit, fit_lightgbm
from platform_assets.registry.evidence import Evidence, TableUsed, log_evidence, metric_names
from platform_assets_tests import faults, shop
from platform_assets_tests.faults import Stop

MODEL = shop.PROMOTING["return_model"]
PICTURES = {"ROC", "precision and recall", "calibration", "confusion", "slices", "learning curve", "gain", "SHAP"}
DOCUMENTS = {
    "candidates.csv",
    "manifest.json",
    "preparation.json",
    "environment.json",
    "example_rows.json",
    "calibration.csv",
    "importance.csv",
    "slices.csv",
    "roc.csv",
    "precision_recall.csv",
    "model_card.md",
}


@pytest.fixture(scope="module")
def there(finished_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return faults.copy(shop.platform(finished_shop), tmp_path_factory.mktemp("evidence") / "shop")


@pytest.fixture(scope="module")
def made(there: Platform) -> Materialization:
    return materialize(there, shop.PROMOTING, "return_model", shop.run(draws=True))


@pytest.fixture(scope="module")
def report(there: Platform) -> pl.DataFrame:
    found = there.lake.scan(table_folder("shop", "returns_dataset")).collect()
    return found.filter(pl.col("split") == "report")


def files(there: Platform, run_id: str, folder: str | None = None) -> set[str]:
    return {file.path for file in there.registry.client.list_artifacts(run_id, folder)}


def read(there: Platform, made: Materialization, name: str) -> str:
    return Path(there.registry.client.download_artifacts(made.facts["MLflow run"], name)).read_text()


def truth_of(rows: pl.DataFrame) -> np.ndarray:
    return rows["returned"].cast(pl.Float64).to_numpy()


def test_everything_is_there(there: Platform, made: Materialization) -> None:
    run_id = made.facts["MLflow run"]
    assert files(there, run_id) == {*DOCUMENTS, "plots"}
    assert files(there, run_id, "plots") == {f"plots/{title.replace(' ', '_')}.png" for title in PICTURES}
    assert set(made.pictures) == PICTURES
    assert there.registry.client.get_run(run_id).info.status == "FINISHED"


def test_the_pictures_are_small_legible_and_those_that_were_logged(there: Platform, made: Materialization) -> None:
    for title, png in made.pictures.items():
        image = Image.open(io.BytesIO(png))
        assert image.format == "PNG"
        assert image.width in (616, 880), title
        assert 200 < image.height < 700, title
        assert len(png) * 4 / 3 < 60_000, title
        path = f"plots/{title.replace(' ', '_')}.png"
        run_id = made.facts["MLflow run"]
        assert Path(there.registry.client.download_artifacts(run_id, path)).read_bytes() == png
    assert sum(map(len, made.pictures.values())) * 4 / 3 < 400_000
    assert len(set(made.pictures.values())) == len(PICTURES)


def test_slices_are_those_of_the_promotion_and_sum_up(
    there: Platform, made: Materialization, report: pl.DataFrame
) -> None:
    scores = there.registry.load("shop", "return_model", made.version).score(report)
    metrics = there.registry.metrics("shop", "return_model", made.version)
    rows = list(csv.DictReader(io.StringIO(read(there, made, "slices.csv"))))
    assert {row["column"] for row in rows} == {"category", "month"}
    for column in ("category", "month"):
        assert sum(int(row["rows"]) for row in rows if row["column"] == column) == len(report)
    for category in report["category"].unique():
        where = (report["category"] == category).to_numpy()
        found = performance(truth_of(report)[where], scores[where])
        told = next(row for row in rows if row["slice"] == category)
        assert float(told["auc"]) == pytest.approx(found.auc)
        name = f"slices/category.{category}.log_loss"
        few = where.sum() < shop.return_promotion.slice_rows
        assert metrics.get(name) == (None if few else pytest.approx(found.log_loss))
    assert any(name.startswith("slices/") for name in metrics)


def test_the_figures_by_part_are_those_of_the_loaded_model(there: Platform, made: Materialization) -> None:
    rows = there.lake.scan(table_folder("shop", "returns_dataset")).collect().filter(pl.col("split") == "fit")
    scores = there.registry.load("shop", "return_model", made.version).score(rows)
    metrics = there.registry.metrics("shop", "return_model", made.version)
    assert metrics["fit_auc"] == pytest.approx(performance(truth_of(rows), scores).auc)
    assert metrics["fit_rows"] == len(rows)


def test_the_learning_curve_is_told_by_trees(there: Platform, made: Materialization) -> None:
    client, run_id = there.registry.client, made.facts["MLflow run"]
    fitted = fitted_on(there)
    for part in ("fit", "select"):
        steps = client.get_metric_history(run_id, f"learning/{part}_log_loss")
        assert {m.step: m.value for m in steps} == fitted.learning[part]
        assert len(steps) == len(fitted.learning[part])
        assert steps[0].timestamp > 0
    losses = fitted.learning["select"]
    assert list(losses) == list(range(1, len(losses) + 1))
    assert losses[fitted.kept_trees] == pytest.approx(fitted.chosen.log_loss)
    assert min(losses.values()) == losses[fitted.kept_trees]


@pytest.mark.parametrize("early_stopping", [5, None])
def test_the_learning_curve_is_what_so_many_trees_say_and_changes_none(
    there: Platform, early_stopping: int | None
) -> None:
    learner = replace(MODEL.learner, early_stopping=early_stopping, refit=False)
    rows = Inputs.pin(there, shop.PROMOTING, MODEL, None).scan("returns_dataset")
    fitted = fit(replace(MODEL, learner=learner), rows, run=shop.run())
    booster, encode = fitted.classifier.booster, fitted.classifier.preparation.encode
    grown = learner.rounds if early_stopping is None else fitted.kept_trees + early_stopping
    assert set(fitted.learning["select"]) == set(range(1, grown + 1))
    assert set(fitted.learning["fit"]) == {1, *range(FIT_EVERY, grown + 1, FIT_EVERY)} | ({grown} & {learner.rounds})
    for part, told in fitted.learning.items():
        matrix, truth = encode(fitted.parts[part]), fitted.truth[part]
        for trees, loss in told.items():
            if trees > fitted.kept_trees:
                continue  # the others are cut off
            said = booster.predict(matrix, num_iteration=trees)
            assert loss == pytest.approx(performance(truth, said).log_loss, abs=1e-9), (part, trees)
    parts, truth = fitted.parts, fitted.truth
    held = (parts["select"], truth["select"])
    unseen = fit_lightgbm(learner, fitted.classifier.preparation, parts["fit"], truth["fit"], held, run=shop.run())
    assert unseen.model_to_string() == booster.model_to_string()


def test_the_tables_are_inputs_of_the_run_with_their_versions(there: Platform, made: Materialization) -> None:
    """Version 0 too, which MLflow's own source of Delta tables drops."""
    run = there.registry.client.get_run(made.facts["MLflow run"])
    found = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    manifest = json.loads(read(there, made, "manifest.json"))
    behind = manifest["behind_it"]
    assert set(found) == {"shop/returns_dataset", *behind}
    training = found["shop/returns_dataset"].dataset
    assert training.digest == manifest["training_dataset"]["content_hash"]
    for name, one in found.items():
        version = manifest["training_dataset"]["version"] if name == training.name else behind[name]["version"]
        source = json.loads(one.dataset.source)
        assert source["delta_table_version"] == version
        assert Path(source["path"]).is_dir()
        tags = {tag.key: tag.value for tag in one.tags}
        assert tags["delta_version"] == str(version)
        assert tags["mlflow.data.context"] == ("training" if name == training.name else "behind it")


def test_the_card_is_of_this_model_and_stands_where_people_look(
    there: Platform, made: Materialization, report: pl.DataFrame
) -> None:
    client, run_id = there.registry.client, made.facts["MLflow run"]
    version = client.get_model_version("shop.return_model", str(made.version))
    run = client.get_run(run_id)
    assert version.description == run.data.tags["mlflow.note.content"] == made.card
    for told in (made.digest, shop.return_model.description, f"{len(report):,} rows of", "team:", "Weakest slices"):
        assert told in made.card, told
    assert f"AUC {made.facts['AUC on report']:.4f}, 95% interval" in made.card
    assert (version.tags["dagster.asset"], version.tags["content_hash"]) == ("shop/return_model", made.digest)
    whole = read(there, made, "model_card.md")
    assert made.card in whole
    assert "](data:image/png;base64," in whole
    assert "| shop/orders | 0 |" in whole
    environment = json.loads(read(there, made, "environment.json"))
    assert {"lightgbm", "polars", "mlflow"} <= set(environment["libraries"])


def fitted_on(there: Platform, rows: pl.LazyFrame | None = None) -> FittedModel:
    inputs = Inputs.pin(there, shop.PROMOTING, MODEL, None)
    return fit(MODEL, inputs.scan("returns_dataset") if rows is None else rows, run=shop.run(), beside=["category"])


def told(fitted: FittedModel, *, threshold: float | None = None, promotion: bool = True) -> evidence.Measured:
    scores = fitted.classifier.score(fitted.parts["report"])
    return evidence.measure(
        MODEL,
        fitted,
        scores,
        baselines=compare_baselines(MODEL, fitted, scores, run=shop.run()).on_report,
        promotion=shop.return_promotion if promotion else None,
        threshold=threshold,
    )


def test_where_a_threshold_was_chosen_the_decisions_are_counted(there: Platform) -> None:
    fitted = fitted_on(there)
    measured = told(fitted, threshold=0.4)
    scores, truth = measured.scores, fitted.truth["report"]
    assert measured.confusion is not None
    assert measured.confusion.true_positives == int(((scores >= 0.4) & (truth == 1)).sum()) > 0
    drawn = logged.pictures(MODEL, fitted, measured, evidence.explain(MODEL, fitted))
    assert set(drawn) == PICTURES
    assert logged.metrics(measured)["report_recall"] == measured.confusion.recall
    assert "No costs" not in "".join(limits(MODEL, fitted, measured))
    without = told(fitted)
    assert set(logged.pictures(MODEL, fitted, without, evidence.explain(MODEL, fitted))) == PICTURES - {"confusion"}
    assert "No costs are declared" in "".join(limits(MODEL, fitted, without))


def test_other_rows_make_other_pictures_and_the_same_rows_the_same(there: Platform) -> None:
    fitted = fitted_on(there)
    half = fitted.parts["report"].head(100)
    fewer = replace(
        fitted,
        parts={**fitted.parts, "report": half},
        truth={**fitted.truth, "report": fitted.truth["report"][:100]},
        learning={part: dict(list(losses.items())[:-1]) for part, losses in fitted.learning.items()},
        kept_trees=1,
    )

    def drawn(one: FittedModel) -> dict[str, bytes]:
        return logged.pictures(MODEL, one, told(one), evidence.explain(MODEL, one))

    before = np.random.get_state()[1].tolist()  # noqa: NPY002 - the very state that SHAP draws from
    first, again, other = drawn(fitted), drawn(fitted), drawn(fewer)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert first == again
    for title in other:
        assert (first[title] == other[title]) == (title == "gain"), title


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_a_report_of_one_outcome_and_one_day_is_told_without_what_cannot_be(there: Platform, outcome: float) -> None:
    fitted = fitted_on(there)
    where = np.flatnonzero(fitted.truth["report"] == outcome)[:1]
    one = replace(
        fitted,
        parts={**fitted.parts, "report": fitted.parts["report"][where.tolist()]},
        truth={**fitted.truth, "report": fitted.truth["report"][where]},
    )
    measured = told(one, promotion=False)
    assert measured.roc is None
    assert evidence.beats_baselines(measured.report, measured.baselines).description.startswith(
        "On report only one outcome occurs"
    )
    drawn = logged.pictures(MODEL, one, measured, evidence.explain(MODEL, one))
    assert {"ROC", "slices"}.isdisjoint(drawn)
    assert "report_auc" not in logged.metrics(measured)
    said = model_card(shop.PROMOTING, MODEL, one, measured, run=shop.run())
    for limit in ("only one outcome", "a single day", "No slices are declared"):
        assert limit in said


def test_a_model_without_numbers_among_its_inputs_is_drawn_too(there: Platform) -> None:
    fitted = fitted_on(there)
    preparation = fitted.classifier.preparation
    places = [n for n, name in enumerate(preparation.inputs) if name in preparation.levels]
    explained = evidence.explain(MODEL, fitted)
    from platform_assets.pipelines import plots

    inputs = [preparation.inputs[n] for n in places]
    values = preparation.encode(explained.rows)[:, places]
    png = plots.picture_of_contributions(explained.contributions[:, places], values, inputs, preparation.levels)
    assert Image.open(io.BytesIO(png)).size == (880, 572)


def test_names_that_mlflow_would_refuse_are_spelt_otherwise_and_stay_apart() -> None:
    found = metric_names(["AA", "a/b", "a b", "", "..", "x" * 300])
    assert found["AA"] == "AA"
    assert (found["a/b"], found["a b"], found[""]) == ("a_b", "a_b_2", "_")
    assert len(set(found.values())) == 6
    assert max(map(len, found.values())) < 70


ODD = "$1 to $5^{, (50%)"


@pytest.mark.parametrize("picture", ["gain", "SHAP", "slices", "comparison", "folds"])
def test_a_dollar_in_a_name_begins_no_formula(picture: str) -> None:
    from platform_assets.pipelines import plots

    slices = pl.DataFrame({"slice": [ODD, "b"], "rows": [9, 9], "auc": [0.6, 0.7], "worse_by": [0.1, 0.0]})
    halves = np.linspace(0.1, 0.9, 20)
    folds = pl.DataFrame(
        {"predictor": ["m", ODD], "cutoff": [shop.NOW] * 2}
        | {f"{name}{end}": [0.6, 0.5] for name in ("auc", "log_loss") for end in ("", "_low", "_high")}
    )
    drawn = {
        "gain": lambda: plots.picture_of_gains(pl.DataFrame({"input": [ODD], "share of gain": [1.0]})),
        "SHAP": lambda: plots.picture_of_contributions(np.eye(3), np.eye(3), [ODD, "b", "c$"], set()),
        "slices": lambda: plots.picture_of_slices({ODD: slices}, 0.7),
        "comparison": lambda: plots.picture_of_comparison(halves > 0.5, halves, halves, {ODD: slices}),
        "folds": lambda: plots.picture_of_folds(folds, "m"),
    }
    assert Image.open(io.BytesIO(drawn[picture]())).format == "PNG"


def test_of_thousands_of_slices_the_weakest_are_drawn() -> None:
    from platform_assets.pipelines import plots

    aucs = np.random.default_rng(1).uniform(0.5, 0.9, 5_000)
    slices = pl.DataFrame({"slice": [f"s{n}" for n in range(5_000)], "rows": 9, "auc": aucs})
    weakest = slices.sort("auc").head(60)
    assert plots.picture_of_slices({"of": slices}, 0.7) == plots.picture_of_slices({"of": weakest}, 0.7)


def test_a_baseline_and_a_column_may_be_called_anything(there: Platform) -> None:
    fitted = fitted_on(there)
    measured = told(fitted)
    odd = replace(
        measured,
        baselines={ODD: measured.report, ODD.replace("$", "%"): measured.report},
        slices={ODD: measured.slices["category"]},
    )
    client = there.registry.client
    with there.registry.run("shop", name="odd", tags={}, description="") as run_id:
        table = TableUsed(
            name="a", version=1, digest="d", uri="u", role="behind it", tags={"fingerprint": "ab, " * 999}
        )
        log_evidence(client, run_id, Evidence(logged_at=shop.NOW, metrics=logged.metrics(odd), tables=[table]))
    found = client.get_run(run_id).data.metrics
    assert len([name for name in found if name.startswith("baseline_")]) == 2
    assert len([name for name in found if name.startswith("slices/")]) == len(
        [name for name in logged.metrics(measured) if name.startswith("slices/category")]
    )


LOG = "platform_assets.registry.models:log_evidence"
STOPS = [
    Stop("before", LOG),
    Stop("after", LOG),
    Stop("before", "mlflow.lightgbm:log_model"),
    Stop("after", "mlflow.lightgbm:log_model"),
    Stop("before", "platform_assets.registry.models:register"),
    Stop("after", "platform_assets.registry.models:register"),
]


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS, ids=str)
def test_killed_while_logging_there_is_no_version_without_its_evidence(shop_copy: Platform, stop: Stop) -> None:
    registered = stop.when == "after" and stop.function.endswith(":register")
    faults.kill_at_stop(shop_copy, "return_model", None, stop)
    client = shop.platform(shop_copy.lake.root.parent).registry.client
    experiment = client.get_experiment_by_name("shop")
    assert experiment is not None
    statuses = [run.info.status for run in client.search_runs([experiment.experiment_id])]
    assert sorted(statuses) == ["FINISHED", "RUNNING"], "what was killed is not said to be finished"
    versions = client.search_model_versions("name='shop.return_model'")
    assert len(versions) == (2 if registered else 1)
    assert shop_copy.registry.champion("shop", "return_model") == 1
    again = shop.make(shop_copy, "return_model")[0]
    assert again.version == len(versions) + 1
    assert shop_copy.registry.champion("shop", "return_model") == again.version
    for version in client.search_model_versions("name='shop.return_model'"):
        assert DOCUMENTS - {"slices.csv"} <= files(shop_copy, str(version.run_id))
        assert version.description
        assert shop_copy.registry.load("shop", "return_model", int(version.version)).classifier.digest == again.digest
