"""The inner steps of the point-in-time join: which rows of a group can win, and for which questions.

Questions (spine rows) lie sorted by time, one slot each; those of one entity are its timeline. A feature row comes into
sight at one instant; the first question on its entity's timeline at or after it is its slot. In each slot only the newest
row counts, and a question's winner is the newest of its own slot and those before it on its timeline. Newest is a
maximum over (event time, known time), so rows may come in any order and in any portions.

Times are microseconds since the epoch. `board` holds per slot the two times of the best row so far, side by side. These are the steps for few rows; `sight_compiled` has the same for many.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

NEVER = int(np.iinfo(np.int64).min)
"""The time of a row that is not there."""
LAST = int(np.iinfo(np.int64).max)
"""The last instant there is: no question comes after it."""


def empty_board(slots: int) -> Integers:
    """A board without rows."""
    return np.full((slots, 2), NEVER, dtype=np.int64)


def empty_desk(entities: int) -> Integers:
    """What the compiled form of `take_in` remembers of each entity, before any question is entered."""
    return np.full((entities, 2), [-1, NEVER], dtype=np.int64)


def empty_clock(slots: int) -> Integers:
    """What it remembers besides, from one portion to the next.

    The slot from which on questions are entered, the rows and the strays since it began anew, and how many strays it
    takes before it does so again.
    """
    return np.array([slots, 0, 0, patience(slots)], dtype=np.int64)


def patience(slots: int) -> int:
    """So many rows are looked up one by one in about the time in which all questions are entered anew."""
    return slots // 64 + 64


def look_up(keys: Integers, low: int, numbers: Numbers, entity: Numbers) -> None:
    """Fill `entity` with `numbers[key - low]`, -1 outside."""
    inside = (keys >= low) & (keys < low + len(numbers))
    entity[:] = -1
    entity[inside] = numbers[keys[inside] - low]


def timelines(owner: Numbers, starts: Integers, line: Numbers) -> None:
    """Fill `line` with the slots of each entity in turn, in order of time.

    Args:
        owner: per slot the entity that it asks about.
        starts: where each entity's timeline starts on the line, with the end of the last behind it.
        line: filled.
    """
    del starts  # what the compiled form goes by
    line[:] = np.argsort(owner, kind="stable")


def take_in(
    entity: Numbers,
    event: Integers,
    known: Integers,
    then: bool,  # noqa: FBT001
    strictly: bool,  # noqa: FBT001
    at: Integers,
    owner: Numbers,
    starts: Integers,
    line: Numbers,
    board: Integers,
    desk: Integers,  # noqa: ARG001 - what the compiled form goes by
    clock: Integers,  # noqa: ARG001 - likewise
    taken: Numbers,
    slot: Numbers,
) -> int:
    """Enter rows on the board, and tell which were the newest of their slot when they came.

    Args:
        entity: each row's entity, -1 for one that nobody asks for.
        event: when it was true.
        known: when it could be known.
        then: whether it comes into sight only when it was known; else when it was true.
        strictly: whether a question at that very instant does not see it yet.
        at: per slot the question's time.
        owner: see `timelines`.
        starts: likewise.
        line: likewise.
        board: see above; changed.
        desk: of `empty_desk`; not used.
        clock: of `empty_clock`; not used.
        taken: filled from the start with the places of rows that may win.
        slot: filled with the slot of each of those.

    Returns:
        How many they are.
    """
    slots = len(at)
    seen = np.maximum(event, known) if then else event
    first = np.searchsorted(at, seen, side="right" if strictly else "left")
    laid = owner[line].astype(np.int64) * (slots + 1) + line
    place = np.searchsorted(laid, entity.astype(np.int64) * (slots + 1) + first)
    (rows,) = np.nonzero((entity >= 0) & (place < starts[entity + 1]))
    found = line[place[rows]]
    order = np.lexsort((known[rows], event[rows], found))
    rows, found = rows[order], found[order]
    last = np.flatnonzero(np.append(found[1:] != found[:-1], np.ones(min(len(rows), 1), dtype=np.bool_)))
    newest, where = rows[last], found[last]
    held, held_known = board[where, 0], board[where, 1]
    newer = (event[newest] > held) | ((event[newest] == held) & (known[newest] > held_known))
    board[where[newer], 0] = event[newest[newer]]
    board[where[newer], 1] = known[newest[newer]]
    best = np.empty(len(rows), dtype=np.bool_)
    still_best(event[rows], known[rows], found, board, best)
    count = int(best.sum())
    taken[:count], slot[:count] = rows[best], found[best]
    return count


def still_best(event: Integers, known: Integers, slot: Numbers, board: Integers, best: npt.NDArray[np.bool_]) -> None:
    """Fill `best` with whether each row is among the newest of its slot; rows that tie all are."""
    best[:] = (event == board[slot, 0]) & (known == board[slot, 1])


def carry_on(
    at: Integers,
    owner: Numbers,
    starts: Integers,
    line: Numbers,
    order: Numbers,
    board: Integers,
    held: Numbers,
    winner: Numbers,
    age: Integers,
) -> None:
    """Walk each timeline and tell for every question which row is the newest so far.

    Args:
        at: as for `take_in`.
        owner: likewise.
        starts: likewise.
        line: likewise.
        order: per slot the question in the spine.
        board: as for `take_in`.
        held: the number of each slot's best row, -1 where it has none.
        winner: filled per question with the number of its winner, where there is one.
        age: likewise with how long before the question that was true, in microseconds; of no length where nobody asks.
    """
    del owner  # what the compiled form goes by
    lain, numbers = board[line], held[line]
    there = numbers >= 0
    rank = np.zeros(len(numbers), dtype=np.int64)
    by_age = np.lexsort((lain[there, 1], lain[there, 0]))
    places = np.empty(len(by_age), dtype=np.int64)
    places[by_age] = np.arange(1, len(by_age) + 1)
    rank[there] = places
    # One running maximum over all timelines: each starts above everything before it.
    floor = np.repeat(np.arange(len(starts) - 1), np.diff(starts)) * (len(by_age) + 1)
    newest = np.maximum.accumulate(floor + rank)
    rises = np.append(np.ones(min(len(numbers), 1), dtype=np.bool_), newest[1:] > newest[:-1])
    source = np.maximum.accumulate(np.where(rises, np.arange(len(numbers)), 0))
    found = newest > floor
    asked = order[line[found]]
    winner[asked] = numbers[source[found]]
    if len(age):
        age[asked] = at[line[found]] - lain[source[found], 0]
