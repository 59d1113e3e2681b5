"""The loops of `sight`, compiled: row by row, in one pass and without sorting.

A row is beaten without a look at the board when its entity's `rival` is of a newer event and came into sight no later:
`rival` holds per entity the time of the question before the rival's slot and the rival's event time, `near` its slot. Rows
are gone through from the last to the first, so that where they come in order of time all but one of each slot are
beaten at once. Starting the compiler takes most of a second in every process, so this is for many rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numba

from platform_assets.compute.sight import LAST, NEVER, Entities, Integers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F) -> F:
    try:
        return numba.njit(nogil=True, cache=True)(function)  # type: ignore[return-value]
    except RuntimeError:  # nowhere to keep the compiled code, neither beside this file nor in the user's cache
        return numba.njit(nogil=True)(function)  # type: ignore[return-value]


@_compiled
def look_up(keys: Integers, low: int, numbers: Entities, entity: Entities) -> None:
    """Fill `entity` with `numbers[key - low]`, -1 outside."""
    for i in range(len(keys)):
        place = keys[i] - low
        entity[i] = numbers[place] if 0 <= place < len(numbers) else -1


@_compiled
def take_in(  # noqa: C901, PLR0912 - one loop, so that it can be compiled as one
    entity: Entities,
    event: Integers,
    known: Integers,
    then: bool,  # noqa: FBT001
    strictly: bool,  # noqa: FBT001
    starts: Integers,
    rival: Integers,
    near: Integers,
    board: Integers,
    slot: Integers,
) -> None:
    """Enter rows on the board; as in `sight`, but with the use of `rival` and `near` that the module tells of."""
    for i in range(len(entity) - 1, -1, -1):
        slot[i] = -1
        e = entity[i]
        if e < 0:
            continue
        seen = max(event[i], known[i]) if then else event[i]
        if strictly:
            if seen == LAST:
                continue
            seen += 1
        if event[i] < rival[e, 1] and seen > rival[e, 0]:
            continue
        # From the slot of the rival on in growing steps, then by halves.
        start, end, low = starts[e], starts[e + 1], near[e]
        high = low
        step = 1
        if low < end and board[low, 0] < seen:
            low += 1
            high = low
            while high < end and board[high, 0] < seen:
                low = high + 1
                high += step
                step *= 2
            high = min(high, end)
        else:
            while low > start and board[low - 1, 0] >= seen:
                high = low - 1
                low -= step
                step *= 2
                low = max(low, start)
                if board[low, 0] < seen:
                    low += 1
                    break
        while low < high:
            middle = (low + high) // 2
            if board[middle, 0] < seen:
                low = middle + 1
            else:
                high = middle
        if low == end:
            continue
        if event[i] > board[low, 1] or (event[i] == board[low, 1] and known[i] >= board[low, 2]):
            board[low, 1] = event[i]
            board[low, 2] = known[i]
            slot[i] = low
        rival[e, 0] = board[low - 1, 0] if low > start else NEVER
        rival[e, 1] = board[low, 1]
        near[e] = low


@_compiled
def still_best(
    event: Integers,
    known: Integers,
    slot: Integers,
    board: Integers,
    best: npt.NDArray[np.bool_],
) -> None:
    """Fill `best` with whether each row is among the newest of its slot; rows that tie all are."""
    for i in range(len(slot)):
        s = slot[i]
        best[i] = s >= 0 and event[i] == board[s, 1] and known[i] == board[s, 2]


@_compiled
def carry_on(
    starts: Integers,
    board: Integers,
    held: Integers,
    winner: Integers,
    event: Integers,
) -> None:
    """Walk each timeline and fill `winner` and `event` with the newest row so far.

    Args:
        starts: as for `take_in`.
        board: as for `take_in`.
        held: the number of each slot's best row, -1 where it has none.
        winner: filled with the number of each question's winner, -1 where there is none.
        event: filled with when the winner was true, `NEVER` where there is none.
    """
    for e in range(len(starts) - 1):
        newest = newest_known = NEVER
        number = -1
        for s in range(starts[e], starts[e + 1]):
            later = board[s, 1] > newest or (board[s, 1] == newest and board[s, 2] > newest_known)
            if held[s] >= 0 and (later or number < 0):
                newest, newest_known, number = board[s, 1], board[s, 2], held[s]
            winner[s] = number
            event[s] = newest
