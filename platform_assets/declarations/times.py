"""The two times of a value, and the calendar days that tables are partitioned by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from platform_assets.errors import DeclarationError, PartitionError

INSTANT = pl.Datetime("us", "UTC")
"""The one type of an instant in every table."""

Known = Literal["then", "since"]
"""How features are joined: as they were known at the time, or as they were corrected since."""

ONE_DAY = timedelta(days=1)
_LARGEST_ZONE_SHIFT = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class KnownAt:
    """When a row could be known: `column` plus `delay`, or unknown for a stated `reason`."""

    column: str | None = None
    delay: timedelta = timedelta(0)
    reason: str | None = None

    @property
    def is_known(self) -> bool:
        return self.column is not None

    def expr(self) -> pl.Expr:
        """The instant (UTC, microseconds) at which each row could be known."""
        if self.column is None:
            msg = f"known_at is unknown ({self.reason}); it cannot be computed"
            raise DeclarationError(msg)
        return pl.col(self.column) + pl.lit(self.delay, dtype=pl.Duration("us"))

    def __str__(self) -> str:
        if self.column is None:
            return f"unknown: {self.reason}"
        if not self.delay:
            return self.column
        word = "after" if self.delay > timedelta(0) else "before"
        return f"{say_duration(abs(self.delay))} {word} {self.column}"


def after(column: str, **delay: float) -> KnownAt:
    """Known `delay` (as for `timedelta`: `minutes=15`) after the instant in `column`; no delay, no wait."""
    return KnownAt(column=column, delay=timedelta(**delay))


def before(column: str, **lead: float) -> KnownAt:
    """Known `lead` (as for `timedelta`: `days=7`) before the instant in `column`: a plan, a forecast."""
    return KnownAt(column=column, delay=-timedelta(**lead))


def unknown(reason: str) -> KnownAt:
    """Nobody recorded when the rows became known; whoever uses them must accept that by name."""
    if not reason.strip():
        msg = "unknown(...) needs the reason why nobody knows, for example unknown('undated registry snapshot')"
        raise DeclarationError(msg)
    return KnownAt(reason=reason)


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """How long a table may go without a new materialization: warned after `warn`, failed after `fail`."""

    fail: timedelta
    warn: timedelta | None = None


def within(*, warn_hours: float | None = None, **limit: float) -> Freshness:
    """Fresh while materialized within `limit` (as for `timedelta`: `hours=36`)."""
    fail = timedelta(**limit)
    warn = None if warn_hours is None else timedelta(hours=warn_hours)
    if fail <= timedelta(0) or (warn is not None and warn >= fail):
        msg = f"freshness within {fail} with a warning after {warn}: both must be positive, the warning the shorter"
        raise DeclarationError(msg)
    return Freshness(fail=fail, warn=warn)


@dataclass(frozen=True, order=True)
class Days:
    """Calendar days from `first` to `last`, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.first > self.last:
            msg = f"the days {self.first} to {self.last} run backwards; swap them"
            raise PartitionError(msg)

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=n) for n in range(len(self)))

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    def grow(self, *, back: int = 0, forth: int = 0) -> Days:
        """The same days with `back` more in front and `forth` more behind."""
        return Days(self.first - timedelta(days=back), self.last + timedelta(days=forth))

    def clip(self, other: Days) -> Days | None:
        """The days in both, or None."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Days(first, last) if first <= last else None


def day_ranges(days: set[date]) -> list[Days]:
    """Group loose days into the fewest unbroken ranges, in order."""
    ranges: list[Days] = []
    for day in sorted(days):
        if ranges and day - ranges[-1].last == ONE_DAY:
            ranges[-1] = Days(ranges[-1].first, day)
        else:
            ranges.append(Days(day, day))
    return ranges


@dataclass(frozen=True, kw_only=True)
class Window:
    """The instants from `start` (included) to `end` (excluded), both UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True)
