"""Landed files that come again, against a twin that shifts each row by itself."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dataframely as dy
import polars as pl
import pytest

from platform_assets.declarations.tables import Source, source
from platform_assets.declarations.times import ONE_DAY, Daily, Days, Monthly, after
from platform_assets.errors import DeclarationError, LandedFileError, PartitionError
from platform_assets.lake.delivered import Delivered
from platform_assets.lake.landing import FILE, Landing
from platform_assets.lake.repeated import Repeated, Turns, shifted

ZONE = ZoneInfo("America/New_York")
OPEN = Daily(first=date(2023, 1, 2), last=date(2023, 12, 31), zone=ZONE.key)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
A_YEAR = timedelta(days=364)


class Tickets(dy.Schema):
    ticket = dy.String(primary_key=True, description="The ticket.")
    sold_at = dy.Datetime(nullable=False, time_zone="UTC", time_unit="us", description="When it was sold (UTC).")


@source(
    keys=["ticket"],
    event_time="sold_at",
    known_at=after("sold_at"),
    partitions=OPEN,
    schema=Tickets,
    raw={
        "ticket": pl.String,
        "sold_at": pl.String,
        "valid": pl.Date,
        "year": pl.Int32,
        "month": pl.Int32,
        "day": pl.Int32,
        "note": pl.String,
        "price": pl.Float64,
    },
    date_parts=["year", "month", "day"],
    event_ids=["ticket"],
    owners=["team:tickets"],
)
def tickets(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Tickets as they were sold."""
    return raw.select("ticket", "sold_at")


def sold(day: date, number: int, dice: random.Random) -> dict[str, str]:
    start = datetime.combine(day, datetime.min.time(), ZONE)
    at = start.astimezone(UTC) + timedelta(minutes=dice.randrange(23 * 60))
    note = dice.choice(["", "plain", 'said "no", twice', "two\nlines", "2023-01-05 is inside", "Größe 7", f"{day}"])
    return {
        "ticket": f"t{number}", "sold_at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "valid": str(day + ONE_DAY),
        "year": str(day.year), "month": str(day.month), "day": f"{day.day:02d}", "note": note,
        "price": dice.choice(["1.50", "", "-7"]), "unread": "2023-01-01",
    }  # fmt: skip


def land(root: Path, day: date, rows: list[dict[str, str]], at: datetime | None = None) -> Path:
    path = Landing(root).path("tickets", day, at)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*tickets.raw, "unread"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    path.with_suffix(".rows").write_text(f"{len(rows)}\n")
    return path


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Landing:
    """A year with a correction now and then, which may come weeks late."""
    dice, root = random.Random("repeated"), tmp_path_factory.mktemp("landed")
    assert OPEN.last is not None
    for number, day in enumerate(Days(OPEN.first, OPEN.last)):
        land(root, day, [sold(day, number * 10 + n, dice) for n in range(3)])
        if dice.random() < 0.1:
            at = OPEN.start_of(day) + timedelta(hours=dice.randrange(25, 900))
            land(root, day, [sold(day, number * 10, dice)], at.replace(microsecond=0))
    return Landing(root)


def whole(landing: Landing, calendar: Daily = OPEN, *, until: datetime = LATE) -> Delivered:
    return Delivered.of(landing, {"tickets": calendar}, until=until)


def again(landing: Landing, folder: Path, *, times: int = 2, declared: Source = tickets) -> Repeated:
    assert declared.partitions is not None
    landed = whole(landing, declared.partitions)
    turns = Turns.of(landed, again=times)
    longer = replace(declared.partitions, last=declared.partitions.last and declared.partitions.last + turns.longer)
    return Repeated.again(landed, turns, {"tickets": replace(declared, partitions=longer)}, folder=folder)


