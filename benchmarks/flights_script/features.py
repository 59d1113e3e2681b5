"""The features of all flights at once, one Parquet file a feature view, each row with the instant at which it was true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.flights_script.clean import NEW_YORK

LATE = 30
WAIT_LIMIT = timedelta(hours=6)
MEMORY = timedelta(hours=36)
YEAR = tuple(pl.datetime(year, 1, 1, time_zone=NEW_YORK).dt.convert_time_zone("UTC") for year in (2013, 2014))


def features(clean: Path, out: Path) -> None:
    """Every feature view, from the clean tables."""
    schedule, assignments, departures, arrivals, weather = (
        pl.read_parquet(clean / f"{name}.parquet")
        for name in ("schedule", "assignments", "departures", "arrivals", "weather")
    )
    landed = arrivals.join(departures.select("flight_id", "departure_delay"), on="flight_id").with_columns(
        lost=pl.col("arrival_delay") - pl.col("departure_delay")
    )
    views = {
        "origin_traffic": traffic(schedule, departures, landed, ["origin"]),
        "origin_carrier_traffic": traffic(schedule, departures, landed, ["origin", "carrier"]),
        "destination_traffic": traffic(schedule, departures, landed, ["destination"]),
        "carrier_today": carrier_today(departures, arrivals),
        "aircraft_rotation": rotation(schedule, assignments, departures, arrivals),
        "flight_number_history": flight_number_history(landed),
        "route_history": route_history(landed),
        "origin_weather": origin_weather(weather),
    }
    for name, view in views.items():
        view.filter(pl.col("event_time").is_between(*YEAR, closed="left")).write_parquet(out / f"{name}.parquet")


def at_ticks(streams: Sequence[pl.DataFrame], keys: list[str], every: timedelta) -> pl.DataFrame:
    """Sums over what is active at each tick, by adding where it begins and taking away where it ends."""
    width = every // timedelta(microseconds=1)

    def tick(instant: str) -> pl.Expr:
        return -(-pl.col(instant).dt.timestamp("us") // width)

    changes = []
    for stream in streams:
        found = stream.with_columns(begin=tick("begin"), end=tick("end"), active=1).filter(
            pl.col("begin") < pl.col("end")
        )
        values = pl.exclude(*keys, "begin", "end").cast(pl.Int64)
        changes += [found.select(*keys, values, tick="begin"), found.select(*keys, -values, tick="end")]
    summed = pl.concat(changes, how="diagonal").group_by(*keys, "tick").agg(pl.all().sum()).sort(*keys, "tick")
    # What begins also ends, so that one running sum over all keys is back at nothing where the next key begins.
    return (
        summed.with_columns(pl.exclude(*keys, "tick").cum_sum(), until=pl.col("tick").shift(-1))
        .filter(pl.col("active") > 0)
        .with_columns(tick=pl.int_ranges("tick", "until"))
        .explode("tick")
        .with_columns(event_time=pl.from_epoch(pl.col("tick") * width, time_unit="us").dt.replace_time_zone("UTC"))
        .drop("tick", "until", "active")
    )


def mean(total: str | pl.Expr, count: str | pl.Expr) -> pl.Expr:
    total, count = (pl.col(x) if isinstance(x, str) else x for x in (total, count))
    return pl.when(count > 0).then(total / count)


def late(delay: str) -> pl.Expr:
    return (pl.col(delay) >= LATE).cast(pl.Int64)


def traffic(schedule: pl.DataFrame, departures: pl.DataFrame, landed: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Departures, waiting flights and arrivals of the last hours, every quarter hour."""
    planned, left = pl.col("scheduled_departure"), pl.col("departed_at")
    gone = departures.select("flight_id", "departed_at", "departure_delay")
    flights = schedule.join(gone, on="flight_id", how="left").with_columns(since=planned.dt.epoch("s") // 60)
    given_up, two_hours = pl.min_horizontal(left, planned + WAIT_LIMIT), planned + timedelta(hours=2)
    half_an_hour_on = planned + timedelta(minutes=LATE)
    streams = [
        flights.select(*keys, begin=planned, end=given_up, waiting=1, waiting_since="since"),
        flights.select(*keys, begin=half_an_hour_on, end=given_up, waiting_late=1),
        flights.filter(left.is_not_null()).select(
            *keys, begin=pl.max_horizontal(planned, left), end=two_hours, due_gone=1,
            due_gone_minutes=pl.col("departure_delay").clip(0),
        ),
        flights.select(
            *keys, begin=planned, end=pl.min_horizontal(left, two_hours), due_waiting=1, due_waiting_since="since"
        ),
        flights.filter(left.is_null() | (pl.col("departure_delay") >= LATE)).select(
            *keys, begin=half_an_hour_on, end=two_hours, due_late=1
        ),
        landed.select(
            *keys, begin="arrived_at", end=pl.col("arrived_at") + timedelta(hours=3), arrived=1,
            arrival_delay="arrival_delay", arrival_late=late("arrival_delay"), lost="lost",
        ),
    ]  # fmt: skip
    for hours in (1, 3):
        told = {
            f"departed_{hours}h": pl.lit(1),
            f"delay_{hours}h": "departure_delay",
            f"late_{hours}h": late("departure_delay"),
        }
        streams.append(departures.select(*keys, begin=left, end=left + timedelta(hours=hours), **told))
    now, due = pl.col("event_time").dt.epoch("s") // 60, pl.col("due_gone") + pl.col("due_waiting")
    due_minutes = pl.col("due_gone_minutes") + now * pl.col("due_waiting") - pl.col("due_waiting_since")
    return at_ticks(streams, keys, timedelta(minutes=15)).select(
        *keys,
        "event_time",
        waiting_flights="waiting",
        waiting_late_flights="waiting_late",
        waiting_minutes_mean=mean(now * pl.col("waiting") - pl.col("waiting_since"), "waiting"),
        due_flights_2h=due,
        due_delay_so_far_mean_2h=mean(due_minutes, due),
        due_late_share_2h=mean("due_late", due),
        departure_delay_mean_1h=mean("delay_1h", "departed_1h"),
        departure_late_share_1h=mean("late_1h", "departed_1h"),
        departed_flights_3h="departed_3h",
        departure_delay_mean_3h=mean("delay_3h", "departed_3h"),
        arrived_flights_3h="arrived",
        arrival_delay_mean_3h=mean("arrival_delay", "arrived"),
        arrival_late_share_3h=mean("arrival_late", "arrived"),
        lost_en_route_mean_3h=mean("lost", "arrived"),
    )


def carrier_today(departures: pl.DataFrame, arrivals: pl.DataFrame) -> pl.DataFrame:
    """A carrier's departures and arrivals of the last 2 and 12 hours, at every fifth minute that had any."""
    left = departures.select(
        "carrier", at="departed_at", departed=1, left=pl.col("departure_delay"), left_late=late("departure_delay")
    )
    came = arrivals.select(
        "carrier", at="arrived_at", arrived=1, came=pl.col("arrival_delay"), came_late=late("arrival_delay")
    )
    tick = (pl.col("at") - timedelta(microseconds=1)).dt.truncate("5m") + timedelta(minutes=5)
    events = pl.concat([left, came], how="diagonal").with_columns(event_time=tick).drop("at")
    ticks = events.group_by("carrier", "event_time").agg(pl.all().sum()).sort("carrier", "event_time")
    two, twelve = (
        ticks.rolling("event_time", period=period, group_by="carrier").agg(pl.exclude("carrier", "event_time").sum())
        for period in ("2h", "12h")
    )
    return two.join(twelve, on=["carrier", "event_time"], suffix="_12h").select(
        "carrier",
        "event_time",
        departed_flights_2h="departed",
        departure_delay_mean_2h=mean("left", "departed"),
        departure_late_share_2h=mean("left_late", "departed"),
        arrival_delay_mean_2h=mean("came", "arrived"),
        arrival_delay_mean_12h=mean("came_12h", "arrived_12h"),
        arrival_late_share_12h=mean("came_late_12h", "arrived_12h"),
    )


def flight_number_history(landed: pl.DataFrame) -> pl.DataFrame:
    """How a flight number arrived in its last two and four weeks, at each of its arrivals."""
    keys = ["carrier", "flight_number", "event_time"]
    told = landed.select(
        *keys[:2], event_time="arrived_at", arrived=1, delay="arrival_delay", late=late("arrival_delay"), lost="lost",
        capped=pl.col("arrival_delay").clip(-60, 120),
    )  # fmt: skip
    flights = told.group_by(keys).agg(pl.all().sum(), worst=pl.col("delay").max()).sort(keys)
    sums = pl.col("arrived", "delay", "late", "lost", "capped").sum()
    short, long = (
        flights.rolling("event_time", period=f"{days}d", group_by=keys[:2]).agg(sums, pl.col("worst").last())
        for days in (14, 28)
    )
    return short.join(long, on=keys, suffix="_28d").select(
        *keys,
        last_arrival_delay="worst",
        arrived_flights_14d="arrived",
        arrival_delay_mean_14d=mean("delay", "arrived"),
        arrival_late_share_14d=mean("late", "arrived"),
        lost_en_route_mean_14d=mean("lost", "arrived"),
        arrival_delay_mean_28d=mean("capped_28d", "arrived_28d"),
        arrival_late_share_28d=mean("late_28d", "arrived_28d"),
        lost_en_route_mean_28d=mean("lost_28d", "arrived_28d"),
    )


def route_history(landed: pl.DataFrame) -> pl.DataFrame:
    """How a route arrived in its last four weeks, twice a day."""
    keys = ["origin", "destination"]
    stream = landed.select(
        *keys, begin="arrived_at", end=pl.col("arrived_at") + timedelta(days=28), arrived=1,
        delay=pl.col("arrival_delay").clip(-60, 120), late=late("arrival_delay"), lost="lost",
    )  # fmt: skip
    return at_ticks([stream], keys, timedelta(hours=12)).select(
        *keys,
        "event_time",
        arrived_flights_28d="arrived",
        arrival_delay_mean_28d=mean("delay", "arrived"),
        arrival_late_share_28d=mean("late", "arrived"),
        lost_en_route_mean_28d=mean("lost", "arrived"),
    )


def rotation(
    schedule: pl.DataFrame, assignments: pl.DataFrame, departures: pl.DataFrame, arrivals: pl.DataFrame
) -> pl.DataFrame:
    """Where an aircraft is between its last flight out of New York and its next, at whatever changed it."""
    block = (pl.col("scheduled_arrival") - pl.col("scheduled_departure")).dt.total_minutes()
    plan = schedule.select("flight_id", "destination", block=block)
    assigned_at = pl.col("scheduled_departure") - timedelta(hours=2)
    day, planned_day = (
        x.dt.convert_time_zone(NEW_YORK).dt.date() for x in (assigned_at, pl.col("scheduled_departure"))
    )
    assigned = assignments.filter(day == planned_day).join(plan, on="flight_id").select(
        "tail_number", event_time=assigned_at, next_id="flight_id", next_departure="scheduled_departure", next_block="block"
    )  # fmt: skip
    gone = departures.join(plan.drop("destination"), on="flight_id").select(
        "tail_number", event_time="departed_at", leg_id="flight_id", leg_at="departed_at", leg_block="block",
        leg_departure="scheduled_departure", leg_delay="departure_delay", leg_destination="destination",
    )  # fmt: skip
    landed = arrivals.select(
        "tail_number",
        event_time="arrived_at",
        landed_id="flight_id",
        landed_at="arrived_at",
        landed_delay="arrival_delay",
    )
    before = {f"previous_{what}": f"next_{what}" for what in ("id", "departure", "block")}
    states = (
        pl.concat([assigned, gone, landed], how="diagonal")
        .drop_nulls("tail_number")
        .sort("tail_number", "event_time", "next_id", "leg_id", "landed_id", nulls_last=True)
        .with_columns(pl.col(n).forward_fill().shift(1).over("tail_number").alias(p) for p, n in before.items())
        .with_columns(pl.when(pl.col("next_id").is_not_null()).then(pl.col(list(before))))
        .with_columns(pl.exclude("tail_number", "event_time").forward_fill().over("tail_number"))
        .unique(["tail_number", "event_time"], keep="last", maintain_order=True)
    )
    now = pl.col("event_time")
    has_next = (pl.col("next_departure") > now - WAIT_LIMIT) & pl.col("next_id").ne_missing(pl.col("leg_id"))
    has_leg = (pl.col("leg_at") > now - MEMORY).fill_null(value=False)
    pending = (
        has_next
        & (pl.col("previous_departure") > now - MEMORY)
        & pl.col("previous_id").ne_missing(pl.col("leg_id"))
        & (pl.col("leg_departure") < pl.col("previous_departure")).fill_null(value=True)
    ).fill_null(value=False)
    arrived = has_leg & (pl.col("landed_id") == pl.col("leg_id")).fill_null(value=False)
    leg_block, previous_block = pl.duration(minutes="leg_block"), pl.duration(minutes="previous_block")
    back = (
        pl.when(pending)
        .then(pl.max_horizontal(now, "previous_departure") + 2 * previous_block)
        .when(arrived)
        .then(pl.col("landed_at") + leg_block)
        .when(has_leg)
        .then(pl.col("leg_at") + 2 * leg_block)
    )
    planned_back = (
        pl.when(pending)
        .then(pl.col("previous_departure") + 2 * previous_block)
        .when(has_leg)
        .then(pl.col("leg_departure") + 2 * leg_block)
    )
    return states.select(
        "tail_number",
        "event_time",
        minutes_to_spare=pl.when(has_next).then((pl.col("next_departure") - back).dt.total_minutes()),
        planned_minutes_to_spare=pl.when(has_next).then((pl.col("next_departure") - planned_back).dt.total_minutes()),
        last_leg_pending=pending,
        last_leg_departure_delay=pl.when(has_leg).then("leg_delay"),
        last_leg_arrival_delay=pl.when(arrived).then("landed_delay"),
        last_leg_destination=pl.when(has_leg).then("leg_destination"),
    )


def origin_weather(weather: pl.DataFrame) -> pl.DataFrame:
    """The hour's weather at an origin, its change over three hours, and the worst of the three airports."""
    on, was = ["origin", "observed_at"], ["temp_f", "pressure_mb", "wind_speed_mph", "visibility_mi", "precip_in"]

    def ago(hours: int) -> pl.DataFrame:
        shifted = pl.col("observed_at") + timedelta(hours=hours)
        return weather.select("origin", pl.col(was).name.suffix(f"_{hours}h_ago"), observed_at=shifted)

    joined = weather
    for hours in (1, 2, 3):
        joined = joined.join(ago(hours), on=on, how="left")
    rained = (pl.col(f"precip_in{ago}").fill_null(0) for ago in ("", "_1h_ago", "_2h_ago"))
    return joined.select(
        "origin",
        pl.exclude("origin", "observed_at", "pressure_mb", "visibility_mi", "^.*_ago$"),
        (next(rained) + next(rained) + next(rained)).alias("precip_3h_in"),
        "pressure_mb",
        "visibility_mi",
        event_time="observed_at",
        known_at=pl.col("observed_at") + timedelta(minutes=15),
        observed_at="observed_at",
        temp_change_3h_f=pl.col("temp_f") - pl.col("temp_f_3h_ago"),
        pressure_change_3h_mb=pl.col("pressure_mb") - pl.col("pressure_mb_3h_ago"),
        wind_change_3h_mph=pl.col("wind_speed_mph") - pl.col("wind_speed_mph_3h_ago"),
        visibility_change_3h_mi=pl.col("visibility_mi") - pl.col("visibility_mi_3h_ago"),
        region_visibility_mi=pl.col("visibility_mi").min().over("observed_at"),
        region_wind_speed_mph=pl.col("wind_speed_mph").max().over("observed_at"),
        region_precip_in=pl.col("precip_in").max().over("observed_at"),
    )
