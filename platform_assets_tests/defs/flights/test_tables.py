"""What the tables of the real year hold, and what their contracts refuse."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from inspect import getdoc

import dataframely as dy
import polars as pl
import pytest

from platform_assets.defs.flights import tables
from platform_assets.defs.flights.times import MISSING_ZONES, NEW_YORK
from platform_assets_tests.defs.flights.conftest import DAILY, SNAPSHOTS

ZONED = ("schedule", "arrivals")


def schema_of(source: str) -> type[dy.Schema]:
    schema: type[dy.Schema] = getattr(tables, source.capitalize())
    return schema


def make(source: str, raw: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    inputs = [airports.lazy()] if source in ZONED else []
    made: pl.LazyFrame = getattr(tables, source)(raw.lazy(), *inputs)
    return made.collect()


def broken_rules(source: str, table: pl.DataFrame) -> dict[str, int]:
    return schema_of(source).filter(table)[1].counts()


@pytest.mark.parametrize("source", [*DAILY, *SNAPSHOTS])
def test_a_table_has_the_columns_of_its_contract_described_even_without_rows(source: str) -> None:
    columns = schema_of(source).columns()
    raw = pl.LazyFrame(schema=getattr(tables, f"{source.upper()}_RAW"))
    airports = tables.Airports.create_empty(lazy=True)
    made = getattr(tables, source)(raw, *([airports] if source in ZONED else []))
    assert isinstance(made, pl.LazyFrame)
    assert made.collect().schema == pl.Schema({name: column.dtype for name, column in columns.items()})
    assert all(column.description for column in columns.values())
    instants = [column for column in columns.values() if isinstance(column, dy.Datetime)]
    assert all("(UTC)" in (column.description or "") for column in instants)
    assert (getdoc(getattr(tables, source)) or "").endswith(".")


@pytest.mark.parametrize("source", SNAPSHOTS)
def test_snapshots_say_that_they_are_undated(source: str) -> None:
    assert "undated snapshot" in (getdoc(getattr(tables, source)) or "")


@pytest.mark.parametrize("source", [*DAILY, *SNAPSHOTS])
def test_the_real_year_keeps_every_contract_but_for_one_wind(source: str, finished: dict[str, pl.DataFrame]) -> None:
    expected = {"wind_speed_mph|max": 1} if source == "weather" else {}
    assert broken_rules(source, finished[source]) == expected


def test_the_wind_that_is_refused_blew_at_1048_miles_an_hour(finished: dict[str, pl.DataFrame]) -> None:
    refused = tables.Weather.filter(finished["weather"])[1].invalid()
    assert refused.select("origin", "observed_at", pl.col("wind_speed_mph").round()).rows() == [
        ("EWR", datetime(2013, 2, 12, 8, tzinfo=UTC), 1048.0)
    ]


def test_flights_are_counted(finished: dict[str, pl.DataFrame]) -> None:
    ids = {source: set(finished[source]["flight_id"]) for source in ("schedule", "departures", "arrivals")}
    assert len(ids["schedule"]) == finished["schedule"].height == 336_776
    assert len(ids["schedule"] - ids["departures"]) == 8_255
    assert len(ids["departures"] - ids["arrivals"]) == 1_175
    assert ids["arrivals"] < ids["departures"] < ids["schedule"]
    assert set(finished["assignments"]["flight_id"]) == ids["schedule"]


def test_only_cancelled_flights_lack_a_tail_number(finished: dict[str, pl.DataFrame]) -> None:
    without = finished["assignments"].filter(pl.col("tail_number").is_null())
    assert without.height == 2_512
    assert without.join(finished["departures"], on="flight_id", how="semi").height == 0
    assert finished["departures"]["tail_number"].null_count() == 0


def test_the_registry_lacks_the_aircraft_of_52606_flights(finished: dict[str, pl.DataFrame]) -> None:
    assert finished["assignments"].join(finished["planes"], on="tail_number", how="anti").height == 52_606


def test_one_flight_in_six_is_half_an_hour_late(finished: dict[str, pl.DataFrame]) -> None:
    assert (finished["arrivals"]["arrival_delay"] >= 30).sum() == 52_802


@pytest.fixture(scope="module")
def flown(raw: dict[str, pl.DataFrame], finished: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Arrivals with their departure, the digits of both clocks, and what these should have shown."""
    left = pl.col("departed_at").dt.convert_time_zone(NEW_YORK).dt.replace_time_zone(None)
    departures = finished["departures"].select("flight_id", "departed_at", left=left)
    departures = departures.with_columns(raw["departures"]["dep_time"])
    zones = dict(finished["airports"].select("airport", "time_zone").iter_rows()) | MISSING_ZONES
    arrivals = finished["arrivals"].with_columns(raw["arrivals"]["arr_time"])
    landed = pl.concat(
        flights.with_columns(
            landed=pl.col("arrived_at").dt.convert_time_zone(zones[str(destination)]).dt.replace_time_zone(None)
        )
        for (destination,), flights in arrivals.group_by("destination")
    )
    return landed.join(departures, on="flight_id").with_columns(
        on_the_ground=(pl.col("arrived_at") - pl.col("departed_at")).dt.total_minutes() - pl.col("air_time")
    )


