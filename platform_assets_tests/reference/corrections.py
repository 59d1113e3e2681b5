"""Deliveries laid on top of each other row by row, and what was known of a row at an instant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]


def same(one: Any, other: Any) -> bool:
    both_nan = all(isinstance(value, float) and math.isnan(value) for value in (one, other))
    return both_nan or one == other


def naive_fold(
    deliveries: Iterable[tuple[datetime | None, Sequence[Row]]],
    *,
    keys: Sequence[str],
    event_time: str,
    known_at: str,
    values: Sequence[str],
) -> list[dict[str, Any]]:
    """The versions of every row, after deliveries in the order in which they came (the first at None)."""
    versions: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for delivered, rows in deliveries:
        for row in rows:
            told = versions.setdefault((*(row[key] for key in keys), row[event_time]), [])
            if told and all(same(told[-1][name], row[name]) for name in values):
                continue
            known = row[known_at] if delivered is None else max(row[known_at], delivered)
            while told and told[-1][known_at] >= known:
                told.pop()
            if not told or any(not same(told[-1][name], row[name]) for name in values):
                told.append({**row, known_at: known})
    return [version for told in versions.values() for version in told]


def naive_as_known(
    versions: Sequence[Row], *, keys: Sequence[str], event_time: str, known_at: str, now: datetime
) -> dict[tuple[Any, ...], Row]:
    """Of every row the version that was known last at `now`."""
    found: dict[tuple[Any, ...], Row] = {}
    for version in sorted(versions, key=lambda v: v[known_at]):
        if version[known_at] <= now:
            found[(*(version[key] for key in keys), version[event_time])] = version
    return found
