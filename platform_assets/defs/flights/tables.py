"""The tables of the flights project: what each column means, what every row must satisfy, where it is from.

Per source there is the type of each raw column (`..._RAW`), the contract of the finished table (a
schema) and a function between them. The functions look at one row at a time and drop none: a row whose
clocks cannot be read for certain leaves with a null instant, which its contract refuses.
"""

from __future__ import annotations

from typing import Final

import dataframely as dy
import polars as pl

from platform_assets.defs.flights.times import (
    MISSING_ZONES,
    NEW_YORK,
    arrival_after,
    calendar_day,
    instant_of,
    wall_time,
    where_clock_shows,
)

RawColumns = dict[str, type[pl.DataType]]

_AIRPORT = r"^[A-Z0-9]{3}$"
_CARRIER = r"^[A-Z0-9]{2}$"
_FLIGHT_ID = r"^[A-Z0-9]{2}\d{1,4}-\d{8}-[A-Z0-9]{3}-[A-Z0-9]{3}$"
_NEW_YORK_AIRPORT = r"^(EWR|JFK|LGA)$"
_TAIL_NUMBER = r"^[A-Z0-9]{4,6}$"

_FILED_UNDER: Final[RawColumns] = {
    "year": pl.Int32, "month": pl.Int32, "day": pl.Int32, "sched_dep_time": pl.Int32,
}  # fmt: skip
SCHEDULE_RAW: Final[RawColumns] = _FILED_UNDER | {
    "sched_arr_time": pl.Int32, "carrier": pl.String, "flight": pl.Int32, "origin": pl.String,
    "dest": pl.String, "distance": pl.Int32,
}  # fmt: skip
ASSIGNMENTS_RAW: Final[RawColumns] = _FILED_UNDER | {
    "carrier": pl.String, "flight": pl.Int32, "origin": pl.String, "dest": pl.String, "tailnum": pl.String,
}  # fmt: skip
DEPARTURES_RAW: Final[RawColumns] = _FILED_UNDER | {
    "dep_time": pl.Int32, "dep_delay": pl.Int32, "carrier": pl.String, "flight": pl.Int32,
    "tailnum": pl.String, "origin": pl.String, "dest": pl.String,
}  # fmt: skip
ARRIVALS_RAW: Final[RawColumns] = _FILED_UNDER | {
    "sched_arr_time": pl.Int32, "arr_time": pl.Int32, "arr_delay": pl.Int32, "air_time": pl.Int32,
    "carrier": pl.String, "flight": pl.Int32, "tailnum": pl.String, "origin": pl.String, "dest": pl.String,
}  # fmt: skip
WEATHER_RAW: Final[RawColumns] = {
    "origin": pl.String, "year": pl.Int32, "month": pl.Int32, "day": pl.Int32, "hour": pl.Int32,
    "temp": pl.Float64, "dewp": pl.Float64, "humid": pl.Float64, "wind_dir": pl.Float64,
    "wind_speed": pl.Float64, "wind_gust": pl.Float64, "precip": pl.Float64, "pressure": pl.Float64,
    "visib": pl.Float64, "time_hour": pl.String,
}  # fmt: skip
PLANES_RAW: Final[RawColumns] = {
    "tailnum": pl.String, "year": pl.Int32, "type": pl.String, "manufacturer": pl.String, "model": pl.String,
    "engines": pl.Int32, "seats": pl.Int32, "speed": pl.Int32, "engine": pl.String,
}  # fmt: skip
AIRPORTS_RAW: Final[RawColumns] = {
    "faa": pl.String, "name": pl.String, "lat": pl.Float64, "lon": pl.Float64, "alt": pl.Int32,
    "tz": pl.Int32, "dst": pl.String, "tzone": pl.String,
}  # fmt: skip
CARRIERS_RAW: Final[RawColumns] = {"carrier": pl.String, "name": pl.String}


