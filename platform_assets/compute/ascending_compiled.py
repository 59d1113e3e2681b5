"""The loop of `ascending`, compiled: both columns are gone through once, side by side."""

from __future__ import annotations

import numpy as np

from platform_assets.compute.compiling import compiled
from platform_assets.compute.summaries import Floats


@compiled
def apart(was: Floats, is_now: Floats) -> tuple[float, float, float]:
    """As in `ascending`.

    Shares are compared as whole numbers, i / n with j / m as i m with j n: exactly, and with few divisions.
    """
    n, m = len(was), len(is_now)
    one = 1.0 / (float(n) * float(m))
    i, j = 0, 0  # the rows gone through, and those before the value at hand
    first_i, first_j = 0, 0
    most, most_at = 0, 0
    gap, furthest, area = 0.0, 0.0, 0.0
    value = min(was[0], is_now[0])
    while i < n or j < m:
        part = 0.0  # few are added up at once: of millions the rounding would add up as well
        for _ in range(1024):
            x = was[i] if i < n else np.inf
            y = is_now[j] if j < m else np.inf
            following = min(x, y)
            if following != value:
                between = abs(i * m - j * n)
                if following == np.inf:
                    break
                part += between * one * (following - value)
                if between >= most:
                    most, gap = between, max(gap, abs(i / n - j / m))
                at = abs((i - first_i) * m - (j - first_j) * n)
                if at >= most_at:
                    most_at, furthest = at, max(furthest, abs((i - first_i) / n - (j - first_j) / m))
                value, first_i, first_j = following, i, j
            i += x <= following
            j += y <= following
        area += part
    return gap, max(furthest, abs((n - first_i) / n - (m - first_j) / m)), area
