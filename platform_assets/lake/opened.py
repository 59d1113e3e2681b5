"""Tables as they were opened, kept while they are current: reading a log costs more than most of what is done with it.

Who reads a table shares the object, which stays at its version as long as anybody holds it: lazy frames look into it
only when they are collected. One that nobody holds is moved on to the newest version, which reads the new entries of
the log and none of the others, up to the next checkpoint, from which it is opened anew: it carries all that it has
read. A writer, which moves its object on itself, takes one out and gives it back.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from deltalake import DeltaTable

Stamp = tuple[int, int, int]
"""What tells a file from another: its number, size and time of change."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A table object, and what tells the newest entry of the log that it has read, and the log, from any other."""

    table: DeltaTable
    version: int
    stamp: Stamp
    log_stamp: int


@dataclass(frozen=True)
class Opened:
    """The newest table object of each folder; safe to share between threads."""

    _kept: dict[Path, _Kept] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def newest(self, log: Path) -> DeltaTable | None:
        """The table of a log at its newest version, to be read only; None where it has to be opened.

        A version more is looked for, and whether the entry read last is still the same: a folder that was removed
        and made again has another one.
        """
        with self._lock:
            kept = self._kept.get(log)
            if kept is None:
                return None
            del self._kept[log]
            if stamp_of(log, kept.version) != kept.stamp:
                return None
            if not _entry(log, kept.version + 1).exists():
                if log.stat().st_mtime_ns != kept.log_stamp:  # an entry is gone, or a checkpoint came
                    return None
                self._kept[log] = kept
                return kept.table
            table = kept.table
            del kept
            if _is_held(table):
                return None
            since = table.version()
            table.update_incremental()
            if any(is_checkpointed(log, version) for version in range(since + 1, table.version() + 1)):
                return None
            self._keep(log, table)
            return table

    def take(self, log: Path, version: int) -> DeltaTable | None:
        """The table at a version, for a writer alone; None where there is none that nobody holds."""
        with self._lock:
            kept = self._kept.get(log)
            if kept is None or kept.version != version or stamp_of(log, version) != kept.stamp:
                return None
            del self._kept[log]
            table = kept.table
            del kept
            return None if _is_held(table) else table

    def give(self, log: Path, table: DeltaTable) -> None:
        """Keep a table object that its owner will not move on any more."""
        with self._lock:
            self._keep(log, table)

    def _keep(self, log: Path, table: DeltaTable) -> None:
        version = table.version()
        stamp = stamp_of(log, version)
        if stamp is not None:
            self._kept[log] = _Kept(table=table, version=version, stamp=stamp, log_stamp=log.stat().st_mtime_ns)


def _is_held(table: DeltaTable) -> bool:
    """Whether anybody but the caller holds it: its variable, the argument here and that of the count are three."""
    return sys.getrefcount(table) > 3  # noqa: PLR2004


def _entry(log: Path, version: int) -> Path:
    return log / f"{version:020}.json"


def is_checkpointed(log: Path, version: int) -> bool:
    """Whether a table can be read from a checkpoint of this version."""
    return (log / f"{version:020}.checkpoint.parquet").exists()


def stamp_of(log: Path, version: int) -> Stamp | None:
    """What tells an entry of a log from any other that took its place; None where it is gone."""
    try:
        found = _entry(log, version).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
