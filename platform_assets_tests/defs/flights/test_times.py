"""Clock digits become the right instant or none: constructed corners, the real year, and a naive twin."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from platform_assets.defs.flights.times import (
    MISSING_ZONES,
    NEW_YORK,
    arrival_after,
    calendar_day,
    instant_of,
    minutes_after_midnight,
    wall_time,
    wall_time_of,
    where_clock_shows,
)

LOS_ANGELES, PUERTO_RICO, PHOENIX = "America/Los_Angeles", "America/Puerto_Rico", "America/Phoenix"
SPRING, AUTUMN = date(2013, 3, 10), date(2013, 11, 3)
INSTANT = pl.Datetime("us", "UTC")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def value(expr: pl.Expr, **columns: object) -> object:
    """The expression's value on a frame of one row."""
    frame = pl.LazyFrame({name: [cell] for name, cell in columns.items()})
    return frame.select(result=expr).collect()["result"].item()


def read(day: date, digits: int, zone: str = NEW_YORK) -> object:
    return value(instant_of(wall_time(pl.lit(day), pl.col("digits")), zone=zone), digits=digits)


def arrival(departure: datetime, digits: int, zone: str) -> object:
    expr = arrival_after(pl.col("departure"), pl.col("digits"), zone=pl.col("zone"))
    return value(expr, departure=departure, digits=digits, zone=zone)


def shown(instant: datetime, digits: int | None, zone: str = NEW_YORK) -> object:
    expr = where_clock_shows(pl.col("instant"), pl.col("digits").cast(pl.Int32), zone=zone)
    return value(expr, instant=instant, digits=digits)


@pytest.mark.parametrize(
    ("digits", "minutes"),
    [(0, 0), (1, 1), (59, 59), (100, 60), (517, 317), (2359, 1439), (2400, 1440),
     (60, None), (1260, None), (2401, None), (2561, None), (-5, None), (2460, None)],
)  # fmt: skip
def test_digits_are_read_as_hours_and_minutes_or_not_at_all(digits: int, minutes: int | None) -> None:
    assert value(minutes_after_midnight(pl.col("digits")), digits=digits) == minutes


@pytest.mark.parametrize(
    ("parts", "expected"),
    [((2013, 12, 31), date(2013, 12, 31)), ((2012, 2, 29), date(2012, 2, 29)), ((2013, 2, 29), None),
     ((2013, 4, 31), None), ((2013, 13, 1), None), ((2013, 0, 1), None), ((2013, 1, 0), None),
     ((2013, 1, 32), None)],
)  # fmt: skip
def test_days_that_do_not_exist_are_null(parts: tuple[int, int, int], expected: date | None) -> None:
    year, month, day = parts
    expr = calendar_day(year=pl.col("year"), month=pl.col("month"), day=pl.col("day"))
    assert value(expr, year=year, month=month, day=day) == expected


def test_new_york_is_five_hours_behind_in_winter_and_four_in_summer() -> None:
    assert read(date(2013, 1, 15), 517) == utc(2013, 1, 15, 10, 17)
    assert read(date(2013, 7, 15), 517) == utc(2013, 7, 15, 9, 17)


def test_2400_is_midnight_at_the_end_of_the_day() -> None:
    assert read(date(2013, 12, 31), 2400) == utc(2014, 1, 1, 5)
    assert read(SPRING, 2400) == utc(2013, 3, 11, 4)


def test_a_time_that_the_clock_skips_is_null() -> None:
    assert read(SPRING, 159) == utc(2013, 3, 10, 6, 59)
    assert read(SPRING, 230) is None
    assert read(SPRING, 300) == utc(2013, 3, 10, 7)


def test_a_time_that_the_clock_shows_twice_is_null() -> None:
    assert read(AUTUMN, 59) == utc(2013, 11, 3, 4, 59)
    assert read(AUTUMN, 130) is None
    assert read(AUTUMN, 200) == utc(2013, 11, 3, 7)


def test_days_have_24_hours_but_for_the_two_when_the_clocks_change() -> None:
    days = pl.DataFrame({"day": pl.date_range(date(2013, 1, 1), date(2013, 12, 31), eager=True)})
    start = instant_of(wall_time(pl.col("day"), pl.lit(0)), zone=NEW_YORK)
    end = instant_of(wall_time(pl.col("day"), pl.lit(2400)), zone=NEW_YORK)
    lengths = days.select("day", hours=(end - start).dt.total_hours())
    assert lengths.filter(pl.col("hours") != 24).rows() == [(SPRING, 23), (AUTUMN, 25)]
    assert lengths["hours"].null_count() == 0


