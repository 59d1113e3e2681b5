"""What decisions cost, once it is known what came of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def costs_of(
    truth: npt.NDArray[np.float64], acts: npt.NDArray[np.bool_], *, false_alarm: float, miss: float
) -> npt.NDArray[np.float64]:
    """What each row cost; a right decision costs nothing.

    Args:
        truth: outcomes, 0 or 1.
        acts: whether one acted on the row.
        false_alarm: the cost of acting on a 0.
        miss: the cost of not acting on a 1.
    """
    return np.where(acts, np.where(truth == 1, 0.0, false_alarm), np.where(truth == 1, miss, 0.0))
