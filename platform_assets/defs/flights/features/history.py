"""History: how a flight number, a route and a carrier have been arriving."""

from __future__ import annotations

from datetime import timedelta

import dataframely as dy
import polars as pl

from platform_assets.compute.windows import ratio, sums_at_ticks
from platform_assets.declarations.tables import FeatureGroup, feature_group
from platform_assets.declarations.times import Window, after, within
from platform_assets.defs.flights.features.columns import count, event_time, key, late, mean_minutes, share
from platform_assets.defs.flights.sources import YEAR


class FlightNumberHistory(dy.Schema):
    """Columns of `flight_number_history`."""

    carrier = key("Carrier (two characters).")
    flight_number = dy.Int32(primary_key=True, min=1, max=9999, description="Flight number.")
    event_time = event_time("An arrival of this flight number (UTC).")
    last_arrival_delay = dy.Int32(nullable=False, min=-180, max=3000, description="Delay of that arrival, minutes.")
    arrived_flights_14d = count("Arrivals of the last 14 days, that one included.", least=1)
    arrival_delay_mean_14d = mean_minutes("Mean delay of the arrivals of the last 14 days, minutes.")
    arrival_late_share_14d = share("Share of the arrivals of the last 14 days that came 30 minutes late or more.")
    lost_en_route_mean_14d = mean_minutes(
        "Mean of arrival delay minus departure delay over the last 14 days, minutes.", most=600
    )
    arrival_delay_mean_28d = mean_minutes(
        "Mean delay of the arrivals of the last 28 days, each held between -60 and 120, minutes.", least=-60, most=120
    )
    arrival_late_share_28d = share("Share of the arrivals of the last 28 days that came 30 minutes late or more.")
    lost_en_route_mean_28d = mean_minutes(
        "Mean of arrival delay minus departure delay over the last 28 days, minutes.", most=600
    )


class RouteHistory(dy.Schema):
    """Columns of `route_history`."""

    origin = key("Origin airport (IATA).")
    destination = key("Destination airport (IATA).")
    event_time = event_time("Noon or midnight UTC, at which the 28 days end.")
    arrived_flights_28d = count("Arrivals of the last 28 days.", most=5000, least=1)
    arrival_delay_mean_28d = mean_minutes(
        "Their mean delay, each held between -60 and 120, minutes.", least=-60, most=120
    )
    arrival_late_share_28d = share("Share of them that came 30 minutes late or more.")
    lost_en_route_mean_28d = mean_minutes("Mean of arrival delay minus departure delay, minutes.", most=600)


class CarrierToday(dy.Schema):
    """Columns of `CARRIER_TODAY_SQL`."""

    carrier = key("Carrier (two characters).")
    event_time = event_time("The fifth minute at which the hours counted end (UTC).")
    departed_flights_2h = count("The carrier's departures from New York in the last 2 hours.")
    departure_delay_mean_2h = mean_minutes("Mean delay of those departures, minutes; null where none.")
    departure_late_share_2h = share("Share of those departures that left 30 minutes late or more.")
    arrival_delay_mean_2h = mean_minutes(
        "Mean delay of the carrier's arrivals in the last 2 hours, minutes; null where none."
    )
    arrival_delay_mean_12h = mean_minutes(
        "Mean delay of the carrier's arrivals in the last 12 hours, minutes; null where none."
    )
    arrival_late_share_12h = share("Share of the arrivals of the last 12 hours that came 30 minutes late or more.")


@feature_group(
    keys=["carrier", "flight_number"],
    event_time="event_time",
    known_at=after("event_time"),
    schema=FlightNumberHistory,
    lookback=timedelta(days=30),  # the 28 days, and two for the departure of an arrival
    max_age=timedelta(days=14),
    freshness=within(hours=36),
    tags={"domain": "flights"},
    partitions=YEAR,
    owners=["team:delay-model"],
)
def flight_number_history(departures: pl.LazyFrame, arrivals: pl.LazyFrame) -> pl.LazyFrame:
    """How a flight number arrived in its last two and four weeks, at each of its arrivals."""
    keys = ["carrier", "flight_number"]
    flights = (
        arrivals.join(departures.select("flight_id", "departure_delay"), on="flight_id", how="inner")
        .filter(*(pl.col(k).is_not_null() for k in keys))
        .select(
            *keys,
            event_time="arrived_at",
            arrived=pl.lit(1, pl.Int64),
            delay=pl.col("arrival_delay").cast(pl.Int64),
            capped=pl.col("arrival_delay").cast(pl.Int64).clip(-60, 120),
            late=late(pl.col("arrival_delay")),
            lost=pl.col("arrival_delay").cast(pl.Int64) - pl.col("departure_delay").cast(pl.Int64),
        )
        .group_by(*keys, "event_time")
        .agg(pl.col("arrived", "delay", "capped", "late", "lost").sum(), worst=pl.col("delay").max())
        .sort(*keys, "event_time")
    )
    columns = ["arrived", "delay", "capped", "late", "lost"]
    windows = [
        flights.rolling("event_time", period=timedelta(days=days), group_by=keys).agg(
            pl.col(columns).sum().name.suffix(f"_{days}d"), last_delay=pl.col("worst").last()
        )
        for days in (14, 28)
    ]
    joined = windows[0].join(windows[1].drop("last_delay"), on=[*keys, "event_time"], how="inner")
    return joined.select(
        *keys,
        "event_time",
        last_arrival_delay=pl.col("last_delay").cast(pl.Int32),
        arrived_flights_14d=pl.col("arrived_14d").cast(pl.Int32),
        arrival_delay_mean_14d=ratio("delay_14d", "arrived_14d"),
        arrival_late_share_14d=ratio("late_14d", "arrived_14d"),
        lost_en_route_mean_14d=ratio("lost_14d", "arrived_14d"),
        arrival_delay_mean_28d=ratio("capped_28d", "arrived_28d"),
        arrival_late_share_28d=ratio("late_28d", "arrived_28d"),
        lost_en_route_mean_28d=ratio("lost_28d", "arrived_28d"),
    )


