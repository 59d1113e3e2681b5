"""The sources of the flights project: one row per flight becomes facts, each with the time at which it was known.

Splitting a flight into what was planned, assigned, flown and landed is what makes leaks hard to write: a
feature that reads arrivals gets them when they had arrived.
"""

from __future__ import annotations

from datetime import date

from platform_assets.declarations.tables import source
from platform_assets.declarations.times import Daily, after, before, unknown, within
from platform_assets.defs.flights import tables
from platform_assets.defs.flights.times import NEW_YORK

YEAR = Daily(first=date(2013, 1, 1), last=date(2013, 12, 31), zone=NEW_YORK)
"""The days on which flights were planned."""

YEAR_AND_TAIL = Daily(first=date(2013, 1, 1), last=date(2014, 1, 1), zone=NEW_YORK)
"""The same and the day after, on which the last flights of New Year's Eve left and landed."""

_OPERATIONS = ["team:operations"]
_DAY = ["year", "month", "day"]
_REGISTRY = unknown("the registry is one undated snapshot")

schedule = source(
    keys=["flight_id"],
    event_time="scheduled_departure",
    known_at=before("scheduled_departure", days=7),
    partitions=YEAR,
    schema=tables.Schedule,
    raw=tables.SCHEDULE_RAW,
    date_parts=_DAY,
    freshness=within(hours=36),
    owners=_OPERATIONS,
    tags={"domain": "flights"},
)(tables.schedule)

# The data carry the aircraft that flew, never when it was assigned. Two hours ahead is our assumption, and
# it stands here so that it can be seen and changed; a swap in the last two hours is what it hides.
assignments = source(
    keys=["flight_id"],
    event_time="scheduled_departure",
    known_at=before("scheduled_departure", hours=2),
    partitions=YEAR,
    schema=tables.Assignments,
    raw=tables.ASSIGNMENTS_RAW,
    date_parts=_DAY,
    freshness=within(hours=36),
    owners=_OPERATIONS,
    tags={"domain": "flights"},
)(tables.assignments)

departures = source(
    keys=["flight_id"],
    event_time="departed_at",
    known_at=after("departed_at"),
    partitions=YEAR_AND_TAIL,
    schema=tables.Departures,
    raw=tables.DEPARTURES_RAW,
    date_parts=_DAY,
    freshness=within(hours=36),
    owners=_OPERATIONS,
    tags={"domain": "flights"},
)(tables.departures)

arrivals = source(
    keys=["flight_id"],
    event_time="arrived_at",
    known_at=after("arrived_at"),
    partitions=YEAR_AND_TAIL,
    schema=tables.Arrivals,
    raw=tables.ARRIVALS_RAW,
    date_parts=_DAY,
    freshness=within(hours=36),
    owners=_OPERATIONS,
    tags={"domain": "flights"},
)(tables.arrivals)

weather = source(
    keys=["origin"],
    event_time="observed_at",
    known_at=after("observed_at", minutes=15),
    partitions=YEAR,
    schema=tables.Weather,
    raw=tables.WEATHER_RAW,
    date_parts=_DAY,
    freshness=within(hours=36),
    owners=["team:weather"],
    tags={"domain": "weather"},
)(tables.weather)

planes = source(
    keys=["tail_number"],
    known_at=_REGISTRY,
    schema=tables.Planes,
    raw=tables.PLANES_RAW,
    owners=_OPERATIONS,
    tags={"domain": "registry"},
)(tables.planes)

airports = source(
    keys=["airport"],
    known_at=_REGISTRY,
    schema=tables.Airports,
    raw=tables.AIRPORTS_RAW,
    on_invalid="fail",
    owners=_OPERATIONS,
    tags={"domain": "registry"},
)(tables.airports)

carriers = source(
    keys=["carrier"],
    known_at=_REGISTRY,
    schema=tables.Carriers,
    raw=tables.CARRIERS_RAW,
    on_invalid="fail",
    owners=_OPERATIONS,
    tags={"domain": "registry"},
)(tables.carriers)

SOURCES = (schedule, assignments, departures, arrivals, weather, planes, airports, carriers)
