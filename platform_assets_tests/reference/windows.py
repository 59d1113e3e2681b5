"""Sums over whatever is active at a tick, tick by tick and item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def naive_sums_at_ticks(
    streams: Sequence[Sequence[Mapping[str, Any]]],
    *,
    key: str,
    columns: Sequence[Sequence[str]],
    start: datetime,
    end: datetime,
    step: timedelta,
) -> dict[tuple[Any, datetime], dict[str, int]]:
    """The sums by key and tick, where anything at all is active."""
    found: dict[tuple[Any, datetime], dict[str, int]] = {}
    tick = EPOCH + -(-(start - EPOCH) // step) * step
    while tick < end:
        for stream, values in zip(streams, columns, strict=True):
            for item in stream:
                if item[key] is None or not item["active_from"] <= tick < item["active_until"]:
                    continue
                sums = found.setdefault((item[key], tick), {value: 0 for own in columns for value in own})
                for value in values:
                    sums[value] += item[value] or 0
        tick += step
    return found
