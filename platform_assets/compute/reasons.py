"""Which inputs moved a probability most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl


def strongest(contributions: npt.NDArray[np.float64], inputs: Sequence[str], count: int) -> tuple[pl.Series, pl.Series]:
    """The inputs with the largest contributions of each row, largest first, whichever way they point.

    Of equal ones the earlier input comes first.

    Args:
        contributions: per row and input what it adds to the log odds.
        inputs: their names, in the order of the columns.
        count: how many of each row.

    Returns:
        Per row the names, and their contributions.
    """
    order = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(contributions, order, axis=1)
    names = np.asarray(inputs, dtype=object)[order]
    return (
        pl.Series(names.tolist(), dtype=pl.List(pl.String)),
        pl.Series(values.tolist(), dtype=pl.List(pl.Float64)),
    )
