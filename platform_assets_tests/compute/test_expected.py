"""Performance that is expected of probabilities: against every pair of rows, and against outcomes drawn by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.compute.comparison import calibration_error
from platform_assets.compute.expected import MEASURES, expected, judge
from platform_assets.compute.metrics import performance
from platform_assets_tests.reference.expected import naive_expected, simulated

TENTHS = st.lists(st.integers(0, 10).map(lambda n: n / 10), min_size=1, max_size=30)
ANY = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(probability=TENTHS | ANY)
def test_it_is_what_every_pair_of_rows_comes_to(probability: list[float]) -> None:
    found, naive = expected(probability), naive_expected(probability)
    for name in ("log_loss", "brier", "base_rate"):
        assert getattr(found, name) == pytest.approx(naive[name], abs=1e-9)
    if found.auc is None:
        assert naive["auc"] is None or sum(probability) * (len(probability) - sum(probability)) < 1  # hardly a pair
    else:
        assert found.auc == pytest.approx(naive["auc"], abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (2, 8), (0.3, 2)])
def test_outcomes_drawn_by_the_probabilities_come_to_it(shape: tuple[float, float]) -> None:
    probability = np.random.default_rng(4).beta(*shape, size=400)
    found = expected(probability)
    for name, (mean, error) in simulated(probability, draws=600, seed=5).items():
        # The share of positives in a bin is taken for normal, which bins of very rare positives are not quite.
        slack = 0.002 if name == "calibration_error" else 0.0005
        assert getattr(found, name) == pytest.approx(mean, abs=4 * error + slack), name


def test_the_excess_is_positive_where_it_is_worse() -> None:
    dice = np.random.default_rng(6)
    probability = dice.beta(1, 3, size=5_000)
    truth = (dice.uniform(size=5_000) < probability).astype(float)
    honest, flipped = judge(truth, probability), judge(1 - truth, probability)
    assert list(honest) == list(MEASURES)
    for name in MEASURES:
        assert abs(honest[name].excess or 0.0) < 0.02, name
        assert (flipped[name].excess or 0.0) > 0.2, name
    rarer = judge(np.zeros(5_000), probability)
    assert rarer["base_rate"].excess == pytest.approx(probability.mean())
    assert rarer["log_loss"].excess < 0 < rarer["calibration_error"].excess  # type: ignore[operator]


def test_it_is_told_beside_what_came_by_the_figures_that_are_told_elsewhere() -> None:
    dice = np.random.default_rng(7)
    truth, probability = dice.integers(0, 2, 200).astype(float), dice.uniform(size=200)
    found = judge(truth, probability)
    told = performance(truth, probability)
    for name in ("auc", "log_loss", "brier", "base_rate"):
        assert found[name].value == getattr(told, name)
    assert found["calibration_error"].value == calibration_error(truth, probability)


def test_of_a_single_outcome_there_is_no_auc_but_one_was_expected() -> None:
    found = judge(np.zeros(50), np.linspace(0.1, 0.9, 50))
    assert found["auc"].value is None
    assert found["auc"].excess is None
    assert found["auc"].expected == pytest.approx(naive_expected(np.linspace(0.1, 0.9, 50).tolist())["auc"])


@pytest.mark.parametrize("probability", [[0.3], [0.0, 0.0], [1.0, 1.0, 1.0]])
def test_without_a_pair_of_outcomes_no_auc_can_be_expected(probability: list[float]) -> None:
    assert expected(probability).auc is None


@pytest.mark.parametrize("probability", [[0.2, float("nan")], [1.2], [-0.1, 0.5]])
def test_what_is_no_probability_is_refused(probability: list[float]) -> None:
    with pytest.raises(ValueError, match="a probability is missing or not between 0 and 1"):
        expected(probability)


def test_of_no_rows_nothing_can_be_expected() -> None:
    with pytest.raises(ValueError, match="are there any predictions"):
        expected([])
