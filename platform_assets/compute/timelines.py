"""The questions of a spine as the point-in-time join goes through them, and the newest row found for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from platform_assets.compute import compiling, sight

if TYPE_CHECKING:
    import numpy.typing as npt

EVENT, KNOWN = "__event", "__known"
"""The columns of a portion that hold its two times, in microseconds since the epoch."""

_QUESTION, _ENTITY, _AT = "__question", "__entity", "__at"
_SLOT, _PLACE = "__slot", "__place"
_DENSE = 1_000_000
"""Whole-number keys are looked up in a table when they lie within this range, or one of eight times their number."""
_LEAST = 1_000
"""Rows that a stretch in order of time has on average, where stretches are taken one by one."""
_ENOUGH_LOSERS = 200_000
"""Rows that may have been beaten since they were kept, beside one a question, before they are thrown out."""


class Timelines:
    """The questions of a spine, sorted by time.

    Attributes:
        length: how many rows the spine has.
        entities: the keys that are asked for, each once; an entity's number is its place.
        order: per slot the spine row that asks.
        at: per slot when it asks.
        owner: per slot the number of the entity that it asks about.
        starts: where each entity's slots start on the line, with the end of the last behind it.
        line: the slots of each entity in turn.
    """

    def __init__(self, spine: pl.DataFrame, on: Sequence[str], prediction_time: pl.Expr) -> None:
        asked = (
            spine.lazy()
            .select(*on, prediction_time.to_physical().alias(_AT))
            .with_row_index(_QUESTION)
            .drop_nulls()
            .collect(engine="in-memory")
        )
        self.length, self.on = len(spine), list(on)
        self._low, self._numbers, self.entities = self._numbered(asked)
        self._named = self.entities.lazy().with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias(_ENTITY))
        at = asked.get_column(_AT).to_numpy()
        by_time = np.argsort(at)
        self.order = asked.get_column(_QUESTION).to_numpy()[by_time].astype(np.int32)
        self.at, self.owner = at[by_time], self.number(asked)[by_time]
        self.starts = np.zeros(len(self.entities) + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.owner, minlength=len(self.entities)), out=self.starts[1:])
        self.line = np.empty(len(self.at), dtype=np.int32)
        steps(len(self.at)).timelines(self.owner, self.starts, self.line)

    def number(self, rows: pl.DataFrame) -> npt.NDArray[np.int32]:
        """The number of each row's entity, -1 where nobody asks for it."""
        if self._numbers is None:
            found = rows.lazy().select(self.on).join(self._named, on=self.on, how="left", maintain_order="left")
            return found.select(pl.col(_ENTITY).fill_null(-1)).collect(engine="in-memory").to_series().to_numpy()
        keys = rows.get_column(self.on[0]).cast(pl.Int64)
        numbers = np.empty(len(rows), dtype=np.int32)
        steps(len(rows)).look_up(keys.fill_null(self._low - 1).to_numpy(), self._low, self._numbers, numbers)
        return numbers

    def _numbered(self, asked: pl.DataFrame) -> tuple[int, npt.NDArray[np.int32] | None, pl.DataFrame]:
        """The entities; for one whole-number key in a narrow range also a table from key to number."""
        keys = asked.get_column(self.on[0])
        if len(self.on) == 1 and keys.dtype.is_integer() and keys.dtype != pl.UInt64 and len(keys):
            low, high = int(keys.min()), int(keys.max())  # type: ignore[arg-type]
            if high - low < max(_DENSE, 8 * len(keys)) and low > np.iinfo(np.int64).min:
                numbers = np.full(high - low + 1, -1, dtype=np.int32)
                numbers[keys.cast(pl.Int64).to_numpy() - low] = 0
                present = np.flatnonzero(numbers == 0)
                numbers[present] = np.arange(len(present), dtype=np.int32)
                return low, numbers, pl.DataFrame({self.on[0]: pl.Series(present + low).cast(keys.dtype)})
        return 0, None, asked.select(self.on).unique()


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Rows that were the newest of their slot when they came: their values, both times, and the slot."""

    values: pl.DataFrame
    event: npt.NDArray[np.int64]
    known: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int32]


class Search:
    """The newest visible row for each question, while rows come in."""

    def __init__(self, timelines: Timelines, values: pl.Schema, *, then: bool, strictly: bool) -> None:
        self._lines, self._then, self._strictly = timelines, then, strictly
        self._values = list(values)
        self._board = sight.empty_board(len(timelines.at))
        self._clock = sight.empty_clock(len(timelines.at))
        self._desk = sight.empty_desk(len(timelines.entities))
        none, no_slot = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
        nothing = pl.DataFrame(schema=values or {EVENT: pl.Int64})
        self._kept = [_Kept(values=nothing, event=none, known=none, slot=no_slot)]
        self._waiting = 0

    def take_in(self, rows: pl.DataFrame, entity: npt.NDArray[np.int32]) -> None:
        """Look at rows (both times in microseconds, and the values) of these entities."""
        event, known = rows.get_column(EVENT).to_numpy(), rows.get_column(KNOWN).to_numpy()
        lines, count = self._lines, 0
        taken, slot = np.empty(len(rows), dtype=np.int32), np.empty(len(rows), dtype=np.int32)
        for start, end in _newest_first(event):
            more = steps(len(rows)).take_in(
                entity[start:end],
                event[start:end],
                known[start:end],
                self._then,
                self._strictly,
                lines.at,
                lines.owner,
                lines.starts,
                lines.line,
                self._board,
                self._desk,
                self._clock,
                taken[count:],
                slot[count:],
            )
            taken[count : count + more] += start
            count += more
        taken, slot = taken[:count], slot[:count].copy()
        # A frame without columns has no rows.
        values = rows.select(pl.col(self._values or [EVENT]).gather(pl.Series(taken)))
        self._kept.append(_Kept(values=values, event=event[taken], known=known[taken], slot=slot))
        self._waiting += count
        if self._waiting > _ENOUGH_LOSERS + len(lines.at):
            self._kept, self._waiting = [self._settled()], 0

    def winners(self, *, aged: bool) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], pl.DataFrame]:
        """Per spine row its winner's number (-1 without one) and, if asked, age (in microseconds); the rows that are numbered."""
        kept, lines = self._settled(), self._lines
        held = np.full(len(lines.at), -1, dtype=np.int32)
        held[kept.slot] = np.arange(len(kept.slot), dtype=np.int32)
        number = np.full(lines.length, -1, dtype=np.int32)
        age = np.zeros(lines.length if aged else 0, dtype=np.int64)
        steps(len(held)).carry_on(
            lines.at, lines.owner, lines.starts, lines.line, lines.order, self._board, held, number, age
        )
        return number, age, kept.values

    def _settled(self) -> _Kept:
        """What was not beaten since it was kept; between rows that tie the values decide."""
        event, known, slot = (
            np.concatenate([getattr(kept, name) for kept in self._kept]) for name in ("event", "known", "slot")
        )
        best = np.empty(len(slot), dtype=np.bool_)
        steps(len(slot)).still_best(event, known, slot, self._board, best)
        values = pl.concat([kept.values for kept in self._kept])
        tied = best & (np.bincount(slot[best], minlength=len(self._board)) > 1)[slot]
        if tied.any():
            best[self._losers(values, slot, tied)] = False
        if not best.all():
            values, event, known, slot = values.filter(pl.Series(best)), event[best], known[best], slot[best]
        return _Kept(values=values.rechunk(), event=event, known=known, slot=slot)

    def _losers(
        self, values: pl.DataFrame, slot: npt.NDArray[np.int32], tied: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int64]:
        """The places of tied rows that come before another of their slot in the order of their values."""
        (places,) = np.nonzero(tied)
        rows = values[places].with_columns(pl.Series(_SLOT, slot[places]), pl.Series(_PLACE, places))
        rows = rows.sort(self._values) if self._values else rows
        return rows.filter(~pl.col(_SLOT).is_last_distinct()).get_column(_PLACE).to_numpy()


def _newest_first(event: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Where stretches in order of time begin and end, the newest first; all in one where they are many.

    A portion holds pieces of files, each in order of time, and files do not come in the order of theirs.
    """
    cuts = np.flatnonzero(event[1:] < event[:-1]) + 1
    if len(cuts) * _LEAST > len(event):
        return [(0, len(event))]
    bounds = [0, *cuts.tolist(), len(event)]
    return sorted(pairwise(bounds), key=lambda stretch: event[stretch[0]], reverse=True) if len(event) else []


def steps(rows: int) -> ModuleType:
    """The steps to go by."""
    return compiling.steps(sight, rows)
