"""Profiles of several days made one for each column, all columns at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.content_hash import Words, text_words
from platform_assets.compute.profiles import PROFILES, TEXTS
from platform_assets.compute.summaries import (
    HASHES,
    Integers,
    distinct_of,
    least_hashes,
    number_words,
    points_for,
    pooled,
    runs,
    thin,
)

_COUNTED = ("rows", "nulls", "nans", "infinities")
_POOLED = ("mean", "m2", "m3", "m4")


def merge(profiles: pl.DataFrame, *, points: int | None = None) -> pl.DataFrame:
    """One profile per column of all its days, as near to the profile of all their rows as `error` says.

    Args:
        profiles: a frame of `PROFILES`.
        points: how many to keep at most; by default `points_for(rows)`.

    Everything but `distinct`, the points and the texts is that of the whole. Of the points, `error` is at most
    the sum of the parts' and `rank_error_of(rows, points)`; of the texts, the parts' and the most frequent one that
    found no room; for `distinct` see `distinct_of`.

    Raises:
        ValueError: when a column is of one kind on some days and of another on others.
    """
    ordered = pl.concat([PROFILES.to_frame(), profiles.select(PROFILES.names())]).sort("column", "day")
    whole = ordered.group_by("column", maintain_order=True).agg(
        pl.col("kind").unique().sort(), *(pl.col(name).sum() for name in _COUNTED)
    )
    for column, kinds in whole.select("column", "kind").iter_rows():
        if len(kinds) > 1:
            msg = (
                f"merge: column {column!r} is {' on some days and '.join(kinds)} on others; merge the days of one kind"
            )
            raise ValueError(msg)
    numbers, texts = ordered.filter(pl.col("mean").is_not_null()), ordered.filter(pl.col("kind") == "text")
    found = pl.concat([_numbers(numbers, points), _texts(texts)], how="diagonal")
    # Of a column that neither of them tells anything of, nothing is listed and nothing distinct.
    empty = {"values": [], "texts": [], "counts": [], "distinct": 0, "error": 0}
    return (
        whole.join(found, on="column", how="left", maintain_order="left")
        .with_columns(
            pl.lit(None).alias("day"),
            pl.col("kind").list.first(),
            *(pl.col(name).fill_null(pl.lit(value, PROFILES[name])) for name, value in empty.items()),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in PROFILES.items())
    )


def flat(lists: pl.Series) -> tuple[pl.Series, Integers]:
    """All lists of a series end to end, and where each begins, and the end; null is empty."""
    lengths = lists.list.len().fill_null(0).to_numpy()
    items = lists.explode(empty_as_null=False, keep_nulls=False)
    return items, np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def _numbers(parts: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """What comes of the parts of each column that have numbers."""
    firsts = _firsts(parts)
    (numbers, upto), (weights, _) = flat(parts.get_column("values")), flat(parts.get_column("counts"))
    values, bounds = numbers.to_numpy(), upto[firsts]
    sorted_ = [first + np.argsort(values[first:end], kind="stable") for first, end in _pairs(bounds)]
    order = np.concatenate([np.zeros(0, dtype=np.int64), *sorted_])
    ordered = values[order]
    alike, starts = runs(ordered, bounds)
    before = np.append(0, np.cumsum(weights.to_numpy()[order]))[alike]
    known = np.diff(before[starts])
    points = points_for(known) if most is None else np.full_like(known, most)
    kept, counts, lengths, error = thin(before, starts, points)
    sizes = (parts["rows"] - parts["nulls"] - parts["nans"] - parts["infinities"]).to_numpy()
    moments = parts.select(_POOLED).to_numpy()
    measured = np.array([pooled(sizes[first:end], moments[first:end]) for first, end in _pairs(firsts)]).reshape(-1, 4)
    exact = np.diff(starts)
    listed = pl.DataFrame(
        {"of": np.repeat(np.arange(len(lengths)), lengths), "values": ordered[alike[kept]], "counts": counts}
    )
    lists = listed.group_by("of", maintain_order=True).agg("values", "counts")
    added = parts.group_by("column", maintain_order=True).agg(
        pl.col("minimum").min(), pl.col("maximum").max(), pl.col("error").sum()
    )
    return added.with_columns(
        *_distinct(parts, number_words(values), upto, exact, whole=exact <= points),
        *(pl.Series(name, measured[:, n], nan_to_null=True) for n, name in enumerate(_POOLED)),
        lists.get_column("values"),
        lists.get_column("counts"),
        pl.col("error") + pl.Series(error),
    )


def _texts(parts: pl.DataFrame) -> pl.DataFrame:
    """What comes of the parts of each column that have texts: the most frequent are listed."""
    listed = parts.select("column", pl.col("texts").alias("text"), pl.col("counts").alias("rows"))
    counted = listed.explode("text", "rows").drop_nulls().group_by("column", "text").sum()
    place, count = pl.int_range(pl.len()).over("column"), pl.len().over("column")
    kept = (count <= TEXTS) | ((place < TEXTS) & (pl.col("rows") > 1))
    found = (
        counted.sort("column", "rows", "text", descending=[False, True, False])
        .with_columns(kept.alias("kept"))
        .group_by("column")
        .agg(
            pl.len().cast(pl.Int64).alias("distinct"),
            pl.col("text").filter("kept").alias("texts"),
            pl.col("rows").filter("kept").alias("counts"),
            pl.col("rows").filter(~pl.col("kept")).first().fill_null(0).alias("left_out"),
        )
    )
    told = (
        parts.group_by("column", maintain_order=True)
        .agg(pl.col("error").sum())
        .join(found, on="column", how="left", maintain_order="left")
        .with_columns(pl.col("distinct", "left_out").fill_null(0))
    )
    words, upto = flat(parts.get_column("texts"))
    exact, whole = told.get_column("distinct").to_numpy(), (told.get_column("left_out") == 0).to_numpy()
    return told.select(
        "column",
        *_distinct(parts, text_words(words), upto, exact, whole=whole),
        "texts",
        "counts",
        pl.col("error") + pl.col("left_out"),
    )


def _distinct(
    parts: pl.DataFrame, words: Words, upto: Integers, exact: Integers, *, whole: npt.NDArray[np.bool_]
) -> tuple[pl.Series, pl.Series]:
    """`distinct` and `hashes` of each column: how many values all its parts have, and no hashes where all stay listed.

    Args:
        parts: in order of column.
        words: of what the parts list, end to end.
        upto: where the words of each part begin, and the end.
        exact: how many distinct values are listed of each column.
        whole: whether all of these stay listed.
    """
    flat_hashes, bounds = flat(parts.get_column("hashes"))
    least, hashed = flat_hashes.to_numpy(), parts.get_column("hashes").is_not_null().to_numpy()
    known = parts.get_column("distinct").to_numpy()
    found: list[tuple[int, list[int] | None]] = []
    for column, (first, end) in enumerate(_pairs(_firsts(parts))):
        if whole[column] and not hashed[first:end].any():
            found.append((int(exact[column]), None))
            continue
        # Of the parts that list every value, these are hashed.
        listed = np.repeat(~hashed[first:end], np.diff(upto[first : end + 1]))
        own = least_hashes(np.unique(words[upto[first] : upto[end]][listed]))
        count, hashes = distinct_of(
            [*np.split(least[bounds[first] : bounds[end]], bounds[first + 1 : end] - bounds[first]), own]
        )
        if len(hashes) >= HASHES:  # never fewer than any part has, nor more than all
            count = int(min(max(count, known[first:end].max()), known[first:end].sum()))
        found.append((count, hashes.tolist()))
    counts, hashes_of = ([one[side] for one in found] for side in range(2))
    return pl.Series("distinct", counts, PROFILES["distinct"]), pl.Series("hashes", hashes_of, PROFILES["hashes"])


def _firsts(parts: pl.DataFrame) -> Integers:
    """Where the parts of each column begin, and the end."""
    return np.append(0, np.cumsum(parts.get_column("column").rle().struct.field("len").to_numpy(), dtype=np.int64))


def _pairs(bounds: Integers) -> Iterator[tuple[int, int]]:
    return itertools.pairwise(bounds.tolist())
