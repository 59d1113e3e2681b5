"""Promotion as Dagster shows it: between the model and its predictions, followed by itself, in nobody's way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.times import Days
from platform_assets_tests import shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed
from platform_assets_tests.orchestration.test_automation import tick

LEARNER = shop.return_model.learner
WEAK = shop.with_changed(
    "return_model",
    catalogue=shop.PROMOTING,
    learner=replace(LEARNER, rounds=2, parameters={**LEARNER.parameters, "learning_rate": 0.05}),
)
DAY = Days(date(2024, 4, 10), date(2024, 4, 10))


@pytest.fixture
def data(full_data: Path, tmp_path: Path) -> Path:
    """The shop with everything made by Dagster, champion version 1, before there was a promotion."""
    shutil.copytree(full_data, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def promoting(data: Path) -> Iterator[Deployment]:
    with deployed(data, shop.PROMOTING) as there:
        yield there


def champion(there: Deployment) -> int | None:
    return there.platform.registry.champion("shop", "return_model")


def test_a_refresh_enters_the_champion_that_was_there_and_is_done(promoting: Deployment) -> None:
    promoting.refresh()
    shown = promoting.instance.get_latest_materialization_event(promoting.key("return_promotion"))
    assert shown is not None
    metadata = {name: value.value for name, value in shown.asset_materialization.metadata.items()}
    assert (metadata["verdict"], metadata["champion"], metadata["decisions"]) == ("champion", 1, 1)
    assert promoting.check("return_promotion", "promoted").passed
    assert champion(promoting) == 1
    assert set(promoting.rows("return_predictions")["model_version"]) == {1}


def test_it_follows_the_model_and_what_it_decides_scores_no_past_again(promoting: Deployment) -> None:
    promoting.refresh()
    _, cursor = tick(promoting)
    assert promoting.execute("return_model").success
    assert champion(promoting) == 1, "training moves no alias"
    asked, cursor = tick(promoting, cursor)
    assert asked.keys() == {"return_promotion"}
    assert promoting.execute("return_promotion").success
    assert tick(promoting, cursor)[0] == {}


def test_a_challenger_that_fails_leaves_the_champion_predicting(data: Path) -> None:
    with deployed(data, shop.PROMOTING) as there:
        there.refresh()
    weak: Catalogue = WEAK
    with deployed(data, weak) as there:
        assert there.execute("return_model", "return_promotion").success
        found = there.check("return_promotion", "promoted")
        assert (found.passed, found.severity.value, champion(there)) == (False, "WARN", 1)
        assert found.description.startswith("Version 2: refused; version 1 stays champion.")
        shown = there.instance.get_latest_materialization_event(there.key("return_promotion"))
        assert shown is not None
        metadata = shown.asset_materialization.metadata
        assert metadata["comparison"].value.startswith("![comparison](data:image/png;base64,")
        assert "| log loss | " in metadata["preview"].value
        assert there.execute("return_predictions", days=DAY).success
        assert set(there.rows("return_predictions", days=DAY)["model_version"]) == {1}


def test_the_monthly_run_trains_and_then_decides(promoting: Deployment) -> None:
    job = promoting.definitions.resolve_job_def("shop_retraining")
    order = [key.path[-1] for key in job.asset_layer.asset_graph.toposorted_asset_keys]
    chosen = {key.path[-1] for key in job.asset_layer.selected_asset_keys}
    assert chosen == {"returns_dataset", "return_model", "return_promotion"}
    assert order.index("return_model") < order.index("return_promotion") < order.index("return_predictions")
