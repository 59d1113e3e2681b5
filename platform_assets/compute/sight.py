"""The inner steps of the point-in-time join: which rows of a group can win, and for which questions.

Questions (spine rows) lie sorted by entity and time, each entity's in one stretch: its timeline. A feature row
comes into sight at one instant; the first question at or after it is its slot. In each slot only the newest row
counts, and a question's winner is the newest of its own slot and those before it on its timeline. Newest is a
maximum over (event time, known time), so rows may come in any order and in any portions.

Times are microseconds since the epoch. `board` holds per slot the question's time and the two times of the best
row so far, side by side. These are the steps for few rows; `sight_compiled` has the same for many.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Entities = npt.NDArray[np.int32]

NEVER = int(np.iinfo(np.int64).min)
"""The time of a row that is not there."""
LAST = int(np.iinfo(np.int64).max)
"""The last instant there is: no question comes after it."""


def empty_board(at: Integers) -> Integers:
    """A board without rows for questions at these times."""
    board = np.full((len(at), 3), NEVER, dtype=np.int64)
    board[:, 0] = at
    return board


def empty_rivals(starts: Integers) -> Integers:
    """What the compiled form of `take_in` remembers of each entity, before any row."""
    return np.full((len(starts) - 1, 2), NEVER, dtype=np.int64)


def look_up(keys: Integers, low: int, numbers: Entities, entity: Entities) -> None:
    """Fill `entity` with `numbers[key - low]`, -1 outside."""
    inside = (keys >= low) & (keys < low + len(numbers))
    entity[:] = -1
    entity[inside] = numbers[keys[inside] - low]


def take_in(
    entity: Entities,
    event: Integers,
    known: Integers,
    then: bool,  # noqa: FBT001
    strictly: bool,  # noqa: FBT001
    starts: Integers,
    rival: Integers,  # noqa: ARG001 - what the compiled form goes by
    near: Integers,  # noqa: ARG001 - likewise
    board: Integers,
    slot: Integers,
) -> None:
    """Enter rows on the board; `slot` tells where each fell, -1 where no question sees it.

    Args:
        entity: each row's entity, -1 for one that nobody asks for.
        event: when it was true.
        known: when it could be known.
        then: whether it comes into sight only when it was known; else when it was true.
        strictly: whether a question at that very instant does not see it yet.
        starts: where each entity's timeline starts on the board, with the end of the last behind it.
        rival: of `empty_rivals`; not used.
        near: a copy of `starts`; not used.
        board: see above; changed.
        slot: filled.
    """
    seen = np.maximum(event, known) if then else event
    times, rank = np.unique(board[:, 0], return_inverse=True)
    width = len(times) + 1
    line = _timeline_of(starts) * width + rank
    place = entity.astype(np.int64) * width + np.searchsorted(times, seen, side="right" if strictly else "left")
    slot[:] = np.searchsorted(line, place)
    slot[(entity < 0) | (slot >= starts[entity + 1])] = -1
    (rows,) = np.nonzero(slot >= 0)
    rows = rows[np.lexsort((known[rows], event[rows], slot[rows]))]
    newest = rows[np.append(slot[rows][1:] != slot[rows][:-1], np.ones(min(len(rows), 1), dtype=np.bool_))]
    held, held_known = board[slot[newest], 1], board[slot[newest], 2]
    newer = (event[newest] > held) | ((event[newest] == held) & (known[newest] > held_known))
    board[slot[newest[newer]], 1] = event[newest[newer]]
    board[slot[newest[newer]], 2] = known[newest[newer]]


def still_best(event: Integers, known: Integers, slot: Integers, board: Integers, best: npt.NDArray[np.bool_]) -> None:
    """Fill `best` with whether each row is among the newest of its slot; rows that tie all are."""
    best[:] = slot >= 0
    best[best] = (event[best] == board[slot[best], 1]) & (known[best] == board[slot[best], 2])


def carry_on(starts: Integers, board: Integers, held: Integers, winner: Integers, event: Integers) -> None:
    """Walk each timeline and fill `winner` and `event` with the newest row so far.

    Args:
        starts: as for `take_in`.
        board: as for `take_in`.
        held: the number of each slot's best row, -1 where it has none.
        winner: filled with the number of each question's winner, -1 where there is none.
        event: filled with when the winner was true, `NEVER` where there is none.
    """
    there = held >= 0
    rank = np.zeros(len(held), dtype=np.int64)
    order = np.lexsort((board[there, 2], board[there, 1]))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(1, len(order) + 1)
    rank[there] = places
    # One running maximum over all timelines: each starts above everything before it.
    floor = _timeline_of(starts) * (len(order) + 1)
    newest = np.maximum.accumulate(floor + rank)
    rises = np.append(np.ones(min(len(held), 1), dtype=np.bool_), newest[1:] > newest[:-1])
    source = np.maximum.accumulate(np.where(rises, np.arange(len(held)), 0))
    found = newest > floor
    winner[:] = np.where(found, held[source], -1)
    event[:] = np.where(found, board[source, 1], NEVER)


def _timeline_of(starts: Integers) -> Integers:
    """Per slot the entity whose timeline it is on."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))
