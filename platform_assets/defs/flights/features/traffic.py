"""Traffic: how flights have been doing in the last hours, by origin, by origin and carrier, by destination."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import dataframely as dy
import polars as pl

from platform_assets.compute.windows import ratio, sums_at_ticks
from platform_assets.declarations.tables import feature_group
from platform_assets.declarations.times import Window, after, within
from platform_assets.defs.flights.features.columns import (
    WAIT_LIMIT,
    count,
    event_time,
    key,
    late,
    mean_minutes,
    share,
)
from platform_assets.defs.flights.outcome import LATE_MINUTES
from platform_assets.defs.flights.sources import YEAR

STEP = timedelta(minutes=15)
# A key without a row has no traffic: a row older than the step is not the present.
ONE_STEP = STEP - timedelta(microseconds=1)


class Traffic(dy.Schema):
    """What every table of traffic has beside its keys."""

    event_time = event_time("The quarter hour at which the hours counted end (UTC).")
    waiting_flights = count("Flights past their schedule that have not departed, given up after 6 hours.")
    waiting_late_flights = count("Of the waiting flights, those 30 minutes or more past their schedule.")
    waiting_minutes_mean = mean_minutes(
        "Mean wait so far of the waiting flights, minutes; null where none waits.", least=0, most=360
    )
    due_flights_2h = count("Flights scheduled in the last 2 hours that have departed or are waiting.")
    due_delay_so_far_mean_2h = mean_minutes(
        "Mean delay so far of the flights due in the last 2 hours (departed: delay, early as 0; waiting: wait), minutes.",
        least=0,
        most=120,
    )
    due_late_share_2h = share("Share of the flights due in the last 2 hours already 30 minutes late or more.")
    departure_delay_mean_1h = mean_minutes("Mean delay of the departures of the last hour, minutes.")
    departure_late_share_1h = share("Share of the departures of the last hour that left 30 minutes late or more.")
    departed_flights_3h = count("Departures of the last 3 hours.")
    departure_delay_mean_3h = mean_minutes("Mean delay of the departures of the last 3 hours, minutes.")
    arrived_flights_3h = count("Arrivals of the last 3 hours.")
    arrival_delay_mean_3h = mean_minutes("Mean delay of the arrivals of the last 3 hours, minutes.")
    arrival_late_share_3h = share("Share of the arrivals of the last 3 hours that came 30 minutes late or more.")
    lost_en_route_mean_3h = mean_minutes(
        "Mean of arrival delay minus departure delay over the arrivals of the last 3 hours, minutes.", most=600
    )


class OriginTraffic(Traffic):
    """Columns of `origin_traffic`."""

    origin = key("Origin airport (IATA).")


class OriginCarrierTraffic(Traffic):
    """Columns of `origin_carrier_traffic`."""

    origin = key("Origin airport (IATA).")
    carrier = key("Carrier (two characters).")


class DestinationTraffic(Traffic):
    """Columns of `destination_traffic`."""

    destination = key("Destination airport (IATA).")


@feature_group(
    keys=["origin"],
    event_time="event_time",
    known_at=after("event_time"),
    schema=OriginTraffic,
    lookback=timedelta(days=2),
    max_age=timedelta(minutes=30),
    freshness=within(hours=36),
    tags={"domain": "flights"},
    partitions=YEAR,
    owners=["team:delay-model"],
)
def origin_traffic(
    schedule: pl.LazyFrame, departures: pl.LazyFrame, arrivals: pl.LazyFrame, *, window: Window
) -> pl.LazyFrame:
    """How the flights out of an origin have been doing in the last hours, every quarter hour."""
    return _traffic(schedule, departures, arrivals, keys=["origin"], window=window)


@feature_group(
    keys=["origin", "carrier"],
    event_time="event_time",
    known_at=after("event_time"),
    schema=OriginCarrierTraffic,
    lookback=timedelta(days=2),
    max_age=ONE_STEP,
    freshness=within(hours=36),
    tags={"domain": "flights"},
    partitions=YEAR,
    owners=["team:delay-model"],
)
def origin_carrier_traffic(
    schedule: pl.LazyFrame, departures: pl.LazyFrame, arrivals: pl.LazyFrame, *, window: Window
) -> pl.LazyFrame:
    """How a carrier's flights out of an origin have been doing in the last hours, every quarter hour."""
    return _traffic(schedule, departures, arrivals, keys=["origin", "carrier"], window=window)


@feature_group(
    keys=["destination"],
    event_time="event_time",
    known_at=after("event_time"),
    schema=DestinationTraffic,
    lookback=timedelta(days=2),
    max_age=ONE_STEP,
    freshness=within(hours=36),
    tags={"domain": "flights"},
    partitions=YEAR,
    owners=["team:delay-model"],
)
def destination_traffic(
    schedule: pl.LazyFrame, departures: pl.LazyFrame, arrivals: pl.LazyFrame, *, window: Window
) -> pl.LazyFrame:
    """How the flights to a destination have been doing in the last hours, every quarter hour."""
    return _traffic(schedule, departures, arrivals, keys=["destination"], window=window)


