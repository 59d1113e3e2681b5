"""How long old versions of tables are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from platform_assets.errors import DeclarationError

_LEAST = {"audit": timedelta(0), "readers": timedelta(hours=2)}
"""A read, or a write that is under way, may take up to two hours."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Which old versions maintenance keeps, besides the newest and those that models in use were made of.

    In use is a model with an alias, one that waits for approval, and the one that a rollback would bring back.

    Attributes:
        audit: versions that a materialization of so long ago made or read.
        readers: versions that were the newest so long ago, for whoever still reads them; files of writers that
            were killed go after as long.
    """

    audit: timedelta = timedelta(days=90)
    readers: timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            span = getattr(self, name)
            if not isinstance(span, timedelta):
                msg = f"retention: {name} is {span!r}, not a length of time; write timedelta(days=...)"
                raise DeclarationError(msg)
            if span < least:
                msg = f"retention: {name} is {span}, too short; use timedelta(hours={least // timedelta(hours=1)}) or more"
                raise DeclarationError(msg)
