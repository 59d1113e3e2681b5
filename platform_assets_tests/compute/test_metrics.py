"""Performance figures against scikit-learn's, and the averages that a model has to beat."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from platform_assets.compute.metrics import Averages, performance, performance_by

# Few levels, so that ties are the rule.
scored = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.05, 0.2, 0.2, 0.5, 0.9, 0.95])), min_size=2, max_size=60
)


@settings(max_examples=150)
@given(rows=scored)
def test_the_figures_are_those_of_scikit_learn(rows: list[tuple[int, float]]) -> None:
    truth, probability = zip(*rows, strict=True)
    found = performance(truth, probability)
    assert (found.rows, found.base_rate) == (len(rows), pytest.approx(np.mean(truth)))
    assert found.log_loss == pytest.approx(log_loss(truth, probability, labels=[0, 1]))
    assert found.brier == pytest.approx(brier_score_loss(truth, probability))
    assert found.auc == (pytest.approx(roc_auc_score(truth, probability)) if len(set(truth)) == 2 else None)


def test_certainty_that_was_wrong_costs_much_but_not_everything() -> None:
    assert 30 < performance([1, 0], [0.0, 1.0]).log_loss < 40


def test_figures_that_do_not_exist_are_left_out() -> None:
    assert set(performance([1, 1], [0.5, 0.6]).to_dict()) == {"rows", "base_rate", "log_loss", "brier"}


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="performance of no rows: there is nothing to measure"):
        performance([], [])


@pytest.mark.parametrize(("truth", "probability"), [([1, np.nan], [0.5, 0.5]), ([1, 0], [0.5, np.nan])])
def test_a_missing_outcome_or_probability_is_refused(truth: list[float], probability: list[float]) -> None:
    with pytest.raises(ValueError, match="an outcome or a probability is missing"):
        performance(truth, probability)


LEARNED = pl.DataFrame(
    {
        "k": ["a", "a", "a", "b", None, None],
        "j": [1, 1, 2, 1, 1, 1],
        "late": [True, False, True, False, True, True],
    }
)
OVERALL = 4 / 6


@pytest.mark.parametrize(
    ("by", "asked", "expected"),
    [
        ([], {"k": ["a", "z"]}, [OVERALL, OVERALL]),
        (["k"], {"k": ["b", "a", None, "unseen", "a"]}, [0.0, 2 / 3, 1.0, OVERALL, 2 / 3]),
        (["k", "j"], {"k": ["a", "a", "b"], "j": [1, 2, 2]}, [0.5, 1.0, OVERALL]),
    ],
)
def test_averages_by_group(by: list[str], asked: dict[str, list[object]], expected: list[float]) -> None:
    averages = Averages.fit(LEARNED, by=by, label="late")
    assert averages.predict(pl.DataFrame(asked)).tolist() == pytest.approx(expected)


def test_performance_by_group_is_that_of_each_group_alone() -> None:
    rows = pl.DataFrame(
        {"day": [2, 1, 2, 1, 1], "late": [True, False, False, True, True], "p": [0.9, 0.2, 0.8, 0.1, 0.7]}
    )
    found = performance_by(rows, by="day", label="late", probability="p")
    assert list(found) == [1, 2]
    assert found[2] == performance([1, 0], [0.9, 0.8])
    assert found[1] == performance([0, 1, 1], [0.2, 0.1, 0.7])
