"""What is kept of many values: points of their distribution, sums of powers, and the least of their hashes.

All of it merges, and none depends on the order of the values. Sketches that take values one by one (KLL, t-digest)
draw lots or go by the order: the same day would have another profile every time it is written. On a million normal
values, sorting and thinning took 5 ms and was off by 0.0005 in rank with 8 KB; KLL of Apache DataSketches took 32 ms
and was off by 0.0016 with 24 KB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from platform_assets.compute.content_hash import Words, mix_above

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FEWEST_POINTS, MOST_POINTS = 64, 1024
HASHES = 64
"""How many hashes are kept of a column's values: as many distinct values are counted exactly."""

_CHUNK = 65_536  # as many values as stay near the processor
_HASH_BITS = 31


def points_for(rows: Integers) -> Integers:
    """How many points keep the rank error of so many rows below half the sampling error of their median."""
    wished = 2 * np.ceil(np.sqrt(rows)).astype(np.int64)
    return np.clip(wished, FEWEST_POINTS, MOST_POINTS)


def rank_error_of(rows: int, points: int) -> float:
    """By how many rows the rank of a value may be off in a summary of so many points: rows / (2 (points - 2)) + 1/2.

    A summary that was merged from others may be off by the sum of their errors and this. Nothing is off while
    the distinct values are no more than the points.
    """
    return rows / (2 * (points - 2)) + 0.5


def runs(ordered: npt.NDArray[Any], firsts: Integers) -> tuple[Integers, Integers]:
    """Equal values made one, group by group.

    Args:
        ordered: values, ascending within each group.
        firsts: where each group begins, and the end.

    Returns:
        Where each value begins, and the end; and which of them each group begins with, and how many there are.
    """
    begins = np.empty(len(ordered) + 1, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:-1])
    begins[firsts] = True
    bounds = np.flatnonzero(begins)
    return bounds, np.searchsorted(bounds, firsts)


