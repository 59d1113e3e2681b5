"""A column's profile from a plain list of its values, one value at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def finite(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def naive_profile(values: Sequence[float | None]) -> dict[str, float | None]:
    """The numbers of a profile that are exact."""
    known = finite(values)
    mean = math.fsum(known) / len(known) if known else None
    return {
        "rows": len(values),
        "nulls": sum(value is None for value in values),
        "nans": sum(value is not None and math.isnan(value) for value in values),
        "infinities": sum(value is not None and math.isinf(value) for value in values),
        "minimum": min(known, default=None),
        "maximum": max(known, default=None),
        "mean": mean,
        **{f"m{n}": math.fsum((v - mean) ** n for v in known) if mean is not None else None for n in (2, 3, 4)},
    }


def furthest(values: Sequence[float], points: Sequence[float], counts: Sequence[int]) -> float:
    """By how many rows the number of rows up to some value differs at most, between values and weighted points."""
    asked = [x for value in {*values, *points} for x in (math.nextafter(value, -math.inf), value)]
    return max(
        abs(
            sum(value <= x for value in values)
            - sum(count for point, count in zip(points, counts, strict=True) if point <= x)
        )
        for x in asked
    )


def miscounted(texts: Sequence[str], listed: Sequence[str], counts: Sequence[int]) -> tuple[int, int]:
    """How far the number of rows of some text differs at most from what is listed, below and above."""
    told, true = Counter(dict(zip(listed, counts, strict=True))), Counter(texts)
    differences = [true[text] - told[text] for text in {*true, *told}]
    return min(differences, default=0), max(differences, default=0)
