"""The landing folder as it was at an instant, against a look at every name in it."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from platform_assets.declarations.times import ONE_DAY, Daily, Days
from platform_assets.errors import SourceUnavailable
from platform_assets.lake.delivered import Delivered
from platform_assets.lake.landing import Landing
from platform_assets_tests import shop

CALENDARS = {"orders": shop.OPEN}
DAYS = Days(shop.OPEN.first, shop.OPEN.first + timedelta(days=9))


def at(day: date, *, hours: float = 0) -> datetime:
    return shop.OPEN.start_of(day) + timedelta(hours=hours)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    """Ten days, some with corrections up to a week late, some days with nothing but a correction."""
    dice, found = random.Random("delivered"), Landing(tmp_path)
    for day in DAYS:
        if dice.random() < 0.8:
            shop.land_rows(tmp_path, "orders", day, shop.rows_to_land("orders", day, per_day=4))
        for _ in range(dice.randrange(3)):
            path = found.path("orders", day, at(day, hours=dice.randrange(12, 24 * 7)))
            path.parent.mkdir(exist_ok=True)
            path.write_text("order_id\n")
    return found


def naive(root: Path, calendar: Daily, until: datetime) -> dict[date, list[str]]:
    seen: dict[date, list[str]] = {}
    for path in sorted((root / "orders").glob("*.csv")):
        said, _, instant = path.stem.partition("@")
        day = date.fromisoformat(said)
        there = (
            datetime.strptime(instant, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)
            if instant
            else calendar.start_of(day + ONE_DAY)
        )
        if there <= until:
            seen.setdefault(day, []).append(path.name)
    return seen


def test_nothing_that_was_delivered_later_is_seen(landing: Landing) -> None:
    whole = Delivered.of(landing, CALENDARS, until=at(DAYS.first))
    for hours in range(0, 24 * 20, 7):
        until = at(DAYS.first, hours=hours)
        seen, wanted = whole.at(until), naive(landing.root, shop.OPEN, until)
        assert {d: sorted(f.path.name for f in files) for d, files in seen.deliveries("orders").items()} == wanted
        delivered = {day for day, names in wanted.items() if f"{day}.csv" in names}
        assert seen.days("orders") == delivered
        assert set(seen.stamps("orders", DAYS)) == {str(day) for day in delivered}


def test_what_arrives_turn_by_turn_is_all_that_arrives(landing: Landing) -> None:
    whole = Delivered.of(landing, CALENDARS, until=at(DAYS.first))
    since = at(DAYS.first, hours=-1)
    for hours in range(0, 24 * 20, 6):
        until = at(DAYS.first, hours=hours)
        before, after = naive(landing.root, shop.OPEN, since), naive(landing.root, shop.OPEN, until)
        wanted = {d for d, names in after.items() if names != before.get(d, []) and f"{d}.csv" in names}
        assert whole.at(until).arrived(since).get("orders", set()) == wanted
        since = until
    assert whole.at(since).arrived(None)["orders"] == whole.at(since).days("orders")


def test_a_day_that_is_not_over_cannot_be_read(tmp_path: Path) -> None:
    shop.land(tmp_path, DAYS, per_day=4)
    seen = Delivered.of(Landing(tmp_path), CALENDARS, until=at(DAYS.first, hours=30))
    assert len(seen.read("orders", shop.orders.raw, Days(DAYS.first, DAYS.first)).rows) == 4
    with pytest.raises(SourceUnavailable, match="nothing landed for 2024-03-12"):
        seen.read("orders", shop.orders.raw, Days(DAYS.first, DAYS.first + ONE_DAY))


def test_what_is_delivered_later_does_not_change_the_digest(landing: Landing) -> None:
    early = Days(DAYS.first, DAYS.first + timedelta(days=2))
    before = Delivered.of(landing, CALENDARS, until=at(DAYS.first)).digest(early)
    landing.path("orders", DAYS.last, at(DAYS.last, hours=99)).write_text("order_id\n")
    assert Delivered.of(landing, CALENDARS, until=at(DAYS.first)).digest(early) == before
    landing.path("orders", early.first, at(early.first, hours=30)).write_text("order_id\n")
    assert Delivered.of(landing, CALENDARS, until=at(DAYS.first)).digest(early) != before


def test_another_snapshot_changes_the_digest(landing: Landing) -> None:
    """Also one of the same size: what was operated with the other must not go on with it."""
    snapshot = landing.path("products", None)
    snapshot.write_text("product\nhat\n")
    before = Delivered.of(landing, CALENDARS, until=at(DAYS.first)).digest(DAYS)
    snapshot.write_text("product\ncap\n")
    assert Delivered.of(landing, CALENDARS, until=at(DAYS.first)).digest(DAYS) != before
