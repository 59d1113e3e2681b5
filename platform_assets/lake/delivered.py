"""Landed files as they had been delivered by an instant: history as it was seen while it was made."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Self

from platform_assets.declarations.times import ONE_DAY, Daily, Days
from platform_assets.lake.landing import Delivery, Landing

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Delivered(Landing):
    """The landing folder, of which nobody sees what was delivered after `until` (UTC).

    The first file of a day counts as delivered when the day was over, a correction at the instant in its name.
    A snapshot tells no instant: it is there from the beginning. The folder is looked through once, so that an
    instant costs what it brought and not what came before it.

    Attributes:
        held: by daily source all that its folder holds, by day.
        calendars: by daily source its days.
        until: the instant, included.
    """

    held: Mapping[str, Mapping[date, tuple[Delivery, ...]]] = field(default_factory=dict, repr=False)
    calendars: Mapping[str, Daily] = field(default_factory=dict)
    until: datetime = _LONG_AGO
    _in_turn: tuple[tuple[datetime, str, date], ...] = field(default=(), repr=False, compare=False)

    @staticmethod
    def of(landing: Landing, calendars: Mapping[str, Daily], *, until: datetime) -> Delivered:
        """Look through a landing folder.

        Args:
            landing: the folder.
            calendars: the days of each daily source.
            until: the instant (UTC) from which it is seen.

        Raises:
            PartitionError: naming a file that is neither a day's nor a correction's.
        """
        held = {source: landing.deliveries(source) for source in calendars}
        return Delivered(landing.root, held=held, calendars=calendars, until=until, _in_turn=in_turn(held, calendars))

    def at(self, until: datetime) -> Self:
        """The same folder, seen from another instant (UTC)."""
        return replace(self, until=until)

    def arrived(self, since: datetime | None) -> dict[str, set[date]]:
        """By source the days for which something was delivered after `since` (UTC; None: ever) and up to `until`."""
        first = 0 if since is None else bisect_right(self._in_turn, since, key=_instant)
        found: dict[str, set[date]] = {}
        for _, source, day in self._in_turn[first : bisect_right(self._in_turn, self.until, key=_instant)]:
            if self._seen(source, day)[:1] and self._seen(source, day)[0].corrected_at is None:
                found.setdefault(source, set()).add(day)
        return found

    def digest(self, days: Days) -> str:
        """One hash of all that had been delivered on the morning after the last of `days`, and of the snapshots.

        A file that was delivered later does not change it.
        """
        seen = self.at(max(own.start_of(days.last + 2 * ONE_DAY) for own in self.calendars.values()))
        told = {source: seen.stamps(source, _whole(seen.deliveries(source))) for source in sorted(seen.calendars)}
        snapshots = [self.stamps(path.stem, None) for path in sorted(self.root.glob("*.csv")) if "@" not in path.stem]
        return hashlib.blake2b(json.dumps([told, snapshots]).encode(), digest_size=8).hexdigest()

    def deliveries(self, source: str) -> dict[date, tuple[Delivery, ...]]:
        """The files of a daily source by day that had been delivered, each day's in the order of delivery."""
        return {day: seen for day in self.held.get(source, {}) if (seen := self._seen(source, day))}

    def _units(self, source: str, days: Days | None) -> dict[str, tuple[Delivery, ...]]:
        if days is None:
            return super()._units(source, days)
        return {str(day): self._seen(source, day) for day in days}

    def _seen(self, source: str, day: date) -> tuple[Delivery, ...]:
        files = self.held.get(source, {}).get(day, ())
        return tuple(one for one in files if _delivered_at(one, self.calendars[source]) <= self.until)


def in_turn(
    held: Mapping[str, Mapping[date, tuple[Delivery, ...]]], calendars: Mapping[str, Daily]
) -> tuple[tuple[datetime, str, date], ...]:
    """Instant (UTC), source and day of every delivery, in the order of delivery."""
    return tuple(
        sorted(
            (_delivered_at(delivery, calendars[source]), source, day)
            for source, by_day in held.items()
            for day, files in by_day.items()
            for delivery in files
        )
    )


def _whole(found: Mapping[date, object]) -> Days | None:
    return Days(min(found), max(found)) if found else None


def _instant(told: tuple[datetime, str, date]) -> datetime:
    return told[0]


def _delivered_at(delivery: Delivery, calendar: Daily) -> datetime:
    """When a file of a daily source was delivered (UTC)."""
    if delivery.corrected_at is not None:
        return delivery.corrected_at
    assert delivery.day is not None  # noqa: S101 - snapshots are not held
    return calendar.start_of(delivery.day + ONE_DAY)
