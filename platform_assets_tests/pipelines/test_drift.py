"""Monitors: what moved is told on the day it moves, what did not is not, and a day costs what a day costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.compute.content_hash import content_hash
from platform_assets.compute.drift import exact_drift
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import profile_folder, table_folder
from platform_assets.declarations.times import ONE_DAY, Daily, Days
from platform_assets.errors import TableError, TableMissing
from platform_assets.lake.tables import Lake
from platform_assets.pipelines import drift, incidents
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.plan import plan
from platform_assets.pipelines.run import CheckResult, Materialization, Platform, Run
from platform_assets_tests import faults, monitored, shop
from platform_assets_tests.faults import Stop

DRIFT, ORDERS = table_folder("shop", "order_drift"), table_folder("shop", "orders")
KEPT = profile_folder("shop", "order_drift")
CHANGED = date(2024, 4, 5)
LAST = monitored.LONG.last


@pytest.fixture(scope="module")
def quiet_shop(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A hundred days of orders, all alike, and both monitors of them; tests leave it as it is."""
    root = tmp_path_factory.mktemp("monitored") / "shop"
    monitored.land(root / "landing", monitored.LONG)
    there = shop.platform(root)
    there.lake.root.mkdir()
    make(there, "orders", monitored.LONG)
    for name in ("order_drift", "trailing_drift"):
        make(there, name, monitored.WATCHED)
    return there


@pytest.fixture
def there(quiet_shop: Platform, tmp_path: Path) -> Platform:
    """The same, to be spoilt."""
    return faults.copy(quiet_shop, tmp_path / "shop")


def make(
    there: Platform, name: str, days: Days, *, catalogue: Catalogue = monitored.CATALOGUE, draws: bool = False
) -> Materialization:
    return materialize(there, catalogue, name, shop.run(monitored.NOW, draws=draws), days=days)


def rows(there: Platform, name: str = "order_drift") -> pl.DataFrame:
    return there.lake.scan(table_folder("shop", name)).collect().sort("day", "window", "column", "measure")


def change_unit(there: Platform, *days: date) -> None:
    """From one day to the next somebody delivers euros in place of cents."""
    monitored.land(there.landing.root, days, times=0.01)
    make(there, "orders", Days(min(days), max(days)))


def no_drift(made: Materialization) -> CheckResult:
    return next(check for check in made.checks if check.name == "no_drift")


@pytest.mark.parametrize("name", ["order_drift", "trailing_drift"])
def test_an_unchanged_shop_raises_no_alarm(quiet_shop: Platform, name: str) -> None:
    found = rows(quiet_shop, name)
    assert found.get_column("day").n_unique() == len(monitored.WATCHED)
    assert set(found.get_column("column")) == {"amount_cents", "cancelled", "customer", "product"}
    assert found.filter("alarmed").is_empty()
    assert found.filter("too_few").is_empty()
    assert found.get_column("threshold").null_count() == 0


@pytest.mark.parametrize("name", ["order_drift", "trailing_drift"])
def test_another_unit_is_told_on_its_second_day(there: Platform, name: str) -> None:
    days = Days(CHANGED, LAST)
    change_unit(there, *days)
    told = CHANGED + ONE_DAY
    made = make(there, name, Days(CHANGED, told))
    found = rows(there, name).filter("alarmed")
    assert set(found.select("day", "column").iter_rows()) == {(day, "amount_cents") for day in Days(CHANGED, told)}
    check = no_drift(made)
    assert not check.passed
    assert not check.blocking
    assert check.description.startswith(f"On {told}, 1 of 4 columns has been further from the reference than unchanged")
    assert f"amount_cents since {told} (" in check.description

    made = make(there, name, Days(told + ONE_DAY, LAST), draws=True)
    assert f"amount_cents since {told} (" in no_drift(made).description
    assert made.facts["columns that drift"] == 1
    assert all(png.startswith(b"\x89PNG") for png in made.pictures.values())
    assert set(made.pictures) == {"drift by column and day", "furthest columns"}