@feature_group(
    keys=["origin", "destination"],
    event_time="event_time",
    known_at=after("event_time"),
    schema=RouteHistory,
    lookback=timedelta(days=30),
    max_age=timedelta(hours=12),
    freshness=within(hours=36),
    tags={"domain": "flights"},
    partitions=YEAR,
    owners=["team:delay-model"],
)
def route_history(departures: pl.LazyFrame, arrivals: pl.LazyFrame, *, window: Window) -> pl.LazyFrame:
    """How a route (origin, destination) arrived in its last four weeks, twice a day."""
    landed = arrivals.join(departures.select("flight_id", "departure_delay"), on="flight_id", how="inner").select(
        "origin",
        "destination",
        active_from="arrived_at",
        active_until=pl.col("arrived_at") + timedelta(days=28),
        arrived=pl.lit(1),
        delay=pl.col("arrival_delay").clip(-60, 120),
        late=late(pl.col("arrival_delay")),
        lost=pl.col("arrival_delay") - pl.col("departure_delay"),
    )
    return sums_at_ticks([landed], keys=["origin", "destination"], window=window, step=timedelta(hours=12)).select(
        "origin",
        "destination",
        "event_time",
        arrived_flights_28d=pl.col("arrived").cast(pl.Int32),
        arrival_delay_mean_28d=ratio("delay", "arrived"),
        arrival_late_share_28d=ratio("late", "arrived"),
        lost_en_route_mean_28d=ratio("lost", "arrived"),
    )


carrier_today = FeatureGroup(
    name="carrier_today",
    description="How a carrier's flights from New York have been doing in the last 2 and 12 hours.",
    keys=["carrier"],
    event_time="event_time",
    known_at=after("event_time"),
    schema=CarrierToday,
    inputs=["departures", "arrivals"],
    lookback=timedelta(days=1),
    max_age=timedelta(hours=6),
    freshness=within(hours=36),
    tags={"domain": "flights"},
    partitions=YEAR,
    owners=["team:delay-model"],
    sql="""
-- A carrier's departures and arrivals of the last 2 and 12 hours, at every fifth minute that had any.
WITH events AS (
    SELECT carrier, departed_at AS happened_at,
           1 AS departed, departure_delay AS departure_minutes, CAST(departure_delay >= 30 AS INTEGER) AS departure_late,
           0 AS arrived, 0 AS arrival_minutes, 0 AS arrival_late
    FROM departures
    UNION ALL
    SELECT carrier, arrived_at, 0, 0, 0, 1, arrival_delay, CAST(arrival_delay >= 30 AS INTEGER)
    FROM arrivals
),
-- Stamped with the end of their five minutes: (tick - 5 minutes, tick].
ticks AS (
    SELECT carrier,
           time_bucket(INTERVAL 5 MINUTES, happened_at - INTERVAL 1 MICROSECOND) + INTERVAL 5 MINUTES AS event_time,
           CAST(sum(departed) AS BIGINT) AS departed,
           CAST(sum(departure_minutes) AS BIGINT) AS departure_minutes,
           CAST(sum(departure_late) AS BIGINT) AS departure_late,
           CAST(sum(arrived) AS BIGINT) AS arrived,
           CAST(sum(arrival_minutes) AS BIGINT) AS arrival_minutes,
           CAST(sum(arrival_late) AS BIGINT) AS arrival_late
    FROM events
    WHERE carrier IS NOT NULL
    GROUP BY ALL
),
sums AS (
    SELECT carrier, event_time,
           sum(departed) OVER h2 AS departed_2h,
           sum(departure_minutes) OVER h2 AS departure_minutes_2h,
           sum(departure_late) OVER h2 AS departure_late_2h,
           sum(arrived) OVER h2 AS arrived_2h,
           sum(arrival_minutes) OVER h2 AS arrival_minutes_2h,
           sum(arrived) OVER h12 AS arrived_12h,
           sum(arrival_minutes) OVER h12 AS arrival_minutes_12h,
           sum(arrival_late) OVER h12 AS arrival_late_12h
    FROM ticks
    WINDOW h2 AS (PARTITION BY carrier ORDER BY event_time RANGE BETWEEN INTERVAL 115 MINUTES PRECEDING AND CURRENT ROW),
           h12 AS (PARTITION BY carrier ORDER BY event_time RANGE BETWEEN INTERVAL 715 MINUTES PRECEDING AND CURRENT ROW)
)
SELECT
    carrier,
    event_time,
    CAST(departed_2h AS INTEGER) AS departed_flights_2h,
    CAST(departure_minutes_2h AS DOUBLE) / nullif(departed_2h, 0) AS departure_delay_mean_2h,
    CAST(departure_late_2h AS DOUBLE) / nullif(departed_2h, 0) AS departure_late_share_2h,
    CAST(arrival_minutes_2h AS DOUBLE) / nullif(arrived_2h, 0) AS arrival_delay_mean_2h,
    CAST(arrival_minutes_12h AS DOUBLE) / nullif(arrived_12h, 0) AS arrival_delay_mean_12h,
    CAST(arrival_late_12h AS DOUBLE) / nullif(arrived_12h, 0) AS arrival_late_share_12h
FROM sums
""",
)