def naive_instant(said: str, days: int) -> str:
    """The same reading of New York's clock, some days later."""
    wall = datetime.fromisoformat(said).astimezone(ZONE)
    moved = datetime(wall.year, wall.month, wall.day, wall.hour, wall.minute, wall.second) + timedelta(days=days)
    return f"{moved.replace(tzinfo=ZONE, fold=wall.fold).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def naive(row: dict[str, str], days: int) -> dict[str, str]:
    def day(said: str) -> date:
        return date.fromisoformat(said) + timedelta(days=days)

    told = date(int(row["year"]), int(row["month"]), int(row["day"])) + timedelta(days=days)
    is_date = len(row["note"]) == 10 and row["note"].startswith("2023-") and row["note"].count("-") == 2
    return row | {
        "ticket": f"{row['ticket']}+{days}d", "sold_at": naive_instant(row["sold_at"], days),
        "valid": str(day(row["valid"])), "year": str(told.year), "month": str(told.month),
        "day": f"{told.day:02d}" if row["day"].startswith("0") else str(told.day),
        "note": str(day(row["note"])) if is_date else row["note"],
    }  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def test_every_file_of_three_years_is_what_a_row_by_row_twin_makes_of_it(landing: Landing, tmp_path: Path) -> None:
    made, landed = again(landing, tmp_path), whole(landing)
    for day in Days(date(2023, 12, 28), date(2025, 12, 28)):
        turn = max(0, -(-(day - date(2023, 12, 31)).days // 364))
        origin = day - turn * A_YEAR
        made.read("tickets", tickets.raw, Days(day, day))
        files, wanted = made.deliveries("tickets")[day], landed.deliveries("tickets")[origin]
        assert len(files) == len(wanted)
        for found, was in zip(files, wanted, strict=True):
            rows = rows_of(was.path)
            assert rows_of(found.path) == ([naive(row, turn * 364) for row in rows] if turn else rows)
            assert found.path.with_suffix(".rows").read_text() == f"{len(rows)}\n"
            if was.corrected_at is not None:
                assert found.corrected_at is not None
                said = naive_instant(f"{was.corrected_at:%Y-%m-%dT%H:%M:%SZ}", turn * 364)
                assert f"{found.corrected_at:%Y-%m-%dT%H:%M:%SZ}" == said
    assert max(made.days("tickets")) == date(2025, 12, 28)
    assert {day.weekday() for day in (date(2023, 12, 31), max(made.days("tickets")))} == {6}


def test_only_what_is_read_is_made_and_what_is_made_stays(landing: Landing, tmp_path: Path) -> None:
    made, day = again(landing, tmp_path), Days(date(2024, 6, 3), date(2024, 6, 4))
    assert not list(tmp_path.iterdir())
    stamps = made.stamps("tickets", day)
    assert {path.name[:10] for path in (tmp_path / "tickets").iterdir()} == {"2024-06-03", "2024-06-04"}
    for path in (tmp_path / "tickets").iterdir():
        path.unlink()
    assert again(landing, tmp_path).stamps("tickets", day) == stamps, "made again, it is the same"
    kept = {path: path.stat().st_ino for path in (tmp_path / "tickets").iterdir()}
    assert again(landing, tmp_path).read("tickets", tickets.raw, day).rows[FILE].unique().len() == len(kept) // 2
    assert {path: path.stat().st_ino for path in (tmp_path / "tickets").iterdir()} == kept


def test_a_later_day_is_seen_when_it_is_over(landing: Landing, tmp_path: Path) -> None:
    made, day = again(landing, tmp_path), date(2025, 3, 9)
    evening, morning = (OPEN.start_of(day) + timedelta(hours=hours) for hours in (22, 30))
    assert day not in made.at(evening).days("tickets")
    assert day in made.at(morning).days("tickets")
    assert made.at(morning).arrived(evening)["tickets"] >= {day}


@pytest.mark.parametrize(
    ("said", "later"),
    [
        ("2023-06-01T12:00:00Z", "2024-05-30T12:00:00Z"),
        ("2023-03-14T12:00:00Z", "2024-03-12T12:00:00Z"),  # summer time on both days
        ("2023-03-11T15:30:00Z", "2024-03-09T15:30:00Z"),  # on neither
        ("2023-11-05T05:30:00Z", "2024-11-03T05:30:00Z"),  # half past one, for the first time
        ("2023-11-05T06:30:00Z", "2024-11-03T06:30:00Z"),  # and for the second
        ("2023-06-01 12:00", "2024-05-30 12:00"),
        ("2023-06-01T12:00:00.123456789+02:00", "2024-05-30T12:00:00.123456789+02:00"),
        ("2023-06-01T23:30-0400", "2024-05-30T23:30-0400"),
        (' "2023-06-01" ', ' "2024-05-30" '),
        ("2023-02-30", "2023-02-30"),
        ("on 2023-06-01", "on 2023-06-01"),
        ("20230601", "20230601"),
    ],
)
def test_cells_of_text_that_are_iso_dates_or_instants_move(said: str, later: str) -> None:
    head = ",".join(tickets.raw)
    found = shifted(f"{head}\n,{said},,,,,,\n".encode(), tickets, A_YEAR, OPEN)[0].decode()
    assert found == f"{head}\n,{later},,,,,,\n"


def test_an_hour_stays_on_the_local_clock_where_summer_time_begins_on_another_day() -> None:
    head, years = ",".join(tickets.raw), 3 * A_YEAR
    # On 13 March 2023 New York has summer time, on 9 March 2026, 1092 days later, too; on 6 March neither has.
    for said in ("2023-03-13T16:00:00Z", "2023-03-12T12:30:00Z", "2023-03-12T04:30:00Z"):
        cell = (
            shifted(f"{head}\n,{said},,,,,,\n".encode(), tickets, years, OPEN)[0].decode().splitlines()[1].split(",")[1]
        )
        before, after_it = (datetime.fromisoformat(one).astimezone(ZONE) for one in (said, cell))
        assert (after_it.date() - before.date(), after_it.time()) == (years, before.time())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda content: content[:-9], "truncated"),
        (lambda content: b"", "empty"),
        (lambda content: content.replace(b"price", b"cost"), "price is missing"),
        (lambda content: content[: content.rstrip().rfind(b"\n") + 1], "promises 2 rows"),
        (lambda content: content[: content.rstrip().rfind(b"\n") + 1] + b"t1,2023\n", "of 9 fields"),
    ],
)
def test_a_damaged_file_is_refused_as_the_landed_one_would_be(tmp_path: Path, spoil: Any, why: str) -> None:
    dice = random.Random("damaged")
    for day in Days(OPEN.first, OPEN.first + 6 * ONE_DAY):
        path = land(tmp_path / "landed", day, [sold(day, n, dice) | {"note": "plain"} for n in range(2)])
    path.write_bytes(spoil(path.read_bytes()))
    short = replace(tickets, partitions=replace(OPEN, last=OPEN.first + 6 * ONE_DAY))
    made, day = again(Landing(tmp_path / "landed"), tmp_path / "own", declared=short), OPEN.first + 13 * ONE_DAY
    with pytest.raises(LandedFileError, match=why):
        made.read("tickets", tickets.raw, Days(day, day))