def _instant(description: str) -> dy.Datetime:
    return dy.Datetime(time_zone="UTC", time_unit="us", description=f"{description} (UTC).")


class Flight(dy.Schema):
    """What identifies a flight, in every table of flights."""

    flight_id = dy.String(
        primary_key=True,
        regex=_FLIGHT_ID,
        description="Carrier and number, New York day the flight is filed under, origin, destination: "
        "UA1545-20130101-EWR-IAH.",
    )
    carrier = dy.String(regex=_CARRIER, description="Two-character code of the airline.")
    flight_number = dy.Int32(min=1, max=9_999, description="The airline's number of the flight; it recurs daily.")
    origin = dy.String(regex=_NEW_YORK_AIRPORT, description="Airport of departure: EWR, JFK or LGA.")
    destination = dy.String(regex=_AIRPORT, description="Airport where the flight is to land (FAA code).")
    scheduled_departure = _instant("When the flight is to leave the gate")


class Schedule(Flight):
    """Contract of `schedule`."""

    scheduled_arrival = _instant("When the flight is to reach its gate, read on the destination's clock")
    distance_miles = dy.Int32(min=1, max=10_000, description="Distance between the two airports in miles.")

    @dy.rule()
    def arrives_after_departing(cls) -> pl.Expr:
        return pl.col("scheduled_arrival") > pl.col("scheduled_departure")


class Assignments(dy.Schema):
    """Contract of `assignments`."""

    flight_id = dy.String(primary_key=True, regex=_FLIGHT_ID, description="The flight; see schedule.")
    tail_number = dy.String(
        nullable=True,
        regex=_TAIL_NUMBER,
        description="Registration of the aircraft; null where none was recorded.",
    )
    scheduled_departure = _instant("When the flight is to leave the gate")


class Departures(Flight):
    """Contract of `departures`."""

    tail_number = dy.String(nullable=True, regex=_TAIL_NUMBER, description="Registration of the aircraft that left.")
    departed_at = _instant("When the flight left the gate; clock digits and delay agree on it")
    departure_delay = dy.Int32(
        min=-120,
        max=2_880,
        description="Minutes from the scheduled to the actual departure; negative when early.",
    )

    @dy.rule()
    def delay_leads_to_departure(cls) -> pl.Expr:
        return pl.col("departed_at") == pl.col("scheduled_departure") + pl.duration(minutes="departure_delay")


class Arrivals(Flight):
    """Contract of `arrivals`."""

    tail_number = dy.String(nullable=True, regex=_TAIL_NUMBER, description="Registration of the aircraft that landed.")
    scheduled_arrival = _instant("When the flight was to reach its gate, read on the destination's clock")
    arrived_at = _instant("When the flight reached its gate; clock digits and delay agree on it")
    arrival_delay = dy.Int32(
        min=-180,
        max=2_880,
        description="Minutes from the scheduled to the actual arrival; negative when early.",
    )
    air_time = dy.Int32(min=1, max=1_200, description="Minutes in the air.")

    @dy.rule()
    def delay_leads_to_arrival(cls) -> pl.Expr:
        return pl.col("arrived_at") == pl.col("scheduled_arrival") + pl.duration(minutes="arrival_delay")

    @dy.rule()
    def air_time_fits_the_day(cls) -> pl.Expr:
        """Nobody takes off more than two hours before the scheduled departure."""
        took_off_at_the_latest = pl.col("arrived_at") - pl.duration(minutes="air_time")
        return took_off_at_the_latest >= pl.col("scheduled_departure") - pl.duration(hours=2)


