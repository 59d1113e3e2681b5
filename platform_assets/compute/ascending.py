"""Numbers in ascending order, and how far those of one column are from those of another."""

from __future__ import annotations

import math

import numpy as np

from platform_assets.compute.summaries import Floats


def finite(numbers: Floats) -> Floats:
    """Those that are finite, ascending: a view of the numbers, which are sorted in place."""
    numbers.sort()  # -inf comes first, inf and NaN last
    if not len(numbers) or (math.isfinite(numbers[0]) and math.isfinite(numbers[-1])):
        return numbers
    first, end = np.searchsorted(numbers, -np.inf, side="right"), np.searchsorted(numbers, np.inf)
    found: Floats = numbers[first:end]
    return found


def apart(was: Floats, is_now: Floats) -> tuple[float, float, float]:
    """How far apart the distributions of two columns are.

    Args:
        was: finite values, ascending; at least one.
        is_now: likewise.

    Returns:
        The greatest difference of the shares of rows up to a value, the greatest difference of the shares of one value,
        and the area between the distribution functions.
    """
    points = np.union1d(was, is_now)
    upto_p, upto_q = (np.searchsorted(side, points, side="right") for side in (was, is_now))
    between = np.abs(upto_p / len(was) - upto_q / len(is_now))
    at_p, at_q = np.diff(upto_p, prepend=0), np.diff(upto_q, prepend=0)
    furthest = np.abs(at_p / len(was) - at_q / len(is_now))
    with np.errstate(over="ignore", invalid="ignore"):
        area = float((between[:-1] * np.diff(points)).sum())
    return float(between.max()), float(furthest.max()), area
