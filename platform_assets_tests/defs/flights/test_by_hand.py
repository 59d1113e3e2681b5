"""The flights by hand are the platform's: their tables, their features, and what is asked with them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from benchmarks import by_hand, peers
from benchmarks.flights_script.clean import clean
from benchmarks.flights_script.features import features
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.tables import FeatureGroup, Source
from platform_assets.declarations.times import Days
from platform_assets.defs.flights.catalogue import CATALOGUE
from platform_assets.defs.flights.sources import YEAR
from platform_assets.defs.flights.upstream import land
from platform_assets.lake.landing import Landing
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Platform, Run
from platform_assets.registry.models import Registry

LANDED, MADE = Days(date(2013, 1, 1), date(2013, 1, 5)), Days(date(2013, 1, 1), date(2013, 1, 4))
TABLES = ("schedule", "assignments", "departures", "arrivals", "weather")
GROUPS = [group.name for group in CATALOGUE.of_kind(FeatureGroup)]
RUN = Run(run_id="test", now=datetime(2026, 1, 1, tzinfo=UTC))


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days by both: tables and features under `clean` and `features`, and in the lake."""
    root = tmp_path_factory.mktemp("both")
    land(root / "landing", last=LANDED.last)
    platform = Platform(
        landing=Landing(root / "landing"),
        lake=Lake(root / "lake"),
        registry=Registry(root / "mlflow"),
        connect=connect,
    )
    for name in [*(source.name for source in CATALOGUE.of_kind(Source)), *GROUPS, "flights_asked"]:
        dated = CATALOGUE[name].partitions is not None
        materialize(platform, CATALOGUE, name, RUN, days=MADE if dated else None)
    for folder in ("clean", "features"):
        (root / folder).mkdir()
    clean(root / "landing", root / "clean")
    features(root / "clean", root / "features")
    return root


def ours(root: Path, name: str) -> pl.DataFrame:
    return Lake(root / "lake").scan(table_folder("flights", name), days=MADE).drop("day").collect()


def theirs(path: Path, event: str) -> pl.DataFrame:
    rows = pl.read_parquet(path)
    return rows.filter(YEAR.day_of(pl.col(event)).is_between(MADE.first, MADE.last))


def apart(right: pl.DataFrame, found: pl.DataFrame, keys: list[str]) -> int:
    """The cells that differ, by the keys of any table."""
    right, found = (rows.with_columns(flight_id=pl.concat_str(keys, separator="|")) for rows in (right, found))
    return by_hand.cells_apart(right, found)


EVENTS = {"weather": "observed_at", "departures": "departed_at", "arrivals": "arrived_at"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TABLES, *GROUPS])
def test_the_tables_are_the_platforms(root: Path, name: str) -> None:
    declared = CATALOGUE[name]
    assert isinstance(declared, Source | FeatureGroup)
    event = EVENTS.get(name, "scheduled_departure") if name in TABLES else "event_time"
    found = theirs(root / ("clean" if name in TABLES else "features") / f"{name}.parquet", event)
    right = ours(root, name).select(pl.selectors.by_name(found.columns, require_all=False))
    assert len(right) > 0
    assert apart(right, found, [*declared.keys, event]) == 0


@pytest.mark.slow
def test_what_is_asked_is_the_platforms(root: Path) -> None:
    step = f"""
import json, pathlib, polars
from benchmarks.flights_script.dataset import asked
from benchmarks.flights_script.model import inputs_of
root = pathlib.Path({str(root)!r})
asked(root / "clean", root / "features", root)
print(json.dumps(inputs_of(polars.read_parquet(root / "asked.parquet"))))
"""
    assert peers.are_installed(), f"{peers.python()} is missing: make test-slow makes it, as make bench does"
    done = subprocess.run([peers.python(), "-c", step], capture_output=True, text=True, cwd=peers.ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    # LightGBM draws features by their number, so that another order is another model.
    model = CATALOGUE["late_arrival_model"]
    assert isinstance(model, Model)
    assert json.loads(done.stdout.splitlines()[-1]) == list(model.inputs)
    right = ours(root, "flights_asked")
    found = theirs(root / "asked.parquet", "scheduled_departure")
    assert set(right.columns) <= set(found.columns) | {"day"}
    assert (len(found), by_hand.cells_apart(right, found)) == (len(right), 0)


def test_cells_that_differ_are_counted() -> None:
    right = pl.DataFrame({"flight_id": ["a", "b", "c"], "late": [True, False, None], "wait": [0.1, None, 3.0]})
    same = right.with_columns(pl.col("wait") + 1e-12).reverse()
    assert by_hand.cells_apart(right, same) == 0
    assert by_hand.cells_apart(right, right.with_columns(wait=pl.lit(None, pl.Float64))) == 2
    assert by_hand.cells_apart(right, right.with_columns(late=pl.lit(value=True))) == 2
    assert by_hand.cells_apart(right, right.head(2)) == 2
    assert by_hand.cells_apart(right.head(2), right) == 2
    assert by_hand.cells_apart(right, right.drop("wait")) == 3


def test_only_code_counts_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        '"""Says\n\nwhat."""\n# a comment\nx = """two\nlines"""  # and why\n\ndef f():\n    """No."""\n    return x\n'
    )
    assert by_hand.lines_of_code(path) == 4


def test_the_script_imports_nothing_of_the_platform() -> None:
    for path in by_hand.SCRIPT.glob("*.py"):
        assert "platform_assets" not in path.read_text(), path.name


def test_the_demo_can_end_where_the_script_does() -> None:
    left_out = {d.name for d in CATALOGUE.declarations} & set(by_hand.BEYOND)
    assert left_out == set(by_hand.BEYOND)
    kept = replace(CATALOGUE, declarations=[d for d in CATALOGUE.declarations if d.name not in left_out])
    assert "late_arrival_predictions" in kept
    assert "late_arrival_drift" in kept