@pytest.mark.parametrize("zone", [None, "Mars/Olympus"])
def test_where_no_row_has_a_zone_every_row_stays_and_is_null(zone: str | None) -> None:
    frame = pl.DataFrame({"wall": [datetime(2013, 1, 15, 13)] * 3, "zone": pl.Series([zone] * 3, dtype=pl.String)})
    made = frame.with_columns(instant=instant_of(pl.col("wall"), zone=pl.col("zone")))
    assert made.get_column("instant").to_list() == [None] * 3


def test_each_row_is_read_on_its_own_clock_and_rows_keep_their_order() -> None:
    noon = datetime(2013, 7, 1, 12)
    zones = [LOS_ANGELES, None, PUERTO_RICO, "Mars/Olympus", PHOENIX, LOS_ANGELES]
    frame = pl.LazyFrame({"wall": [noon] * 6, "zone": zones})
    instants = frame.with_columns(instant=instant_of(pl.col("wall"), zone=pl.col("zone")))
    made = instants.with_columns(back=wall_time_of(pl.col("instant"), zone=pl.col("zone"))).collect()
    assert made["instant"].to_list() == [utc(2013, 7, 1, h) if h else None for h in (19, 0, 16, 0, 19, 19)]
    assert made["back"].to_list() == [noon, None, noon, None, noon, noon]


@pytest.mark.parametrize(
    ("departure", "digits", "zone", "expected"),
    [
        pytest.param(utc(2013, 1, 15, 13), 930, NEW_YORK, utc(2013, 1, 15, 14, 30), id="the same morning"),
        pytest.param(utc(2013, 1, 16, 2), 34, NEW_YORK, utc(2013, 1, 16, 5, 34), id="after midnight"),
        pytest.param(utc(2013, 1, 16, 2), 2400, NEW_YORK, utc(2013, 1, 16, 5), id="at midnight as 2400"),
        pytest.param(utc(2013, 1, 16, 2), 0, NEW_YORK, utc(2013, 1, 16, 5), id="at midnight as 0"),
        pytest.param(utc(2013, 1, 16, 1), 2330, LOS_ANGELES, utc(2013, 1, 16, 7, 30), id="the day it left, westward"),
        pytest.param(utc(2013, 1, 16, 4, 59), 442, PUERTO_RICO, utc(2013, 1, 16, 8, 42), id="an hour ahead in winter"),
        pytest.param(utc(2013, 7, 16, 3, 59), 342, PUERTO_RICO, utc(2013, 7, 16, 7, 42), id="no hour ahead in summer"),
        pytest.param(utc(2013, 7, 15, 22), 2000, PHOENIX, utc(2013, 7, 16, 3), id="Phoenix has no summer time"),
        pytest.param(utc(2013, 3, 10, 4), 430, NEW_YORK, utc(2013, 3, 10, 8, 30), id="across the change in spring"),
        pytest.param(utc(2013, 3, 10, 4), 230, NEW_YORK, None, id="at a time that is skipped"),
        pytest.param(utc(2013, 11, 3, 3, 30), 130, NEW_YORK, None, id="at a time that comes twice"),
        pytest.param(utc(2013, 1, 15, 13), 820, NEW_YORK, None, id="20 minutes later or a day"),
        pytest.param(utc(2013, 1, 15, 13), 2561, NEW_YORK, None, id="no clock time"),
        pytest.param(utc(2013, 1, 15, 13), 930, "Mars/Olympus", None, id="no zone"),
    ],
)
def test_the_day_of_an_arrival_is_found(departure: datetime, digits: int, zone: str, expected: datetime) -> None:
    assert arrival(departure, digits, zone) == expected


def test_an_instant_is_kept_only_where_the_clock_shows_the_digits() -> None:
    ten_past_midnight = utc(2013, 1, 16, 5, 10)
    assert shown(ten_past_midnight, 10) == ten_past_midnight
    assert shown(ten_past_midnight, 11) is None
    assert shown(ten_past_midnight, 1210) is None
    assert shown(ten_past_midnight, None) is None
    assert shown(utc(2013, 1, 16, 5), 2400) == utc(2013, 1, 16, 5)
    assert shown(utc(2013, 1, 16, 5), 0) == utc(2013, 1, 16, 5)
    assert shown(utc(2013, 1, 16, 5), 2561) is None


