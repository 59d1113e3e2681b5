"""The loops of `sight`, compiled: row by row, in one pass and without sorting.

Rows are gone through from the last to the first. Where they come about in order of time, questions are entered as
the clock runs back past them, and a row's slot is the question of its entity that was entered last. `desk` holds per
entity that slot and the event time of its best row: most rows are beaten by one look there, in what fits into the
processor's caches. A row that came into sight after that question (a late one, or one in no order) is a stray and is
searched for on its timeline; when there were many, the clock is set to the end of time and all are entered anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from platform_assets.compute.compiling import compiled
from platform_assets.compute.sight import LAST, NEVER, Integers, Numbers, patience

if TYPE_CHECKING:
    import numpy.typing as npt

_patience = compiled(patience)


@compiled
def look_up(keys: Integers, low: int, numbers: Numbers, entity: Numbers) -> None:
    """Fill `entity` with `numbers[key - low]`, -1 outside."""
    for i in range(len(keys)):
        place = keys[i] - low
        entity[i] = numbers[place] if 0 <= place < len(numbers) else -1


@compiled
def timelines(owner: Numbers, starts: Integers, line: Numbers) -> None:
    """Fill `line` with the slots of each entity in turn, in order of time; as in `sight`."""
    ends = starts[:-1].copy()
    for s in range(len(owner)):
        line[ends[owner[s]]] = s
        ends[owner[s]] += 1


@compiled
def take_in(  # noqa: C901, PLR0912 - one loop, so that it can be compiled as one
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
    desk: Integers,
    clock: Integers,
    taken: Numbers,
    slot: Numbers,
) -> int:
    """Enter rows on the board; as in `sight`, but with the use of `desk` and `clock` that the module tells of."""
    entered, strays, bearable = clock[0], clock[2], clock[3]
    begun = clock[1] + len(entity)
    count = 0
    for i in range(len(entity) - 1, -1, -1):
        e = entity[i]
        if e < 0:
            continue
        seen = max(event[i], known[i]) if then else event[i]
        if strictly:
            if seen == LAST:
                continue
            seen += 1
        while entered > 0 and at[entered - 1] >= seen:
            entered -= 1
            desk[owner[entered], 0] = entered
            desk[owner[entered], 1] = board[entered, 0]
        # What is older than the best row of that slot is beaten there or, as a stray, in a later one.
        place = desk[e, 0]
        if place < 0 or event[i] < desk[e, 1]:
            continue
        if at[entered] < seen and at[place] < seen:
            strays += 1
            if strays > bearable:
                # Where most rows stray, beginning anew does not help: it is tried ever more seldom.
                bearable = bearable * 2 if strays * 2 > begun - i else _patience(len(at))
                entered, strays, begun = len(at), 0, i
                desk[:, 0] = -1
            low, end = starts[e], starts[e + 1]
            high = end
            while low < high:
                middle = (low + high) // 2
                if at[line[middle]] < seen:
                    low = middle + 1
                else:
                    high = middle
            if low == end:
                continue
            place = line[low]
        if event[i] > board[place, 0] or (event[i] == board[place, 0] and known[i] >= board[place, 1]):
            board[place, 0] = event[i]
            board[place, 1] = known[i]
            if desk[e, 0] == place:
                desk[e, 1] = event[i]
            taken[count] = i
            slot[count] = place
            count += 1
    clock[0], clock[1], clock[2], clock[3] = entered, begun, strays, bearable
    return count


@compiled
def still_best(
    event: Integers,
    known: Integers,
    slot: Numbers,
    board: Integers,
    best: npt.NDArray[np.bool_],
) -> None:
    """Fill `best` with whether each row is among the newest of its slot; rows that tie all are."""
    for i in range(len(slot)):
        best[i] = event[i] == board[slot[i], 0] and known[i] == board[slot[i], 1]


@compiled
def carry_on(
    at: Integers,
    owner: Numbers,
    starts: Integers,
    line: Numbers,  # noqa: ARG001 - what `sight` goes by
    order: Numbers,
    board: Integers,
    held: Numbers,
    winner: Numbers,
    age: Integers,
) -> None:
    """Walk all timelines at once, in order of time, and tell which row is the newest so far; as in `sight`."""
    newest = np.full((len(starts) - 1, 3), NEVER, dtype=np.int64)
    newest[:, 0] = -1
    for s in range(len(owner)):
        best = newest[owner[s]]
        later = board[s, 0] > best[1] or (board[s, 0] == best[1] and board[s, 1] > best[2])
        if held[s] >= 0 and (later or best[0] < 0):
            best[0], best[1], best[2] = held[s], board[s, 0], board[s, 1]
        if best[0] >= 0:
            winner[order[s]] = best[0]
            if len(age):
                age[order[s]] = at[s] - best[1]