def thin(before: Integers, firsts: Integers, points: Integers) -> tuple[Integers, Integers, Integers, Integers]:
    """Keep at most so many points of each group: the rows of those left out go to their neighbours, half to each.

    A value stays where rows / (points - 2) divides its rows from those before, rounded: heavy values, and the
    quantiles of the others. So do the least and the greatest.

    Args:
        before: how many rows lie before each value, and all rows; values ascend within each group and differ.
        firsts: with which value each group begins, and how many there are.
        points: the most that each group may keep, at least 3.

    Returns:
        Which values stay, the rows that each stands for, how many stay in each group, and by how many rows
        the number of rows up to some value is off at most, in each group: no more than `rank_error_of`.
    """
    lengths = np.diff(firsts)
    long = np.flatnonzero(lengths > points)
    if len(long):
        cells = points[long] - 2
        group = np.repeat(long, cells)
        number = np.arange(len(group)) - np.repeat(np.cumsum(cells) - cells, cells)
        rows = (before[firsts[1:]] - before[firsts[:-1]])[group]
        cell = 2 * (points[group] - 2)
        middle = before[firsts[group]] + ((2 * number + 1) * rows + cell - 1) // cell
        whole = [np.arange(firsts[g], firsts[g + 1]) for g in np.flatnonzero(lengths <= points)]
        ours = [np.searchsorted(before[1:], middle), firsts[long], firsts[long + 1] - 1]
        kept = np.unique(np.concatenate([*ours, *whole]))
    else:
        kept = np.arange(firsts[-1])
    counts = before[kept + 1] - before[kept]
    gap = before[kept[1:]] - before[kept[:-1] + 1]  # nothing between two groups: the ends of both stay
    counts[:-1] += gap // 2
    counts[1:] += gap - gap // 2
    owner = np.searchsorted(firsts, kept, side="right") - 1
    errors = np.zeros(len(lengths), dtype=np.int64)
    np.maximum.at(errors, owner[:-1], gap - gap // 2)
    return kept, counts, np.bincount(owner, minlength=len(lengths)), errors


Moments = tuple[float, float, float, float]
"""The mean, and the sums of the second, third and fourth powers of the distances from it."""


def moments(values: Floats) -> Moments:
    """The moments of some values; zeros of none."""
    if len(values) <= _CHUNK:
        return _moments(values, *np.empty((2, len(values)))) if len(values) else (0.0, 0.0, 0.0, 0.0)
    starts = range(0, len(values), _CHUNK)
    sizes = np.array([min(_CHUNK, len(values) - start) for start in starts], dtype=np.int64)
    room = np.empty((2, _CHUNK))
    parts = [_moments(values[start : start + size], *room[:, :size]) for start, size in zip(starts, sizes, strict=True)]
    return pooled(sizes, np.array(parts))


def pooled(sizes: Integers, parts: Floats) -> Moments:
    """The moments of the whole from those of its parts (Pébay, SAND2008-6212, 2008), all parts at once.

    Args:
        sizes: how many values each part has.
        parts: a row of moments for each.
    """
    total = int(sizes.sum())
    if not total:
        return 0.0, 0.0, 0.0, 0.0
    n = sizes.astype(np.float64)
    mean, m2, m3, m4 = parts.T
    with np.errstate(over="ignore", invalid="ignore"):
        centre = float(mean[0] + (n * (mean - mean[0])).sum() / total)
        d = mean - centre
        d2 = d * d
        return (
            centre,
            float((m2 + n * d2).sum()),
            float((m3 + 3 * d * m2 + n * d * d2).sum()),
            float((m4 + 4 * d * m3 + 6 * d2 * m2 + n * d2 * d2).sum()),
        )


def _moments(values: Floats, d: Floats, power: Floats) -> Moments:
    """The moments of at least one value, with room for two others of each: to ask for it anew takes longer."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values[0] + np.subtract(values, values[0], out=d).mean())
        np.subtract(values, mean, out=d)
        m2 = float(np.multiply(d, d, out=power).sum())
        m3 = float(np.multiply(power, d, out=d).sum())
        return mean, m2, m3, float(np.multiply(power, power, out=power).sum())


def number_words(values: Floats) -> Words:
    """The bits of numbers, equal ones as equal words."""
    return (values + 0.0).view(np.uint64)  # adding zero turns -0.0 into 0.0


def least_hashes(words: Words, *, most: int = HASHES) -> Integers:
    """The least hashes of distinct words, ascending: of 31 bits each, so that two words rarely share one."""
    bound = (most + 8 * math.sqrt(most)) / max(len(words), 1)
    shift = np.uint64(64 - _HASH_BITS)
    limit = np.uint64(min(bound, 1.0) * (2**64 - 2**12))
    found = []
    for start in range(0, len(words), _CHUNK):
        hashes = mix_above(words[start : start + _CHUNK])
        found.append(hashes[hashes <= limit] if bound < 1 else hashes)
    kept = np.unique(np.concatenate(found) >> shift) if found else np.zeros(0, dtype=np.uint64)
    if len(kept) < most and bound < 1:  # an unlikely draw
        kept = np.unique(mix_above(words) >> shift)
    return kept[:most].astype(np.int64)


def distinct_of(hashes: Sequence[Integers], *, most: int = HASHES) -> tuple[int, Integers]:
    """How many distinct values several parts have together, and the least hashes of all.

    Exact below `most`; else the k minimum values estimate (Bar-Yossef et al., RANDOM 2002; Beyer et al., SIGMOD
    2007), whose relative standard error is 1 / sqrt(most - 2), 13 in a hundred, up to some 10**8 values.
    """
    full = [int(part[-1]) for part in hashes if len(part) >= most]
    together = np.concatenate([np.zeros(0, dtype=np.int64), *hashes])
    if full:
        together = together[together <= min(full)]
    least = np.unique(together)[:most]
    if len(least) < most:
        return len(least), least
    return round((most - 1) / (float(least[-1]) + 1) * 2**_HASH_BITS), least
