"""Drift against SciPy on the values themselves, and from profiles within the stated error."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.compute.drift import (
    DRIFT,
    MEASURES,
    Against,
    drift,
    drift_over,
    exact_drift,
    fixed,
    trailing,
    year_ago,
)
from platform_assets.compute.merging import merge
from platform_assets.compute.profiles import profile
from platform_assets.declarations.times import Days
from platform_assets_tests.compute.test_profiles import SHAPES, START, by_day, some_values
from platform_assets_tests.reference.drift import is_value, naive_drift

Values = list[float | None]


def day(number: int) -> date:
    return START + timedelta(days=number)


def days(first: int, last: int) -> Days:
    return Days(day(first), day(last))


def series(values: Values) -> pl.Series:
    return pl.Series("x", values, dtype=pl.Float64, strict=False)


def profiled(values: Values) -> pl.DataFrame:
    return profile(series(values).to_frame())


def as_told(found: dict[str, float | None]) -> dict[str, object]:
    return {
        name: None if found.get(name) is None else pytest.approx(found[name], rel=1e-9, abs=1e-9) for name in MEASURES
    }


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    shapes=st.tuples(SHAPES, SHAPES),
    bins=st.integers(2, 12),
)
def test_from_values_it_is_what_scipy_says(
    seed: int, sizes: tuple[int, int], shapes: tuple[str, str], bins: int
) -> None:
    was, now = (some_values(seed + n, sizes[n], shapes[n]) for n in range(2))
    found = exact_drift(series(was), series(now), bins=bins)
    assert found == as_told(naive_drift(was, now, bins=bins))


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), sizes=st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_from_texts_it_is_what_scipy_says(seed: int, sizes: tuple[int, int]) -> None:
    dice = np.random.default_rng(seed)
    kinds = dice.choice([2, 20, 150], 2)
    was, now = ([f"t{n}" if n else None for n in dice.integers(0, kinds[side], sizes[side])] for side in range(2))
    found = exact_drift(pl.Series(was, dtype=pl.String), pl.Series(now, dtype=pl.String))
    naive = naive_drift(was, now)
    assert found == as_told(naive)
    if kinds.max() == 20:  # all texts are listed
        from_profiles = drift(
            *(profile(pl.DataFrame({"t": side}, schema={"t": pl.String})) for side in (was, now)), at_least=1
        )
        assert from_profiles.row(0, named=True) == from_profiles.row(0, named=True) | as_told(naive)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.tuples(st.integers(60, 600), st.integers(60, 600)),
    shapes=st.tuples(SHAPES, SHAPES),
)
def test_from_profiles_it_is_within_the_error(seed: int, sizes: tuple[int, int], shapes: tuple[str, str]) -> None:
    was, now = (some_values(seed + n, sizes[n], shapes[n]) for n in range(2))
    found = drift(profiled(was), profiled(now), at_least=1).row(0, named=True)
    exact = exact_drift(series(was), series(now))
    both = [cell for cell in was + now if cell is not None and is_value(cell)]
    span = max(both) - min(both)
    for measure, off in (("kolmogorov_smirnov", found["error"]), ("wasserstein", (found["error"] + 1 / 32) * span)):
        assert found[measure] == pytest.approx(exact[measure], abs=off + 1e-9 * max(span, 1)), measure
    assert found["missing"] == exact["missing"]
    assert found["unseen"] == pytest.approx(exact["unseen"], abs=2 * found["error"] + 1e-12)
    assert max(found["infinity_norm"], found["unseen"]) >= exact["infinity_norm"] - 2 * found["error"] - 1e-9
    if set(now) <= set(was) and len(set(was)) <= 60:
        assert found["infinity_norm"] == pytest.approx(exact["infinity_norm"], abs=1e-9)
    if len(set(was)) <= 60 and len(set(now)) <= 60:
        for measure in ("psi", "jensen_shannon", "kolmogorov_smirnov"):
            assert found[measure] == pytest.approx(exact[measure], abs=1e-9), measure


def test_of_large_columns_the_profiles_say_nearly_what_the_values_say() -> None:
    dice = np.random.default_rng(5)
    was, now = dice.normal(50, 10, 200_000), dice.normal(52, 12, 100_000)
    found = drift(profiled(was.tolist()), profiled(now.tolist())).row(0, named=True)
    exact = exact_drift(pl.Series(was), pl.Series(now))
    assert found["error"] < 0.002
    for measure in MEASURES:
        assert found[measure] == pytest.approx(exact[measure], rel=0.03, abs=5e-3), measure


def test_between_the_only_two_values_of_a_reference_nothing_is_overlooked() -> None:
    was, now = [0.0] * 50 + [100.0] * 50, [float(n % 7 + 47) for n in range(100)]
    found = drift(profiled(was), profiled(now)).row(0, named=True)
    assert found["wasserstein"] == pytest.approx(exact_drift(series(was), series(now))["wasserstein"], abs=0.5)
    assert found["wasserstein"] > 47
    assert found["kolmogorov_smirnov"] == 0.5


def test_what_lies_outside_the_reference_is_seen_however_far() -> None:
    was = np.random.default_rng(6).normal(size=1_000)
    for shift in (20.0, 1e6, -1e6):
        found = drift(profiled(was.tolist()), profiled((was + shift).tolist())).row(0, named=True)
        assert (found["unseen"], found["jensen_shannon"], found["kolmogorov_smirnov"]) == (1, 1, 1)
        assert found["wasserstein"] == pytest.approx(abs(shift), rel=0.01)


def test_a_stuck_sensor_is_the_rise_of_one_value() -> None:
    dice = np.random.default_rng(7)
    was, now = dice.normal(50, 10, 2_000), dice.normal(50, 10, 900)
    now[:300] = 51.2345
    found, before = (
        drift(profiled(was.tolist()), profiled(side.tolist())).row(0, named=True) for side in (now, now[300:])
    )
    assert found["infinity_norm"] == pytest.approx(1 / 3, abs=0.05)
    assert before["infinity_norm"] < 0.05


def test_a_constant_that_changes_is_seen() -> None:
    found = drift(profiled([5.0] * 100), profiled([3.0] * 100)).row(0, named=True)
    assert (found["unseen"], found["jensen_shannon"], found["wasserstein"]) == (1, 1, pytest.approx(2, abs=1e-3))
    assert found["wasserstein_in_spreads"] is None
    assert found["psi"] > 5
    same = drift(profiled([5.0] * 100), profiled([5.0] * 100)).row(0, named=True)
    assert [same[m] for m in ("psi", "jensen_shannon", "wasserstein", "unseen")] == [0, 0, 0, 0]


def test_few_values_are_too_few_and_never_no_drift() -> None:
    was, now = profiled([1.0] * 100), profiled([1.0] * 30 + [None] * 70)
    found = drift(was, now, at_least=31).row(0, named=True)
    assert found["too_few"]
    assert [found[m] for m in MEASURES if m != "missing"] == [None] * 7
    assert found["missing"] == pytest.approx(0.7)
    assert drift(was, now, at_least=30).row(0, named=True)["psi"] is not None
    assert drift(was, profiled([None] * 10), at_least=31).row(0, named=True)["missing"] is None
    assert drift(now, was, at_least=31)["too_few"].to_list() == [True]


def test_instants_and_lists_are_only_asked_whether_they_are_there() -> None:
    rows = pl.DataFrame({"at": [date(2013, 1, 1), None] * 50, "many": [[1]] * 100})
    found = drift(profile(rows), profile(rows.with_columns(many=None).cast(rows.schema)))
    assert found["missing"].to_list() == [0, 1]
    assert found.select(MEASURES).drop("missing").null_count().row(0) == (2,) * 7


def shop(count: int, size: int = 120) -> pl.DataFrame:
    """Days whose values are few enough to be listed, with texts beside."""
    drawn = [some_values(n, size, "whole" if n % 3 else "few") for n in range(count)]
    return by_day(drawn).with_columns(t=("t" + (pl.col("x") % 9).cast(pl.String)))


def test_windows_of_days_are_measured_as_their_rows_would_be() -> None:
    rows = shop(30)
    parts, known = profile(rows, day="day"), rows.with_columns(pl.col("x").fill_nan(None))
    windows = [
        *fixed(days(10, 12), days(0, 9)),
        *trailing(days(20, 24), reference=7, length=3),
        Against(current=days(15, 16), reference=(days(0, 9), days(25, 29))),
    ]
    grid = merge(profile(rows, day="day"))
    found = drift_over(parts, windows, grid=grid)
    assert dict(found.schema) == dict(DRIFT)
    assert len(found) == 2 * len(windows)
    for against in windows:
        now = known.filter(pl.col("day").is_between(against.current.first, against.current.last))
        was = known.filter(pl.any_horizontal(pl.col("day").is_between(d.first, d.last) for d in against.reference))
        for column in ("x", "t"):
            told = found.filter(day=against.current.last, column=column).row(0, named=True)
            exact = exact_drift(was[column], now[column])
            for measure in MEASURES:
                if measure == "wasserstein_in_spreads":  # in those of the grid's reference
                    continue
                off = 0.02 if measure == "wasserstein" else 1e-9
                assert told[measure] == (
                    None if exact[measure] is None else pytest.approx(exact[measure], abs=off, rel=off)
                )


def test_a_day_is_measured_alone_as_it_is_among_many() -> None:
    parts = profile(by_day([some_values(n, 300, "smooth") for n in range(40)]), day="day")
    grid = merge(parts.filter(pl.col("day") < day(20)), points=50)
    windows = trailing(days(10, 39), reference=10, length=2)
    among = drift_over(parts, windows, grid=grid)
    for against in windows[::7]:
        needed = parts.filter(pl.col("day").is_between(against.reference[0].first, against.current.last))
        alone = drift_over(needed, [against], grid=grid)
        assert_frame_equal(alone, among.filter(day=against.current.last), check_exact=True)


def test_columns_and_windows_of_several_lengths_are_measured_together_as_each_alone() -> None:
    parts = profile(shop(24).with_columns(late=pl.col("x") * 3, at=pl.col("day")), day="day")
    parts = parts.filter((pl.col("column") != "late") | (pl.col("day") != day(17)))
    grid = merge(parts.filter(pl.col("day") < day(9)), points=40)
    lengths = {length: fixed(days(15, 23), days(0, 9), length=length) for length in (1, 3)}
    together = drift_over(parts, [*lengths[1], *lengths[3]], grid=grid)
    assert together["column"].n_unique() == 4
    for (column,), own in grid.group_by("column"):
        for length, windows in lengths.items():
            alone = drift_over(parts.filter(pl.col("column") == column), windows, grid=own)
            assert alone["window"].unique().to_list() == [length]
            assert_frame_equal(together.filter(column=column, window=length), alone, check_exact=True)


def test_a_grid_of_fewer_points_is_that_of_a_merged_profile_of_as_many() -> None:
    rows = by_day([some_values(n, 300, "smooth") for n in range(20)]).with_columns(t=pl.col("x").cast(pl.String))
    parts = profile(rows.with_columns(never=pl.lit(None, pl.Float64)), day="day")
    whole, windows = merge(parts), trailing(days(10, 19), reference=10, length=2)
    for points in (5, 50):
        merged = drift_over(parts, windows, grid=merge(whole, points=points))
        assert_frame_equal(drift_over(parts, windows, grid=whole, points=points), merged, check_exact=True)


def test_days_without_profiles_are_too_few() -> None:
    parts = profile(by_day([some_values(n, 300, "smooth") for n in range(20)]), day="day")
    gone = parts.filter(pl.col("day") != day(12))
    found = drift_over(gone, fixed(days(11, 21), days(0, 9)), grid=merge(parts))
    assert found["too_few"].to_list() == [False, True] + [False] * 7 + [True] * 2
    assert found["rows"].to_list() == [300, 0] + [300] * 7 + [0] * 2
    assert found["missing"].null_count() == 3
    assert drift_over(parts, [], grid=merge(parts)).is_empty()


def test_a_column_whose_kind_changed_is_refused() -> None:
    was, now = profile(pl.DataFrame({"x": [1] * 99})), profile(pl.DataFrame({"x": ["a"] * 99}))
    with pytest.raises(ValueError, match="column 'x' is numeric in the reference and text since"):
        drift(was, now)


def test_windows_are_told_by_their_days() -> None:
    assert trailing(days(30, 30), reference=28, length=2) == [Against(current=days(29, 30), reference=(days(1, 28),))]
    assert fixed(days(7, 8), days(0, 6)) == [Against(current=days(n, n), reference=(days(0, 6),)) for n in (7, 8)]
    (season,) = year_ago(days(370, 370), around=3, length=7)
    assert season == Against(current=days(364, 370), reference=(days(-3, 9),))
    assert season.reference[0].first.weekday() == (season.current.first - timedelta(days=3)).weekday()