def test_since_when_is_told_however_long_ago_that_was(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would be another incident every day."""
    monkeypatch.setattr(drift, "_LOOK_BACK", 1)
    days = Days(monitored.WATCHED.first + 20 * ONE_DAY, LAST)
    change_unit(there, *days)
    make(there, "order_drift", Days(days.first, LAST - ONE_DAY))
    told = no_drift(make(there, "order_drift", Days(LAST, LAST)))
    assert [title for title in told.facts if title.startswith("since ")] == [f"since {days.first + ONE_DAY}"]
    change_unit(there, *monitored.WATCHED)
    make(there, "order_drift", Days(monitored.WATCHED.first, LAST - ONE_DAY))
    told = no_drift(make(there, "order_drift", Days(LAST, LAST)))
    assert f"since {monitored.WATCHED.first + ONE_DAY}" in told.facts


def test_what_was_corrected_is_quiet_again(there: Platform) -> None:
    days = Days(LAST - ONE_DAY, LAST)
    change_unit(there, *days)
    assert not no_drift(make(there, "order_drift", days)).passed
    monitored.land(there.landing.root, days)
    make(there, "orders", days)
    made = make(there, "order_drift", days)
    assert no_drift(made).passed
    assert no_drift(made).description == (f"None of 4 columns drifts on {LAST}.")


def test_what_lasts_is_not_over_because_a_day_of_before_is_made_anew(there: Platform) -> None:
    change_unit(there, *Days(LAST - 3 * ONE_DAY, LAST))
    lasting = no_drift(make(there, "order_drift", Days(LAST - 3 * ONE_DAY, LAST)))
    before = LAST - 9 * ONE_DAY
    anew = no_drift(make(there, "order_drift", Days(before, before)))
    assert anew.passed is False
    told = f"None of 4 columns drifts on {before}. On the newest day, {LAST}, 1 of 4 columns has been"
    assert anew.description.startswith(told)
    since = {name: said for name, said in anew.facts.items() if name.startswith("since ")}
    assert since == {name: said for name, said in lasting.facts.items() if name.startswith("since ")}
    assert list(since) == [f"since {LAST - 2 * ONE_DAY}"]


def test_an_incident_that_a_correction_moves_is_told_as_what_it_has_become(there: Platform) -> None:
    """The days between are made anew: what lasts began earlier than was told, and that is one incident, not two."""
    change_unit(there, *Days(LAST - 3 * ONE_DAY, LAST))
    make(there, "order_drift", Days(LAST - 3 * ONE_DAY, LAST))
    earlier = Days(LAST - 6 * ONE_DAY, LAST - 4 * ONE_DAY)
    change_unit(there, *earlier)
    anew = no_drift(make(there, "order_drift", earlier))
    assert [name for name in anew.facts if name.startswith("since ")] == [f"since {earlier.first + ONE_DAY}"]
    assert not no_drift(make(there, "order_drift", Days(LAST, LAST))).passed


def test_what_fails_once_the_days_are_written_leaves_them_to_be_made(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was told of them yet."""
    days = Days(LAST - ONE_DAY, LAST)
    change_unit(there, *days)

    def fails(_: pl.DataFrame) -> bytes:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(drift, "picture_of_drift", fails)
        with pytest.raises(OSError, match="no space left"):
            make(there, "order_drift", days, draws=True)
    assert rows(there).filter("alarmed").get_column("day").unique().sort().to_list() == list(days)
    planned = plan(there, monitored.CATALOGUE, now=monitored.NOW)["order_drift"]
    assert planned is not None
    assert planned.days == (days,)
    assert not no_drift(make(there, "order_drift", days, draws=True)).passed
    assert plan(there, monitored.CATALOGUE, now=monitored.NOW)["order_drift"] is None


def test_a_check_tells_what_the_table_has_also_when_another_run_wrote_the_same_days_since(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    days, kept, others = Days(LAST - ONE_DAY, LAST), drift.lasting, list[CheckResult]()

    def overtaken(*arguments: Any, **named: Any) -> Any:
        if not others:
            with monkeypatch.context() as patched:
                patched.setattr(drift, "lasting", kept)
                change_unit(there, *days)
                others.append(no_drift(make(there, "order_drift", days)))
        return kept(*arguments, **named)

    monkeypatch.setattr(drift, "lasting", overtaken)
    check, other = no_drift(make(there, "order_drift", days)), others[0]
    assert (check.passed, check.description) == (other.passed, other.description)
    assert told(check) == told(other)
    assert not check.passed


def told(check: CheckResult) -> dict[str, object]:
    """The facts but for when they were read from the table."""
    return {name: said for name, said in check.facts.items() if name != "read at"}


def test_what_is_over_is_said_to_be_past_each_time_its_days_are_made_anew(there: Platform) -> None:
    """By what the table has, and not by what it had before: a run that was killed before its check is none less."""
    days = Days(LAST - 12 * ONE_DAY, LAST - 9 * ONE_DAY)
    change_unit(there, *days)
    first = no_drift(make(there, "order_drift", days))
    assert no_drift(make(there, "order_drift", Days(days.last + ONE_DAY, LAST))).passed
    anew = make(there, "order_drift", days)
    check = no_drift(anew)
    assert (check.passed, check.description) == (first.passed, first.description)
    assert told(check) == told(first)
    since = days.first + ONE_DAY
    assert [name for name in check.facts if "since" in name] == [f"past, since {since}", "incidents since 2024-03-01"]
    assert check.facts["incidents since 2024-03-01"] == str(since)
    assert check.description.startswith(f"On {days.last}, 1 of 4 columns has been further from the reference than")
    assert check.description.endswith(f" None does on the newest day, {LAST}.")
    assert anew.facts["columns that drift"] == 1
    assert anew.facts["columns that drift on the newest day"] == 0
    assert anew.facts["newest day"] == str(LAST)


def test_what_lasts_longer_than_is_remembered_is_called_anew_once_a_month(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be told every day."""
    monkeypatch.setattr(incidents, "_REMEMBERED_DAYS", 4)
    since = date(2024, 3, 20)
    change_unit(there, *Days(since, LAST))
    called = [
        title.removeprefix("past, ")
        for day in Days(since + ONE_DAY, LAST)
        for title in no_drift(make(there, "order_drift", Days(since, day) if day.day == 21 else Days(day, day))).facts
        if title.startswith(("since ", "past, since "))
    ]
    assert list(dict.fromkeys(called)) == [f"since {since + ONE_DAY}", "since 2024-04-02"]


def measured_of_rows(there: Platform, column: str, current: Days, reference: Days) -> dict[str, float | None]:
    """The naive twin: the measures from all rows of the days."""
    was, is_now = (there.lake.scan(ORDERS, days=days).collect().get_column(column) for days in (reference, current))
    return exact_drift(was, is_now)


@pytest.mark.parametrize("window", [1, 7])
@pytest.mark.parametrize("column", ["amount_cents", "cancelled", "customer", "product"])
def test_the_measures_are_those_of_the_rows(there: Platform, window: int, column: str) -> None:
    """Exact where every value is listed; a day's eighty amounts are kept as sixty-four points.

    Of values that came between two points, infinity_norm tells the share of all that did.
    """
    change_unit(there, CHANGED)
    make(there, "order_drift", Days(CHANGED, CHANGED))
    compared = 0
    for day in (monitored.WATCHED.first, shop.CLOCKS_FORWARD, CHANGED):
        current = Days(day - (window - 1) * ONE_DAY, day)
        wanted = measured_of_rows(there, column, current, monitored.LEARNED_FROM)
        found = rows(there).filter(pl.col("day") == day, pl.col("window") == window, pl.col("column") == column)
        for measure, value in found.select("measure", "value").iter_rows():
            if column == "amount_cents" and measure == "infinity_norm":
                continue
            tolerance = 0.03 if column == "amount_cents" else 1e-9
            assert value == pytest.approx(wanted[measure], abs=tolerance), (day, measure)
            compared += 1
    assert compared == (15 if column == "cancelled" else 12)


def test_a_range_is_its_days_one_by_one(there: Platform) -> None:
    change_unit(there, CHANGED)
    make(there, "order_drift", Days(CHANGED, LAST))
    whole = rows(there).filter(pl.col("day") >= CHANGED)
    there.lake.path(DRIFT).rename(there.lake.root / "aside")
    for day in Days(CHANGED, LAST):
        make(there, "order_drift", Days(day, day))
    assert_frame_equal(rows(there), whole)
    assert whole.get_column("day").n_unique() == 5


def test_made_again_it_is_the_same_version(there: Platform) -> None:
    before = {folder: there.lake.version(folder) for folder in (DRIFT, KEPT)}
    make(there, "order_drift", monitored.WATCHED)
    assert {folder: there.lake.version(folder) for folder in (DRIFT, KEPT)} == before


def reads(there: Platform, day: date, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], int]:
    """The tables that watching a day scans, and of how many days it takes profiles."""
    scanned, asked = set[str](), list[int]()
    scan, read = Lake.scan, drift.read_profiles

    def noting(lake: Lake, folder: str, **named: Any) -> pl.LazyFrame:
        scanned.add(folder)
        return scan(lake, folder, **named)

    def counting(*arguments: Any, **named: Any) -> pl.DataFrame:
        found = read(*arguments, **named)
        asked.append(found.get_column("day").n_unique())
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "scan", noting)
        patch.setattr(drift, "read_profiles", counting)
        make(there, "order_drift", Days(day, day))
    return scanned, sum(asked)


def test_a_later_day_reads_no_more_than_an_earlier_one(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first day of all has no day before it to ask whether something drifts already.
    make(there, "order_drift", Days(monitored.WATCHED.first, monitored.WATCHED.first))
    second, last = (reads(there, day, monkeypatch) for day in (monitored.WATCHED.first + ONE_DAY, LAST))
    assert second == last
    assert last[1] == 7
    assert ORDERS not in last[0]
    assert profile_folder("shop", "orders") in last[0]


def test_thresholds_are_learned_once_and_anew_when_their_days_change(there: Platform) -> None:
    said: list[str] = []

    def watch(day: date) -> None:
        run = Run(run_id="run-x", now=monitored.NOW + timedelta(minutes=len(said)), say=said.append)
        materialize(there, monitored.CATALOGUE, "order_drift", run, days=Days(day, day))

    watch(LAST)
    assert said == []
    assert there.lake.version(KEPT) == 0
    change_unit(there, monitored.LEARNED_FROM.last)
    watch(LAST)
    watch(LAST - ONE_DAY)
    assert said == [f"shop/order_drift: learns what is too much from {monitored.LEARNED_FROM}"]
    assert there.lake.version(KEPT) == 1


def test_the_plan_follows_windows_and_reference(there: Platform) -> None:
    def stale() -> dict[str, Any]:
        found = plan(there, monitored.CATALOGUE, now=monitored.NOW).steps
        return {step.name: step.days for step in found}

    assert stale() == {}
    day = monitored.WATCHED.first + 10 * ONE_DAY
    change_unit(there, day)
    reached = Days(day, day + 6 * ONE_DAY)
    assert stale() == {"order_drift": (reached,), "trailing_drift": (Days(day, day + 14 * ONE_DAY),)}
    shop.refresh(there, catalogue=monitored.CATALOGUE, now=monitored.NOW)
    assert stale() == {}

    monitored.land(there.landing.root, [monitored.LEARNED_FROM.first], times=0.5)
    planned = plan(there, monitored.CATALOGUE, now=monitored.NOW)
    assert planned["order_drift"] is not None
    assert planned["order_drift"].days == (monitored.WATCHED,)
    make(there, "orders", Days(monitored.LEARNED_FROM.first, monitored.LEARNED_FROM.first))
    assert stale() == {"order_drift": (monitored.WATCHED,), "trailing_drift": (monitored.WATCHED,)}
    shop.refresh(there, catalogue=monitored.CATALOGUE, now=monitored.NOW)
    assert stale() == {}


def test_a_day_is_not_watched_before_its_reference_is_there(tmp_path: Path) -> None:
    some = Days(monitored.LEARNED_FROM.last - 10 * ONE_DAY, LAST)
    monitored.land(tmp_path / "shop" / "landing", some)
    there = shop.platform(tmp_path / "shop")
    there.lake.root.mkdir()
    make(there, "orders", some)
    assert plan(there, monitored.CATALOGUE, now=monitored.NOW).steps == ()
    with pytest.raises(TableMissing, match=r"order_drift of 2024-04-09 reads shop/orders .* are not materialized"):
        make(there, "order_drift", Days(LAST, LAST))


STOPS = [
    Stop("before", "platform_assets.pipelines.drift:write"),
    Stop("within data of", "platform_assets.lake.writes:write_deltalake"),
    Stop("within commit of", "platform_assets.lake.writes:write_deltalake"),
    Stop("after", "platform_assets.pipelines.drift:write"),
    Stop("before", "platform_assets.pipelines.drift:publish"),
    Stop("after", "platform_assets.pipelines.publish:write"),
]


@pytest.mark.parametrize(
    "stop", [pytest.param(s, marks=pytest.mark.slow) if s in STOPS[1:-1] else s for s in STOPS], ids=str
)
def test_killed_while_it_learns_and_run_again_it_is_as_if_it_had_not_been_killed(
    there: Platform, tmp_path: Path, stop: Stop
) -> None:
    change_unit(there, monitored.LEARNED_FROM.last, CHANGED)
    days = Days(CHANGED, CHANGED)

    def meaning(root: Platform) -> list[str]:
        materialize(root, monitored.CATALOGUE, "order_drift", faults.run(2_000), days=days)
        return [content_hash(root.lake.scan(folder).collect()) for folder in (DRIFT, KEPT)]

    wanted = meaning(faults.copy(there, tmp_path / "twin"))
    faults.kill_at_stop(there, "order_drift", days, stop, catalogue="platform_assets_tests.monitored:CATALOGUE")
    assert meaning(there) == wanted


def test_too_few_values_are_told_and_raise_no_alarm(there: Platform) -> None:
    monitored.land(there.landing.root, [LAST], per_day=12, times=0.01)
    make(there, "orders", Days(LAST, LAST))
    made = make(there, "order_drift", Days(LAST, LAST))
    day = rows(there).filter(pl.col("day") == LAST, pl.col("window") == 1)
    assert day.get_column("too_few").all()
    assert not day.get_column("alarmed").any()
    assert made.facts["columns of too few values"] == 4


def test_nothing_can_be_learned_from_days_of_too_few_rows(there: Platform) -> None:
    wanting = Catalogue(
        name="shop", declarations=[monitored.orders, replace(monitored.order_drift, at_least=500, windows=(1,))]
    )
    with pytest.raises(TableError, match=r"shop/order_drift: of windows of 1 days on .* or lower at_least"):
        make(there, "order_drift", Days(LAST, LAST), catalogue=wanting)


def test_columns_can_be_left_out_and_names_are(there: Platform) -> None:
    chosen = Catalogue(
        name="shop", declarations=[monitored.orders, replace(monitored.order_drift, skip=["product"], at_least=20)]
    )
    make(there, "order_drift", Days(LAST, LAST), catalogue=chosen)
    assert set(rows(there).filter(pl.col("day") == LAST).get_column("column")) == {
        "amount_cents",
        "cancelled",
        "customer",
    }


@pytest.mark.slow
def test_the_same_season_is_compared_weekday_for_weekday(tmp_path: Path) -> None:
    first = date(2023, 1, 2)
    learned = Days(first + 369 * ONE_DAY, first + 413 * ONE_DAY)
    watched = Days(learned.last + ONE_DAY, learned.last + 3 * ONE_DAY)
    days = Days(first, watched.last)
    monitor = monitored.seasonal(Daily(first=first, last=watched.last, zone=shop.BERLIN), learned)
    catalogue = Catalogue(name="shop", declarations=[monitor.of, monitor])
    monitored.land(tmp_path / "shop" / "landing", days, per_day=50)
    there = shop.platform(tmp_path / "shop")
    there.lake.root.mkdir()
    make(there, "orders", days, catalogue=catalogue)
    make(there, "order_drift", watched, catalogue=catalogue)
    for day in watched:
        back = day - 364 * ONE_DAY
        season = Days(back - 5 * ONE_DAY, back + 5 * ONE_DAY)
        wanted = measured_of_rows(there, "product", Days(day, day), season)
        found = rows(there).filter(pl.col("day") == day, pl.col("column") == "product")
        assert dict(found.select("measure", "value").iter_rows()) == pytest.approx(
            {measure: wanted[measure] for measure in found.get_column("measure")}, abs=1e-9
        )
        assert len(found) == 4
