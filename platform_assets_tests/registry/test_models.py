"""The registry: versions, the champion's alias, and models that come back as they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy.orm import Session

from platform_assets.compute.classifier import Classifier
from platform_assets.compute.preparation import Preparation
from platform_assets.errors import ModelError
from platform_assets.registry.evidence import Evidence
from platform_assets.registry.models import Logged, Registry
from platform_assets.registry.versions import find_version, read_model_name
from platform_assets_tests import shop

ROWS = pl.DataFrame({"size": np.linspace(0, 1, 80), "kind": ["a", "b"] * 40})


@pytest.fixture
def registry(tmp_path: Path, empty_registry: Path) -> Registry:
    shutil.copytree(empty_registry, tmp_path / "mlflow")
    return Registry(tmp_path / "mlflow")


def fitted(*, upwards: bool = True) -> tuple[lightgbm.Booster, Preparation]:
    preparation = Preparation.fit(ROWS, inputs=["size", "kind"], categories=["kind"])
    truth = (ROWS["size"].to_numpy() > 0.5) == upwards
    learned = lightgbm.Dataset(
        preparation.encode(ROWS), truth, feature_name=["size", "kind"], categorical_feature=["kind"]
    )
    return lightgbm.train(
        {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 5}, learned, num_boost_round=5
    ), preparation


def log(registry: Registry, *, upwards: bool = True, name: str = "late") -> Logged:
    booster, preparation = fitted(upwards=upwards)
    with registry.run("shop", name=name, tags={"dagster.run_id": "run-1"}, description="A model.") as run_id:
        return registry.log(
            run_id,
            catalogue="shop",
            name=name,
            classifier=Classifier(booster=booster, preparation=preparation),
            example=ROWS.head(3),
            evidence=Evidence(
                logged_at=shop.NOW,
                parameters={"rounds": 5},
                metrics={"report_auc": 0.75},
                documents={"note.txt": "a note"},
            ),
            tags={"learned_until": "2024-04-01"},
        )


def test_a_registry_that_was_never_used_has_no_champion(tmp_path: Path) -> None:
    assert Registry(tmp_path / "nowhere").champion("shop", "late") is None
    assert not (tmp_path / "nowhere").exists()


def test_a_model_that_does_not_exist_has_no_champion(registry: Registry) -> None:
    assert registry.champion("shop", "late") is None


def test_versions_count_up_and_the_champion_is_whoever_was_crowned(registry: Registry) -> None:
    first, second = log(registry), log(registry)
    assert (first.version, second.version) == (1, 2)
    assert registry.champion("shop", "late") is None
    registry.crown("shop", "late", 2)
    assert registry.champion("shop", "late") == 2
    registry.crown("shop", "late", 1)
    assert registry.champion("shop", "late") == 1


def test_two_that_are_first_at_once_both_register(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looks before the other has made the experiment and the name, and makes them after it."""
    other = Registry(registry.root)
    looked = {"get_experiment_by_name": registry.client.get_experiment_by_name}

    def too_early(name: str) -> None:
        monkeypatch.setattr(registry.client, "get_experiment_by_name", looked["get_experiment_by_name"])
        other.experiment(name)

    monkeypatch.setattr(registry.client, "get_experiment_by_name", too_early)
    monkeypatch.setattr(registry.client, "search_registered_models", lambda _: [])
    assert log(registry).version == 1
    assert log(registry).version == 2


