"""Columns of which every value is compared, in plain NumPy and compiled, against the same on a grid of every value."""

from __future__ import annotations

import importlib
import math
from datetime import UTC, datetime, time
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import stats

from platform_assets.compute import ascending, ascending_compiled, compiling, drift
from platform_assets.compute.ascending import finite
from platform_assets_tests.compute.test_profiles import SHAPES, some_values
from platform_assets_tests.reference.drift import on_a_grid

HUGE = st.floats(-1e200, 1e200)
VALUES = st.lists(
    st.none() | st.sampled_from([0.0, -0.0, 1.0, 2.0, math.nan, math.inf, -math.inf, 5e-324, 1e15]) | HUGE, max_size=30
)
ROUNDED = {"wasserstein", "wasserstein_in_spreads"}
"""What may differ by rounding: the others are the same to the bit."""


@pytest.fixture(params=["in NumPy", "compiled"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with both forms."""
    wanted = {"in NumPy": ascending, "compiled": ascending_compiled}[request.param]
    monkeypatch.setattr(drift, "steps", lambda *_: wanted)
    return str(request.param)


def same(found: dict[str, float | None], wanted: dict[str, float | None]) -> None:
    for name, value in wanted.items():
        close = value is not None and name in ROUNDED
        assert found[name] == (pytest.approx(value, rel=1e-12, abs=1e-300) if close else value), name


def floats(values: list[float | None]) -> pl.Series:
    return pl.Series("x", values, dtype=pl.Float64, strict=False)


@pytest.mark.usefixtures("form")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(was=VALUES, now=VALUES, bins=st.integers(2, 12))
@example(was=[], now=[1.0], bins=10)
@example(was=[None, math.nan], now=[1.0, math.inf], bins=10)
@example(was=[3.0] * 9, now=[3.0] * 5, bins=10)
@example(was=[1.0, 2.0], now=[3.0, 4.0, 4.0], bins=10)
@example(was=[3.0, 4.0, 4.0], now=[1.0, 2.0], bins=10)
@example(was=[0.0, -0.0, -0.0], now=[-0.0, 0.0], bins=3)
def test_values_of_every_kind_differ_as_on_a_grid(was: list[float | None], now: list[float | None], bins: int) -> None:
    same(drift.exact_drift(floats(was), floats(now), bins=bins), on_a_grid(floats(was), floats(now), bins=bins))


@pytest.mark.usefixtures("form")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    sizes=st.tuples(st.integers(1, 5_000), st.integers(1, 5_000)),
    shapes=st.tuples(SHAPES, SHAPES),
)
def test_columns_of_some_length_differ_as_on_a_grid(seed: int, sizes: tuple[int, int], shapes: tuple[str, str]) -> None:
    was, now = (floats(some_values(seed + n, sizes[n], shapes[n])) for n in range(2))
    same(drift.exact_drift(was, now), on_a_grid(was, now))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    "cells",
    [
        [True, None, False, False, True, True],
        [datetime(2013, month, 1, tzinfo=UTC) for month in range(1, 7)],
        [3, None, -7, 3, 2**40, 0],
    ],
    ids=["booleans", "instants", "whole numbers"],
)
def test_so_do_columns_of_other_types(cells: list[Any]) -> None:
    was, now = pl.Series("x", cells[:4]), pl.Series("x", cells[2:], dtype=pl.Series(cells).dtype)
    same(drift.exact_drift(was, now), on_a_grid(was, now))


@pytest.mark.parametrize("cells", [[time(1), time(2), None, None], [[1], [2, 3], None, None]], ids=["times", "lists"])
def test_of_what_is_no_number_only_the_missing_are_told(cells: list[Any]) -> None:
    told = drift.exact_drift(pl.Series("x", cells), pl.Series("x", cells[:2]))
    assert {name: value for name, value in told.items() if value is not None} == {"missing": 0.5}


def test_of_many_rows_the_area_is_not_rounded_away() -> None:
    dice = np.random.default_rng(3)
    was, now = (np.sort(1e6 + dice.normal(0, 1 + n, 150_000 + n)) for n in range(2))
    told = [form.apart(was, now) for form in (ascending, ascending_compiled)]
    assert told[0][:2] == told[1][:2]
    between = [side.searchsorted(np.union1d(was, now), side="right") / len(side) for side in (was, now)]
    area = math.fsum(np.abs(between[0] - between[1])[:-1] * np.diff(np.union1d(was, now)))
    assert [one[2] for one in told] == pytest.approx([area, area], rel=1e-13)


def test_where_the_whole_range_is_no_number_each_step_of_it_is() -> None:
    was, now = floats([-1.7e308, 0.0]), floats([0.0, 1.7e308])
    assert drift.exact_drift(was, now)["wasserstein"] == pytest.approx(1.7e308)
    assert drift.exact_drift(floats([-1.7e308]), floats([1.7e308]))["wasserstein"] is None


@given(values=st.lists(st.floats(), max_size=40))
def test_what_is_finite_is_a_view_in_order(values: list[float]) -> None:
    numbers = np.array(values, dtype=np.float64)
    found = finite(numbers)
    assert found.tolist() == sorted(value for value in values if math.isfinite(value))
    assert np.shares_memory(found, numbers) == (len(found) > 0)


def test_for_few_rows_the_compiler_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "platform_assets.compute.ascending_compiled"
    assert compiling.steps(ascending, 10) is ascending_compiled  # that has been loaded above
    monkeypatch.delitem(importlib.import_module("sys").modules, name)
    assert compiling.steps(ascending, compiling.MANY - 1) is ascending
    assert compiling.steps(ascending, compiling.MANY).__name__ == name


def test_scipy_says_the_same_of_many_rows() -> None:
    dice = np.random.default_rng(8)
    was, now = dice.normal(size=60_000), dice.normal(0.1, 1.1, size=70_000).round(3)
    found = drift.exact_drift(pl.Series(was), pl.Series(now))
    assert found["kolmogorov_smirnov"] == stats.ks_2samp(was, now, method="asymp").statistic
    assert found["wasserstein"] == pytest.approx(stats.wasserstein_distance(was, now), rel=1e-12)