class Weather(dy.Schema):
    """Contract of `weather`."""

    origin = dy.String(
        primary_key=True, regex=_NEW_YORK_AIRPORT, description="Airport of the station: EWR, JFK or LGA."
    )
    observed_at = dy.Datetime(
        primary_key=True, time_zone="UTC", time_unit="us", resolution="1h",
        description="Hour of the observation (UTC), since New York's clock shows one hour twice in autumn.",
    )  # fmt: skip
    temp_f = dy.Float64(nullable=True, min=-60, max=130, description="Air temperature in degrees Fahrenheit.")
    dew_point_f = dy.Float64(nullable=True, min=-90, max=100, description="Dew point in degrees Fahrenheit.")
    humidity_pct = dy.Float64(nullable=True, min=0, max=100, description="Relative humidity in percent.")
    wind_dir_deg = dy.Float64(
        nullable=True,
        min=0,
        max=360,
        description="Direction the wind blows from, in degrees; null where variable or missing.",
    )
    wind_speed_mph = dy.Float64(nullable=True, min=0, max=120, description="Mean wind speed in miles an hour.")
    wind_gust_mph = dy.Float64(nullable=True, min=0, max=150, description="Gusts in miles an hour; null without gusts.")
    precip_in = dy.Float64(nullable=True, min=0, max=15, description="Precipitation of the hour in inches.")
    pressure_mb = dy.Float64(nullable=True, min=850, max=1_100, description="Pressure at sea level in millibars.")
    visibility_mi = dy.Float64(nullable=True, min=0, max=100, description="Visibility in miles, reported up to 10.")

    @dy.rule()
    def dew_point_below_temperature(cls) -> pl.Expr:
        return pl.col("dew_point_f") <= pl.col("temp_f")

    @dy.rule()
    def gusts_exceed_wind(cls) -> pl.Expr:
        return pl.col("wind_gust_mph") >= pl.col("wind_speed_mph")


class Planes(dy.Schema):
    """Contract of `planes`."""

    tail_number = dy.String(primary_key=True, regex=_TAIL_NUMBER, description="Registration of the aircraft.")
    built_year = dy.Int32(nullable=True, min=1_903, max=2_100, description="Year of manufacture.")
    aircraft_type = dy.String(description="Kind of aircraft, such as fixed wing multi engine.")
    manufacturer = dy.String(description="Manufacturer, under more than one spelling each.")
    model = dy.String(description="The manufacturer's model.")
    engines = dy.Int32(min=1, max=8, description="Number of engines.")
    seats = dy.Int32(min=1, max=900, description="Number of seats.")
    cruise_speed_mph = dy.Int32(
        nullable=True, min=30, max=1_500, description="Cruising speed in miles an hour; hardly ever recorded."
    )
    engine_type = dy.String(description="Kind of engine, such as turbo-fan.")


class Airports(dy.Schema):
    """Contract of `airports`."""

    airport = dy.String(primary_key=True, regex=_AIRPORT, description="FAA code of the airport.")
    name = dy.String(description="Name of the airport.")
    latitude = dy.Float64(min=-90, max=90, description="Degrees north.")
    longitude = dy.Float64(min=-180, max=180, description="Degrees east; west is negative.")
    altitude_ft = dy.Int32(min=-1_500, max=20_000, description="Height above the sea in feet.")
    utc_offset_hours = dy.Int32(min=-12, max=14, description="Hours ahead of UTC in winter; west is negative.")
    summer_time = dy.String(regex=r"^[ANU]$", description="Summer time: A as in the USA, N none, U unknown.")
    time_zone = dy.String(nullable=True, description="Name of the time zone, such as America/Chicago.")


class Carriers(dy.Schema):
    """Contract of `carriers`."""

    carrier = dy.String(primary_key=True, regex=_CARRIER, description="Two-character code of the airline.")
    name = dy.String(description="Name of the airline.")


def schedule(raw: pl.LazyFrame, airports: pl.LazyFrame) -> pl.LazyFrame:
    """Flights as planned: when each is to leave New York and to arrive where it goes."""
    return (
        _with_scheduled_arrival(_identified(raw), airports)
        .with_columns(distance_miles="distance")
        .select(Schedule.column_names())
    )