def test_the_whole_weeks_that_landed_come_again_where_they_are_no_year(tmp_path: Path) -> None:
    dice = random.Random("weeks")
    for day in Days(OPEN.first, OPEN.first + 16 * ONE_DAY):
        land(tmp_path, day, [sold(day, 1, dice)])
    turns = Turns.of(whole(Landing(tmp_path), replace(OPEN, last=None)), again=1)
    assert turns.days == Days(date(2023, 1, 5), date(2023, 1, 18))
    assert str(turns) == "the 14 landed days from 2023-01-05 to 2023-01-18 come once more, with later dates"
    assert [turns.origin(turns.days.last + days * ONE_DAY) for days in (0, 1, 14)] == [
        date(2023, 1, 18), date(2023, 1, 5), date(2023, 1, 18),
    ]  # fmt: skip


def test_what_a_source_has_beyond_the_others_follows_the_last_turn() -> None:
    turns = Turns(days=Days(date(2013, 1, 2), date(2013, 12, 31)), again=2)
    assert turns.origin(date(2014, 1, 1)) == date(2013, 1, 2)
    assert turns.origin(date(2013, 12, 31) + 2 * A_YEAR) == date(2013, 12, 31)
    assert turns.origin(date(2014, 1, 1) + 2 * A_YEAR) == date(2014, 1, 1)


