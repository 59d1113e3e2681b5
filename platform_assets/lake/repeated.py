"""Landed files that come again with later dates, so that a year of history serves for a replay of many.

What comes again are the last 364 days that landed, or the whole weeks that there are where that is less: weekdays stay.
A day's files are made when the day is read for the first time, below a folder of the reader's own.

Shifted is what a file says of time: the day in its name and the instant at which a correction was delivered; cells of
columns that are read as dates; cells of text that are an ISO 8601 date or instant and nothing else; the numbers of
`Source.date_parts`. What `Source.event_ids` name happens once, so that its name says how much later it is (`a7+364d`).
All else stays byte for byte, and a snapshot as it is. An instant keeps its hour on the clock of the source's zone: one
that summer time skips on the later day moves an hour on, one that the clock shows twice keeps its turn.

The first night of each turn joins two days that were no neighbours. Where a source has `date_parts`, what a turn says of
days before it is left out, and what landed after the last of the days says of these stands there instead: the
departures after midnight of New Year's Eve are followed by those of the second of January, not by late ones of the first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import ONE_DAY, Daily, Days, Monthly
from platform_assets.errors import PartitionError
from platform_assets.lake.delivered import Delivered, in_turn
from platform_assets.lake.landing import Delivery, Landing

YEAR = timedelta(days=364)
_WEEK = 7
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})(?:([T ]\d{2}:\d{2}(?::\d{2})?)([.,]\d+)?(Z|[+-]\d{2}:?\d{2})?)?")
_BEGINS = frozenset('0123456789 "')
_PARTS = 3
_NEWLINE = "\n"
_CELL = re.compile(r'("(?:[^"]|"")*"[^,\n]*|[^,\n]*)(,|\n)')


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Landed days that come again.

    Attributes:
        days: which, whole weeks of them.
        again: how often, after the first time.
    """

    days: Days
    again: int

    @staticmethod
    def of(landed: Delivered, *, again: int) -> Turns:
        """The last year of what landed for every source, or the whole weeks that there are.

        Raises:
            PartitionError: when less than a week landed, or a source is delivered by month.
        """
        firsts, lasts = [], []
        for source, own in landed.calendars.items():
            there = [day for day, files in landed.held[source].items() if files[0].corrected_at is None]
            if isinstance(own, Monthly):
                msg = f"{source} is delivered by month, and months are no whole weeks; replay it without --years"
                raise PartitionError(msg)
            if not there:
                msg = f"nothing landed for {source} in {landed.root}, so that nothing of it can come again"
                raise PartitionError(msg)
            firsts.append(there[0])
            lasts.append(there[-1] if own.last is None else min(there[-1], own.last))
        first, last = max(firsts), min(lasts)
        length = min(YEAR.days, max(0, (last - first).days + 1) // _WEEK * _WEEK)
        if not length:
            msg = f"less than a week landed for all sources in {landed.root}; --years needs a week at least"
            raise PartitionError(msg)
        return Turns(days=Days(last - timedelta(days=length - 1), last), again=again)

    @property
    def longer(self) -> timedelta:
        """By how much history goes on."""
        return timedelta(days=self.again * len(self.days))

    def origin(self, day: date) -> date:
        """The landed day that a day repeats; itself where it landed or came before.

        What a source has beyond the common days (the night after New Year's Eve) follows the last turn only.
        """
        if day <= self.days.last:
            return day
        if day > self.days.last + self.longer:
            return day - self.longer
        return self.days.first + timedelta(days=(day - self.days.first).days % len(self.days))

    def begun(self, day: date) -> date:
        """The first day of the turn that a day lies in, after the days themselves."""
        turn = min((day - self.days.last - ONE_DAY).days // len(self.days), self.again - 1)
        return self.days.last + ONE_DAY + timedelta(days=turn * len(self.days))

    def __str__(self) -> str:
        times = "once more" if self.again == 1 else f"{self.again} times more"
        return f"the {len(self.days)} landed days from {self.days} come {times}, with later dates"


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What a file is made of: a landed one, so much later, and from which day on it may tell of days.

    What it would tell of days before is taken from `tail`, likewise later, where there is one.
    """

    landed: Path
    shift: timedelta
    begun: date | None = None
    tail: tuple[Path, timedelta] | None = None


@dataclass(frozen=True)
class Repeated(Delivered):
    """A landing whose days come again, as it is seen from an instant.

    Attributes:
        landed: what really landed.
        sources: whose files they are, by name.
    """

    landed: Landing = field(default_factory=lambda: Landing(Path()))
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)
    _made_of: Mapping[Path, _Origin] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def again(landed: Delivered, turns: Turns, sources: Mapping[str, Source], *, folder: Path) -> Repeated:
        """Let the days come again.

        Args:
            landed: what really landed.
            turns: which days come again, and how often.
            sources: all sources by name, with calendars that go on to the end of the last turn.
            folder: where the files of a day are put when it is read; nobody else writes there.
        """
        own, calendars = Landing(folder), {name: s.partitions for name, s in sources.items() if s.partitions}
        held: dict[str, dict[date, tuple[Delivery, ...]]] = {}
        made_of: dict[Path, _Origin] = {}
        for source, calendar in calendars.items():
            there, zone = landed.held[source], ZoneInfo(calendar.zone)
            by_day = held[source] = {}
            for day in Days(min(there), max(there) + turns.longer) if there else ():
                shift, files = day - turns.origin(day), []
                for found in there.get(day - shift, ()):
                    at = found.corrected_at and later(found.corrected_at, shift, zone)
                    files.append(Delivery(path=own.path(source, day, at), day=day, corrected_at=at))
                    made_of[files[-1].path] = _origin(found, there, day, shift, turns)
                if files:
                    by_day[day] = tuple(files)
        return Repeated(
            folder,
            held=held,
            calendars=calendars,
            until=landed.until,
            _in_turn=in_turn(held, calendars),
            landed=Landing(landed.root),
            sources=sources,
            _made_of=made_of,
        )

    def _units(self, source: str, days: Days | None) -> dict[str, tuple[Delivery, ...]]:
        if days is None:
            self.landed.stamps(source, None)  # refuses what a snapshot must not have beside it
            snapshot = self.landed.path(source, None)
            self._keep(source, self.path(source, None), _Origin(landed=snapshot, shift=timedelta(0)))
        units = super()._units(source, days)
        for delivery in (one for files in units.values() for one in files if one.day is not None):
            self._keep(source, delivery.path, self._made_of[delivery.path])
        return units

    def _keep(self, source: str, path: Path, origin: _Origin) -> None:
        """Make a file where it is not there yet; its age is that of what it is made of, so that its stamp stays."""
        if path.exists() or not origin.landed.is_file():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        content, more = origin.landed.read_bytes(), 0
        if origin.shift:
            content, more = self._shifted(self.sources[source], content, origin)
        count = origin.landed.with_suffix(".rows")
        if count.is_file():  # first: whoever sees the file sees its count
            said = count.read_text().strip()
            path.with_suffix(".rows").write_text(f"{int(said) + more if said.isdecimal() else said}\n")
        part = path.with_suffix(".part")
        part.write_bytes(content)
        told = origin.landed.stat()
        os.utime(part, ns=(told.st_atime_ns, told.st_mtime_ns))
        part.replace(path)

    def _shifted(self, source: Source, content: bytes, origin: _Origin) -> tuple[bytes, int]:
        """The content, and how many rows it has more than the landed file."""
        calendar = self.calendars[source.name]
        moved, gone = shifted(content, source, origin.shift, calendar, since=origin.begun)
        if origin.tail is None:
            return moved, -gone
        path, shift = origin.tail
        tail, _ = shifted(path.read_bytes(), source, shift, calendar, until=origin.begun)
        head, _, rows = tail.partition(b"\n")
        if not rows or not moved.startswith(head + b"\n") or not moved.endswith(b"\n"):
            return moved, -gone
        return moved + rows, len(_rows(rows.decode("latin-1"))) - 1 - gone


def _origin(
    found: Delivery, there: Mapping[date, Sequence[Delivery]], day: date, shift: timedelta, turns: Turns
) -> _Origin:
    if not shift or day > turns.days.last + turns.longer:
        return _Origin(landed=found.path, shift=shift)
    begun = turns.begun(day)
    before = begun - ONE_DAY - turns.days.last
    beyond = [one for one in there.get(day - before, ()) if one.corrected_at is None and found.corrected_at is None]
    is_tail = beyond and day - before > turns.days.last
    return _Origin(landed=found.path, shift=shift, begun=begun, tail=(beyond[0].path, before) if is_tail else None)


def shifted(
    content: bytes,
    source: Source,
    shift: timedelta,
    calendar: Daily,
    *,
    since: date | None = None,
    until: date | None = None,
) -> tuple[bytes, int]:
    """A landed file of a daily source, `shift` later, and how many of its rows were left out.

    A file that is no table is given back as it is, to be refused by who reads it; so is a cell that is no date.

    Args:
        content: the file.
        source: whose.
        shift: whole days.
        calendar: of the source.
        since: leave out rows that tell of an earlier day, where `date_parts` say of which.
        until: leave out rows that do not tell of an earlier day.
    """
    text = content.decode("latin-1")  # every byte a letter: what is not touched comes out as it went in
    head, _, body = text.partition("\n")
    if not body:
        return content, 0
    place = {name.strip('"\r'): number for number, name in enumerate(head.split(","))}
    dated = [
        name for name, dtype in source.raw.items() if dtype in (pl.String, pl.Date) and name not in source.event_ids
    ]
    told, ids, parts = (
        [place[name] for name in _as_letters(names) if name in place]
        for names in (dated, source.event_ids, source.date_parts)
    )
    move = _mover(shift, ZoneInfo(calendar.zone))
    rows, lines = _rows(body), list[str]()
    for cells in rows:
        for number in told:
            if number < len(cells) and cells[number][:1] in _BEGINS:
                cells[number] = move(cells[number])
        for number in ids:
            if number < len(cells) and (said := cells[number].strip().strip('"')):
                cells[number] = cells[number].replace(said, f"{said}+{shift.days}d") if shift else cells[number]
        day = None
        if len(parts) == _PARTS and max(parts) < len(cells):
            day, moved = _moved_parts(tuple(cells[number] for number in parts), shift)
            for number, cell in zip(parts, moved, strict=True):
                cells[number] = cell
        is_end = cells is rows[-1]
        if is_end or ((since is None or day is None or day >= since) and (until is None or (day and day < until))):
            lines.append(",".join(cells))
    return f"{head}\n{_NEWLINE.join(lines)}".encode("latin-1"), len(rows) - len(lines)


def _as_letters(names: Iterable[str]) -> list[str]:
    return [name.encode().decode("latin-1") for name in names]


def _rows(body: str) -> list[list[str]]:
    """The cells of each row as they are written, quotes included; the last row is what follows the last line break."""
    if '"' not in body:
        return [line.split(",") for line in body.split("\n")]
    rows: list[list[str]] = [[]]
    end = 0
    for found in _CELL.finditer(body):
        rows[-1].append(found[1])
        end = found.end()
        if found[2] == "\n":
            rows.append([])
    rows[-1].append(body[end:])
    return rows


def _mover(shift: timedelta, zone: ZoneInfo) -> Callable[[str], str]:
    """What shifts a cell that is an ISO date or instant, and leaves any other as it is."""

    @cache
    def move(cell: str) -> str:
        said = cell.strip().strip('"').strip()
        found = _ISO.fullmatch(said)
        try:
            return cell if found is None else cell.replace(said, _moved(found, shift, zone))
        except (ValueError, OverflowError):  # 2013-02-30, which is for the reader to refuse
            return cell

    return move


def _moved(found: re.Match[str], shift: timedelta, zone: ZoneInfo) -> str:
    day, clock, fraction, offset = found.groups(default="")
    if not offset:
        return f"{date.fromisoformat(day) + shift}{clock}{fraction}"
    at = datetime.fromisoformat(f"{day}{clock}{offset}")
    moved = later(at, shift, zone).astimezone(at.tzinfo)
    return f"{moved:%Y-%m-%d}{clock[0]}{moved.strftime('%H:%M:%S')[: len(clock) - 1]}{fraction}{offset}"


@cache
def _moved_parts(parts: Sequence[str], shift: timedelta) -> tuple[date | None, Sequence[str]]:
    """The same date later (None where it is none), and its year, month and day as wide as they were written."""
    try:
        moved = date(*(int(part) for part in parts)) + shift
    except (ValueError, OverflowError):
        return None, parts
    said = zip((moved.year, moved.month, moved.day), parts, strict=True)
    return moved, tuple(f"{number:0{len(was)}d}" if was.startswith("0") else str(number) for number, was in said)


def later(instant: datetime, shift: timedelta, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which the clock of `zone` shows, `shift` later, what it showed at `instant`."""
    wall = instant.astimezone(zone)
    return (wall + shift).replace(fold=wall.fold).astimezone(UTC)
