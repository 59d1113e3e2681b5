"""Draws of whole days with replacement, and what an AUC is of each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def drawn_units(count: int, *, draws: int, seed: int) -> Iterator[Floats]:
    """How often each of `count` days (or rows) is taken with replacement, draw by draw."""
    random = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(random.integers(0, count, count), minlength=count).astype(np.float64)


def drawn_days(count: int, *, draws: int, seed: int) -> Floats:
    """The same draws at once, one a row: for days, which are few."""
    taken = np.random.default_rng(seed).integers(0, count, (draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(taken.ravel(), minlength=draws * count).reshape(draws, count).astype(np.float64)


def auc_of_days(truth: Floats, probability: Floats, day: npt.NDArray[np.intp], taken: Floats) -> Floats:
    """The AUC of each draw of whole days; NaN where it has a single outcome.

    It follows from the pairs that each two days win, so that no draw reads the rows again.

    Args:
        truth: outcomes, 0 or 1.
        probability: of a positive outcome.
        day: the place of each row's day.
        taken: how often each day (across) is taken, a draw a row.
    """
    count = taken.shape[1]
    positives = taken @ np.bincount(day, weights=truth, minlength=count)
    pairs = positives * (taken @ np.bincount(day, minlength=count) - positives)
    won = np.einsum("ij,ij->i", taken @ _pairs_won(truth, probability, day, count), taken)
    found: Floats = np.divide(won, pairs, out=np.full(len(taken), np.nan), where=pairs > 0)
    return found


def below(values: Floats, ascending: Floats) -> Floats:
    """How many of the others are below each value, ties counting half."""
    return (np.searchsorted(ascending, values, "left") + np.searchsorted(ascending, values, "right")) / 2


def _pairs_won(truth: Floats, probability: Floats, day: npt.NDArray[np.intp], count: int) -> Floats:
    """Of positives of one day (row) and negatives of another (column), the pairs in the right order, ties counting half."""
    order = np.argsort(probability, kind="stable")
    ranked, of, positive = probability[order], day[order], truth[order] == 1
    above, of_above, beneath, of_beneath = ranked[positive], of[positive], ranked[~positive], of[~positive]
    columns = [
        np.bincount(of_above, weights=below(above, beneath[of_beneath == other]), minlength=count)
        for other in range(count)
    ]
    return np.stack(columns, axis=1)
