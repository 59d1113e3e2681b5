"""Thresholds: the tail against SciPy, the number of false alarms on unchanged days, and faults that are caught."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from platform_assets.compute.drift import MEASURES, Against, drift_over, fixed, trailing
from platform_assets.compute.merging import merge
from platform_assets.compute.profiles import profile
from platform_assets.compute.thresholds import ALARMING, ALARMS, THRESHOLDS, alarms, exceeded, held_out, learn
from platform_assets.declarations.times import Days
from platform_assets_tests.reference.thresholds import naive_exceeded

START = date(2013, 1, 1)


def day(number: int) -> date:
    return START + timedelta(days=number)


def days(first: int, last: int) -> Days:
    return Days(day(first), day(last))


@settings(max_examples=80)
@given(seed=st.integers(0, 10_000), count=st.integers(20, 400), share=st.floats(1e-6, 0.02), heavy=st.booleans())
def test_the_tail_is_the_one_of_scipy(seed: int, count: int, share: float, heavy: bool) -> None:
    dice = np.random.default_rng(seed)
    values = np.sort(dice.pareto(3, count) if heavy else dice.normal(size=count))
    assert exceeded(values, share) == pytest.approx(naive_exceeded(values.tolist(), share), rel=1e-6)
    assert exceeded(values, share / 2) > exceeded(values, share)


@pytest.mark.parametrize("tail", [stats.expon(), stats.genpareto(0.2), stats.norm(3, 1)])
def test_what_is_rarer_than_anything_seen_is_about_right(tail: stats.rv_continuous) -> None:
    """Of tails that are lighter than exponential too much is expected, so that there are fewer alarms than stated."""
    found = [exceeded(np.sort(tail.rvs(400, random_state=seed)), 2e-4) for seed in range(200)]
    assert np.median(found) == pytest.approx(tail.isf(2e-4), rel=0.2)
    above = np.mean([tail.sf(level) for level in found])
    assert 3e-5 < above < 6e-4


def test_what_was_seen_is_read_off() -> None:
    values = np.arange(1_000.0)
    assert exceeded(values, 0.2) == 800
    assert exceeded(np.full(100, 7.0), 1e-4) == 7


def test_a_window_is_held_out_with_its_neighbours() -> None:
    found = held_out(days(0, 29), apart=5, length=3)
    assert len(found) == 28
    assert found[0] == Against(current=days(0, 2), reference=(days(8, 29),))
    assert found[10] == Against(current=days(10, 12), reference=(days(0, 4), days(18, 29)))
    assert found[-1] == Against(current=days(27, 29), reference=(days(0, 21),))
    assert held_out(days(0, 9), apart=9) == []


def quiet(values: dict[str, list[float | None]], measure: str = "missing") -> pl.DataFrame:
    """Drift of some columns, day by day, of which one measure is known."""
    rows = [(day(n), column, value) for column, told in values.items() for n, value in enumerate(told)]
    frame = pl.DataFrame(rows, schema={"day": pl.Date, "column": pl.String, measure: pl.Float64}, orient="row")
    return frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in MEASURES if name != measure)


def some(seed: int, count: int) -> list[float | None]:
    return np.random.default_rng(seed).exponential(0.05, count).tolist()


def test_all_columns_share_the_alarms() -> None:
    one, two = quiet({"a": some(1, 300)}), quiet({"a": some(1, 300), "b": some(2, 300)})
    levels = [
        learn(frame, alarms_per_month=allowed, measures=["missing"])["threshold"][0]
        for frame, allowed in ((one, 1), (two, 2), (two, 1))
    ]
    assert levels[0] == levels[1] < levels[2]
    both = learn(one, alarms_per_month=1)["threshold"][0]
    assert both == learn(one, alarms_per_month=1 / len(ALARMING), measures=["missing"])["threshold"][0]


def test_a_threshold_says_what_it_was_learned_from() -> None:
    loud = [*some(3, 96), 0.8, 0.9, 0.9, 0.97]
    frame = quiet({"calm": [0.0] * 100, "loud": loud, "new": [*some(4, 39), *[None] * 61], "never": [None] * 100})
    found = learn(frame, alarms_per_month=0.05, measures=["missing"], floors={"missing": 0.03})
    assert dict(found.schema) == dict(THRESHOLDS)
    rows = {row["column"]: row for row in found.iter_rows(named=True)}
    assert set(rows) == {"calm", "loud", "new"}
    assert (rows["calm"]["threshold"], rows["calm"]["deaf"]) == (0.03, False)
    assert (rows["loud"]["deaf"], rows["loud"]["highest"], rows["loud"]["highest_day"]) == (True, 0.97, day(99))
    assert (rows["new"]["threshold"], rows["new"]["deaf"], rows["new"]["windows"]) == (None, True, 39)


def test_a_threshold_is_as_far_above_what_was_learned_as_is_asked_and_no_further_above_the_worst() -> None:
    frame, bare = quiet({"a": some(5, 300)}), {"alarms_per_month": 0.03, "measures": ["missing"]}
    plain = learn(frame, **bare)
    level, highest = plain["threshold"][0], plain["highest"][0]
    assert learn(frame, **bare, margin=1.5)["threshold"][0] == pytest.approx(1.5 * level)
    assert level > highest > 0
    assert learn(frame, **bare, margin=9, beyond=2)["threshold"][0] == pytest.approx(2 * highest)
    assert learn(frame, **bare, margin=0.1, beyond=2)["threshold"][0] == pytest.approx(0.1 * level)
    assert learn(frame, **bare, beyond=0.01, floors={"missing": 0.6})["threshold"][0] == 0.6
    assert learn(frame, **bare, floors={"unseen": 0.6})["threshold"][0] == level


def test_two_wild_days_do_not_make_a_column_deaf() -> None:
    """A blizzard left a quarter of the flights of two days without an aircraft; a flood of nulls leaves a third."""
    wild: list[float | None] = [n / 5_000 for n in range(238)] + [0.166, 0.238]
    frame = quiet({"tail_number": wild, **{f"c{n}": [0.0] * 240 for n in range(84)}})
    thresholds = {
        beyond: learn(frame, alarms_per_month=0.5, beyond=beyond).filter(column="tail_number").row(0, named=True)
        for beyond in (float("inf"), 1.0)
    }
    assert thresholds[float("inf")]["threshold"] > 0.29
    assert (thresholds[1.0]["threshold"], thresholds[1.0]["deaf"]) == (0.238, False)


def test_what_can_not_be_learned_is_refused() -> None:
    with pytest.raises(ValueError, match="no column was measured in 40 windows"):
        learn(quiet({"a": some(1, 39)}), alarms_per_month=1)
    with pytest.raises(ValueError, match="no threshold never alarms"):
        learn(quiet({"a": some(1, 99)}), alarms_per_month=0)


def test_alarms_are_what_lies_above_and_tell_where_they_begin() -> None:
    thresholds = learn(
        quiet({"a": [0.0] * 99, "b": [0.0] * 99}), alarms_per_month=1, measures=["missing"], floors={"missing": 0.1}
    )
    found = quiet({"a": [0.1, 0.2, 0.3, None, 0.4], "b": [0.0, 0.0, 0.2, 0.0, 0.0], "c": [9.0] * 5})
    told = alarms(found, thresholds)
    assert dict(told.schema) == dict(ALARMS)
    assert told.select("day", "column", "value", "begins").rows() == [
        (day(1), "a", 0.2, True),
        (day(2), "a", 0.3, False),
        (day(2), "b", 0.2, True),
        (day(4), "a", 0.4, True),
    ]


def world(seed: int, *, last: int, rows: int = 150, copies: int = 1) -> pl.DataFrame:
    """Days that are like the days before them and unlike at the end of the week, with nothing wrong."""
    dice = np.random.default_rng(seed)
    number = np.repeat(np.arange(last + 1), rows)

    def weather(spread: float) -> np.ndarray:
        level = np.zeros(last + 1)
        for n in range(1, last + 1):
            level[n] = 0.7 * level[n - 1] + dice.normal(0, spread)
        return (level + 0.5 * spread * (np.arange(last + 1) % 7 >= 5))[number]

    columns: dict[str, pl.Series] = {"day": pl.Series(number).cast(pl.Int32)}
    for copy in range(copies):
        lost = dice.random(len(number)) < 0.03 + 0.02 * np.abs(weather(0.5))
        drawn = {
            "temperature": 50 + 8 * weather(0.5) + dice.normal(0, 8, len(number)),
            "wait": np.where(lost, np.nan, dice.exponential(np.exp(0.3 * weather(0.5)))),
            "count": dice.poisson(np.exp(1 + 0.2 * weather(0.5))),
            "station": dice.choice(["JFK", "EWR", "LGA"], len(number)),
            "carrier": dice.choice(["UA", "B6", "EV", "DL", "VX"], len(number), p=[0.3, 0.25, 0.25, 0.15, 0.05]),
        }
        columns |= {f"{name}{copy or ''}": pl.Series(values) for name, values in drawn.items()}
    return pl.DataFrame(columns).with_columns(day=pl.lit(START) + pl.duration(days=pl.col("day")))


REFERENCE, AFTER, LAST = days(0, 199), days(200, 229), 229

AT_JFK = pl.col("station") == "JFK"
ALL = pl.lit(value=True)
# What is wrong: in which column, what it becomes, which rows are left, and within how many days it is caught.
FAULTS: dict[str, tuple[str, dict[str, pl.Expr], pl.Expr, int]] = {
    "another unit": ("temperature", {"temperature": (pl.col("temperature") - 32) / 1.8}, ALL, 1),
    "a stuck sensor": (
        "temperature",
        {"temperature": pl.when(AT_JFK).then(51.5).otherwise("temperature")},
        ALL,
        1,
    ),
    "a lost carrier": ("carrier", {}, pl.col("carrier") != "B6", 1),
    "a small lost carrier": ("carrier", {}, pl.col("carrier") != "VX", 7),
    "a flood of nulls": ("wait", {"wait": pl.when(AT_JFK).then(None).otherwise("wait")}, ALL, 1),
}


@pytest.fixture(scope="module")
def learned() -> tuple[pl.DataFrame, pl.DataFrame, dict[int, pl.DataFrame]]:
    """A world without faults, its grid, and thresholds for windows of a day and of a week, half the alarms each."""
    rows = world(1, last=LAST)
    parts = profile(rows, day="day")
    grid = merge(parts.filter(pl.col("day") <= REFERENCE.last), points=128)
    thresholds = {
        length: learn(drift_over(parts, held_out(REFERENCE, apart=14, length=length), grid=grid), alarms_per_month=0.5)
        for length in (1, 7)
    }
    return rows, grid, thresholds


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(name: str, learned: tuple[pl.DataFrame, pl.DataFrame, dict[int, pl.DataFrame]]) -> None:
    rows, grid, thresholds = learned
    column, changes, kept, within = FAULTS[name]
    broken = rows.filter(pl.col("day") >= AFTER.first).with_columns(**changes).filter(kept)
    parts = profile(pl.concat([rows.filter(pl.col("day") < AFTER.first), broken]), day="day")
    caught = pl.concat(
        alarms(drift_over(parts, fixed(AFTER, REFERENCE, length=length), grid=grid), thresholds[length])
        for length in (1, 7)
    )
    found = caught.filter(column=column)["day"]
    assert (found.min() - AFTER.first).days < within
    assert found.n_unique() >= len(AFTER) - within + 1


def test_where_nothing_is_wrong_no_more_is_caught_than_was_allowed(
    learned: tuple[pl.DataFrame, pl.DataFrame, dict[int, pl.DataFrame]],
) -> None:
    rows, grid, thresholds = learned
    parts, caught = profile(rows, day="day"), []
    for length in (1, 7):
        found = drift_over(parts, fixed(AFTER, REFERENCE, length=length), grid=grid)
        assert not found["too_few"].any()
        caught.append(alarms(found, thresholds[length]))
    begun = pl.concat(caught).filter("begins")
    assert begun["column"].n_unique() <= 1
    assert not {column for column, *_ in FAULTS.values()} & set(begun["column"])


@pytest.mark.slow
@pytest.mark.parametrize("moving", [False, True], ids=["fixed", "trailing"])
def test_unchanged_days_alarm_about_as_often_as_is_stated(moving: bool) -> None:
    """Three alarms a month are allowed, over fifteen columns and five measures, in worlds of days that are alike."""
    reference, later, months, above, begun = days(0, 269), days(270, 389), 120 / 30.44, 0.0, 0.0
    worlds = 10
    for seed in range(worlds):
        parts = profile(world(100 + seed, last=389, copies=3), day="day")
        grid = merge(parts.filter(pl.col("day") <= reference.last), points=128)
        before = trailing(days(28, 269), reference=28) if moving else held_out(reference, apart=14)
        after = trailing(later, reference=28) if moving else fixed(later, reference)
        thresholds = learn(drift_over(parts, before, grid=grid), alarms_per_month=3)
        found = alarms(drift_over(parts, after, grid=grid), thresholds)
        above += found.height / months / worlds
        begun += found.filter("begins").select("day", "column").n_unique() / months / worlds
    assert 0.5 < above < 4.5
    assert 0.3 < begun <= above
