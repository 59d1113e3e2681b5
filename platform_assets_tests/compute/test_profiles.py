"""Profiles against the naive twin, and merged ones against the profile of the whole."""

from __future__ import annotations

import hashlib
import math
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

from platform_assets.compute import profiles
from platform_assets.compute.content_hash import mix
from platform_assets.compute.merging import merge
from platform_assets.compute.profiles import PROFILES, TEXTS, Profile, each, profile
from platform_assets.compute.summaries import distinct_of, least_hashes, moments, points_for, rank_error_of
from platform_assets_tests.reference.profiles import finite, furthest, miscounted, naive_profile

START = date(2013, 1, 1)


def some_values(seed: int, count: int, shape: str) -> list[float | None]:
    """Values of one of a few shapes, some of them null, NaN or infinite."""
    dice = np.random.default_rng(seed)
    drawn = {
        "smooth": dice.normal(40, 15, count),
        "whole": dice.poisson(70, count).astype(float) - 60,
        "spiked": np.where(dice.random(count) < 0.6, 0.0, dice.exponential(30, count)),
        "few": dice.choice([1.0, 2.0, 5.0], count),
        "wide": 10.0 ** dice.uniform(-9, 9, count),
    }[shape]
    odd = dice.random(count)
    drawn = np.select([odd < 0.02, odd < 0.03, odd < 0.04], [np.nan, np.inf, -np.inf], drawn)
    return [None if lost else float(value) for value, lost in zip(drawn, dice.random(count) < 0.05, strict=True)]


SHAPES = st.sampled_from(["smooth", "whole", "spiked", "few", "wide"])


def one(frame: pl.DataFrame) -> Profile:
    (found,) = each(frame)
    return found


def of_values(values: list[float | None]) -> Profile:
    return one(profile(pl.DataFrame({"x": values}, schema={"x": pl.Float64}, strict=False)))


def by_day(days: list[list[float | None]]) -> pl.DataFrame:
    dated = [(START + timedelta(days=n), value) for n, values in enumerate(days) for value in values]
    return pl.DataFrame(dated, schema={"day": pl.Date, "x": pl.Float64}, orient="row")


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 500), shape=SHAPES)
def test_it_is_what_the_naive_twin_finds(seed: int, count: int, shape: str) -> None:
    values = some_values(seed, count, shape)
    found, known = of_values(values), finite(values)
    naive = naive_profile(values)
    widest = max(map(abs, known), default=0.0)
    off = {f"m{n}": widest**n * len(known) * 1e-12 for n in (2, 3, 4)}
    for name, value in naive.items():
        told = getattr(found, name)
        assert told == (None if value is None else pytest.approx(value, rel=1e-9, abs=off.get(name, 1e-9))), name
    assert found.distinct == len(set(known))
    assert sum(found.counts) == found.known == len(known)
    if known:
        assert found.values[0] == min(known)
        assert found.values[-1] == max(known)
        assert len(found.values) <= points_for(np.array([len(known)]))[0]
        assert furthest(known, found.values, found.counts) <= found.error
        assert found.error <= rank_error_of(len(known), int(points_for(np.array([len(known)]))[0]))
    if len(set(known)) <= 64:
        assert found.error == 0


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(0, 300), min_size=1, max_size=6), shape=SHAPES)
def test_a_merged_profile_is_that_of_the_whole_but_for_its_error(seed: int, sizes: list[int], shape: str) -> None:
    days = [some_values(seed + n, size, shape) for n, size in enumerate(sizes)]
    values = [value for day in days for value in day]
    parts = profile(by_day(days), day="day")
    if not values:
        assert merge(parts).is_empty()
        return
    merged, whole, known = one(merge(parts)), of_values(values), finite(values)
    for name in ("rows", "nulls", "nans", "infinities", "minimum", "maximum", "known"):
        assert getattr(merged, name) == getattr(whole, name), name
    for name in ("mean", "m2", "m3", "m4", "variance", "skewness", "kurtosis"):
        told, true = getattr(merged, name), getattr(whole, name)
        assert told == (None if true is None else pytest.approx(true, rel=1e-7, abs=1e-6)), name
    assert sum(merged.counts) == len(known)
    if known:
        points = int(points_for(np.array([len(known)]))[0])
        assert len(merged.values) <= points
        assert furthest(known, merged.values, merged.counts) <= merged.error
        assert merged.error <= parts["error"].sum() + rank_error_of(len(known), points)
    if whole.distinct <= 64:
        assert merged.distinct == whole.distinct


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), shape=SHAPES)
def test_the_order_of_rows_and_of_days_does_not_matter(seed: int, shape: str) -> None:
    rows = by_day([some_values(seed + n, 200, shape) for n in range(4)]).with_columns(t=pl.col("x").cast(pl.String))
    mixed = rows.sample(fraction=1, shuffle=True, seed=seed)
    parts = profile(rows, day="day")
    assert_frame_equal(profile(mixed.lazy(), day="day"), parts, check_exact=True)
    assert_frame_equal(merge(parts.reverse()), merge(parts), check_exact=True)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), shape=SHAPES, points=st.sampled_from([None, 5, 64]))
