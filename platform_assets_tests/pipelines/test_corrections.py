"""What was known before a correction stays readable, from the landed file to the view."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import quarantine_folder
from platform_assets.declarations.times import Days, Window
from platform_assets.errors import ContractError, LandedFileError
from platform_assets.lake.landing import Landing
from platform_assets.pipelines import feature
from platform_assets.pipelines import publish as publishing
from platform_assets.pipelines.plan import FILES, plan
from platform_assets.pipelines.run import CheckResult, Materialization, Platform
from platform_assets_tests import quotes, shop
from platform_assets_tests.reference.corrections import naive_as_known, naive_fold

FIRST, SECOND, THIRD = (shop.OPEN.first + timedelta(days=n) for n in range(3))
QUARANTINE = quarantine_folder("quotes", "quotes")
DAY, DAYS = Days(FIRST, FIRST), Days(FIRST, THIRD)
TOLD_BY: dict[str, Any] = {"keys": ["product"], "event_time": "quoted_at", "known_at": "known_at"}
CORRECTED = datetime(2024, 3, 12, 6, tzinfo=UTC)
AGAIN = datetime(2024, 3, 12, 20, tzinfo=UTC)


def at(hour: int, minute: int = 0, day: int = 11) -> datetime:
    return datetime(2024, 3, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def there(empty_shop: Callable[..., Platform]) -> Platform:
    found = empty_shop(days=DAYS, per_day=40)
    for number, day in enumerate(DAYS):
        quotes.land(found.landing.root, day, [(p, at(8, day=11 + number), 100 + number) for p in quotes.PRODUCTS])
    return found


def make(there: Platform, *names: str, days: Days = DAYS, catalogue: Catalogue = quotes.CATALOGUE) -> Materialization:
    return shop.make(there, *names, days=days, catalogue=catalogue)[-1]


def correct(there: Platform, rows: list[quotes.Quote], *, when: datetime = CORRECTED) -> None:
    quotes.land(there.landing.root, FIRST, rows, at=when)


def held(there: Platform, days: Days = DAY) -> list[tuple[Any, ...]]:
    rows = there.lake.scan("quotes/quotes", days=days).sort("product", "quoted_at", "known_at")
    return rows.select("product", "quoted_at", "known_at", "cents").collect().rows()


def check(made: Materialization, name: str) -> CheckResult:
    return next(found for found in made.checks if found.name == name)


def test_a_correction_stands_beside_what_was_known_before(there: Platform) -> None:
    make(there, "quotes")
    before = held(there)
    correct(there, [("chair", at(8), 90), ("lamp", at(8), 100), ("coat", at(9), 70)])
    made = make(there, "quotes")
    assert set(held(there)) - set(before) == {("chair", at(8), CORRECTED, 90), ("coat", at(9), CORRECTED, 70)}
    assert set(before) <= set(held(there)), "nothing that was known has gone"
    assert made.changed == (DAY,)
    facts = {name: made.facts[name] for name in ("landed files", "corrections", "rows from corrections")}
    assert facts == {"landed files": 4, "corrections": 1, "rows from corrections": 2}
    assert check(made, "contract").passed


def priced(there: Platform, view: str = "orders_priced", column: str = "quote__cents") -> dict[datetime, Any]:
    """By prediction time what was joined to the orders of a chair."""
    rows = there.lake.scan(f"quotes/{view}").filter(pl.col("product") == "chair").collect()
    return dict(rows.select("prediction_time", column).iter_rows())


@pytest.fixture
def corrected_twice(there: Platform) -> Platform:
    """The chair's quote of the first day is 100, then 90, then 80; the second day has none."""
    correct(there, [("chair", at(8), 90)])
    correct(there, [("chair", at(8), 80)], when=AGAIN)
    quotes.land(there.landing.root, SECOND, [])
    make(there, "orders", "quotes", "quote", "quotes_of_the_day")
    return there


