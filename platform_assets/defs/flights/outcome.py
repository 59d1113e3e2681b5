"""What came of each flight: the label, and what cancelled and diverted flights mean for it.

Decided once, here: the question is whether a flight *arrives* 30 minutes late or more, so a flight that
never arrived where it was going has no answer. Cancelled and diverted flights are outcomes of their own,
stored and counted, with a null label: neither late nor on time, never learned from and never scored.
(Counting them as late would also leak: the data record no aircraft for most cancelled flights.)
"""

from __future__ import annotations

from datetime import timedelta

import dataframely as dy
import polars as pl

from platform_assets.declarations.tables import label
from platform_assets.declarations.times import after, within
from platform_assets.defs.flights.sources import YEAR

LATE_MINUTES = 30
CLOSED_AFTER = timedelta(hours=48)
"""By then a flight that has not arrived will not: it was cancelled or diverted."""


class FlightOutcome(dy.Schema):
    """Contract of `flight_outcome`."""

    flight_id = dy.String(primary_key=True, description="The flight; see schedule.")
    scheduled_departure = dy.Datetime(
        time_zone="UTC", time_unit="us", description="When the flight was to leave the gate (UTC)."
    )
    known_at = dy.Datetime(
        time_zone="UTC",
        time_unit="us",
        description="When the outcome was known (UTC): at arrival, or 48 hours after the scheduled departure.",
    )
    outcome = dy.String(regex=r"^(arrived|cancelled|diverted)$", description="What became of the flight.")
    arrival_delay = dy.Int32(nullable=True, description="Minutes late at the gate; null unless it arrived.")
    late = dy.Bool(nullable=True, description="Whether it arrived 30 minutes late or more; null unless it arrived.")

    @dy.rule()
    def label_exactly_where_arrived(cls) -> pl.Expr:
        return pl.col("late").is_not_null() == (pl.col("outcome") == "arrived")


@label(
    keys=["flight_id"],
    event_time="scheduled_departure",
    known_at=after("known_at"),
    value="late",
    partitions=YEAR,
    lookahead=timedelta(days=1),
    schema=FlightOutcome,
    freshness=within(hours=84),
    owners=["team:operations"],
    tags={"domain": "flights"},
)
def flight_outcome(schedule: pl.LazyFrame, departures: pl.LazyFrame, arrivals: pl.LazyFrame) -> pl.LazyFrame:
    """Whether each flight arrived 30 minutes late or more; cancelled and diverted flights are neither."""
    departed = departures.select("flight_id", pl.lit(value=True).alias("departed"))
    arrived = arrivals.select("flight_id", "arrived_at", "arrival_delay")
    outcome = (
        pl.when(pl.col("arrived_at").is_not_null())
        .then(pl.lit("arrived"))
        .when(pl.col("departed"))
        .then(pl.lit("diverted"))
        .otherwise(pl.lit("cancelled"))
    )
    return (
        schedule.select("flight_id", "scheduled_departure")
        .join(departed, on="flight_id", how="left")
        .join(arrived, on="flight_id", how="left")
        .select(
            "flight_id",
            "scheduled_departure",
            known_at=pl.coalesce("arrived_at", pl.col("scheduled_departure") + CLOSED_AFTER),
            outcome=outcome,
            arrival_delay="arrival_delay",
            late=pl.col("arrival_delay") >= LATE_MINUTES,
        )
    )