def test_no_flight_is_shorter_than_its_time_in_the_air(flown: pl.DataFrame) -> None:
    """No exception in the year: taxiing takes at least 5 minutes, and at most about 4 hours."""
    assert flown.height == 327_346
    assert flown.select(least=pl.min("on_the_ground"), most=pl.max("on_the_ground")).row(0) == (5, 235)


def test_every_destinations_clock_is_right_to_the_hour_in_winter_and_summer(flown: pl.DataFrame) -> None:
    """A zone off by an hour would move the time on the ground (gate to gate, less the flight) by an hour.

    Delay and digits cannot show it: both are told by the same clock.
    """
    summer = pl.col("arrived_at").dt.convert_time_zone(NEW_YORK).dt.dst_offset() > pl.duration(hours=0)
    typical = flown.group_by("destination", summer.alias("summer")).agg(minutes=pl.median("on_the_ground"))
    assert typical.height == 203
    assert typical.filter(~pl.col("minutes").is_between(15, 45)).rows() == []


def test_flights_that_land_after_midnight(flown: pl.DataFrame, package_flights: pl.DataFrame) -> None:
    """10,633 by the digits; 10,657 by the days of the two clocks.

    Of the former 97 have no arrival delay and 29 left at 2400, which is the day they landed; the digits
    miss 150 that landed at 2400, which is the next day.
    """
    by_digits = pl.col("arr_time") < pl.col("dep_time")
    assert package_flights.filter(by_digits).height == 10_633
    assert flown.filter(by_digits).height == 10_633 - 97
    assert flown.filter(dep_time=2400).height == 29
    assert flown.filter(arr_time=2400).height == 150
    later_day = pl.col("landed").dt.date() > pl.col("left").dt.date()
    assert flown.filter(later_day).height == 10_633 - 97 - 29 + 150


def test_the_clocks_show_the_digits_but_for_one_that_was_not_put_forward(flown: pl.DataFrame) -> None:
    """New York skipped 2:03 that night, and Palm Beach with it."""
    left, landed = (pl.col(c).dt.hour().cast(pl.Int32) * 100 + pl.col(c).dt.minute() for c in ("left", "landed"))
    assert flown.filter(left != pl.col("dep_time") % 2400).height == 0
    unlike = flown.filter(landed != pl.col("arr_time") % 2400).select("flight_id", "arr_time", "arrived_at")
    assert unlike.rows() == [("B635-20130309-JFK-PBI", 203, datetime(2013, 3, 10, 7, 3, tzinfo=UTC))]


