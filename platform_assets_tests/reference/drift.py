"""How far two lists of values are from each other: SciPy where it has the measure, bins made by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import spatial, stats

from platform_assets.compute.drift import MEASURES, _measured
from platform_assets.compute.grids import Counts, Grid
from platform_assets.compute.profiles import kind_of, numbers_of

Cells = Sequence[float | None] | Sequence[str | None]


def naive_drift(reference: Cells, current: Cells, *, bins: int = 10) -> dict[str, float | None]:
    """Every measure, from the values."""
    p, q = ([cell for cell in side if is_value(cell)] for side in (reference, current))
    missing = abs((1 - len(p) / len(reference)) - (1 - len(q) / len(current)))
    if not p or not q:
        return {"missing": missing}
    texts = isinstance(p[0], str)
    counted = [text_bins(p, side, bins) if texts else number_bins(p, side, bins) for side in (p, q)]
    furthest = max(abs(p.count(cell) / len(p) - q.count(cell) / len(q)) for cell in {*p, *q})
    found = {"missing": missing, "infinity_norm": furthest, **apart(*counted)}
    if texts:
        return found | {"unseen": sum(cell not in set(p) for cell in q) / len(q)}
    area = float(stats.wasserstein_distance(p, q))
    with np.errstate(divide="ignore"):  # of its p-value, which nobody asked for
        gap = float(stats.ks_2samp(p, q, method="asymp").statistic)
    return found | {
        "kolmogorov_smirnov": gap,
        "wasserstein": area,
        "wasserstein_in_spreads": area / float(np.std(p)) if np.std(p) > 0 else None,
        "unseen": sum(not min(p) <= cell <= max(p) for cell in q) / len(q),
    }


def is_value(cell: float | str | None) -> bool:
    return isinstance(cell, str) or (cell is not None and math.isfinite(cell))


def number_bins(reference: Sequence[float], values: Sequence[float], bins: int) -> list[int]:
    inner = np.quantile(reference, [n / bins for n in range(1, bins)], method="inverted_cdf").tolist()
    ends = sorted({*inner, max(reference)})
    found = [sum(value < min(reference) for value in values)]
    for before, end in zip([-math.inf, *ends], ends, strict=False):
        found.append(sum(max(before, math.nextafter(min(reference), -math.inf)) < value <= end for value in values))
    return [*found, sum(value > max(reference) for value in values)]


def text_bins(reference: Sequence[str], values: Sequence[str], bins: int) -> list[int]:
    counts = Counter(reference)
    own = [text for text in counts if counts[text] * 10 * bins >= len(reference)]
    return [*(sum(value == text for value in values) for text in own), sum(value not in own for value in values)]


def apart(p: Sequence[int], q: Sequence[int]) -> dict[str, float]:
    smooth = [[(n + 0.5) / (sum(side) + len(side) / 2) for n in side] for side in (p, q)]
    return {
        "psi": float(stats.entropy(smooth[1], smooth[0]) + stats.entropy(smooth[0], smooth[1])),
        "jensen_shannon": float(spatial.distance.jensenshannon(p, q, base=2)),
    }


def on_a_grid(reference: pl.Series, current: pl.Series, *, bins: int = 10) -> dict[str, float | None]:
    """The measures of two columns of numbers as those of profiles are told: rows are counted at every value there is."""
    sides = [numbers_of(cells.to_frame())[:, 0] for cells in (reference, current)]
    known = [np.sort(values[np.isfinite(values)]) for values in sides]
    points = np.union1d(*known)
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(known[0].std()) if len(known[0]) else None
        grid = Grid(column="x", kind=kind_of(reference.dtype), points=points, texts=None, spread=spread)
        was, is_now = (
            Counts(
                rows=np.array([float(len(cells))]),
                known=np.array([float(len(values))]),
                error=np.zeros(1),
                cells=np.bincount(2 * np.searchsorted(points, values) + 1, minlength=grid.cells).astype(float)[
                    np.newaxis
                ],
                rooms=np.zeros((1, len(points) + 1)),
            )
            for cells, values in zip(sides, known, strict=True)
        )
        found = _measured(grid, was, is_now, bins=bins, at_least=1)
    told = {name: float(found[name][0]) for name in MEASURES if name in found}
    return {name: None if math.isnan(told.get(name, math.nan)) else told[name] for name in MEASURES}
