"""Intervals that know that the rows of a day go together, against the naive twin and against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.compute.band import Band, groups_within
from platform_assets.compute.calibration import fit_calibration
from platform_assets.errors import ModelError
from platform_assets_tests.reference.calibration import naive_band, naive_groups_within


def days_of_weather(seed: int, days: int, per_day: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that are right over all days, while each day is as a whole worse or better by its weather."""
    dice = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), per_day)
    scores = dice.uniform(0.1, 0.7, days * per_day)
    weather = dice.normal(0, spread, days)[day]
    return scores, (dice.uniform(size=len(day)) < np.clip(scores + weather, 0, 1)).astype(float), day


@settings(max_examples=25)
@given(seed=st.integers(0, 500), count=st.integers(3, 40), days=st.integers(2, 6))
def test_it_is_what_the_naive_twin_draws(seed: int, count: int, days: int) -> None:
    dice = np.random.default_rng(seed)
    scores, day = dice.uniform(size=count).round(2), dice.integers(0, days, count)
    day[:2] = (0, 1)
    truth = (dice.uniform(size=count) < scores).astype(float)
    band = Band.fit(scores, truth, day, confidence=0.8, draws=12, seed=seed)
    naive = naive_band(scores.tolist(), truth.tolist(), day.tolist(), confidence=0.8, draws=12, seed=seed)
    assert band.scores == pytest.approx(sorted(naive))
    for number, score in enumerate(sorted(naive)):
        assert (band.low[number], band.high[number]) == pytest.approx(naive[score], abs=1e-9)


def test_the_ends_hold_the_probability_and_are_straight_between_the_points() -> None:
    band = Band(scores=(0.2, 0.4), low=(0.1, 0.3), high=(0.3, 0.5))
    low, high = band.around(np.array([0.0, 0.3, 0.9]), np.array([0.05, 0.3, 0.9]))
    assert low.tolist() == pytest.approx([0.05, 0.2, 0.3])
    assert high.tolist() == pytest.approx([0.3, 0.4, 0.9])


def test_of_many_scores_neighbours_share_a_point() -> None:
    band = Band.fit(*days_of_weather(1, 10, 300, 0.1), confidence=0.9, draws=10, seed=1)
    assert len(band.scores) == len(band.low) == len(band.high) == 200
    for ends in (band.scores, band.low, band.high):
        assert (np.diff(ends) >= 0).all()
    assert (np.asarray(band.low) <= np.asarray(band.high)).all()


def test_the_same_seed_gives_the_same_band_and_another_another() -> None:
    drawn = [Band.fit(*days_of_weather(1, 10, 50, 0.1), confidence=0.9, draws=20, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_single_score_has_one_point() -> None:
    band = Band.fit(np.full(40, 0.3), np.tile([0.0, 1.0], 20), np.arange(40) % 4, confidence=0.9, draws=20, seed=1)
    assert band.scores == pytest.approx((0.3,))
    assert 0 <= band.low[0] <= 0.5 <= band.high[0] <= 1


def test_rows_of_a_single_day_are_refused() -> None:
    with pytest.raises(ModelError, match="an interval: its rows are all of one day"):
        Band.fit(np.linspace(0, 1, 9), np.zeros(9), np.zeros(9), confidence=0.9, draws=5, seed=1)


@settings(max_examples=60)
@given(seed=st.integers(0, 500), count=st.integers(1, 60), groups=st.integers(1, 12))
def test_groups_are_counted_as_the_naive_twin_does(seed: int, count: int, groups: int) -> None:
    dice = np.random.default_rng(seed)
    probability = dice.uniform(size=count).round(1)
    truth = dice.integers(0, 2, count).astype(float)
    low, high = probability - dice.uniform(0, 0.3, count), probability + dice.uniform(0, 0.3, count)
    found = groups_within(truth, probability, low, high, groups=groups)
    naive = naive_groups_within(truth.tolist(), probability.tolist(), low.tolist(), high.tolist(), groups)
    assert found == pytest.approx(naive)


@pytest.mark.slow
def test_over_days_of_weather_it_holds_the_truth_and_intervals_of_independent_rows_do_not() -> None:
    """What is measured on the flights, on data whose truth is known: a score is right in the mean over all days."""
    asked = np.linspace(0.15, 0.65, 11)
    by_day, by_row = [], []
    for seed in range(60):
        scores, truth, day = days_of_weather(seed, 60, 200, 0.12)
        low, high = Band.fit(scores, truth, day, confidence=0.9, draws=150, seed=seed).around(asked, asked)
        by_day.append(np.mean((low < asked) & (asked < high)))
        said = fit_calibration("venn_abers", scores, truth).apply(asked)
        assert said.low is not None
        assert said.high is not None
        by_row.append(np.mean((said.low <= asked) & (asked <= said.high)))
    assert 0.8 < np.mean(by_day) <= 1
    assert np.mean(by_row) < 0.4
