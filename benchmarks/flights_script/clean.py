"""From landed CSV to clean Parquet: one file a table, instants in UTC."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl

NEW_YORK = "America/New_York"
# The registry of airports lacks these; all keep Atlantic time the year round.
CARIBBEAN = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
FLIGHT = ["flight_id", "carrier", "flight_number", "origin", "destination", "scheduled_departure"]
WEATHER = {
    "temp": "temp_f", "dewp": "dew_point_f", "humid": "humidity_pct", "wind_dir": "wind_dir_deg",
    "wind_speed": "wind_speed_mph", "wind_gust": "wind_gust_mph", "precip": "precip_in", "pressure": "pressure_mb",
    "visib": "visibility_mi",
}  # fmt: skip
TEXT = ("carrier", "origin", "dest", "tailnum", "time_hour", "faa", "tzone")
log = logging.getLogger(__name__)


def clean(landing: Path, out: Path) -> None:
    """Every source, from its landed files."""
    zones = _read(landing / "airports.csv").select(dest="faa", zone="tzone")
    flights = {
        name: _flights(_read(landing / name / "*.csv"), zones)
        for name in ("schedule", "assignments", "departures", "arrivals")
    }
    tables = {
        "schedule": flights["schedule"].select(*FLIGHT, "scheduled_arrival", "distance_miles"),
        "assignments": flights["assignments"].select("flight_id", "tail_number", "scheduled_departure"),
        "departures": flights["departures"].select(*FLIGHT, "tail_number", "departed_at", "departure_delay"),
        "arrivals": flights["arrivals"].select(*FLIGHT, "tail_number", "arrived_at", "arrival_delay"),
        "weather": _weather(_read(landing / "weather" / "*.csv")),
    }
    keys = {"weather": ["origin", "observed_at"]}
    for name, table in tables.items():
        _write(table, out / f"{name}.parquet", keys.get(name, ["flight_id"]))


def _read(files: Path) -> pl.DataFrame:
    """Landed files, with the types that every file has: inferring them goes wrong where a file has only nulls."""
    header = pl.scan_csv(files, infer_schema=False).collect_schema().names()
    whole = ("year", "month", "day", "hour", "sched_dep_time", "sched_arr_time", "dep_time", "arr_time", "dep_delay")
    types = {
        column: pl.String if column in TEXT else pl.Int64 if column in (*whole, "arr_delay", "flight", "distance")
        else pl.Float64 if column in WEATHER else pl.String
        for column in header
    }  # fmt: skip
    return pl.read_csv(files, schema_overrides=types)


def _flights(raw: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    """What the four tables of flights share, and what each has, in instants."""
    date = pl.date("year", "month", "day")
    flights = raw.with_columns(
        flight_id=pl.format("{}{}-{}-{}-{}", "carrier", "flight", date.dt.strftime("%Y%m%d"), "origin", "dest"),
        flight_number=pl.col("flight").cast(pl.Int32),
        destination="dest",
        scheduled_departure=_utc(date.cast(pl.Datetime("us")) + _minutes("sched_dep_time"), NEW_YORK),
    )
    if "tailnum" in raw.columns:
        flights = flights.rename({"tailnum": "tail_number"})
    if "distance" in raw.columns:
        flights = flights.with_columns(distance_miles=pl.col("distance").cast(pl.Int32))
    if "dep_delay" in raw.columns:
        departed = pl.col("scheduled_departure") + pl.duration(minutes="dep_delay")
        flights = flights.with_columns(departed_at=departed, departure_delay=pl.col("dep_delay").cast(pl.Int32))
        flights = _agreeing(flights, "departed_at", "dep_time", NEW_YORK)
    if "sched_arr_time" in raw.columns:
        flights = _with_arrivals(flights.join(zones, on="dest", how="left", maintain_order="left"))
    return flights


def _with_arrivals(flights: pl.DataFrame) -> pl.DataFrame:
    """The arrivals, of which the airline gives digits on the clock of the destination, zone by zone."""
    named = flights.with_columns(pl.coalesce("zone", pl.col("dest").replace_strict(CARIBBEAN, default=None)))
    return pl.concat(_arrivals_in(zone, part) for (zone,), part in named.group_by("zone", maintain_order=True))


def _arrivals_in(zone: str, flights: pl.DataFrame) -> pl.DataFrame:
    # The first time at which the clock shows the digits, half an hour or more after departure.
    earliest = _wall(pl.col("scheduled_departure") + pl.duration(minutes=30), zone)
    same_day = earliest.dt.truncate("1d") + _minutes("sched_arr_time", midnight=0)
    wall = pl.when(same_day >= earliest).then(same_day).otherwise(same_day + pl.duration(days=1))
    flights = flights.with_columns(scheduled_arrival=_utc(wall, zone))
    if "arr_delay" not in flights.columns:
        return flights
    arrived = pl.col("scheduled_arrival") + pl.duration(minutes="arr_delay")
    flights = flights.with_columns(arrived_at=arrived, arrival_delay=pl.col("arr_delay").cast(pl.Int32))
    return _agreeing(flights, "arrived_at", "arr_time", zone)


def _agreeing(flights: pl.DataFrame, instant: str, digits: str, zone: str) -> pl.DataFrame:
    """Only flights whose clock digits say the same as their delay."""
    hour = pl.duration(hours=1)

    def shows(wall: pl.Expr) -> pl.Expr:
        return wall.dt.hour().cast(pl.Int64) * 60 + wall.dt.minute() == _digits(digits, midnight=0)

    now, before = _wall(pl.col(instant), zone), _wall(pl.col(instant) - hour, zone) + hour
    # For an hour after the clocks go forward one that was not put forward is believed too.
    return flights.filter(shows(now) | ((before < now) & shows(before)))


def _weather(raw: pl.DataFrame) -> pl.DataFrame:
    at = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    weather = raw.select("origin", observed_at=at, **{ours: theirs for theirs, ours in WEATHER.items()})
    possible = pl.col("wind_speed_mph").is_null() | (pl.col("wind_speed_mph") <= 120)
    return weather.filter(possible)


def _write(table: pl.DataFrame, path: Path, keys: list[str]) -> None:
    """A table whose keys are there and occur once."""
    told = table.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in table.columns if _must_be_there(c)))
    once = told.unique(keys, keep="first", maintain_order=True)
    if dropped := len(table) - len(once):
        log.warning("%s: %d of %d rows dropped", path.stem, dropped, len(table))
    once.write_parquet(path)


def _must_be_there(column: str) -> bool:
    return column in (*FLIGHT, "scheduled_arrival", "departed_at", "arrived_at", "observed_at")


def _digits(column: str, midnight: int = 1440) -> pl.Expr:
    """Clock digits (`517`, `2400`) as minutes after midnight."""
    found = pl.col(column) // 100 * 60 + pl.col(column) % 100
    return pl.when(found == 1440).then(midnight).otherwise(found)


def _minutes(column: str, midnight: int = 1440) -> pl.Expr:
    return pl.duration(minutes=_digits(column, midnight))


def _utc(wall: pl.Expr, zone: str) -> pl.Expr:
    return wall.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")


def _wall(instant: pl.Expr, zone: str) -> pl.Expr:
    return instant.dt.convert_time_zone(zone).dt.replace_time_zone(None)
