"""Imports point one way, and what is heavy is imported where it is used.

The rooms in order, each seeing only those before it:

    errors
    declarations    what may be said; its calendar (`times`) is the vocabulary of everything after it
    compute         values in, values out; of `declarations` it knows the window of instants, no declared thing
    lake, registry  where things lie; of `compute` they know the content hash and the fitted preparation
    pipelines       what is done
    orchestration   when; the only library code that imports Dagster
    terminal, answers, replays, reports, arguments, cli, definitions   what people start
    defs            the project; nobody imports it by name
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import platform_assets

PACKAGE = Path(platform_assets.__file__).parent
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "declarations": {"errors"},
    "compute": {"errors", "declarations"},
    "lake": {"errors", "declarations", "compute"},
    "registry": {"errors", "declarations", "compute"},
    "pipelines": {"errors", "declarations", "compute", "lake", "registry"},
    "orchestration": {"errors", "settings", "declarations", "compute", "lake", "registry", "pipelines"},
    "terminal": {"errors", "settings", "declarations", "lake", "pipelines", "orchestration"},
    "answers": {"errors", "settings", "declarations", "pipelines", "orchestration", "terminal"},
    "replays": {
        "errors",
        "settings",
        "declarations",
        "lake",
        "pipelines",
        "orchestration",
        "terminal",
    },
    "arguments": {"registry"},
    "reports": {"answers", "errors", "settings", "declarations", "pipelines", "orchestration", "terminal", "registry"},
    "cli": {
        "replays",
        "errors",
        "settings",
        "declarations",
        "lake",
        "registry",
        "pipelines",
        "orchestration",
        "terminal",
        "answers",
        "arguments",
        "reports",
    },
    "definitions": set(),
    "defs": {"errors", "settings", "declarations", "compute", "orchestration", "cli"},
}
ONLY: dict[tuple[str, str], set[str]] = {
    ("compute", "declarations"): {"platform_assets.declarations.times"},
    ("lake", "compute"): {"platform_assets.compute.content_hash"},
    ("registry", "compute"): {
        "platform_assets.compute.calibration",
        "platform_assets.compute.classifier",
        "platform_assets.compute.preparation",
    },
    ("registry", "declarations"): {"platform_assets.declarations.names"},
}
"""Where a room may see only a part of another."""


def imports() -> Iterator[tuple[str, str, str]]:
    """Every import of ours: file, room it is in, module it names."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        room = inside.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((str(inside), room, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{inside}: relative imports hide what a room sees"
                yield str(inside), room, node.module or ""


IMPORTS = list(imports())


def test_every_room_has_its_rule() -> None:
    rooms = {room for _, room, _ in IMPORTS} | {
        p.name.removesuffix(".py") for p in PACKAGE.iterdir() if not p.name.startswith("_")
    }
    assert rooms - {"__init__"} == set(MAY_IMPORT)


def test_imports_point_one_way() -> None:
    wrong = []
    for file, room, module in IMPORTS:
        if not module.startswith("platform_assets."):
            continue
        other = module.split(".")[1]
        if other != room and (other not in MAY_IMPORT[room] or module not in ONLY.get((room, other), {module})):
            wrong.append(f"{file} imports {module}")
    assert wrong == []


def test_the_rule_has_no_circle() -> None:
    settled: set[str] = set()
    while len(settled) < len(MAY_IMPORT):
        ready = {room for room, seen in MAY_IMPORT.items() if room not in settled and seen <= settled}
        assert ready, "a circle among " + ", ".join(sorted(set(MAY_IMPORT) - settled))
        settled |= ready


def test_nobody_imports_defs() -> None:
    assert [
        file for file, room, module in IMPORTS if room != "defs" and module.startswith("platform_assets.defs")
    ] == []


def test_only_the_tests_of_a_project_import_it() -> None:
    """So that deleting a project with its tests leaves the rest as it was."""
    tests = Path(__file__).parent
    others = [path for path in tests.rglob("*.py") if not path.is_relative_to(tests / "defs")]
    assert len(others) > 30
    named = [
        f"{path.name} imports {node.module}"
        for path in others
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("platform_assets.defs.")
    ]
    assert named == []


def test_only_the_outer_rooms_import_dagster() -> None:
    users = {room for _, room, module in IMPORTS if module.split(".")[0].startswith("dagster")}
    assert users <= {"orchestration", "cli", "definitions", "defs"}
    declared = {file for file, room, module in IMPORTS if room == "defs" and module.split(".")[0].startswith("dagster")}
    assert all(file.endswith("definitions.py") for file in declared)


def loaded_after(code: str) -> set[str]:
    """The top-level modules loaded after running `code` in a fresh process."""
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.splitlines()[-1].split())


def test_without_the_outer_rooms_there_is_no_dagster() -> None:
    outer = ("orchestration", "definitions", "defs", "cli", "terminal", "answers", "replays", "reports")
    modules = [
        ".".join(("platform_assets", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in outer
    ]
    assert len(modules) > 30
    found = loaded_after("\n".join(f"import {module}" for module in modules))
    assert found.isdisjoint({"dagster", "duckdb", "mlflow", "lightgbm", "matplotlib", "sklearn", "pandas", "pyarrow"})


def test_the_code_location_loads_without_what_is_heavy() -> None:
    found = loaded_after("import platform_assets.definitions as d\nd.defs()")
    assert "dagster" in found
    assert "platform_assets" in found
    assert found.isdisjoint({"mlflow", "lightgbm", "matplotlib", "pandas", "sklearn", "numba", "pyarrow"})


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "common", "manager", "misc"])
def test_no_module_is_called_what_it_is_not(name: str) -> None:
    everywhere = [*PACKAGE.rglob("*.py"), *Path(__file__).parent.rglob("*.py")]
    assert [str(path) for path in everywhere if name in (path.stem, path.parent.name)] == []
