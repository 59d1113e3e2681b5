"""Curves, calibration and confusion against scikit-learn, and against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from platform_assets.compute.comparison import calibration_error
from platform_assets.compute.curves import (
    average_precision,
    calibration_table,
    confusion,
    precision_recall,
    roc_curve,
    thinned,
)

SEEDS, COUNTS = st.integers(0, 500), st.integers(2, 60)


def rows(seed: int, count: int, *, digits: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Few digits make many ties."""
    dice = np.random.default_rng(seed)
    truth = dice.integers(0, 2, count).astype(float)
    return truth, np.clip(0.3 + 0.4 * truth + dice.normal(0, 0.3, count), 0, 1).round(digits)


def both(truth: np.ndarray) -> bool:
    return 0 < truth.sum() < len(truth)


@settings(max_examples=60)
@given(seed=SEEDS, count=COUNTS)
def test_the_curves_are_scikit_learns(seed: int, count: int) -> None:
    truth, probability = rows(seed, count)
    if not both(truth):
        return
    roc, precision = roc_curve(truth, probability), precision_recall(truth, probability)
    assert roc is not None
    assert precision is not None
    false, found, at = metrics.roc_curve(truth, probability, drop_intermediate=False)
    np.testing.assert_allclose(roc.to_numpy(), np.column_stack([at, false, found]), atol=1e-12)
    right, recall, at = metrics.precision_recall_curve(truth, probability)
    np.testing.assert_allclose(precision.to_numpy(), np.column_stack([at, right[:-1], recall[:-1]])[::-1], atol=1e-12)
    assert average_precision(truth, probability) == pytest.approx(metrics.average_precision_score(truth, probability))


def test_a_thinned_curve_lies_on_the_whole_one_keeps_its_ends_and_its_area() -> None:
    truth, probability = rows(3, 20_000, digits=6)
    whole, few = roc_curve(truth, probability, points=10**6), roc_curve(truth, probability, points=100)
    assert whole is not None
    assert few is not None
    assert len(whole) > 10_000
    assert 80 < len(few) <= 100
    assert few.row(0) == (np.inf, 0, 0)
    assert few.row(-1)[1:] == (1, 1)
    assert set(few.rows()) <= set(whole.rows())
    area = np.trapezoid(few["true_positive_rate"], few["false_positive_rate"])
    assert area == pytest.approx(metrics.roc_auc_score(truth, probability), abs=2e-3)
    drawn = precision_recall(truth, probability, points=50)
    assert drawn is not None
    assert (len(drawn) <= 50, drawn["recall"][-1]) == (True, 1)
    assert np.diff(drawn["recall"]).max() < 2 / 49 + 1e-3


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_of_a_single_outcome_there_is_no_roc_and_without_a_positive_no_precision(outcome: float) -> None:
    truth, probability = np.full(5, outcome), np.linspace(0, 1, 5)
    assert roc_curve(truth, probability) is None
    assert (precision_recall(truth, probability) is None) == (outcome == 0)
    assert average_precision(truth, probability) == (None if outcome == 0 else 1)


def test_of_no_rows_there_is_nothing() -> None:
    none = np.zeros(0)
    assert roc_curve(none, none) is None
    assert precision_recall(none, none) is None
    assert len(calibration_table(none, none)) == 0


@settings(max_examples=60)
@given(seed=SEEDS, count=COUNTS, bins=st.integers(1, 12))
def test_the_calibration_table_holds_every_row_once_and_is_what_the_error_is_made_of(
    seed: int, count: int, bins: int
) -> None:
    truth, probability = rows(seed, count)
    table = calibration_table(truth, probability, bins=bins)
    assert len(table) == min(bins, count)
    assert (table["rows"].sum(), table["rows"].max() - table["rows"].min() <= 1) == (count, True)
    assert (table["rows"] * table["share_positive"]).sum() == pytest.approx(truth.sum())
    assert table["lowest"].to_list()[1:] >= table["highest"].to_list()[:-1]
    gaps = (table["rows"] * (table["probability"] - table["share_positive"]).abs()).sum() / count
    assert gaps == pytest.approx(calibration_error(truth, probability, bins=bins))


@settings(max_examples=60)
@given(seed=SEEDS, count=COUNTS, threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_the_confusion_is_counted_row_by_row_and_the_threshold_counts_as_positive(
    seed: int, count: int, threshold: float
) -> None:
    truth, probability = rows(seed, count)
    found = confusion(truth, probability, threshold=threshold)
    told = [(y == 1, p >= threshold) for y, p in zip(truth, probability, strict=True)]
    assert (found.true_positives, found.false_positives) == (told.count((True, True)), told.count((False, True)))
    assert (found.false_negatives, found.true_negatives) == (told.count((True, False)), told.count((False, False)))
    taken = [positive for positive, decided in told if decided]
    assert found.precision == (pytest.approx(np.mean(taken)) if taken else None)
    positives = [decided for positive, decided in told if positive]
    assert found.recall == (pytest.approx(np.mean(positives)) if positives else None)


@given(count=st.integers(0, 500), most=st.integers(2, 60))
def test_a_thinned_series_keeps_its_ends(count: int, most: int) -> None:
    kept = thinned(count, most)
    assert len(kept) <= most
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert not count or (kept[0], kept[-1]) == (0, count - 1)
    assert len(kept) == count or len(kept) > most // 2
