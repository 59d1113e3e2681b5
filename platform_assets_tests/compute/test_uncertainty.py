"""Intervals over days, against the naive twin and against how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.compute.comparison import losses
from platform_assets.compute.draws import drawn_days, drawn_units
from platform_assets.compute.uncertainty import bounds_of_mean, uncertainty, uncertainty_of_rows
from platform_assets_tests.reference.uncertainty import naive_delong, naive_normal, naive_uncertainty


def rows(seed: int, count: int, days: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    truth = dice.integers(0, 2, count).astype(float)
    return (
        truth,
        np.clip(0.3 + 0.4 * truth + dice.normal(0, 0.3, count), 0.1, 0.9).round(1),
        dice.integers(0, days, count),
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 500), count=st.integers(1, 40), days=st.integers(1, 6))
def test_it_is_what_the_naive_twin_finds(seed: int, count: int, days: int) -> None:
    truth, probability, day = rows(seed, count, days)
    found = uncertainty(truth, probability, day, confidence=0.9, draws=15, seed=seed)
    naive = naive_uncertainty(truth, probability, day.tolist(), confidence=0.9, draws=15, seed=seed)
    assert (found is None) == (naive is None)
    if found is None or naive is None:
        return
    for name, between in vars(found).items():
        assert (between is None) == (naive[name] is None), name
        if between is not None:
            assert (between.low, between.high) == pytest.approx(naive[name], abs=1e-9), name
    assert bounds_of_mean(truth, day, confidence=0.9, draws=15, seed=seed) == found.base_rate


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 500), count=st.integers(1, 40))
def test_of_rows_it_is_what_the_definitions_come_to(seed: int, count: int) -> None:
    truth, probability, _ = rows(seed, count, 1)
    found = uncertainty_of_rows(truth, probability, confidence=0.9)
    assert (found is None) == (count == 1)
    if found is None:
        return
    naive = naive_delong(truth, probability, confidence=0.9)
    assert (found.auc is None) == (naive is None)
    if found.auc is not None:
        assert (found.auc.low, found.auc.high) == pytest.approx(naive, abs=1e-9)
    for between, values, most in (
        (found.log_loss, losses(truth, probability), float("inf")),
        (found.brier, (probability - truth) ** 2, 1.0),
        (found.base_rate, truth, 1.0),
    ):
        assert (between.low, between.high) == pytest.approx(
            naive_normal(values.tolist(), confidence=0.9, most=most), abs=1e-9
        )


def test_of_rows_it_is_about_what_draws_of_them_come_to() -> None:
    dice = np.random.default_rng(8)
    probability = dice.beta(1, 4, 700)
    truth = (dice.uniform(size=700) < probability).astype(float)
    found = uncertainty_of_rows(truth, probability, confidence=0.95)
    drawn = uncertainty(truth, probability, np.arange(700), confidence=0.95, draws=2_000, seed=1)
    assert found is not None
    assert drawn is not None
    for name, between in vars(drawn).items():
        width = between.high - between.low
        assert getattr(found, name).low == pytest.approx(between.low, abs=0.1 * width), name
        assert getattr(found, name).high == pytest.approx(between.high, abs=0.1 * width), name


def test_an_interval_of_rows_holds_the_true_auc_as_often_as_it_says() -> None:
    # Positives have the density 2p and negatives 2(1 - p): of two of them, the positive is higher in 5 of 6 cases.
    dice, held = np.random.default_rng(9), 0
    for _ in range(400):
        probability = dice.uniform(size=300)
        truth = (dice.uniform(size=300) < probability).astype(float)
        found = uncertainty_of_rows(truth, probability, confidence=0.9)
        assert found is not None
        assert found.auc is not None
        held += found.auc.low <= 5 / 6 <= found.auc.high
    assert held / 400 == pytest.approx(0.9, abs=0.05)


def test_of_one_row_of_an_outcome_there_is_no_interval_of_the_auc_but_of_all_else() -> None:
    found = uncertainty_of_rows(np.array([1.0, 0.0, 0.0]), np.array([0.5, 0.2, 0.7]), confidence=0.9)
    assert found is not None
    assert found.auc is None
    assert found.base_rate.low == 0.0 < found.base_rate.high <= 1.0


@pytest.mark.parametrize("count", [1, 2, 7, 365])
def test_draws_at_once_are_those_one_by_one(count: int) -> None:
    one_by_one = np.array(list(drawn_units(count, draws=50, seed=3)))
    assert np.array_equal(drawn_days(count, draws=50, seed=3), one_by_one)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    drawn = [uncertainty(*rows(1, 300, 20), confidence=0.95, draws=100, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_of_a_single_day_nothing_can_be_told() -> None:
    assert uncertainty(*rows(1, 50, 1), confidence=0.95, draws=20, seed=1) is None


def test_days_that_differ_make_a_wider_interval_than_rows_that_do() -> None:
    dice = np.random.default_rng(5)
    day = np.repeat(np.arange(30), 40)
    truth = (dice.uniform(size=1200) < dice.choice([0.05, 0.6], 30)[day]).astype(float)
    probability = np.full(1200, 0.3)
    by_day, by_row = (
        uncertainty(truth, probability, blocks, confidence=0.9, draws=300, seed=1) for blocks in (day, np.arange(1200))
    )
    assert by_day is not None
    assert by_row is not None
    assert by_day.log_loss.high - by_day.log_loss.low > 2 * (by_row.log_loss.high - by_row.log_loss.low)
