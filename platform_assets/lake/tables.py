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
LOG = "_delta_log"
"""The folder of a table's log."""
CHANGES_NOTHING = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")
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
            TableError: when the version was cleaned away, or its log cannot be read.
        """
        with explained(self.path(folder), "read"):
            try:
                return DeltaTable(self.path(folder), version=version)
            except TableNotFoundError as error:
                if version is not None and DeltaTable.is_deltatable(str(self.path(folder))):
                    msg = (
                        f"table {folder}: version {version} was cleaned away; read a newer one. What is to stay longer "
                        "is named by a model's alias, or by Retention(audit=...) of the catalogue"
                    )
                    raise TableError(msg) from error
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

    def commit(self, folder: str, version: int) -> dict[str, Any] | None:
        """What a version says of itself; None when it is gone from the log.

        Read from the log itself: what `history()` says of a version is of another one when a writer commits meanwhile.
        """
        path = self.path(folder)
        with explained(path, "read"):
            try:
                lines = (path / LOG / f"{version:020}.json").read_text().splitlines()
            except FileNotFoundError:
                return None
            try:
                said = [json.loads(line) for line in lines if '"commitInfo"' in line] or list(map(json.loads, lines))
            except ValueError as error:
                msg = f"version {version} of its log is damaged"
                raise DeltaError(msg) from error
        return next((dict(action["commitInfo"]) for action in said if "commitInfo" in action), {})

    def made_by(self, folder: str, version: int) -> dict[str, Any] | None:
        """The commit that made the rows of a version, before any maintenance; None when the log no longer has it."""
        found = self.commit(folder, version)
        while found is not None and found.get("operation") in CHANGES_NOTHING:
            version -= 1
            found = self.commit(folder, version)
        return found

    def changes(self, folder: str, *, since: int, until: int) -> dict[int, set[date | None] | None]:
        """What each version after `since` up to `until` changed, from the log.

        Returns:
            Per version its days, `{None}` for a table without days, an empty set for maintenance; None where the
            commit is gone, or does not say.
        """
        versions = range(since + 1, until + 1)
        return {version: _changed_by(self.commit(folder, version) or {}) for version in versions}


def _changed_by(commit: Mapping[str, Any]) -> set[date | None] | None:
    """The days that one commit rewrote (None for all of a table without days); None when it does not say."""
    if commit.get("operation") in CHANGES_NOTHING:
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