def test_a_night_between_turns_is_the_one_that_landed_after_the_last_day(tmp_path: Path) -> None:
    """Each file has a ticket of the day before, sold after midnight, but for what happens to the last day's."""
    dice, days = random.Random("nights"), Days(OPEN.first, OPEN.first + 13 * ONE_DAY)
    for day in days.grow(forth=1):
        yesterday = {"year": f"{day - ONE_DAY:%Y}", "month": f"{day - ONE_DAY:%m}", "day": f"{day - ONE_DAY:%d}"}
        rows = [sold(day, 10 * day.day, dice), sold(day, 10 * day.day + 1, dice) | yesterday]
        land(tmp_path / "landed", day, rows if day in days else rows[1:])
    ending = replace(tickets, partitions=replace(OPEN, last=days.last + ONE_DAY))
    landed = whole(Landing(tmp_path / "landed"), replace(OPEN, last=days.last))
    turns = Turns.of(landed, again=2)
    assert turns.days == days
    longer = replace(ending, partitions=replace(OPEN, last=days.last + ONE_DAY + turns.longer))
    made = Repeated.again(landed, turns, {"tickets": longer}, folder=tmp_path / "own")

    def told(day: date) -> set[tuple[str, str]]:
        made.read("tickets", tickets.raw, Days(day, day))
        rows = rows_of(made.path("tickets", day))
        assert made.path("tickets", day).with_suffix(".rows").read_text() == f"{len(rows)}\n"
        return {(row["ticket"], f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}") for row in rows}

    first, second, end = (days.last + n * ONE_DAY for n in (1, 15, 29))
    assert told(first) == {("t161", str(days.last)), ("t20+14d", str(first))}
    assert told(second) == {("t161+14d", str(second - ONE_DAY)), ("t20+28d", str(second))}
    assert told(end) == {("t161+28d", str(end - ONE_DAY))}
    assert told(first + ONE_DAY) == {("t30+14d", str(first + ONE_DAY)), ("t31+14d", str(first))}


def test_a_snapshot_stays(tmp_path: Path, landing: Landing) -> None:
    (landing.root / "fares.csv").write_text("zone,since\na,2023-01-01\n")
    made = again(landing, tmp_path)
    rows = made.read("fares", {"zone": pl.String, "since": pl.Date}, None).rows
    assert rows.select("zone", "since").rows() == [("a", date(2023, 1, 1))]
    (landing.root / "fares.csv").unlink()


def test_what_cannot_come_again_is_said(tmp_path: Path) -> None:
    with pytest.raises(PartitionError, match="nothing landed for tickets"):
        Turns.of(whole(Landing(tmp_path)), again=1)
    land(tmp_path, OPEN.first, [])
    with pytest.raises(PartitionError, match="less than a week landed"):
        Turns.of(whole(Landing(tmp_path)), again=1)
    with pytest.raises(PartitionError, match="tickets is delivered by month"):
        Turns.of(whole(Landing(tmp_path), Monthly(first=date(2023, 1, 1), zone=ZONE.key)), again=1)
    with pytest.raises(DeclarationError, match="name the raw columns of whole numbers"):
        replace(tickets, date_parts=["year", "month"])
    with pytest.raises(DeclarationError, match="event_ids names 'year'; an id that comes again needs"):
        replace(tickets, event_ids=["year"])
