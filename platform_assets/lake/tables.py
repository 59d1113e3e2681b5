"""Delta tables: where they lie, what they hold at a version, and which days a version changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from platform_assets.declarations.names import DAY
from platform_assets.declarations.times import Days
from platform_assets.errors import TableError, TableMissing

ATTEMPTS = 8
"""How often a commit is tried when other writers are faster."""
PARTITIONS_KEY = "platform.partitions"
"""Commit metadata: the days a commit rewrote, as JSON pairs of first and last."""
MAINTENANCE = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")
"""The operations of commits that change no row."""


@dataclass(frozen=True)
class Lake:
    """All tables below one folder."""

    root: Path

    def path(self, folder: str) -> Path:
        """Where a table lies."""
        return self.root / folder

    def open(self, folder: str, *, version: int | None = None) -> DeltaTable:
        """Open a table, at a version or at its newest.

        Raises:
            TableMissing: when nothing was ever written there.
            TableError: when its log cannot be read.
        """
        with explained(self.path(folder), "read"):
            try:
                return DeltaTable(self.path(folder), version=version)
            except TableNotFoundError as error:
                msg = f"table {folder}: nothing has been written to {self.path(folder)} yet; materialize {folder} first"
                raise TableMissing(msg) from error

    def version(self, folder: str) -> int | None:
        """The newest version of a table, or None when it does not exist."""
        with explained(self.path(folder), "read"):
            if not DeltaTable.is_deltatable(str(self.path(folder))):
                return None
        return self.open(folder).version()

    def table_id(self, folder: str) -> str:
        """What Delta calls this table and no other; one that is removed and made again has a new one."""
        return str(self.open(folder).metadata().id)

    def scan(self, folder: str, *, version: int | None = None, days: Days | None = None) -> pl.LazyFrame:
        """Read a table lazily, only the files of `days` when they are given."""
        with explained(self.path(folder), "read"):
            rows = pl.scan_delta(self.open(folder, version=version))
        return rows if days is None else rows.filter(pl.col(DAY).is_between(days.first, days.last))

    def days(self, folder: str, *, version: int | None = None) -> set[date]:
        """The days that have a file, from the log alone."""
        return {date.fromisoformat(partition[DAY]) for partition in self.open(folder, version=version).partitions()}

    def commits(self, folder: str, *, since: int, until: int) -> list[dict[str, Any]] | None:
        """What the versions after `since` up to `until` say of themselves, newest first; None when one is gone."""
        table = self.open(folder)
        # Asked at an older version, history() lists the newest commits all the same, under wrong numbers.
        wanted = table.version() - since
        found = table.history(limit=wanted) if wanted > 0 else []
        return None if len(found) < wanted else [commit for commit in found if commit["version"] <= until]

    def changes(self, folder: str, *, since: int, until: int) -> dict[int, set[date | None] | None]:
        """What each version after `since` up to `until` changed, from the log.

        Returns:
            Per version its days, `{None}` for a table without days, an empty set for maintenance; None where the
            commit does not say, and for all of them when one is gone.
        """
        commits = self.commits(folder, since=since, until=until) if since < until else []
        said = {commit["version"]: _changed_by(commit) for commit in commits or ()}
        return {version: said.get(version) for version in range(since + 1, until + 1)}


def _changed_by(commit: Mapping[str, Any]) -> set[date | None] | None:
    """The days that one commit rewrote (None for all of a table without days); None when it does not say."""
    if commit.get("operation") in MAINTENANCE:
        return set()
    said = commit.get(PARTITIONS_KEY)
    if said is None:
        return None
    ranges = [Days(date.fromisoformat(first), date.fromisoformat(last)) for first, last in json.loads(said)]
    return {day for days in ranges for day in days} if ranges else {None}


@contextmanager
def explained(path: Path, verb: str) -> Iterator[None]:
    """Turn what the engine says of a table into one sentence that names it."""
    try:
        yield
    except (DeltaError, OSError, pl.exceptions.ComputeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fix = "restore its files, or remove that folder and run refresh, which makes it again"
        msg = f"cannot {verb} the table at {path}: {first_line}" + (f"; {fix}" if verb == "read" else "")
        raise TableError(msg) from error