def test_a_prediction_before_a_correction_sees_the_earlier_value_and_one_after_it_the_corrected(
    corrected_twice: Platform,
) -> None:
    made = make(corrected_twice, "orders_priced")

    def expected(t: datetime) -> int | None:
        if t >= at(8, 5, day=13):
            return 102
        return None if t < at(8, 5) else 100 if t < CORRECTED else 90 if t < AGAIN else 80

    found = priced(corrected_twice)
    assert found == {t: expected(t) for t in found}
    assert set(found.values()) == {None, 100, 90, 80, 102}
    then = check(made, "as_known_then")
    assert (then.passed, made.facts["features as known"]) == (True, "then")
    assert "joined again by brute force, as known then, agree" in then.description


def test_as_corrected_since_is_an_option_that_is_recorded(corrected_twice: Platform) -> None:
    made = make(corrected_twice, "orders_priced_since")
    found = priced(corrected_twice, "orders_priced_since")
    assert found == {t: None if t < at(8) else 80 if t < at(8, day=13) else 102 for t in found}
    then = check(made, "as_known_then")
    assert (then.passed, made.facts["features as known"]) == (True, "since")
    assert "as corrected since, agree" in then.description


@pytest.mark.parametrize(("view", "other"), [("orders_priced", "since"), ("orders_priced_since", "then")])
def test_a_view_that_was_joined_the_other_way_is_caught(
    corrected_twice: Platform, monkeypatch: pytest.MonkeyPatch, view: str, other: Any
) -> None:
    honest = feature.join_selections
    monkeypatch.setattr(
        feature, "join_selections", lambda spine, facts, selection, known: honest(spine, facts, selection, known=other)
    )
    then = check(make(corrected_twice, view), "as_known_then")
    assert (then.passed, then.blocking) == (False, True)
    assert "quote__cents" in then.description


def test_sums_over_versions_count_each_row_once_as_it_was_known(corrected_twice: Platform) -> None:
    made = make(corrected_twice, "quotes_of_the_day")
    assert check(made, "knows_no_future").passed
    rows = corrected_twice.lake.scan("quotes/quotes_of_the_day").filter(pl.col("product") == "chair").collect()
    versions = corrected_twice.lake.scan("quotes/quotes").filter(pl.col("product") == "chair").collect().to_dicts()
    for tick, count, cents in rows.select("event_time", "quotes_24h", "cents_24h").iter_rows():
        known = naive_as_known(versions, **TOLD_BY, now=tick).values()
        recent = [version["cents"] for version in known if tick - version["quoted_at"] < timedelta(hours=24)]
        assert (count, cents) == (len(recent), sum(recent))
    assert {90, 100, 102} <= set(rows["cents_24h"])


def test_a_group_that_reads_corrections_before_they_were_known_is_caught(corrected_twice: Platform) -> None:
    def as_corrected(quotes: pl.LazyFrame, window: Window) -> pl.LazyFrame:
        newest = quotes.sort("known_at").unique(["product", "quoted_at"], keep="last")
        return honest(newest.with_columns(known_at=pl.col("quoted_at") + quotes_known_after), window)

    honest, quotes_known_after = quotes.quotes_of_the_day.transform, quotes.KNOWN_AFTER
    leaky = shop.with_changed("quotes_of_the_day", catalogue=quotes.CATALOGUE, transform=as_corrected)
    days = Days(FIRST, SECOND)
    made = make(corrected_twice, "quotes_of_the_day", days=days, catalogue=leaky)
    found = check(made, "knows_no_future")
    assert (found.passed, found.blocking) == (False, True)
    assert "cents_24h" in found.description


def test_a_group_that_takes_versions_for_rows_is_refused(corrected_twice: Platform) -> None:
    careless = shop.with_changed("quote", catalogue=quotes.CATALOGUE, schema=quotes.Quotes)
    with pytest.raises(ContractError, match=r"quotes/quote: 3 of 12 rows break the contract: primary_key \(3 rows\)"):
        make(corrected_twice, "quote", catalogue=careless)