@pytest.mark.parametrize("write", ["crown", "tag"])
def test_of_two_that_are_first_at_once_the_later_one_counts(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    """Each looks before the other has set it; MLflow's insert then finds a row that was not there."""
    log(registry), log(registry)
    other, merge = Registry(registry.root), Session.merge
    conflicts: list[str] = []

    def set_by(one: Registry, version: int, told: str) -> None:
        one.crown("shop", "late", version) if write == "crown" else one.tag("shop", "late", 1, {"promotion": told})

    def late(self: Session, instance: object, **named: Any) -> object:
        merged = merge(self, instance, **named)
        if not conflicts:
            conflicts.append(type(instance).__name__)
            set_by(other, 1, "refused")
        return merged

    monkeypatch.setattr(Session, "merge", late)
    set_by(registry, 2, "promoted")
    assert len(conflicts) == 1
    found = registry.champion("shop", "late") if write == "crown" else registry.tags("shop", "late", 1)["promotion"]
    assert found == (2 if write == "crown" else "promoted")


def test_a_version_that_is_not_there_cannot_be_tagged(registry: Registry) -> None:
    log(registry)
    with pytest.raises(MlflowException, match="not found"):
        registry.tag("shop", "late", 7, {"promotion": "promoted"})


def test_a_model_comes_back_as_it_was(registry: Registry) -> None:
    logged = log(registry)
    booster, preparation = fitted()
    loaded = registry.load("shop", "late", logged.version)
    assert loaded.classifier.preparation == preparation
    assert dict(loaded.tags) == {"learned_until": "2024-04-01"}
    np.testing.assert_array_equal(loaded.score(ROWS), np.asarray(booster.predict(preparation.encode(ROWS))))
    assert registry.metrics("shop", "late", 1) == {"report_auc": 0.75}


def test_a_model_scores_by_name_and_not_by_place(registry: Registry) -> None:
    loaded = registry.load("shop", "late", log(registry).version)
    np.testing.assert_array_equal(loaded.score(ROWS), loaded.score(ROWS.select("kind", "size")))
    with pytest.raises(ModelError, match="the model needs the columns size"):
        loaded.score(ROWS.rename({"size": "sizes"}))


def test_an_unseen_category_and_a_null_are_scored(registry: Registry) -> None:
    loaded = registry.load("shop", "late", log(registry).version)
    rows = pl.DataFrame({"size": [0.5, None], "kind": ["never seen", None]})
    assert ((loaded.score(rows) > 0) & (loaded.score(rows) < 1)).all()


def test_two_registries_of_one_process_do_not_mix(tmp_path: Path, empty_registry: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(empty_registry, tmp_path / name)
    one, two = Registry(tmp_path / "one"), Registry(tmp_path / "two")
    log(one, upwards=True)
    log(two, upwards=False)
    log(one, upwards=True)
    asked = pl.DataFrame({"size": [0.9], "kind": ["a"]})
    assert one.load("shop", "late", 1).score(asked)[0] > 0.5 > two.load("shop", "late", 1).score(asked)[0]
    assert Registry(tmp_path / "one").load("shop", "late", 2).score(asked)[0] > 0.5
    with pytest.raises(ModelError, match=r"version 2 cannot be loaded from .*two"):
        two.load("shop", "late", 2)


@pytest.mark.parametrize(("name", "version"), [("late", 9), ("unknown", 1)])
def test_a_version_that_is_not_there_is_named(registry: Registry, name: str, version: int) -> None:
    log(registry)
    with pytest.raises(ModelError, match=f"model shop.{name} version {version} cannot be loaded from .*mlflow: "):
        registry.load("shop", name, version)


def test_a_version_that_no_run_made_is_named(registry: Registry) -> None:
    log(registry)
    registry.client.create_model_version("shop.late", source=str(registry.root), await_creation_for=0)
    registry.crown("shop", "late", 2)
    wanted = "model shop.late version 2 was registered by hand, without a run"
    with pytest.raises(ModelError, match=wanted):
        registry.metrics("shop", "late", 2)
    for which in ("/2", "@champion"):
        with pytest.raises(ModelError, match=wanted):
            find_version(registry, read_model_name(f"models:/shop.late{which}"))


def test_a_run_whose_body_fails_is_marked_failed(registry: Registry) -> None:
    def fail() -> None:
        with registry.run("shop", name="late", tags={}, description=""):
            msg = "in the middle"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    log(registry)
    experiment = registry.client.get_experiment_by_name("shop")
    assert experiment is not None
    runs = registry.client.search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]


def test_what_was_logged_lies_beside_the_database(registry: Registry) -> None:
    logged = log(registry)
    experiment = registry.client.get_experiment_by_name("shop")
    assert experiment is not None
    assert experiment.artifact_location == registry.artifacts.as_uri()
    assert Path(registry.client.download_artifacts(logged.run_id, "note.txt")).read_text() == "a note"
    source = registry.client.get_model_version("shop.late", str(logged.version)).source
    model = registry.client.get_logged_model(str(source).removeprefix("models:/"))
    assert (model.experiment_id, model.source_run_id) == (experiment.experiment_id, logged.run_id)
    assert model.artifact_location.startswith(registry.artifacts.as_uri())


def test_the_champion_of_the_shop_carries_what_it_was_made_of(finished_shop: Path) -> None:
    make: Callable[[], Registry] = lambda: shop.platform(finished_shop).registry  # noqa: E731
    tags = make().load("shop", "return_model", 1).tags
    assert tags["training_dataset"] == "shop/returns_dataset"
    assert tags["training_dataset_version"] == "0"
    assert tags["fingerprint"] == shop.CATALOGUE.fingerprints["return_model"]


def test_the_run_is_still_open_and_whole_when_the_version_is_made(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whoever is interrupted before leaves no version, and no run that is said to be finished."""
    import platform_assets.registry.models as module

    seen = []

    def interrupted(client: Any, full: str, logged: Any, *, run_id: str, **_: Any) -> int:
        seen.append((client.get_run(run_id).info.status, {file.path for file in client.list_artifacts(run_id)}))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "register", interrupted)
    with pytest.raises(KeyboardInterrupt):
        log(registry)
    assert seen == [("RUNNING", {"note.txt"})]
    assert registry.newest("shop", "late") is None
    experiment = registry.client.get_experiment_by_name("shop")
    assert experiment is not None
    assert [run.info.status for run in registry.client.search_runs([experiment.experiment_id])] == ["FAILED"]
