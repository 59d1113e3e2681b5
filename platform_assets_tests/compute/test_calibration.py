"""From scores to probabilities: what scikit-learn and the papers say, kept to the bit, and applied without scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from platform_assets.compute.calibration import (
    VennAbers,
    calibration_from_dict,
    calibration_to_dict,
    fit_calibration,
    from_log_odds,
    log_odds,
)
from platform_assets.errors import ModelError
from platform_assets_tests.reference.calibration import naive_venn_abers

METHODS = ("isotonic", "platt", "venn_abers")


def scored(seed: int, count: int, digits: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Scores that say too little of what comes, with ties, and both outcomes."""
    dice = np.random.default_rng(seed)
    scores = dice.uniform(0.01, 0.99, count).round(digits)
    truth = (dice.uniform(size=count) < scores**2).astype(float)
    truth[:2] = (0, 1)
    return scores, truth


@settings(max_examples=60)
@given(seed=st.integers(0, 2000), count=st.integers(2, 30), digits=st.integers(1, 3))
def test_venn_abers_is_what_fitting_anew_for_each_row_gives(seed: int, count: int, digits: int) -> None:
    scores, truth = scored(seed, count, digits)
    asked = np.unique([*scores, *(scores + 1e-4), *(scores - 1e-4), 0.0, 1.0])
    said = fit_calibration("venn_abers", scores, truth).apply(asked)
    assert said.low is not None
    assert said.high is not None
    naive = [naive_venn_abers(scores.tolist(), truth.tolist(), score) for score in asked.tolist()]
    np.testing.assert_allclose(said.low, [low for low, _ in naive], atol=1e-12)
    np.testing.assert_allclose(said.high, [high for _, high in naive], atol=1e-12)
    assert ((said.low <= said.probability) & (said.probability <= said.high)).all()
    assert ((said.probability > 0) & (said.probability < 1)).all()


def test_the_isotonic_map_is_scikit_learns_to_the_bit() -> None:
    scores, truth = scored(1, 4_000)
    asked = np.random.default_rng(2).uniform(-0.1, 1.1, 5_000)
    least = 1 / 4_002
    theirs = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(scores, truth).predict(asked)
    found = fit_calibration("isotonic", scores, truth).apply(asked).probability
    np.testing.assert_array_equal(found, theirs)
    assert (found.min(), found.max()) >= (least, 0.9)
    assert found.max() <= 1 - least


def test_platts_line_is_scikit_learns_on_softened_outcomes() -> None:
    scores, truth = scored(1, 2_000)
    positives = truth.sum()
    soft = np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (2_000 - positives + 2))
    odds = log_odds(scores).reshape(-1, 1)
    line = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000).fit(
        np.concatenate([odds, odds]), [1] * 2_000 + [0] * 2_000, sample_weight=np.concatenate([soft, 1 - soft])
    )
    found = fit_calibration("platt", scores, truth).apply(scores).probability
    np.testing.assert_allclose(found, line.predict_proba(odds)[:, 1], rtol=1e-13)
    assert found.mean() == pytest.approx(soft.mean(), abs=1e-6), "its mean is that of the outcomes"


def test_platts_line_stays_finite_where_the_scores_part_the_outcomes() -> None:
    scores = np.linspace(0.05, 0.95, 40)
    found = (
        fit_calibration("platt", scores, (scores > 0.5).astype(float)).apply(np.array([0.05, 0.5, 0.95])).probability
    )
    assert 0 < found[0] < 0.1 < found[1] < 0.9 < found[2] < 1


@pytest.mark.parametrize("method", METHODS)
def test_a_map_comes_back_to_the_bit(method: str) -> None:
    fitted = fit_calibration(method, *scored(3, 3_000, 9))
    again = calibration_from_dict(json.loads(json.dumps(calibration_to_dict(fitted))))
    assert again == fitted
    asked = np.random.default_rng(4).uniform(size=2_000)
    np.testing.assert_array_equal(again.apply(asked).probability, fitted.apply(asked).probability)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_alone_is_told_the_same_bits_as_among_others(method: str) -> None:
    """Whole days are scored at once, a sample of them again by the parity check."""
    fitted, asked = fit_calibration(method, *scored(5, 3_000, 9)), np.random.default_rng(6).uniform(size=1_003)
    alone = np.concatenate([fitted.apply(asked[n : n + 1]).probability for n in range(len(asked))])
    np.testing.assert_array_equal(fitted.apply(asked).probability, alone)
    np.testing.assert_array_equal(fitted.apply(asked[::-3]).probability, alone[::-3])


@pytest.mark.parametrize("method", METHODS)
def test_a_map_corrects_scores_that_say_too_much(method: str) -> None:
    scores, truth = scored(7, 20_000, 9)
    fitted, (held, came) = fit_calibration(method, scores, truth), scored(8, 20_000, 9)
    assert abs(held.mean() - came.mean()) > 0.1
    said = fitted.apply(held).probability
    assert abs(said.mean() - came.mean()) < 0.01
    assert (np.diff(said[np.argsort(held)]) >= 0).all(), "the order of the rows stays"


def test_a_missing_score_stays_missing() -> None:
    for method in METHODS:
        said = fit_calibration(method, *scored(1, 50)).apply(np.array([np.nan, 0.5]))
        assert np.isnan(said.probability).tolist() == [True, False]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_outcomes_that_are_all_alike_are_refused(method: str, outcome: float) -> None:
    with pytest.raises(ModelError, match=f"calibration {method}: all of its 9 rows came to the same outcome"):
        fit_calibration(method, np.linspace(0, 1, 9), np.full(9, outcome))


def test_log_odds_and_back() -> None:
    probability = np.array([0.0, 1e-12, 0.2, 0.5, 0.9, 1.0])
    np.testing.assert_allclose(from_log_odds(log_odds(probability)), probability, atol=1e-14)
    assert np.isfinite(log_odds(probability)).all()
    np.testing.assert_array_equal(from_log_odds(np.array([-1e4, 1e4])), [0.0, 1.0])


def test_applying_a_map_imports_neither_scikit_learn_nor_scipy() -> None:
    stored = json.dumps([calibration_to_dict(fit_calibration(method, *scored(1, 50))) for method in METHODS])
    code = (
        "import json, sys, numpy as np\n"
        "from platform_assets.compute.calibration import calibration_from_dict\n"
        "for stored in json.loads(sys.argv[1]):\n"
        "    calibration_from_dict(stored).apply(np.array([0.2, 0.8]))\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'sklearn', 'scipy'}))"
    )
    told = subprocess.run([sys.executable, "-c", code, stored], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.slow
def test_of_venn_abers_one_end_is_calibrated_though_the_scores_are_not() -> None:
    """The paper's theorem, on rows that are exchangeable: the end that was right has the mean of the outcomes."""
    gaps = []
    for seed in range(300):
        (scores, truth), (held, came) = scored(seed, 200), scored(seed + 10_000, 50)
        said = VennAbers.fit(scores, truth).apply(held)
        assert said.low is not None
        assert said.high is not None
        gaps.append(float(np.mean(np.where(came == 1, said.high, said.low) - came)))
    error = float(np.std(gaps)) / len(gaps) ** 0.5
    assert abs(float(np.mean(gaps))) < 3 * error
    assert error < 0.01
