"""Delta tables: where they lie, what they hold at a version, and which days a version changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
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
from platform_assets.lake.damage import FileDamage, damage_of_entry, damage_of_log, damaged_files, say_files, was_named

ENGINE_ERRORS = (DeltaError, OSError, pl.exceptions.ComputeError, pl.exceptions.PanicException)
"""What the engines raise when a table's files are not as they should be; Polars panics at a file cut short."""
ATTEMPTS = 8
"""How often a commit is tried when other writers are faster."""
PARTITIONS_KEY = "platform.partitions"
"""Commit metadata: the days a commit rewrote, as JSON pairs of first and last."""
_HARDLY_ANY = 65_536


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
            TableError: when its log cannot be read, or what it says of this version is not whole.
        """
        path = self.path(folder)
        try:
            table = DeltaTable(path, version=version)
        except TableNotFoundError as error:
            if version is None or self.version(folder) is None:
                msg = f"table {folder}: nothing has been written to {path} yet; materialize {folder} first"
                raise TableMissing(msg) from error
            msg = self._explain_log(folder, version) or f"table {folder}: version {version} cannot be read any more"
            raise TableError(msg) from error
        except (DeltaError, OSError) as error:
            said = self._explain_log(folder, version)
            if said is not None:
                raise TableError(said) from error
            with explained(path, "read"):
                raise
        # An empty entry is a version like any other to the engine: what it should have said would be lost unseen.
        if damage_of_entry(path, table.version()) is not None:
            said = self._explain_log(folder, table.version())
            if said is not None:
                raise TableError(said)
        return table

    def version(self, folder: str) -> int | None:
        """The newest version of a table, or None when it does not exist."""
        with explained(self.path(folder), "read"):
            if not DeltaTable.is_deltatable(str(self.path(folder))):
                return None
        return self.open(folder).version()

    def scan(self, folder: str, *, version: int | None = None, days: Days | None = None) -> pl.LazyFrame:
        """Read a table lazily, only the files of `days` when they are given."""
        with explained(self.path(folder), "read"):
            rows = pl.scan_delta(self.open(folder, version=version))
        return rows if days is None else rows.filter(pl.col(DAY).is_between(days.first, days.last))

    @contextmanager
    def reading(self, *folders: str) -> Iterator[None]:
        """Say which table cannot be read where lazy frames of `folders` are collected: only then are files opened.

        Raises:
            TableError: naming the table, its damaged files and what to do; an error that no file explains stays.
        """
        try:
            yield
        except ENGINE_ERRORS as error:
            for folder in folders:
                said = self._explain_files(folder, error)
                if said is not None:
                    msg = f"cannot read the table at {self.path(folder)}: {said}"
                    raise TableError(msg) from error
            raise

    def _explain_files(self, folder: str, error: BaseException) -> str | None:
        if self.version(folder) is None:
            return None
        damaged = self.damaged_files(folder)
        if damaged:
            return say_files(damaged, folder)
        gone = was_named(self.path(folder), str(error))
        return gone and f"{gone} has been removed since a newer version took its place; run it again, which reads that"

    def damaged_files(self, folder: str, *, version: int | None = None) -> list[FileDamage]:
        """The data files of a version that are missing, cut off or cannot be read, found by reading each."""
        return damaged_files(self.open(folder, version=version), self.path(folder))

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

    def _explain_log(self, folder: str, version: int | None) -> str | None:
        damage = damage_of_log(self.path(folder), version=version)
        return f"cannot read the table at {self.path(folder)}: {damage.explain(folder)}" if damage is not None else None

    def changed_days(self, folder: str, *, since: int, until: int) -> set[date] | None:
        """The days rewritten by the versions after `since` up to `until`.

        Returns:
            The days, or None when a commit in between is gone or does not say what it changed.
        """
        return self.changed_days_since(folder, versions=[since], until=until)[since]

    def changed_days_since(self, folder: str, *, versions: Iterable[int], until: int) -> dict[int, set[date] | None]:
        """For each of many versions the days rewritten after it up to `until`, from one look at the log."""
        wanted = sorted(set(versions), reverse=True)
        behind = [version for version in wanted if version < until]
        found: dict[int, set[date] | None] = {version: set() for version in wanted}
        commits = self.commits(folder, since=behind[-1], until=until) if behind else []
        changed: set[date] | None = set() if commits is not None else None
        newest_first = iter(commits or [])
        commit = next(newest_first, None)
        for version in behind:
            while changed is not None and commit is not None and commit["version"] > version:
                said = _days_of_commit(commit)
                changed = None if said is None else changed | said
                commit = next(newest_first, None)
            found[version] = changed
        return found


def _days_of_commit(commit: Mapping[str, Any]) -> set[date] | None:
    """The days that one commit rewrote; None when it does not say."""
    if commit.get("operation") in ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"):
        return set()
    said = commit.get(PARTITIONS_KEY)
    if said is None:
        return None
    ranges = (Days(date.fromisoformat(first), date.fromisoformat(last)) for first, last in json.loads(said))
    return {day for days in ranges for day in days}


@contextmanager
def explained(path: Path, verb: str) -> Iterator[None]:
    """Turn what the engine says of a table into one sentence that names it."""
    try:
        yield
    except ENGINE_ERRORS as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if verb == "read":
            said += "; restore its files, or move that folder away and run refresh, which makes it again"
        elif _is_full(path, said):
            said = "the disk is full; free some space and run it again. The table is as it was"
        elif "Permission denied" in said or "Read-only" in said:
            said += "; let this user write there and run it again. The table is as it was"
        msg = f"cannot {verb} the table at {path}: {said}"
        raise TableError(msg) from error


def _is_full(path: Path, said: str) -> bool:
    """Whether the disk is full, also where the engine does not say so of a log entry that it could not write."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    return "No space left" in said or "quota exceeded" in said or shutil.disk_usage(there).free < _HARDLY_ANY