def test_weather_hours_are_unique_although_the_clock_shows_one_twice(
    finished: dict[str, pl.DataFrame],
) -> None:
    local = finished["weather"].with_columns(clock=pl.col("observed_at").dt.convert_time_zone(NEW_YORK))
    for origin in ("EWR", "JFK", "LGA"):
        hours = local.filter(origin=origin)
        assert hours["observed_at"].diff().drop_nulls().min() == timedelta(hours=1)
        spring = hours.filter(pl.col("clock").dt.date() == date(2013, 3, 10))["clock"].dt.hour().to_list()
        autumn = hours.filter(pl.col("clock").dt.date() == date(2013, 11, 3))["clock"].dt.hour().to_list()
        assert spring == [0, 1, *range(3, 24)]
        assert autumn == [1, 1, *range(2, 24)]  # The station's midnight is missing: 24 of 25 hours.
    assert local["observed_at"].max() == datetime(2013, 12, 30, 23, tzinfo=UTC)


@pytest.mark.parametrize("source", ["schedule", "departures", "arrivals", "weather"])
def test_a_row_does_not_depend_on_the_others(
    source: str, raw: dict[str, pl.DataFrame], finished: dict[str, pl.DataFrame]
) -> None:
    some = raw[source].with_row_index().sample(500, seed=7, shuffle=True)
    alone = make(source, some.drop("index"), finished["airports"])
    assert alone.equals(finished[source][some["index"]])


UA1545 = {"carrier": "UA", "flight": 1545, "origin": "EWR"}
DAMAGE: dict[str, tuple[str, dict[str, object], set[str]]] = {
    "no such minute on the departure clock": (
        "schedule", {"sched_dep_time": 2561},
        {"scheduled_departure|nullability", "scheduled_arrival|nullability"},
    ),
    "no such day": (
        "schedule", {"month": 2, "day": 31},
        {"flight_id|nullability", "scheduled_departure|nullability", "scheduled_arrival|nullability"},
    ),
    "no such minute on the arrival clock": (
        "schedule", {"sched_arr_time": 2561}, {"scheduled_arrival|nullability"},
    ),
    "a destination in no known zone": ("schedule", {"dest": "ZZZ"}, {"scheduled_arrival|nullability"}),
    "departure digits against the delay": ("departures", {"dep_time": 518}, {"departed_at|nullability"}),
    "no departure digits": ("departures", {"dep_time": None}, {"departed_at|nullability"}),
    "arrival digits against the delay": ("arrivals", {"arr_delay": 12}, {"arrived_at|nullability"}),
    "half a day in the air": ("arrivals", {"air_time": 720}, {"air_time_fits_the_day"}),
    "an hour that is none": ("weather", {"time_hour": "2013-01-01 1 am"}, {"observed_at|nullability"}),
    "more dew than warmth": ("weather", {"temp": 20.0}, {"dew_point_below_temperature"}),
    "gusts below the mean wind": ("weather", {"wind_gust": 1.0}, {"gusts_exceed_wind"}),
}  # fmt: skip


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_row_stays_and_is_refused_for_that_reason_alone(
    damage: str, raw: dict[str, pl.DataFrame], finished: dict[str, pl.DataFrame]
) -> None:
    source, cells, reasons = DAMAGE[damage]
    sound = raw[source].filter(**({"origin": "EWR"} if source == "weather" else UA1545)).head(2)
    is_first = pl.int_range(pl.len()) == 0
    damaged = sound.with_columns(
        pl.when(is_first).then(pl.lit(cell, sound.schema[name])).otherwise(name).alias(name)
        for name, cell in cells.items()
    )
    assert broken_rules(source, make(source, sound, finished["airports"])) == {}
    table = make(source, damaged, finished["airports"])
    assert table.height == 2
    assert broken_rules(source, table) == dict.fromkeys(reasons, 1)


def test_the_id_survives_a_clock_that_cannot_be_read(
    raw: dict[str, pl.DataFrame], finished: dict[str, pl.DataFrame]
) -> None:
    """Whoever looks into a refused row must find the flight."""
    sound = raw["schedule"].filter(**UA1545).head(1)
    table = make("schedule", sound.with_columns(sched_dep_time=pl.lit(2561, pl.Int32)), finished["airports"])
    assert table["flight_id"].to_list() == ["UA1545-20130101-EWR-IAH"]
