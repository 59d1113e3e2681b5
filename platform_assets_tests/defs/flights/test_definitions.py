"""The flights project as Dagster sees it: a line an asset, what every asset must have, and one code location.

    python -m platform_assets_tests.defs.flights.test_definitions

rewrites `assets.golden` after a change that was meant; read its diff before committing it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from platform_assets.declarations.catalogue import calendar
from platform_assets.declarations.models import Model, Outcomes, Predictions
from platform_assets.declarations.names import MAINTENANCE
from platform_assets.declarations.tables import Source
from platform_assets.declarations.views import FeatureView, TrainingDataset
from platform_assets.defs.flights.catalogue import CATALOGUE
from platform_assets.orchestration.definitions import build_definitions
from platform_assets.orchestration.metadata import key_of
from platform_assets.settings import load_settings

PROJECT = Path(__file__).parents[3]
GOLDEN = Path(__file__).with_name("assets.golden")

WITHOUT_FRESHNESS = {
    # Undated registry snapshots come when they come.
    "planes", "airports", "carriers",
    # These are made anew when their retraining asks for it.
    "late_arrivals", "late_arrival_model", "late_arrival_promotion",
}  # fmt: skip


def definitions() -> dg.Definitions:
    return build_definitions(CATALOGUE, settings=load_settings({"PLATFORM_DATA": "/data"}))


def describe(found: dg.Definitions) -> str:
    """One line an asset, in the order of their keys."""
    graph = found.resolve_asset_graph()
    lines = [_line(graph, graph.get(key)) for key in sorted(graph.get_all_asset_keys())]
    return "\n".join(lines) + "\n"


def _line(graph: Any, node: Any) -> str:
    days = "whole"
    if node.partitions_def is not None:
        keys = node.partitions_def.get_partition_keys()
        days = f"{keys[0]}..{keys[-1]} {node.partitions_def.timezone}"
    checks = ", ".join(sorted(key.name + ("!" if graph.get(key).blocking else "") for key in node.check_keys))
    condition = node.automation_condition
    reads = "landed files" if node.key.path[-1] in CATALOGUE else "nothing"
    return " | ".join(
        [
            f"{node.key.to_user_string()} ({node.group_name}: {', '.join(sorted(node.kinds))})",
            "reads " + (", ".join(_input(node, parent) for parent in sorted(node.parent_keys)) or reads),
            days,
            f"checks {checks}",
            condition.get_label() if condition is not None else "no condition",
            node.code_version or "no fingerprint",
        ]
    )


def _input(node: Any, parent: dg.AssetKey) -> str:
    mapping = node.partition_mappings.get(parent)
    if mapping is None:
        return parent.path[-1]
    return f"{parent.path[-1]}[{mapping.start_offset:+d}..{mapping.end_offset:+d}]".replace("+0", "0")


@pytest.fixture(scope="module")
def graph() -> Any:
    return definitions().resolve_asset_graph()


def test_assets_are_as_agreed() -> None:
    found = describe(definitions())
    told = f"{GOLDEN.name} is out of date; if the change is meant: python -m {__spec__.name}"  # type: ignore[name-defined]
    assert found.splitlines() == GOLDEN.read_text().splitlines(), told


@pytest.mark.parametrize("declaration", CATALOGUE.declarations, ids=lambda declaration: declaration.name)
def test_every_asset_is_described_in_full(graph: Any, declaration: Any) -> None:
    node = graph.get(key_of(CATALOGUE, declaration.name))
    assert len(node.key.path) == 2
    assert node.group_name not in (None, "default")
    assert node.owners
    assert node.kinds
    assert node.code_version == CATALOGUE.fingerprints[declaration.name]
    assert node.description.strip()
    assert "domain" in node.tags
    assert node.check_keys
    assert (node.freshness_policy is None) == (declaration.name in WITHOUT_FRESHNESS)
    assert (node.partitions_def is None) == (calendar(declaration) is None)
    if not isinstance(declaration, Model):
        schema = node.metadata["dagster/column_schema"]
        assert [column.name for column in schema.columns] == [column.name for column in declaration.columns]
        assert [column.name for column in schema.columns if not (column.description or "").strip()] == []
        assert all(column.type for column in schema.columns)
        assert node.metadata["dagster/table_name"] == f"flights.{declaration.name}"
    assert node.metadata["dagster/uri"] == (
        "models:/flights.late_arrival_model"
        if isinstance(declaration, Model)
        else f"/data/lake/flights/{declaration.name}"
    )


def test_what_the_platform_puts_together_tells_where_each_column_is_from(graph: Any) -> None:
    kinds = (FeatureView, TrainingDataset, Predictions, Outcomes)
    told = [d for d in CATALOGUE.declarations if isinstance(d, kinds)]
    assert {type(d) for d in told} == set(kinds)
    for declaration in told:
        node = graph.get(key_of(CATALOGUE, declaration.name))
        columns = {column.name for column in declaration.columns}
        inputs = {
            key_of(CATALOGUE, read.name): {c.name for c in read.columns}
            for read in CATALOGUE.inputs(declaration)
            if not isinstance(read, Model)
        }
        lineage = node.metadata["dagster/column_lineage"].deps_by_column
        assert set(lineage) <= columns
        for deps in lineage.values():
            for dep in deps:
                assert dep.column_name in inputs[dep.asset_key]
        # What is left is made on the spot: the spine's own columns, the split, the score and what goes with it.
        made = {
            "prediction_id",
            "probability",
            "probability_low",
            "probability_high",
            "decision",
            "model_version",
            "view_version",
            "in_sample",
            "reasons",
            "contributions",
            "split",
        }
        if not isinstance(declaration, FeatureView):
            assert columns - set(lineage) <= made
        else:
            assert set(declaration.feature_columns) == set(lineage)


def test_only_sources_read_nothing_of_ours() -> None:
    graph = definitions().resolve_asset_graph()
    roots = {key for key in graph.get_all_asset_keys() if not graph.get(key).parent_keys}
    roots.remove(key_of(CATALOGUE, MAINTENANCE))
    assert roots
    assert all(isinstance(CATALOGUE[key.path[-1]], Source) for key in roots)


def _project_table() -> dict[str, str]:
    table: dict[str, str] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    return table


def test_the_workspace_and_dg_name_the_same_code_location() -> None:
    (entry,) = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    project = _project_table()
    assert entry["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }


def test_the_workspace_and_dg_load_the_same_assets(tmp_path: Path) -> None:
    """Three processes at once, each as a person would type it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PLATFORM_")}
    environ |= {
        "PLATFORM_DATA": str(tmp_path / "data"),
        "NO_COLOR": "1",
        "DG_CLI_CONFIG": str(tmp_path / "dg.toml"),
    }
    binary = Path(sys.executable).parent
    commands = {
        "list": [binary / "dg", "list", "defs", "--json"],
        "check": [binary / "dg", "check", "defs"],
        "workspace": [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "dagster",
            "definitions",
            "validate",
            "-w",
            "workspace.yaml",
        ],
    }
    started = {}
    for name, command in commands.items():
        # Processes that create Dagster's stock databases in one home at once find them locked.
        home = tmp_path / name
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
        own = environ | {"DAGSTER_HOME": str(home)}
        started[name] = subprocess.Popen(
            command, cwd=PROJECT, env=own, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    said = {name: (*process.communicate(), process.returncode) for name, process in started.items()}

    for name, (out, err, code) in said.items():
        assert code == 0, f"{name}: {out}{err}"
        assert (out + err).lower().count("warning") <= 1, f"{name}: {out}{err}"
    listed = json.loads(said["list"][0])
    names = (*(d.name for d in CATALOGUE.declarations), MAINTENANCE)
    keys = {key_of(CATALOGUE, name).to_user_string() for name in names}
    assert {asset["asset_key"] for asset in listed["assets"]} == keys
    assert "All definitions loaded successfully" in "".join(said["check"][:2])
    assert "Validation successful for code location platform_assets" in "".join(said["workspace"][:2])
    assert not (tmp_path / "data").exists(), "looking at the definitions writes nothing"


if __name__ == "__main__":
    GOLDEN.write_text(describe(definitions()))
    print(f"{GOLDEN} has {len(GOLDEN.read_text().splitlines())} assets")