def test_a_clock_not_yet_put_forward_is_believed_for_an_hour() -> None:
    after_the_change = utc(2013, 3, 10, 7, 3)
    assert shown(after_the_change, 303) == after_the_change
    assert shown(after_the_change, 203) == after_the_change
    assert shown(utc(2013, 3, 10, 8, 3), 303) is None
    assert shown(utc(2013, 3, 10, 6, 3), 3) is None


def test_a_clock_not_yet_put_back_is_not_believed() -> None:
    after_the_change = utc(2013, 11, 3, 6, 30)
    assert shown(after_the_change, 130) == after_the_change
    assert shown(after_the_change, 230) is None


def naive_arrival(departure: datetime, digits: int, zone: str) -> datetime | None:
    """The twin of `arrival_after`: watch the clock minute by minute, 30 minutes to 20 hours."""
    clock = ZoneInfo(zone)
    for minutes in range(30, 20 * 60 + 1):
        instant = departure + timedelta(minutes=minutes)
        local = instant.astimezone(clock)
        if local.hour * 100 + local.minute == digits % 2400:
            shown_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
            return None if shown_twice else instant
    return None


def assert_like_the_twin(rows: list[tuple[datetime, int, str]]) -> None:
    frame = pl.DataFrame(rows, {"departure": INSTANT, "digits": pl.Int64, "zone": pl.String}, orient="row")
    made = frame.select(result=arrival_after(pl.col("departure"), pl.col("digits"), zone=pl.col("zone")))
    wrong = [(row, got) for row, got in zip(rows, made["result"], strict=True) if got != naive_arrival(*row)]
    assert wrong == []


def test_arrivals_around_the_changes_of_the_clock_are_those_of_the_naive_twin() -> None:
    rng = random.Random(20131103)
    zones = [
        NEW_YORK,
        "America/Chicago",
        "America/Denver",
        LOS_ANGELES,
        PHOENIX,
        PUERTO_RICO,
        "Pacific/Honolulu",
    ]
    changes = [utc(2013, 3, 10, 7), utc(2013, 11, 3, 6)]
    rows = []
    for _ in range(400):
        departure = rng.choice(changes) + timedelta(minutes=rng.randrange(-1_200, 600))
        rows.append((departure, rng.randrange(25) * 100 + rng.randrange(60), rng.choice(zones)))
    assert_like_the_twin([(departure, min(digits, 2400), zone) for departure, digits, zone in rows])


def test_real_scheduled_arrivals_are_those_of_the_naive_twin(
    package_flights: pl.DataFrame, finished: dict[str, pl.DataFrame]
) -> None:
    zones = dict(finished["airports"].select("airport", "time_zone").iter_rows()) | MISSING_ZONES
    by_change = package_flights.filter(
        ((pl.col("month") == 3) & pl.col("day").is_in([9, 10]))
        | ((pl.col("month") == 11) & pl.col("day").is_in([2, 3]))
    ).filter(pl.col("sched_dep_time") >= 1900)
    sample = pl.concat([by_change, package_flights.sample(1_000, seed=1)])
    rows = sample.select("truth", "sched_arr_time", "dest").rows()
    assert_like_the_twin([(truth, digits, zones[dest]) for truth, digits, dest in rows])


def test_scheduled_departures_of_the_year_are_the_packages_own_instants(
    package_flights: pl.DataFrame,
) -> None:
    day = calendar_day(year=pl.col("year"), month=pl.col("month"), day=pl.col("day"))
    made = instant_of(wall_time(day, pl.col("sched_dep_time")), zone=NEW_YORK)
    wrong = package_flights.filter(made.ne_missing(pl.col("truth")))
    assert (package_flights.height, wrong.height) == (336_776, 0)


def test_delays_and_clock_digits_agree_for_every_departure_of_the_year(package_flights: pl.DataFrame) -> None:
    reported = pl.col("truth") + pl.duration(minutes="dep_delay")
    believed = where_clock_shows(reported, pl.col("dep_time"), zone=NEW_YORK)
    counts = package_flights.select(
        reported=reported.count(),
        believed=believed.count(),
        a_minute_off=where_clock_shows(reported + pl.duration(minutes=1), pl.col("dep_time"), zone=NEW_YORK).count(),
    )
    assert counts.row(0) == (328_521, 328_521, 0)
