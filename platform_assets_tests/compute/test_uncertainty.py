"""Intervals over days, against the naive twin and against how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.compute.uncertainty import uncertainty
from platform_assets_tests.reference.uncertainty import naive_uncertainty


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
    assert (found.log_loss.low, found.log_loss.high) == pytest.approx(naive[0], abs=1e-9)
    assert (found.auc is None) == (naive[1] is None)
    if found.auc is not None:
        assert (found.auc.low, found.auc.high) == pytest.approx(naive[1], abs=1e-9)


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