def test_columns_are_merged_beside_others_as_each_alone(seed: int, shape: str, points: int | None) -> None:
    rows = by_day([some_values(seed + n, size, shape) for n, size in enumerate((150, 1, 400))]).with_columns(
        t=pl.col("x").cast(pl.String),
        few=(pl.col("x") // 20).cast(pl.String),
        own=pl.int_range(pl.len()).cast(pl.String),
        shifted=pl.col("x") - 7,
        never=pl.lit(None, pl.Float64),
        many=pl.lit([1]),
        at=pl.col("day"),
    )
    parts = profile(rows, day="day")
    alone = [merge(part, points=points) for _, part in parts.group_by("column")]
    assert_frame_equal(merge(parts, points=points), pl.concat(alone).sort("column"), check_exact=True)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), shape=SHAPES)
def test_what_was_merged_merges_again(seed: int, shape: str) -> None:
    days = [some_values(seed + n, 150, shape) for n in range(6)]
    parts = profile(by_day(days), day="day")
    halves = pl.concat([merge(parts.head(3)), merge(parts.tail(3))])
    twice, known = one(merge(halves)), finite([value for day in days for value in day])
    assert twice.rows == 900
    assert furthest(known, twice.values, twice.counts) <= twice.error
    assert twice.m3 == pytest.approx(one(merge(parts)).m3, rel=1e-7, abs=1e-6)


@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(0, 400), min_size=1, max_size=5))
@settings(max_examples=40)
def test_no_text_is_miscounted_by_more_than_the_error(seed: int, sizes: list[int]) -> None:
    dice = np.random.default_rng(seed)
    kinds = int(dice.choice([3, 100, 400]))
    days = [[f"t{n}" for n in np.minimum(dice.zipf(1.3, size), kinds)] for size in sizes]
    dated = [(START + timedelta(days=n), text) for n, texts in enumerate(days) for text in texts]
    rows = pl.DataFrame(dated, schema={"day": pl.Date, "t": pl.String}, orient="row")
    parts = list(each(profile(rows, day="day")))
    for found in [*parts, *each(merge(profile(rows, day="day")))]:
        texts = [text for day, text in dated if found.day in (None, day)]
        below, above = miscounted(texts, found.texts, found.counts)
        assert below == 0
        assert above <= found.error
        assert len(found.texts) <= TEXTS
        assert found.rest == len(texts) - sum(found.counts)
        if len(set(texts)) <= 64:
            assert (found.rest, found.error, found.distinct) == (0, 0, len(set(texts)))


def test_the_frequent_of_many_texts_are_listed_and_those_that_came_once_are_not() -> None:
    texts = [f"once {n:04}" for n in range(500)] + ["often"] * 40 + ["twice"] * 2 + ["again"] * 2
    found = one(profile(pl.DataFrame({"t": texts})))
    assert (found.texts, found.counts) == (("often", "again", "twice"), (40, 2, 2))
    assert (found.rest, found.error, found.distinct) == (500, 1, 503)


