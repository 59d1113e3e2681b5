"""Days, calendars and the two times of a value."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.declarations.times import (
    Daily,
    Days,
    KnownAt,
    after,
    before,
    day_ranges,
    parse_day,
    say_duration,
    unknown,
    within,
)
from platform_assets.errors import DeclarationError, PartitionError

BERLIN = Daily(first=date(2024, 1, 1), last=date(2024, 12, 31), zone="Europe/Berlin")
FORWARD, BACK = date(2024, 3, 31), date(2024, 10, 27)
HOUR = timedelta(hours=1)
dates = st.dates(date(2024, 1, 1), date(2024, 3, 1))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(("day", "hours"), [(FORWARD, 23), (BACK, 25), (date(2024, 6, 1), 24)])
def test_a_day_has_as_many_hours_as_its_clocks_show(day: date, hours: int) -> None:
    window = BERLIN.window(Days(day, day))
    assert window.end - window.start == hours * HOUR
    instants = pl.datetime_range(window.start - HOUR, window.end, "15m", time_zone="UTC", eager=True).dt.cast_time_unit(
        "us"
    )
    found = (
        pl.DataFrame({"at": instants}).with_columns(day=BERLIN.day_of(pl.col("at"))).filter(pl.col("day") == day)["at"]
    )
    assert (found.min(), found.max(), len(found)) == (window.start, window.end - HOUR / 4, hours * 4)


def test_days_lie_edge_to_edge_over_a_whole_year() -> None:
    days = list(Days(BERLIN.first, BERLIN.last))
    assert len(days) == 366
    for day in days:
        assert BERLIN.window(Days(day, day)).end == BERLIN.start_of(day + timedelta(days=1))


@pytest.mark.parametrize(
    ("zone", "hours", "days"),
    [
        ("UTC", 0, 0),
        ("UTC", -5, 0),
        ("UTC", 1, 1),
        ("UTC", 24, 1),
        ("UTC", 25, 2),
        ("UTC", 72, 3),
        ("Europe/Berlin", 0, 0),
        ("Europe/Berlin", 23, 1),
        ("Europe/Berlin", 24, 2),
        ("Europe/Berlin", 47, 2),
    ],
)
def test_days_touching(zone: str, hours: float, days: int) -> None:
    assert Daily(first=date(2024, 1, 1), zone=zone).days_touching(timedelta(hours=hours)) == days


@given(day=st.dates(date(2024, 1, 10), date(2024, 12, 20)), hours=st.integers(1, 24 * 8))
def test_a_reach_never_goes_beyond_the_days_it_touches(day: date, hours: int) -> None:
    count = BERLIN.days_touching(hours * HOUR)
    assert BERLIN.start_of(day) - hours * HOUR >= BERLIN.start_of(day - timedelta(days=count))
    end = BERLIN.start_of(day + timedelta(days=1))
    assert end + hours * HOUR <= BERLIN.start_of(day + timedelta(days=1 + count))


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (utc(2024, 1, 1, 22, 59), None),
        (utc(2024, 1, 1, 23, 0), date(2024, 1, 1)),
        (utc(2024, 3, 31, 21, 59, 59), date(2024, 3, 30)),
        (utc(2024, 3, 31, 22, 0), date(2024, 3, 31)),
        (utc(2024, 10, 27, 22, 59, 59), date(2024, 10, 26)),
        (utc(2024, 10, 27, 23, 0), date(2024, 10, 27)),
        (utc(2031, 1, 1), date(2024, 12, 31)),
        (utc(2023, 1, 1), None),
    ],
)
def test_a_day_is_closed_when_it_is_over_where_it_is_lived(now: datetime, last: date | None) -> None:
    closed = BERLIN.closed_until(now)
    assert closed == (None if last is None else Days(BERLIN.first, last))


def test_an_open_calendar_has_no_last_day() -> None:
    assert Daily(first=date(2024, 1, 1)).closed_until(utc(2031, 1, 2)) == Days(date(2024, 1, 1), date(2031, 1, 1))


def test_a_calendar_may_start_later() -> None:
    assert BERLIN.with_first(FORWARD) == Daily(first=FORWARD, last=BERLIN.last, zone=BERLIN.zone)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"first": date(2024, 2, 1), "last": date(2024, 1, 1)}, "end .2024-01-01. before they start .2024-02-01."),
        (
            {"first": date(2024, 1, 1), "zone": "Europe/Berln"},
            "the time zone 'Europe/Berln', which does not exist; say for example 'UTC'",
        ),
    ],
)
def test_a_calendar_that_cannot_be_is_refused(declared: dict[str, object], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        Daily(**declared)


@pytest.mark.parametrize(
    "days", [Days(date(2023, 12, 31), date(2024, 1, 5)), Days(date(2024, 12, 31), date(2025, 1, 1))]
)
def test_days_that_are_not_partitions_are_refused(days: Days) -> None:
    with pytest.raises(PartitionError, match=f"no such partition: {days}; the days run from 2024-01-01 to 2024-12-31"):
        BERLIN.require(days)


def test_partitions_are_let_through() -> None:
    BERLIN.require(Days(BERLIN.first, BERLIN.last))
    Daily(first=BERLIN.first).require(Days(date(2031, 1, 1), date(2032, 1, 1)))


def test_days_that_run_backwards_are_refused() -> None:
    with pytest.raises(PartitionError, match="the days 2024-01-02 to 2024-01-01 run backwards; swap them"):
        Days(date(2024, 1, 2), date(2024, 1, 1))


@given(first=dates, length=st.integers(0, 20), other=dates)
def test_days_behave_like_the_set_of_their_days(first: date, length: int, other: date) -> None:
    days = Days(first, first + timedelta(days=length))
    assert len(days) == len(set(days)) == length + 1
    assert (other in days) == (other in set(days))
    another = Days(other, other + timedelta(days=5))
    assert set(days.clip(another) or ()) == set(days) & set(another)
    assert set(days.grow(back=2, forth=1)) == {d + timedelta(days=n) for d in days for n in (-2, -1, 0, 1)}


def test_a_text_is_not_among_days() -> None:
    assert "2024-01-01" not in Days(date(2024, 1, 1), date(2024, 1, 1))


@given(days=st.sets(dates, max_size=25))
def test_day_ranges_hold_exactly_the_days_in_the_fewest_pieces(days: set[date]) -> None:
    ranges = day_ranges(days)
    assert [day for part in ranges for day in part] == sorted(days)
    assert all(b.first - a.last > timedelta(days=1) for a, b in pairwise(ranges))


def test_days_read_as_people_write_them() -> None:
    assert str(Days(FORWARD, FORWARD)) == "2024-03-31"
    assert str(Days(FORWARD, BACK)) == "2024-03-31 to 2024-10-27"


def test_a_partition_key_is_a_day() -> None:
    assert parse_day("2024-03-31") == FORWARD
    with pytest.raises(PartitionError, match=r"'31.3.2024' is not a day; write it as 2013-12-31"):
        parse_day("31.3.2024")


@pytest.mark.parametrize(
    ("known", "said", "shift"),
    [
        (after("at"), "at", timedelta(0)),
        (after("at", minutes=15), "15 minutes after at", timedelta(minutes=15)),
        (before("at", days=7), "7 days before at", timedelta(days=-7)),
    ],
)
def test_known_at_is_a_column_and_a_delay(known: KnownAt, said: str, shift: timedelta) -> None:
    found = pl.DataFrame({"at": [utc(2024, 1, 10)]}).select(known.expr().alias("known"))
    assert found.schema == {"known": pl.Datetime("us", "UTC")}
    assert found["known"].to_list() == [utc(2024, 1, 10) + shift]
    assert str(known) == said
    assert known.is_known


def test_an_unknown_time_has_a_reason_and_no_value() -> None:
    known = unknown("an undated list")
    assert (known.is_known, str(known)) == (False, "unknown: an undated list")
    with pytest.raises(DeclarationError, match=r"known_at is unknown .an undated list.; it cannot be computed"):
        known.expr()


def test_an_unknown_time_without_a_reason_is_refused() -> None:
    with pytest.raises(DeclarationError, match="needs the reason why nobody knows"):
        unknown("  ")


def test_freshness_is_a_limit_with_an_earlier_warning() -> None:
    fresh = within(hours=36, warn_hours=30)
    assert (fresh.fail, fresh.warn) == (36 * HOUR, 30 * HOUR)


@pytest.mark.parametrize("limits", [{}, {"hours": 0}, {"hours": 5, "warn_hours": 5}])
def test_a_freshness_that_cannot_be_kept_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(DeclarationError, match="both must be positive, the warning the shorter"):
        within(**limits)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(days=14), "14 days"),
        (timedelta(days=1), "24 hours"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(minutes=15), "15 minutes"),
        (timedelta(seconds=5), "0:00:05"),
    ],
)
def test_durations_are_said_in_the_largest_unit_that_fits(span: timedelta, said: str) -> None:
    assert say_duration(span) == said
