"""The instance below the data folder, and the projects that are found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dagster._core.run_coordinator import QueuedRunCoordinator

from platform_assets.errors import DeclarationError
from platform_assets.orchestration import projects
from platform_assets.orchestration.instance import prepare_instance
from platform_assets.orchestration.storage import PooledSqliteEventLogStorage
from platform_assets.settings import load_settings
from platform_assets_tests.orchestration.conftest import Deployment

PROJECT = Path(__file__).parents[2]


def test_the_instance_is_configured_as_shipped(there: Deployment) -> None:
    instance = there.instance
    assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage)
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 2  # type: ignore[union-attr]
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
    assert instance.run_monitoring_enabled


def test_an_edited_configuration_is_kept(tmp_path: Path) -> None:
    settings = load_settings({"PLATFORM_DATA": str(tmp_path / "data")})
    prepare_instance(settings)
    config = settings.dagster_home / "dagster.yaml"
    config.write_text("telemetry: {enabled: false}\n")
    prepare_instance(settings)
    assert config.read_text() == "telemetry: {enabled: false}\n"


SHIPPED = sorted(path.parent.name for path in (PROJECT / "platform_assets" / "defs").glob("*/catalogue.py"))
DEFINITIONS = """
import dagster as dg
from platform_assets.defs.shop.catalogue import CATALOGUE
from platform_assets.orchestration.definitions import build_definitions

@dg.definitions
def shop() -> dg.Definitions:
    return build_definitions(CATALOGUE)
"""


def _package(folder: Path, **modules: str) -> None:
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def test_projects_are_found_and_one_without_a_catalogue_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [catalogue.name for catalogue in projects.find_catalogues()] == SHIPPED

    _package(tmp_path / "odd_defs", loose="")
    _package(tmp_path / "odd_defs" / "shop", catalogue="from platform_assets_tests.shop import CATALOGUE")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(projects, "DEFS", "odd_defs")
    assert [catalogue.name for catalogue in projects.find_catalogues()] == ["shop"]

    _package(tmp_path / "odd_defs" / "empty")
    with pytest.raises(DeclarationError, match=r"the project odd_defs\.empty has no CATALOGUE; put one into"):
        projects.find_catalogues()
    _package(tmp_path / "odd_defs" / "broken", catalogue="import no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        projects.find_catalogues()


def test_a_second_project_stands_beside_the_first(tmp_path: Path) -> None:
    """As the README has it: a folder below `defs/`, and nothing else to change."""
    shutil.copytree(PROJECT / "platform_assets", tmp_path / "platform_assets")
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    _package(
        tmp_path / "platform_assets" / "defs" / "shop",
        catalogue="from platform_assets_tests.shop import CATALOGUE",
        definitions=DEFINITIONS,
    )
    script = """
import json, platform_assets
from platform_assets.definitions import defs
from platform_assets.orchestration.projects import find_catalogues
import dagster as dg
found = defs if isinstance(defs, dg.Definitions) else defs()
repository = found.get_repository_def()
print(json.dumps({
    "at": platform_assets.__path__[0], "catalogues": [catalogue.name for catalogue in find_catalogues()],
    "projects": sorted({key.path[0] for key in found.resolve_asset_graph().get_all_asset_keys()}),
    "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["at"] == str(tmp_path / "platform_assets")
    assert found["catalogues"] == found["projects"] == sorted([*SHIPPED, "shop"])
    everywhere = [f"{project}_{n}" for project in [*SHIPPED, "shop"] for n in ("alerts", "automation", "landing")]
    assert found["sensors"] == sorted([*everywhere, "flights_retraining"])
