"""Traffic on rows made for it: a quotient that depended on which rows stand beside it passed for a leak."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from platform_assets.declarations.times import Days
from platform_assets.defs.flights.catalogue import CATALOGUE
from platform_assets.defs.flights.features.traffic import origin_carrier_traffic
from platform_assets.pipelines.leaks import knows_no_future

DAY = date(2013, 2, 16)
MORNING = datetime(2013, 2, 16, 12, 0, tzinfo=UTC)
DELAYS = (20, 0, 0)


def slices(others: int) -> dict[str, pl.LazyFrame]:
    """Three flights of one carrier due at noon, and hourly flights of other carriers until the evening."""
    flights = [(f"UA{n}", "UA", MORNING, delay) for n, delay in enumerate(DELAYS)]
    flights += [
        (f"{carrier}{n}", f"C{carrier}", MORNING + timedelta(hours=n, minutes=carrier), (n + carrier) % 7)
        for carrier in range(others)
        for n in range(10)
    ]
    rows = (
        pl.DataFrame(flights, schema=["flight_id", "carrier", "scheduled_departure", "departure_delay"], orient="row")
        .with_columns(
            pl.col("scheduled_departure").cast(pl.Datetime("us", "UTC")),
            pl.col("departure_delay").cast(pl.Int32),
            origin=pl.lit("JFK"),
        )
        .with_columns(departed_at=pl.col("scheduled_departure") + pl.duration(minutes="departure_delay"))
        .with_columns(
            arrived_at=pl.col("departed_at") + timedelta(hours=2),
            arrival_delay="departure_delay",
        )
    )
    who = ("flight_id", "origin", "carrier")
    return {
        "schedule": rows.select(*who, "scheduled_departure").lazy(),
        "departures": rows.select(*who, "departed_at", "departure_delay").lazy(),
        "arrivals": rows.select(*who, "arrived_at", "arrival_delay").lazy(),
    }


def compute(inputs: Mapping[str, pl.LazyFrame], days: Days) -> pl.DataFrame:
    assert origin_carrier_traffic.transform is not None
    found = origin_carrier_traffic.transform(**inputs, window=origin_carrier_traffic.partitions.window(days))
    return found.collect()


@pytest.mark.parametrize("others", [1, 2, 40])
def test_flights_of_the_evening_do_not_move_the_morning(others: int) -> None:
    checked = knows_no_future(CATALOGUE, origin_carrier_traffic, Days(DAY, DAY), lambda _: slices(others), compute)
    assert checked.passed, checked.description
