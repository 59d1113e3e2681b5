"""The linear baseline is what a pipeline of scikit-learn's own parts makes of the same rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from platform_assets.compute.linear import Linear
from platform_assets.errors import ModelError

INPUTS, CATEGORIES = ["size", "kind", "count", "always"], ["kind"]


def rows(seed: int, count: int = 400) -> tuple[pl.DataFrame, np.ndarray]:
    """Numbers with gaps and without, one that is always the same, and a category with gaps."""
    dice = np.random.default_rng(seed)
    size, kind = dice.normal(5, 3, count), dice.integers(0, 4, count)
    truth = (dice.normal(size=count) < 0.4 * (size - 5) + (kind == 2)).astype(float)
    frame = pl.DataFrame(
        {
            "size": [None if gap else value for value, gap in zip(size, dice.uniform(size=count) < 0.2, strict=True)],
            "kind": [[None, "a", "b", "c"][n] for n in kind],
            "count": dice.integers(0, 9, count),
            "always": [7] * count,
        }
    )
    return frame, truth


def fitted(seed: int = 1, penalty: float = 1.0) -> Linear:
    return Linear.fit(*rows(seed), inputs=INPUTS, categories=CATEGORIES, penalty=penalty)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 50.0])
def test_it_says_what_scikit_learns_own_parts_say(penalty: float) -> None:
    numbers = make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0, add_indicator=True))
    levels = OneHotEncoder(categories=[["a", "b", "c"]], handle_unknown="ignore")
    theirs = make_pipeline(
        ColumnTransformer([("numbers", numbers, ["size", "count", "always"]), ("levels", levels, ["kind"])]),
        LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5_000),
    )
    learned, truth = rows(1)
    asked, _ = rows(2)
    theirs.fit(learned.to_pandas(), truth)
    expected = theirs.predict_proba(asked.to_pandas())[:, 1]
    np.testing.assert_allclose(fitted(penalty=penalty).score(asked), expected, atol=2e-3)


def test_the_same_rows_give_the_same_bits() -> None:
    assert fitted() == fitted()
    asked, _ = rows(3)
    np.testing.assert_array_equal(
        fitted().score(asked), fitted().score(asked.select("kind", "always", "count", "size"))
    )


def test_an_unseen_level_is_no_level_and_a_null_the_mean() -> None:
    asked = pl.DataFrame({"size": [5.0, None], "kind": ["quince", None], "count": [4, 4], "always": [7, 7]})
    odds = np.log(fitted().score(asked) / (1 - fitted().score(asked)))
    line = fitted()
    at_size = (5.0 - line.means[0]) / line.deviations[0] * line.coefficients[0]
    at_count = (4.0 - line.means[1]) / line.deviations[1] * line.coefficients[1]
    assert line.gaps == (0,)
    assert len(line.coefficients) == 3 + 1 + 3
    assert odds.tolist() == pytest.approx(
        [line.intercept + at_size + at_count, line.intercept + line.coefficients[3] + at_count]
    )


@pytest.mark.parametrize("odd", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_is_none_counts_as_a_null(odd: float) -> None:
    frame, truth = rows(1)
    spoilt = frame.with_columns(pl.col("size").fill_null(odd))
    line = Linear.fit(spoilt, truth, inputs=INPUTS, categories=CATEGORIES, penalty=1.0)
    assert line == fitted()
    np.testing.assert_array_equal(line.score(spoilt), line.score(frame))


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_of_rows_with_a_single_outcome_it_is_that(outcome: float) -> None:
    frame, truth = rows(1)
    line = Linear.fit(frame, np.full_like(truth, outcome), inputs=INPUTS, categories=CATEGORIES, penalty=1.0)
    np.testing.assert_allclose(line.score(frame), outcome, atol=1e-12)


def test_without_any_column_it_is_the_base_rate() -> None:
    frame, truth = rows(1)
    nothing = frame.with_columns(kind=pl.lit(None, dtype=pl.String))
    line = Linear.fit(nothing, truth, inputs=["kind"], categories=["kind"], penalty=1.0)
    np.testing.assert_allclose(line.score(frame), truth.mean())


def test_without_rows_there_are_no_probabilities() -> None:
    assert fitted().score(rows(1)[0].clear()).shape == (0,)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ModelError, match="the model needs the columns size"):
        fitted().score(rows(1)[0].drop("size"))