def _traffic(
    schedule: pl.LazyFrame, departures: pl.LazyFrame, arrivals: pl.LazyFrame, *, keys: Sequence[str], window: Window
) -> pl.LazyFrame:
    """Departures, waiting flights and arrivals of the last hours per key, at every quarter hour that has any."""
    flights = schedule.select("flight_id", *keys, "scheduled_departure").join(
        departures.select("flight_id", "departed_at", "departure_delay"), on="flight_id", how="left"
    )
    gave_up = pl.col("scheduled_departure") + WAIT_LIMIT
    departed = departures.select(*keys, "departed_at", delay=pl.col("departure_delay").cast(pl.Int64))
    landed = arrivals.join(
        departures.select("flight_id", departure_delay=pl.col("departure_delay").cast(pl.Int64)), on="flight_id"
    ).select(
        *keys,
        "arrived_at",
        delay=pl.col("arrival_delay").cast(pl.Int64),
        lost=pl.col("arrival_delay").cast(pl.Int64) - pl.col("departure_delay"),
    )
    streams = [
        flights.select(
            *keys,
            active_from="scheduled_departure",
            active_until=pl.min_horizontal(pl.col("departed_at"), gave_up),
            waiting=pl.lit(1),
            waiting_since=pl.col("scheduled_departure").dt.epoch("s") // 60,
        ),
        flights.select(
            *keys,
            active_from=pl.col("scheduled_departure") + timedelta(minutes=LATE_MINUTES),
            active_until=pl.min_horizontal(pl.col("departed_at"), gave_up),
            waiting_late=pl.lit(1),
        ),
    ]
    for hours in (1, 3):
        streams += [
            departed.select(
                *keys,
                active_from="departed_at",
                active_until=pl.col("departed_at") + timedelta(hours=hours),
                **{  # type: ignore[arg-type]
                    f"departed_{hours}h": pl.lit(1),
                    f"delay_{hours}h": "delay",
                    f"late_{hours}h": late(pl.col("delay")),
                },
            )
        ]
    # Of the flights due in the last two hours: those gone by their delay, those still waiting by their wait so far.
    until = pl.col("scheduled_departure") + timedelta(hours=2)
    streams += [
        flights.filter(pl.col("departed_at").is_not_null()).select(
            *keys,
            active_from=pl.max_horizontal("scheduled_departure", "departed_at"),
            active_until=until,
            due_gone=pl.lit(1),
            due_gone_minutes=pl.col("departure_delay").clip(lower_bound=0),
        ),
        flights.select(
            *keys,
            active_from="scheduled_departure",
            active_until=pl.min_horizontal(pl.col("departed_at"), until),
            due_waiting=pl.lit(1),
            due_waiting_since=pl.col("scheduled_departure").dt.epoch("s") // 60,
        ),
        flights.filter(pl.col("departed_at").is_null() | (pl.col("departure_delay") >= LATE_MINUTES)).select(
            *keys,
            active_from=pl.col("scheduled_departure") + timedelta(minutes=LATE_MINUTES),
            active_until=until,
            due_late=pl.lit(1),
        ),
        landed.select(
            *keys,
            active_from="arrived_at",
            active_until=pl.col("arrived_at") + timedelta(hours=3),
            arrived_3h=pl.lit(1),
            arrival_delay_3h="delay",
            arrival_late_3h=late(pl.col("delay")),
            lost_3h="lost",
        ),
    ]
    now = pl.col("event_time").dt.epoch("s") // 60
    due = pl.col("due_gone") + pl.col("due_waiting")
    due_minutes = pl.col("due_gone_minutes") + now * pl.col("due_waiting") - pl.col("due_waiting_since")
    return sums_at_ticks(streams, keys=keys, window=window, step=STEP).select(
        *keys,
        "event_time",
        waiting_flights=pl.col("waiting").cast(pl.Int32),
        waiting_late_flights=pl.col("waiting_late").cast(pl.Int32),
        waiting_minutes_mean=ratio(now * pl.col("waiting") - pl.col("waiting_since"), "waiting"),
        due_flights_2h=due.cast(pl.Int32),
        due_delay_so_far_mean_2h=ratio(due_minutes, due),
        due_late_share_2h=ratio("due_late", due),
        departure_delay_mean_1h=ratio("delay_1h", "departed_1h"),
        departure_late_share_1h=ratio("late_1h", "departed_1h"),
        departed_flights_3h=pl.col("departed_3h").cast(pl.Int32),
        departure_delay_mean_3h=ratio("delay_3h", "departed_3h"),
        arrived_flights_3h=pl.col("arrived_3h").cast(pl.Int32),
        arrival_delay_mean_3h=ratio("arrival_delay_3h", "arrived_3h"),
        arrival_late_share_3h=ratio("arrival_late_3h", "arrived_3h"),
        lost_en_route_mean_3h=ratio("lost_3h", "arrived_3h"),
    )
