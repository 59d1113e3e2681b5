"""Two models on the same rows, against the naive twin that draws the rows and measures them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.compute.comparison import by_slice, calibration_error, compare
from platform_assets.compute.metrics import performance
from platform_assets_tests.reference.comparison import naive_calibration_error, naive_compare


def rows(seed: int, count: int, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    truth = dice.integers(0, 2, count).astype(float)
    one, other = (np.clip(0.3 + 0.4 * truth + dice.normal(0, spread, count), 0, 1) for spread in (0.2, 0.4))
    return (truth, one.round(1), other.round(1)) if ties else (truth, one, other)


@given(seed=st.integers(0, 500), count=st.integers(1, 60), ties=st.booleans(), most=st.integers(1, 12))
def test_it_is_what_the_naive_twin_finds(seed: int, count: int, ties: bool, most: int) -> None:
    truth, one, other = rows(seed, count, ties=ties)
    days = np.random.default_rng(seed).integers(0, most, count)
    found = compare(truth, one, other, days, confidence=0.9, draws=30, seed=seed)
    loss, auc = naive_compare(truth, one, other, days, confidence=0.9, draws=30, seed=seed)
    assert (found.log_loss.difference, found.log_loss.low, found.log_loss.high) == pytest.approx(loss, abs=1e-9)
    if auc is None:
        assert found.auc is None
    else:
        assert found.auc is not None
        assert (found.auc.difference, found.auc.low, found.auc.high) == pytest.approx(auc, abs=1e-9)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    drawn = [compare(*rows(1, 200), np.arange(200) % 20, confidence=0.95, draws=400, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_equal_models_differ_by_nothing() -> None:
    truth, one, _ = rows(3, 300)
    found = compare(truth, one, one, np.arange(300) % 20, confidence=0.95, draws=400, seed=0)
    assert (found.log_loss.low, found.log_loss.high) == (0, 0)


@pytest.mark.slow
def test_the_interval_holds_the_difference_about_as_often_as_it_says() -> None:
    """Of models that are equally good on most days, 90 in a hundred intervals hold zero; by rows hardly half would.

    What makes one of them right on a day makes it right on all the rows of that day.
    """
    held, by_rows = 0, 0
    for seed in range(300):
        dice = np.random.default_rng(seed)
        days = np.repeat(np.arange(40), 25)
        chance = dice.uniform(0.3, 0.7, 1_000)
        one, other = (np.clip(chance + dice.normal(0, 0.1, 40)[days], 0.01, 0.99) for _ in range(2))
        truth = (dice.uniform(size=1_000) < np.clip(chance + dice.normal(0, 0.1, 40)[days], 0, 1)).astype(float)
        settings = {"confidence": 0.9, "draws": 200, "seed": seed}
        found = compare(truth, one, other, days, **settings).log_loss
        blind = compare(truth, one, other, np.arange(1_000), **settings).log_loss
        held += found.low <= 0 <= found.high
        by_rows += blind.low <= 0 <= blind.high
    assert 0.84 < held / 300 < 0.96
    assert by_rows / 300 < 0.75


@given(seed=st.integers(0, 500), count=st.integers(1, 60), bins=st.integers(1, 12))
def test_the_calibration_error_is_that_of_the_naive_twin(seed: int, count: int, bins: int) -> None:
    truth, one, _ = rows(seed, count)
    assert calibration_error(truth, one, bins=bins) == pytest.approx(
        naive_calibration_error(truth, one, bins), abs=1e-12
    )


def test_honest_probabilities_are_calibrated_and_shifted_ones_are_not() -> None:
    dice = np.random.default_rng(5)
    chance = dice.uniform(0.2, 0.6, 50_000)
    truth = (dice.uniform(size=50_000) < chance).astype(float)
    assert calibration_error(truth, chance) < 0.01
    assert calibration_error(truth, chance + 0.2) == pytest.approx(0.2, abs=0.01)


def test_each_slice_is_measured_by_itself_and_small_ones_are_left_out() -> None:
    truth, one, other = rows(7, 90)
    values = pl.Series(["b"] * 40 + ["a"] * 30 + [None] * 15 + ["small"] * 5)
    found = by_slice(values, truth, one, other, at_least=10)
    assert found["slice"].to_list() == ["(none)", "a", "b"]
    assert found["rows"].to_list() == [15, 30, 40]
    for name, part in (("b", slice(0, 40)), ("a", slice(40, 70)), ("(none)", slice(70, 85))):
        row = found.row(by_predicate=pl.col("slice") == name, named=True)
        own, rival = performance(truth[part], one[part]), performance(truth[part], other[part])
        assert (row["auc"], row["log_loss"]) == (own.auc, own.log_loss)
        assert row["worse_by"] == pytest.approx(own.log_loss - rival.log_loss)
    assert by_slice(values, truth, one, None, at_least=10)["worse_by"].null_count() == 3