class Daily:
    """Partitions of one calendar day each in `zone`, from `first` to `last` (open-ended when None).

    The day of a row is the local calendar day of its event time, so that a partition has 23 or 25
    hours on the days when the clocks change.
    """

    first: date
    last: date | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.last is not None and self.last < self.first:
            msg = f"daily partitions end ({self.last}) before they start ({self.first})"
            raise DeclarationError(msg)
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            msg = f"daily partitions name the time zone {self.zone!r}, which does not exist; say for example 'UTC'"
            raise DeclarationError(msg) from error

    def start_of(self, day: date) -> datetime:
        """The instant (UTC) at which the local `day` begins."""
        return datetime.combine(day, time(), ZoneInfo(self.zone)).astimezone(UTC)

    def window(self, days: Days) -> Window:
        """The instants covered by `days`."""
        return Window(start=self.start_of(days.first), end=self.start_of(days.last + ONE_DAY))

    def day_of(self, instant: pl.Expr) -> pl.Expr:
        """The partition (a date) of an instant column."""
        return instant.dt.convert_time_zone(self.zone).dt.date()

    def days_touching(self, span: timedelta) -> int:
        """How many whole partitions a reach of `span` beyond a partition's edge can touch at most."""
        if span <= timedelta(0):
            return 0
        shift = timedelta(0) if self.zone == "UTC" else _LARGEST_ZONE_SHIFT
        return math.ceil((span + shift) / ONE_DAY)

    def closed_until(self, now: datetime) -> Days | None:
        """The days that are over at the instant `now`, or None when the first is not."""
        yesterday = now.astimezone(ZoneInfo(self.zone)).date() - ONE_DAY
        last = yesterday if self.last is None else min(self.last, yesterday)
        return Days(self.first, last) if last >= self.first else None

    def among(self, days: Days) -> list[date]:
        """The partitions that lie on `days`, in order."""
        inside = days.clip(Days(self.first, self.last or max(self.first, days.last)))
        return list(inside or ())

    def with_first(self, first: date) -> Daily:
        """The same calendar, starting later."""
        return Daily(first=first, last=self.last, zone=self.zone)

    def require(self, days: Days) -> None:
        """Refuse days that are not partitions.

        Raises:
            PartitionError: naming the days and the range that exists.
        """
        if days.first < self.first or (self.last is not None and days.last > self.last):
            msg = f"no such partition: {days}; the days run from {self.first} to {self.last or 'today'}"
            raise PartitionError(msg)


@dataclass(frozen=True, kw_only=True)
class Monthly(Daily):
    """Partitions of one calendar month each, named by its first day; `last` is the last day of the last one.

    The partition of a row is the month of its event time. `Days` are days here too: those that lie between
    the firsts are no partitions.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first.day != 1:
            msg = (
                f"monthly partitions start on {self.first}; months are named by their first day, {self.first:%Y-%m}-01"
            )
            raise DeclarationError(msg)

    def month_of(self, month: date) -> Days:
        """The days of the month that begins on `month`, as far as the calendar goes."""
        end = _next_month(month) - ONE_DAY
        return Days(month, end if self.last is None else min(end, self.last))

    def window(self, days: Days) -> Window:
        """The instants of the months that begin on `days`."""
        months = self.among(days)
        return Window(start=self.start_of(months[0]), end=self.start_of(self.month_of(months[-1]).last + ONE_DAY))

    def day_of(self, instant: pl.Expr) -> pl.Expr:
        """The partition (the first day of the month) of an instant column."""
        return super().day_of(instant).dt.month_start()

    def closed_until(self, now: datetime) -> Days | None:
        """From the first month to the last one that is over at the instant `now`, or None when the first is not."""
        today = now.astimezone(ZoneInfo(self.zone)).date()
        # Of a last month that the calendar cuts short too, since Dagster knows no partition before its month is over.
        over = [month for month in self.among(Days(self.first, max(self.first, today))) if _next_month(month) <= today]
        return Days(self.first, over[-1]) if over else None

    def among(self, days: Days) -> list[date]:
        """The months that begin on `days`, by their first days, in order."""
        found, month = [], max(self.first, days.first.replace(day=1))
        until = days.last if self.last is None else min(days.last, self.last)
        while month <= until:
            if month in days:
                found.append(month)
            month = _next_month(month)
        return found

    def with_first(self, first: date) -> Monthly:
        """The same calendar, starting later."""
        return Monthly(first=first, last=self.last, zone=self.zone)

    def require(self, days: Days) -> None:
        """Refuse days of which one end is not the first day of a month of the calendar.

        Raises:
            PartitionError: naming the days and the months that there are.
        """
        months = self.among(days)
        if days.first not in months or days.last not in months:
            last = "today" if self.last is None else self.last.replace(day=1)
            msg = f"no such partition: {days}; the months, by their first days, run from {self.first} to {last}"
            raise PartitionError(msg)


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def parse_day(text: str) -> date:
    """Read a partition key such as `2013-12-31`.

    Raises:
        PartitionError: when the text is not a day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        msg = f"no such partition: {text!r} is not a day; write it as 2013-12-31"
        raise PartitionError(msg) from error


def say_duration(span: timedelta) -> str:
    """A duration in the largest unit that fits: `14 days`, `36 hours`, `15 minutes`."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = span.total_seconds() / seconds
        if count >= 1 and count == int(count) and not (unit == "day" and count == 1):
            return f"{int(count)} {unit}{'s' if count != 1 else ''}"
    return str(span)