def test_moments_are_those_of_scipy() -> None:
    values = np.random.default_rng(3).gamma(2.0, 5.0, 200_000)
    found = of_values(values.tolist())
    assert found.variance == pytest.approx(values.var())
    assert found.skewness == pytest.approx(stats.skew(values))
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False))
    assert moments(values + 1e9)[1] == pytest.approx(values.var() * len(values), rel=1e-6)


def test_quantiles_and_shares_lie_within_the_error() -> None:
    values = np.random.default_rng(4).normal(size=20_000)
    found, ordered = of_values(values.tolist()), np.sort(values)
    assert found.error < 40
    for share in (0.0, 0.001, 0.25, 0.5, 0.9, 1.0):
        quantile = found.quantile(share)
        assert quantile is not None
        below, upto = np.searchsorted(ordered, quantile, "left"), np.searchsorted(ordered, quantile, "right")
        assert below - found.error <= share * 20_000 <= upto + found.error
    for value in (-9.0, -1.0, 0.0, 0.3, 9.0):
        assert found.cdf(value) == pytest.approx((values <= value).mean(), abs=found.error / 20_000)


def test_distinct_values_are_estimated_within_the_stated_error() -> None:
    off = []
    for seed in range(150):
        dice = np.random.default_rng(seed)
        parts = [dice.integers(0, 3_000, 1_200).astype(np.uint64) + np.uint64(seed * 10_000) for _ in range(4)]
        true = len(np.unique(np.concatenate(parts)))
        found, _ = distinct_of([least_hashes(np.unique(part)) for part in parts])
        off.append(found / true - 1)
    assert abs(np.mean(off)) < 0.04
    assert 0.10 < np.std(off) < 0.155


def test_what_a_profile_says_does_not_change_with_how_it_is_found() -> None:
    """Tables hold profiles that were made long ago; the digests are those of November 2026."""
    drawn = (mix(np.arange(150_000, dtype=np.uint64)) >> np.uint64(11)).astype(np.float64) / 2**53
    number = np.arange(len(drawn))
    frame = pl.DataFrame(
        {
            "smooth": np.select([number % 50 == 0, number % 77 == 0], [np.nan, np.inf], drawn * 40 - 3),
            "whole": np.floor(drawn * 90_000) - 7,
            "few": np.floor(drawn * 30),
            "once": pl.Series(drawn > 0.25),
        }
    ).with_columns(
        pl.col("whole").cast(pl.Int64), day=date(2013, 1, 1) + pl.duration(days=pl.int_range(pl.len()) % 7 % 5)
    )
    told = [profile(frame.drop("day")), profile(frame, day="day"), profile(frame.head(3_000), day="day")]
    digests = [hashlib.sha256(repr(found.rows()).encode()).hexdigest()[:16] for found in told]
    assert digests == ["26a21ad4b90cf44f", "dedd6d5709b9b7ce", "f57dc2b5fced5c7f"]


@settings(max_examples=60)
@given(
    st.lists(st.none() | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1.5]), max_size=40), st.randoms()
)
def test_rows_in_any_order_give_the_same_to_the_bit(values: list[float | None], dice: random.Random) -> None:
    shuffled = list(values)
    dice.shuffle(shuffled)
    assert repr(of_values(shuffled)) == repr(of_values(values))


def test_the_least_hashes_are_found_when_all_are_great() -> None:
    words = np.arange(100_000, dtype=np.uint64)
    great = words[mix(words) > np.uint64(2**63)]
    for some in (words, great):
        naive = sorted({int(word) >> 33 for word in mix(some)})[:64]
        assert least_hashes(some).tolist() == naive
    assert least_hashes(great)[0] >= 2**30