def test_a_new_correction_makes_stale_its_day_and_the_days_whose_windows_reach_it(there: Platform) -> None:
    shop.refresh(there, catalogue=quotes.CATALOGUE)
    assert plan(there, quotes.CATALOGUE, now=shop.NOW).steps == ()
    correct(there, [("chair", at(8), 90)])
    decided = plan(there, quotes.CATALOGUE, now=shop.NOW)
    assert {step.name: (step.days, dict(step.reasons)) for step in decided.steps} == {
        "quotes": ((DAY,), {FILES: 1}),
        "quote": ((DAY,), {"quotes changed": 1}),
        "quotes_of_the_day": ((DAYS,), {"quotes changed": 3}),
        "orders_priced": ((DAYS,), {"quote changed": 3, "quotes_of_the_day changed": 3}),
        "orders_priced_since": ((DAYS,), {"quote changed": 3, "quotes_of_the_day changed": 3}),
    }
    shop.refresh(there, catalogue=quotes.CATALOGUE)
    assert plan(there, quotes.CATALOGUE, now=shop.NOW).steps == ()


def test_the_same_correction_delivered_again_changes_nothing(there: Platform) -> None:
    rows = [("chair", at(8), 90), ("coat", at(9), 70)]
    correct(there, rows)
    first = make(there, "quotes")
    correct(there, rows, when=AGAIN)
    correct(there, rows)
    assert set(plan(there, quotes.CATALOGUE, now=shop.NOW)["quotes"].reasons) == {FILES}
    second = make(there, "quotes")
    assert (second.is_new, second.version, second.hashes) == (False, first.version, first.hashes)


def test_a_correction_that_is_repaired_or_taken_away_leaves_no_trace(there: Platform) -> None:
    first = make(there, "quotes")
    correct(there, [("chair", at(8), 9)])
    make(there, "quotes")
    correct(there, [("chair", at(8), 90)])
    make(there, "quotes")
    assert ("chair", at(8), CORRECTED, 90) in held(there)
    assert 9 not in {cents for *_, cents in held(there)}
    there.landing.path("quotes", FIRST, CORRECTED).unlink()
    assert make(there, "quotes").hashes == first.hashes


