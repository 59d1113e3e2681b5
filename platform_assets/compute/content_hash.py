"""A hash of what a table holds: the same for every order of its rows, different when a row comes twice.

Each row is hashed from its cells with fixed arithmetic (SplitMix64 of Steele, Lea and Flood, 2014, as the
mixer), independent of library versions, processors and threads; the hash of a set of rows is the sum
of its rows' hashes in two lanes of 64 bits, with their count.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl

Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LANE = np.uint64(0xD1B54A32D192ED03)
_NULL = np.uint64(0xA0761D6478BD642F)
_BASE = np.uint64(0xE7037ED1A0B428DB)


def content_hash(frame: pl.DataFrame) -> str:
    """Hash a frame's rows and columns as a set: 32 hexadecimal digits.

    The order of rows and of columns does not matter; names, types, values and multiplicity do.
    """
    hashes = row_hashes(frame)
    return _digest(frame.schema, hashes.sum(dtype=np.uint64), _second_lane(hashes).sum(dtype=np.uint64), len(frame))


def content_hashes(frame: pl.DataFrame, *, by: str) -> dict[object, str]:
    """Hash each group of rows that share a value in `by`, as `content_hash` would hash it alone."""
    if frame.is_empty():
        return {}
    ordered = frame.sort(by)
    hashes = row_hashes(ordered)
    runs = ordered.get_column(by).rle().struct.unnest()
    starts = runs.get_column("len").cum_sum().shift(1, fill_value=0).to_numpy()
    first = np.add.reduceat(hashes, starts)
    second = np.add.reduceat(_second_lane(hashes), starts)
    return {
        value: _digest(frame.schema, a, b, count)
        for value, a, b, count in zip(
            runs.get_column("value").to_list(), first, second, runs.get_column("len").to_list(), strict=True
        )
    }


def row_hashes(frame: pl.DataFrame) -> Words:
    """One 64-bit hash per row, from its cells and the names of their columns."""
    total = np.zeros(len(frame), dtype=np.uint64)
    plain, nulls = _plain(frame), frame.select(pl.col(c.name).is_null() for c in frame if c.null_count())
    for name in sorted(frame.columns):
        words = _plain_words(plain.get_column(name)) if name in plain.columns else _cell_words(frame.get_column(name))
        if name in nulls.columns:
            words = np.where(nulls.get_column(name).to_numpy(), _NULL, words)
        total += mix(words + _word(name))
    return mix(total)


def _digest(schema: pl.Schema, first: np.uint64, second: np.uint64, rows: int) -> str:
    columns = sorted((name, str(dtype)) for name, dtype in schema.items())
    seal = hashlib.blake2b(repr((columns, int(first), int(second), rows)).encode(), digest_size=16)
    return seal.hexdigest()


def _second_lane(hashes: Words) -> Words:
    return mix(hashes ^ _LANE)


def _word(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def mix(words: Words) -> Words:
    """SplitMix64: each word as another that tells nothing of it, equal words as equal ones."""
    z = mix_above(words)
    z ^= z >> np.uint64(31)
    return z


def mix_above(words: Words) -> Words:
    """All of `mix` but its last step, which leaves the upper 31 bits as they are."""
    z = words + _GOLDEN
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    return z


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that fit a word each, in one pass: to call Polars column by column takes longer than its work."""
    found = {name: _as_number(pl.col(name), dtype) for name, dtype in frame.schema.items()}
    return frame.select(number.alias(name) for name, number in found.items() if number is not None)


def _as_number(cells: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Cells as 64-bit numbers without nulls; None of a type that has other words."""
    if dtype.is_float():
        return cells.cast(pl.Float64).fill_null(0.0)
    if dtype.is_integer() or dtype.is_temporal() or isinstance(dtype, pl.Boolean):
        physical = cells.to_physical() if dtype.is_temporal() else cells
        return physical.cast(pl.UInt64 if isinstance(dtype, pl.UInt64) else pl.Int64).fill_null(0)
    return None


def _plain_words(numbers: pl.Series) -> Words:
    found = numbers.to_numpy()
    if found.dtype == np.float64:
        found = found + 0.0  # adding zero turns -0.0 into 0.0
        found[np.isnan(found)] = np.nan
    return found.view(np.uint64)


def _cell_words(cells: pl.Series) -> Words:
    """The words of cells that are not null."""
    dtype = cells.dtype
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        cells, dtype = cells.cast(pl.String), pl.String()
    if isinstance(dtype, pl.String):
        return text_words(cells)
    if isinstance(dtype, pl.List):
        return _list_words(cells)
    if isinstance(dtype, pl.Null):
        return np.zeros(len(cells), dtype=np.uint64)
    number = _as_number(pl.col(cells.name), dtype)
    if number is None:
        msg = f"content hash: column {cells.name!r} has the type {dtype}, which has no fixed hash"
        raise TypeError(msg)
    return _plain_words(cells.to_frame().select(number).to_series())


def _list_words(lists: pl.Series) -> Words:
    """The words of each list's elements mixed with their places, with the list's length."""
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    elements = lists.filter(lists.list.len() > 0).explode()
    ends = np.cumsum(lengths)
    starts = ends - lengths
    place = (np.arange(len(elements), dtype=np.int64) - np.repeat(starts, lengths)).astype(np.uint64)
    words = np.where(elements.is_null().to_numpy(), _NULL, _cell_words(elements))
    mixed = mix(mix(words) + place)
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    found: Words = mix(sums[ends] - sums[starts]) ^ lengths.astype(np.uint64)
    return found


def text_words(texts: pl.Series) -> Words:
    """A polynomial in each text's bytes modulo 2**64, with its length: all texts in a few passes."""
    if texts.is_empty():
        return np.zeros(0, dtype=np.uint64)
    bounds, joined = _bytes_of(texts)
    starts, ends = bounds[:-1], bounds[1:]
    lengths = ends - starts
    place = np.arange(len(joined), dtype=np.int64) - np.repeat(starts, lengths)
    powers = np.multiply.accumulate(np.full(max(int(lengths.max(initial=0)), 1), _BASE, dtype=np.uint64))
    sums = np.concatenate([[np.uint64(0)], np.cumsum((joined.astype(np.uint64) + np.uint64(1)) * powers[place])])
    words: Words = mix(sums[ends] - sums[starts]) ^ lengths.astype(np.uint64)
    return words


def _bytes_of(texts: pl.Series) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """All texts end to end as UTF-8, nulls as none, and where each begins, and the end."""
    laid = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, content = laid.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[laid.offset : laid.offset + len(laid) + 1]
    whole = np.frombuffer(content, dtype=np.uint8) if content is not None else np.zeros(0, dtype=np.uint8)
    return bounds - bounds[0], whole[bounds[0] : bounds[-1]]