def assignments(raw: pl.LazyFrame) -> pl.LazyFrame:
    """The aircraft that each flight is to use, as far as one was recorded."""
    return _identified(raw).with_columns(tail_number="tailnum").select(Assignments.column_names())


def departures(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Flights that left the gate, and when; cancelled flights are missing."""
    reported = pl.col("scheduled_departure") + pl.duration(minutes="dep_delay")
    return (
        _identified(raw)
        .with_columns(
            tail_number="tailnum",
            departed_at=where_clock_shows(reported, pl.col("dep_time"), zone=NEW_YORK),
            departure_delay="dep_delay",
        )
        .select(Departures.column_names())
    )


def arrivals(raw: pl.LazyFrame, airports: pl.LazyFrame) -> pl.LazyFrame:
    """Flights that reached their destination, and when; cancelled and diverted flights are missing."""
    return (
        _with_scheduled_arrival(_identified(raw), airports)
        .with_columns(arrived_at=pl.col("scheduled_arrival") + pl.duration(minutes="arr_delay"))
        .with_columns(
            tail_number="tailnum",
            arrived_at=where_clock_shows(pl.col("arrived_at"), pl.col("arr_time"), zone=pl.col("zone")),
            arrival_delay="arr_delay",
        )
        .select(Arrivals.column_names())
    )


def weather(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Hourly weather observed at the three New York airports."""
    return raw.select(
        "origin",
        observed_at=pl.col("time_hour").str.to_datetime(
            "%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC", strict=False
        ),
        temp_f="temp",
        dew_point_f="dewp",
        humidity_pct="humid",
        wind_dir_deg="wind_dir",
        wind_speed_mph="wind_speed",
        wind_gust_mph="wind_gust",
        precip_in="precip",
        pressure_mb="pressure",
        visibility_mi="visib",
    )


def planes(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Aircraft in the registry: an undated snapshot that lacks many which fly."""
    return raw.select(
        "manufacturer",
        "model",
        "engines",
        "seats",
        tail_number="tailnum",
        built_year="year",
        aircraft_type="type",
        cruise_speed_mph="speed",
        engine_type="engine",
    ).select(Planes.column_names())


def airports(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Airports in the registry: an undated snapshot of the USA, without those of the Caribbean."""
    return raw.select(
        "name",
        airport="faa",
        latitude="lat",
        longitude="lon",
        altitude_ft="alt",
        utc_offset_hours="tz",
        summer_time="dst",
        time_zone="tzone",
    ).select(Airports.column_names())


def carriers(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Names of the airlines in the registry: an undated snapshot."""
    return raw.select(Carriers.column_names())


def _identified(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Add what every table of flights has; the id keeps the day's digits even when the time is unreadable."""
    day = calendar_day(year=pl.col("year"), month=pl.col("month"), day=pl.col("day"))
    return raw.with_columns(
        flight_id=pl.concat_str(
            "carrier",
            "flight",
            pl.lit("-"),
            day.dt.strftime("%Y%m%d"),
            pl.lit("-"),
            "origin",
            pl.lit("-"),
            "dest",
        ),
        flight_number="flight",
        destination="dest",
        scheduled_departure=instant_of(wall_time(day, pl.col("sched_dep_time")), zone=NEW_YORK),
    )


def _with_scheduled_arrival(flights: pl.LazyFrame, airports: pl.LazyFrame) -> pl.LazyFrame:
    zones = airports.select(destination="airport", zone="time_zone")
    supplement = pl.col("destination").replace_strict(MISSING_ZONES, default=None, return_dtype=pl.String)
    return (
        flights.join(zones, on="destination", how="left", maintain_order="left")
        .with_columns(zone=pl.coalesce("zone", supplement))
        .with_columns(
            scheduled_arrival=arrival_after(
                pl.col("scheduled_departure"), pl.col("sched_arr_time"), zone=pl.col("zone")
            )
        )
    )