@pytest.mark.parametrize("step", ["set_aside", "publish", "enter"])
def test_a_run_that_is_killed_anywhere_is_made_good_by_the_next(
    there: Platform, empty_shop: Callable[..., Platform], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The day follows from its files alone, so that nothing depends on how far an earlier run came."""
    make(there, "quotes")
    correct(there, [("chair", at(8), 90), ("lamp", at(8), -1)])
    correct(there, [("chair", at(8), 80)], when=AGAIN)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    module = feature if step != "enter" else publishing
    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            make(there, "quotes")
    again, twice = make(there, "quotes"), make(there, "quotes")
    assert (again.hashes, again.version) == (twice.hashes, twice.version)
    fresh = empty_shop("fresh", days=DAYS, per_day=6)
    (fresh.landing.root / "quotes").symlink_to(there.landing.root / "quotes")
    assert make(fresh, "quotes").hashes == again.hashes, "a rebuild from nothing gives the same"
    for folder in ("quotes/quotes", QUARANTINE):
        rows = [found.lake.scan(folder).sort(pl.all()).collect() for found in (there, fresh)]
        assert_frame_equal(*rows)


@pytest.mark.parametrize("moment", ["_read_text", "_inspected"])
def test_a_correction_that_lands_while_its_day_is_read_is_planned_afterwards(
    there: Platform, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    honest = getattr(Landing, moment)

    def interrupted(landing: Landing, *arguments: Any) -> Any:
        correct(there, [("chair", at(8), 90)])
        return honest(landing, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Landing, moment, interrupted)
        made = make(there, "quotes")
    assert made.facts["corrections"] == 0
    step = plan(there, quotes.CATALOGUE, now=shop.NOW)["quotes"]
    assert step is not None
    assert (step.days, step.reasons) == ((DAY,), {FILES: 1})
    assert make(there, "quotes").facts["rows from corrections"] == 1


def test_days_alone_and_together_are_the_same(there: Platform, empty_shop: Callable[..., Platform]) -> None:
    correct(there, [("chair", at(8), 90)])
    quotes.land(there.landing.root, SECOND, [("chair", at(8, day=12), 91), ("boots", at(7, day=12), 5)], at=AGAIN)
    together = make(there, "quotes")
    other = empty_shop("other", days=DAYS, per_day=6)
    (other.landing.root / "quotes").symlink_to(there.landing.root / "quotes")
    alone = {day: make(other, "quotes", days=Days(day, day)).hashes[day] for day in (THIRD, FIRST, SECOND)}
    assert alone == together.hashes


def test_a_bad_row_of_a_correction_is_set_aside_with_its_file_and_line_and_what_was_known_stays(
    there: Platform,
) -> None:
    correct(
        there,
        [
            ("chair", at(8), 90),
            ("lamp", at(8), -1),
            ("boots", at(8), "dear"),
            ("coat", at(8, day=12), 5),
            ("scarf", at(8), 1),
            ("scarf", at(8), 2),
            ("chair", at(8), 90),
        ],
    )
    made = make(there, "quotes")
    rows = there.lake.scan(QUARANTINE).sort("line").collect()
    assert rows.select("line", "reason", "day").rows() == [
        (3, "cents|min", FIRST),
        (4, "cents: cannot read dear as Int64", FIRST),
        (5, "quoted_at is not on the day of its file", FIRST),
        (6, "primary_key", FIRST),
        (7, "primary_key", FIRST),
        (8, "repeats another row", FIRST),
    ]
    assert set(rows["file"]) == {f"quotes/{FIRST}@2024-03-12T060000Z.csv"}
    assert made.facts["rows from corrections"] == 1
    assert {cents for product, *_, cents in held(there) if product != "chair"} == {100}


def test_under_fail_a_bad_correction_is_refused_and_the_table_stays(there: Platform) -> None:
    strict = shop.with_changed("quotes", catalogue=quotes.CATALOGUE, on_invalid="fail")
    make(there, "quotes", catalogue=strict)
    before = held(there)
    correct(there, [("lamp", at(8), -1)])
    with pytest.raises(ContractError, match=rf"cents\|min \(1 row\).*quotes/{FIRST}@2024-03-12T060000Z.csv"):
        make(there, "quotes", catalogue=strict)
    assert held(there) == before


def test_a_source_that_keeps_no_versions_refuses_a_correction_and_says_what_to_declare(there: Platform) -> None:
    path = there.landing.path("orders", FIRST, CORRECTED)
    path.write_bytes(there.landing.path("orders", FIRST).read_bytes())
    with pytest.raises(
        LandedFileError,
        match=rf"^quotes/orders: {path} is a correction, but the source keeps one version of each row. Declare "
        r"on_correction='keep', with known_at=after\(...\) of a column of its own \(it is ordered_at now\), to keep what "
        rf"was known before; or deliver {FIRST} again whole and move the correction away. Nothing was written$",
    ):
        make(there, "orders")
    assert there.lake.version("quotes/orders") is None


def test_a_function_that_looks_at_other_rows_sees_one_delivery_at_a_time(there: Platform) -> None:
    def dearest(raw: pl.LazyFrame) -> pl.LazyFrame:
        """The dearest quote of each product and instant."""
        return quotes.quotes.transform(raw).sort("cents").unique(["product", "quoted_at"], keep="last")

    catalogue = shop.with_changed("quotes", catalogue=quotes.CATALOGUE, transform=dearest)
    correct(there, [("chair", at(8), 80), ("chair", at(8), 90), ("lamp", at(8), 70)])
    make(there, "quotes", catalogue=catalogue)
    assert [(known, cents) for product, _, known, cents in held(there) if product == "chair"] == [
        (at(8, 5), 100),
        (CORRECTED, 90),
    ]


def test_a_function_that_compares_rows_never_sees_two_versions_of_one(there: Platform) -> None:
    def cheapest(raw: pl.LazyFrame) -> pl.LazyFrame:
        """Each quote at the lowest price of its product and instant."""
        lowest = pl.col("cents").min().over("product", "quoted_at")
        return quotes.quotes.transform(raw).with_columns(lowest)

    catalogue = shop.with_changed("quotes", catalogue=quotes.CATALOGUE, transform=cheapest)
    correct(there, [("chair", at(8), 90)])
    correct(there, [("chair", at(8), 110)], when=AGAIN)
    make(there, "quotes", catalogue=catalogue)
    assert [cents for product, *_, cents in held(there) if product == "chair"] == [100, 90, 110]


class OneAtATime(quotes.Quotes):
    @dy.rule()
    def one_price_at_a_time(cls) -> pl.Expr:
        return pl.col("cents").n_unique().over("product", "quoted_at") == 1


def test_a_rule_that_compares_rows_never_sees_two_versions_of_one(there: Platform) -> None:
    catalogue = shop.with_changed("quotes", catalogue=quotes.CATALOGUE, schema=OneAtATime, on_invalid="fail")
    correct(there, [("chair", at(8), 90)])
    correct(there, [("chair", at(8), 80)], when=AGAIN)
    made = make(there, "quotes", catalogue=catalogue)
    assert (made.facts["rows from corrections"], check(made, "contract").facts["rows examined"]) == (2, 17)


def test_a_group_of_many_versions_knows_no_future(there: Platform) -> None:
    for number in range(4):
        correct(there, [(p, at(8), 90 + number) for p in quotes.PRODUCTS], when=CORRECTED + timedelta(hours=number))
    make(there, "quotes")
    found = check(make(there, "quote", days=DAY), "knows_no_future")
    assert found.passed, found.description
    assert found.facts["rows examined"] == 15, "three of five versions of each were known at the cut"


def test_generated_deliveries_are_folded_as_by_hand(there: Platform) -> None:
    dice = random.Random(7)
    replaced = late = equal = 0
    for _ in range(6):
        instants = sorted(dice.sample([at(hour, day=11) for hour in range(24)] + [CORRECTED, AGAIN], 3))
        kept: list[tuple[datetime | None, list[dict[str, Any]]]] = []
        for delivered in (None, *instants):
            told = {
                (dice.choice(quotes.PRODUCTS), at(dice.randrange(23), 58)): dice.choice([None, 1, 2, 3])
                for _ in range(9)
            }
            rows = [(product, quoted, cents) for (product, quoted), cents in told.items()]
            repeated = [*rows, *dice.sample(rows, 2)]
            quotes.land(there.landing.root, FIRST, repeated, at=delivered)
            kept.append(
                (delivered, [
                    {"product": p, "quoted_at": q, "known_at": q + quotes.KNOWN_AFTER, "cents": c} for p, q, c in rows
                ])
            )  # fmt: skip
        make(there, "quotes", days=DAY)
        expected = naive_fold(kept, **TOLD_BY, values=["cents"])
        assert set(held(there)) == {(v["product"], v["quoted_at"], v["known_at"], v["cents"]) for v in expected}
        given = sum(len(rows) for _, rows in kept)
        first = {(row["product"], row["quoted_at"]) for row in kept[0][1]}
        late += len({(v["product"], v["quoted_at"]) for v in expected} - first)
        equal += given - len(expected)
        replaced += sum(v["known_at"] == v["quoted_at"] + quotes.KNOWN_AFTER for v in expected) - len(first)
        for delivered in instants:
            there.landing.path("quotes", FIRST, delivered).unlink()
    assert late > 20
    assert equal > 5
    assert replaced > 5, "rows that were corrected before they could be known"


_INGESTING = """
import itertools, sys
from pathlib import Path
from platform_assets.lake.landing import Landing
from platform_assets_tests import quotes, shop
from platform_assets_tests.pipelines.test_corrections import DAYS
from dataclasses import replace

there, folders = shop.platform(Path(sys.argv[1])), sys.argv[2:]
for folder in itertools.cycle(folders):
    shop.make(replace(there, landing=Landing(Path(folder))), "quotes", days=DAYS, catalogue=quotes.CATALOGUE)
    print(folder, flush=True)
"""


@pytest.mark.slow
def test_killed_runs_lose_and_double_nothing(there: Platform, empty_shop: Callable[..., Platform]) -> None:
    """Runs that see ever more corrections are killed at any moment; the next one makes the day what its files say."""
    dice = random.Random(3)
    folders = []
    for number in range(4):
        correct(there, [("chair", at(8), 90 + number), ("lamp", at(8), -1)], when=CORRECTED + timedelta(hours=number))
        folders.append(shutil.copytree(there.landing.root, there.landing.root.parent / f"landing-{number}"))
    fresh = replace(empty_shop("fresh", days=DAYS, per_day=6), landing=there.landing)
    wanted = make(fresh, "quotes")
    assert wanted.facts["rows from corrections"] == 4
    root = there.landing.root.parent
    cut_short = 0
    for _ in range(6):
        command = [sys.executable, "-c", _INGESTING, str(root), *map(str, folders)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ingesting:
            assert ingesting.stdout is not None
            assert ingesting.stdout.readline()
            time.sleep(dice.uniform(0, 0.4))
            ingesting.kill()
        assert ingesting.returncode == -signal.SIGKILL
        cut_short += make(there, "quotes").is_new
        found = make(there, "quotes")
        assert (found.hashes, found.is_new) == (wanted.hashes, False)
        for table in ("quotes/quotes", QUARANTINE):
            rows = [platform.lake.scan(table).sort(pl.all()).collect() for platform in (there, fresh)]
            assert_frame_equal(*rows)
    assert cut_short, "some run was killed while the table held something else"


@pytest.mark.slow
def test_two_hundred_thousand_rows_with_duplicates_are_merged_right(there: Platform) -> None:
    number = pl.int_range(230_000, eager=True)
    minute = pl.lit(at(0)) + pl.duration(minutes=number // 1_000)
    rows = pl.select(
        product="p" + (number % 1_000).cast(pl.String),
        quoted_at=minute.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        cents=pl.lit(100),
    )
    changed = rows[:100_000].with_columns(cents=pl.lit(101))
    batch = pl.concat([changed, rows[100_000:150_000], rows[200_000:], changed[:20_000]])
    assert len(batch) == 200_000
    rows[:200_000].write_csv(quotes.land(there.landing.root, FIRST, []))
    batch.sample(fraction=1, shuffle=True, seed=1).write_csv(quotes.land(there.landing.root, FIRST, [], at=CORRECTED))
    for delivered in (None, CORRECTED):
        there.landing.path("quotes", FIRST, delivered).with_suffix(".rows").write_text("200000")
    made = make(there, "quotes", days=DAY)
    assert (made.row_count, made.facts["rows set aside"], made.facts["rows from corrections"]) == (
        330_000,
        20_000,
        130_000,
    )
    found = there.lake.scan("quotes/quotes", days=DAY).collect()
    assert found.select(pl.struct("product", "quoted_at", "known_at").n_unique()).item() == 330_000
    corrected = pl.col("known_at") == CORRECTED
    counted = found.group_by(corrected.alias("corrected"), "cents").len().sort("corrected", "cents").rows()
    assert counted == [(False, 100, 200_000), (True, 100, 30_000), (True, 101, 100_000)]
