"""What being wrong costs, against the naive twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.compute.costs import costs_of
from platform_assets.compute.uncertainty import bounds_of_mean
from platform_assets.declarations.models import Costs
from platform_assets_tests.reference.costs import naive_bounds_of_mean, naive_costs


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_costs_are_those_of_the_naive_twin(rows: list[tuple[bool, bool]]) -> None:
    truth, acts = np.array([float(came) for came, _ in rows]), np.array([acted for _, acted in rows], dtype=bool)
    found = costs_of(truth, acts, false_alarm=1.5, miss=4.0)
    assert found.tolist() == naive_costs(truth.tolist(), acts.tolist(), 1.5, 4.0)


@settings(max_examples=40)
@given(seed=st.integers(0, 500), count=st.integers(1, 40), days=st.integers(1, 6))
def test_the_interval_of_a_mean_is_that_of_the_naive_twin(seed: int, count: int, days: int) -> None:
    dice = np.random.default_rng(seed)
    values, day = dice.normal(size=count), dice.integers(0, days, count)
    found = bounds_of_mean(values, day, confidence=0.9, draws=15, seed=seed)
    naive = naive_bounds_of_mean(values.tolist(), day.tolist(), confidence=0.9, draws=15, seed=seed)
    assert (found is None) == (naive is None)
    if found is not None:
        assert (found.low, found.high) == pytest.approx(naive, abs=1e-9)


@pytest.mark.parametrize(("false_alarm", "miss"), [(1, 4), (10.0, 40), (3, 1), (1, 1)])
def test_with_right_probabilities_no_threshold_costs_less_than_the_declared_one(
    false_alarm: float, miss: float
) -> None:
    """In expectation, row by row: acting costs false_alarm x (1 - p), not acting miss x p."""
    threshold = Costs(false_alarm=false_alarm, miss=miss, unit="euros").threshold
    probability = np.linspace(0, 1, 1_001)

    def expected(at: float) -> float:
        return float(np.where(probability >= at, false_alarm * (1 - probability), miss * probability).sum())

    assert expected(threshold) <= min(expected(at) for at in np.linspace(0, 1.01, 300)) + 1e-9
