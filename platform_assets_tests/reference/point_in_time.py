"""The point-in-time join as one would do it by hand: for each question, look at every fact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

Row = Mapping[str, Any]


def naive_join(
    spine: Sequence[Row],
    facts: Sequence[Row],
    *,
    on: Sequence[str],
    at: str,
    event: str,
    known_at: str,
    values: Sequence[str],
    max_age: timedelta | None = None,
    known: str = "then",
    boundary: str = "inclusive",
    last_non_null: bool = False,
) -> list[dict[str, Any]]:
    """Per spine row its values, and under `age` how old the newest visible row is."""

    def passed(instant: Any, now: Any) -> bool:
        return (
            instant is not None and now is not None and (instant < now if boundary == "exclusive" else instant <= now)
        )

    def is_visible(fact: Row, row: Row) -> bool:
        same = all(row[key] is not None and row[key] == fact[key] for key in on)
        seen = known == "since" or passed(fact[known_at], row[at])
        return same and seen and fact[known_at] is not None and passed(fact[event], row[at])

    def rank(value: Any) -> tuple[int, Any]:
        return (0, 0) if value is None else (2, 0) if isinstance(value, float) and math.isnan(value) else (1, value)

    def newest(visible: Sequence[Row]) -> Row | None:
        return max(visible, key=lambda f: (f[event], f[known_at], [rank(f[v]) for v in values]), default=None)

    answers = []
    for row in spine:
        visible = [fact for fact in facts if is_visible(fact, row)]
        winner = newest(visible)
        answer: dict[str, Any] = {"age": None if winner is None else row[at] - winner[event]}
        for value in values:
            taken = newest([f for f in visible if f[value] is not None]) if last_non_null else winner
            fresh = taken is not None and (max_age is None or row[at] - taken[event] <= max_age)
            answer[value] = taken[value] if taken is not None and fresh else None
        answers.append(answer)
    return answers
