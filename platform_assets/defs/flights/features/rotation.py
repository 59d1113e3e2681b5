"""Rotation: where an aircraft is between its last flight out of New York and its next."""

from __future__ import annotations

from datetime import timedelta

import dataframely as dy
import polars as pl

from platform_assets.compute.windows import minutes
from platform_assets.declarations.tables import feature_group
from platform_assets.declarations.times import after, within
from platform_assets.defs.flights.features.columns import WAIT_LIMIT, event_time, key
from platform_assets.defs.flights.sources import YEAR

# Legs older than this say nothing about where an aircraft is now.
ROTATION_MEMORY = timedelta(hours=36)


class AircraftRotation(dy.Schema):
    """Columns of `aircraft_rotation`."""

    tail_number = key("Tail number of the aircraft.")
    event_time = event_time(
        "The assignment (2 hours before schedule), departure or arrival that changed the state (UTC)."
    )
    minutes_to_spare = dy.Int32(
        nullable=True,
        min=-3000,
        max=3000,
        description="Minutes between the aircraft's earliest return (out and back at the scheduled block) and its next flight, "
        "as things stand; null without a next flight or a leg of the last 36 hours.",
    )
    planned_minutes_to_spare = dy.Int32(
        nullable=True, min=-3000, max=3000, description="The same by the timetable alone, minutes."
    )
    last_leg_pending = dy.Bool(
        nullable=False, description="The flight before the next has not departed (or was cancelled)."
    )
    last_leg_departure_delay = dy.Int32(
        nullable=True,
        min=-180,
        max=3000,
        description="Departure delay of the last leg flown in the last 36 hours, minutes.",
    )
    last_leg_arrival_delay = dy.Int32(
        nullable=True, min=-180, max=3000, description="Arrival delay of that leg, minutes; null while it is under way."
    )
    last_leg_destination = dy.String(nullable=True, description="Destination of that leg (IATA).")


@feature_group(
    keys=["tail_number"],
    event_time="event_time",
    known_at=after("event_time"),
    schema=AircraftRotation,
    lookback=timedelta(days=4),
    max_age=timedelta(hours=24),
    freshness=within(hours=36),
    tags={"domain": "flights"},
    partitions=YEAR,
    owners=["team:delay-model"],
)
def aircraft_rotation(
    schedule: pl.LazyFrame, assignments: pl.LazyFrame, departures: pl.LazyFrame, arrivals: pl.LazyFrame
) -> pl.LazyFrame:
    """Where an aircraft is between its last flight out of New York and its next, at each assignment, departure and arrival."""
    tail = pl.col("tail_number").is_not_null()
    plan = schedule.select(
        "flight_id",
        block=minutes(pl.col("scheduled_arrival") - pl.col("scheduled_departure")).cast(pl.Int32),
        leg_destination="destination",
    )
    # A leg assigned before midnight for after midnight is left out: the day computed alone cannot see it.
    assigned_at = pl.col("scheduled_departure") - timedelta(hours=2)
    assigned = (
        assignments.filter(tail, YEAR.day_of(assigned_at) == YEAR.day_of(pl.col("scheduled_departure")))
        .join(plan, on="flight_id", how="inner")
        .select(
            "tail_number",
            event_time=assigned_at,
            next_id="flight_id",
            next_departure="scheduled_departure",
            next_block="block",
        )
    )
    gone = (
        departures.filter(tail)
        .join(plan, on="flight_id", how="inner")
        .select(
            "tail_number",
            event_time="departed_at",
            leg_id="flight_id",
            leg_departed_at="departed_at",
            leg_departure="scheduled_departure",
            leg_delay="departure_delay",
            leg_block="block",
            leg_destination="leg_destination",
        )
    )
    landed = arrivals.filter(tail).select(
        "tail_number",
        event_time="arrived_at",
        landed_id="flight_id",
        landed_at="arrived_at",
        landed_delay="arrival_delay",
    )
    leg = ["leg_id", "leg_departed_at", "leg_departure", "leg_delay", "leg_block", "leg_destination"]
    states = (
        pl.concat([assigned, gone, landed], how="diagonal")
        .sort("tail_number", "event_time", "next_id", "leg_id", "landed_id", nulls_last=True)
        .with_columns(
            previous_id=pl.col("next_id").forward_fill().shift(1).over("tail_number"),
            previous_departure=pl.col("next_departure").forward_fill().shift(1).over("tail_number"),
            previous_block=pl.col("next_block").forward_fill().shift(1).over("tail_number"),
        )
        # `previous` is fixed when a next flight is assigned and held until another is.
        .with_columns(
            pl.when(pl.col("next_id").is_not_null()).then(pl.col(c))
            for c in ("previous_id", "previous_departure", "previous_block")
        )
        .with_columns(
            pl.col(
                "next_id",
                "next_departure",
                "previous_id",
                "previous_departure",
                "previous_block",
                *leg,
                "landed_id",
                "landed_at",
                "landed_delay",
            )
            .forward_fill()
            .over("tail_number")
        )
        .unique(["tail_number", "event_time"], keep="last", maintain_order=True)
    )
    remembered = pl.col("event_time") - ROTATION_MEMORY
    has_next = (pl.col("next_departure") > pl.col("event_time") - WAIT_LIMIT) & (
        pl.col("next_id") != pl.col("leg_id")
    ).fill_null(value=True)
    has_leg = (pl.col("leg_departed_at") > remembered).fill_null(value=False)
    pending = (
        has_next
        & (pl.col("previous_departure") > remembered)
        & (pl.col("previous_id") != pl.col("leg_id")).fill_null(value=True)
        & (pl.col("leg_departure") < pl.col("previous_departure")).fill_null(value=True)
    ).fill_null(value=False)
    arrived = (has_leg & (pl.col("landed_id") == pl.col("leg_id"))).fill_null(value=False)
    block = pl.duration(minutes=pl.col("leg_block"), time_unit="us")
    previous_block = pl.duration(minutes=pl.col("previous_block"), time_unit="us")
    back = (
        pl.when(pending)
        .then(pl.max_horizontal("event_time", "previous_departure") + 2 * previous_block)
        .when(arrived)
        .then(pl.col("landed_at") + block)
        .when(has_leg)
        .then(pl.col("leg_departed_at") + 2 * block)
    )
    last_departure = pl.when(pending).then(pl.col("previous_departure")).when(has_leg).then(pl.col("leg_departure"))
    last_block = pl.when(pending).then(previous_block).when(has_leg).then(block)
    return states.select(
        "tail_number",
        "event_time",
        minutes_to_spare=pl.when(has_next).then(minutes(pl.col("next_departure") - back)).cast(pl.Int32),
        planned_minutes_to_spare=pl.when(has_next)
        .then(minutes(pl.col("next_departure") - last_departure - 2 * last_block))
        .cast(pl.Int32),
        last_leg_pending=pending,
        last_leg_departure_delay=pl.when(has_leg).then(pl.col("leg_delay")),
        last_leg_arrival_delay=pl.when(arrived).then(pl.col("landed_delay")),
        last_leg_destination=pl.when(has_leg).then(pl.col("leg_destination")),
    )