def test_every_kind_has_its_profile() -> None:
    rows = pl.DataFrame(
        {
            "yes": [True, False, True, None],
            "at": [datetime(2013, 1, 1, hour, tzinfo=UTC) for hour in (0, 1, 2, 3)],
            "on": [date(2013, 1, 2), None, date(2013, 1, 1), date(2013, 1, 1)],
            "took": [timedelta(seconds=1)] * 4,
            "level": pl.Series(["b", "a", "b", None], dtype=pl.Categorical()),
            "many": [[1], [2, 3], None, []],
            "nothing": [None] * 4,
            "zero": [0.0, -0.0, 0.0, -0.0],
        }
    )
    found = {p.column: p for p in each(profile(rows))}
    assert {name: p.kind for name, p in found.items()} == {
        "yes": "boolean",
        "at": "instant",
        "on": "instant",
        "took": "numeric",
        "level": "text",
        "many": "other",
        "nothing": "other",
        "zero": "numeric",
    }
    assert (found["yes"].values, found["yes"].counts, found["yes"].nulls) == ((0.0, 1.0), (1, 2), 1)
    assert found["at"].minimum == 1_356_998_400_000_000
    assert found["on"].values == (1_356_998_400_000_000, 1_357_084_800_000_000)
    assert (found["took"].mean, found["took"].distinct, found["took"].skewness) == (1e6, 1, None)
    assert (found["level"].texts, found["level"].counts) == (("b", "a"), (2, 1))
    assert (found["many"].rows, found["many"].nulls, found["many"].values) == (4, 1, ())
    assert (found["nothing"].nulls, found["zero"].distinct) == (4, 1)
    assert (found["level"].cdf(1), found["level"].quantile(0.5), found["many"].variance) == (None, None, None)


def test_a_day_without_values_has_a_profile_that_says_so() -> None:
    parts = profile(by_day([[None, None], [1.0, float("nan")], [2.0]]), day="day")
    assert parts["mean"].to_list() == [None, 1.0, 2.0]
    assert parts["values"].to_list() == [[], [1.0], [2.0]]
    merged = one(merge(parts))
    assert (merged.mean, merged.nulls, merged.nans, merged.distinct) == (1.5, 2, 1, 2)
    assert one(merge(parts.head(1))).mean is None


def test_columns_are_chosen_and_no_rows_are_no_days() -> None:
    rows = by_day([[1.0], [2.0]]).with_columns(y=1)
    assert profile(rows, day="day", columns=["y"])["column"].to_list() == ["y", "y"]
    assert profile(rows, day="day")["column"].to_list() == ["x", "y"] * 2
    assert profile(rows.clear(), day="day").is_empty()
    assert one(profile(rows.clear().select("x"))).rows == 0


def test_rows_without_a_day_are_refused() -> None:
    rows = pl.DataFrame({"day": [START, None], "x": [1, 2]})
    with pytest.raises(ValueError, match="1 rows have no day; leave them out"):
        profile(rows, day="day")


def test_days_of_two_kinds_are_not_merged() -> None:
    parts = pl.concat([profile(pl.DataFrame({"x": [1]})), profile(pl.DataFrame({"x": ["a"]}))])
    with pytest.raises(ValueError, match="column 'x' is numeric on some days and text on others"):
        merge(parts)


def test_it_can_be_a_delta_table(tmp_path: Path) -> None:
    days = [some_values(n, 200, "smooth") for n in range(3)]
    rows = by_day(days).with_columns(t=pl.col("x").cast(pl.String))
    parts = profile(rows, day="day")
    assert dict(parts.schema) == dict(PROFILES)
    write_deltalake(tmp_path / "profiles", parts, partition_by=["day"])
    read = pl.scan_delta(str(tmp_path / "profiles")).collect().sort("day", "column")
    assert DeltaTable(tmp_path / "profiles").version() == 0
    assert_frame_equal(read, parts, check_exact=True)


@pytest.mark.parametrize("together", [1, 25])
def test_columns_profiled_apart_are_those_profiled_together(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random("together")
    rows = pl.DataFrame(
        {
            "day": [date(2024, 1, 1 + dice.randrange(3)) for _ in range(10)],
            **{
                name: [dice.choice([None, 0.0, -0.0, 1.5, float("nan"), float("inf")]) for _ in range(10)]
                for name in "abc"
            },
            **{name: [dice.choice([None, "x", "y"]) for _ in range(10)] for name in "de"},
        }
    )
    at_once = profile(rows, day="day")
    monkeypatch.setattr(profiles, "_TOGETHER", together)
    assert_frame_equal(profile(rows, day="day"), at_once, check_exact=True)
    alone = [profile(rows.select("day", name), day="day") for name in "abcde"]
    assert_frame_equal(pl.concat(alone).sort("day", "column"), at_once, check_exact=True)
