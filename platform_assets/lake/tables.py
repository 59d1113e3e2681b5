"""Delta tables: where they lie, what they hold at a version, and which days a version changed."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError, TableNotFoundError

from platform_assets.declarations.names import DAY
from platform_assets.declarations.times import Days
from platform_assets.errors import TableError, TableMissing
from platform_assets.lake.damage import (
    LOG,
    SET_BACK,
    FileDamage,
    damage_of_entry,
    damage_of_log,
    damaged_files,
    say_files,
    was_named,
)
from platform_assets.lake.opened import Opened, is_checkpointed

ENGINE_ERRORS = (DeltaError, OSError, pl.exceptions.ComputeError, pl.exceptions.PanicException)
"""What the engines raise when a table's files are not as they should be; Polars panics at a file cut short."""
ATTEMPTS = 8
"""How often a commit is tried when other writers are faster."""
PARTITIONS_KEY = "platform.partitions"
"""Commit metadata: the days a commit rewrote, as JSON pairs of first and last."""
CHANGES_NOTHING = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")
"""The operations of commits that change no row."""
NEW_TABLE: dict[str, str | None] = {
    "delta.logRetentionDuration": "interval 3650 days",
    # The log tells the least and greatest of each column's values, which nobody asks for where days are files and
    # which every reader and writer of the table has to read: of the first column alone, where a row's id stands.
    "delta.dataSkippingNumIndexedCols": "1",
    # What was committed since the last checkpoint is read anew at each commit.
    "delta.checkpointInterval": "20",
}
"""How every table is set up."""
AFTER_COMMIT = PostCommitHookProperties(cleanup_expired_logs=False)
"""What follows each commit: a checkpoint where one is due. The search for entries of the log that are too old would
look at all of them, three times a commit, and find none: maintenance shortens the log."""
_HARDLY_ANY = 65_536


class _Table(DeltaTable):
    """A local table that names its files as the file system does.

    Delta's own encodes the folder that the table lies in (`My%20Documents`), and Polars opens what it is told.
    """

    @property
    def table_uri(self) -> str:
        return unquote(super().table_uri)

    def file_uris(self, *arguments: Any, **named: Any) -> list[str]:
        encoded = DeltaTable.table_uri.fget(self).removeprefix("file://")  # type: ignore[attr-defined]
        root = self.table_uri.removeprefix("file://")
        return [root + uri.removeprefix(encoded) for uri in super().file_uris(*arguments, **named)]


@dataclass(frozen=True)
class Lake:
    """All tables below one folder.

    Attributes:
        root: the folder.
        remembered: by table what was read of it and can be read on from there, under the `lock`.
    """

    root: Path
    remembered: dict[str, object] = field(default_factory=dict, init=False, repr=False, compare=False)
    lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _opened: Opened = field(default_factory=Opened, init=False, repr=False, compare=False)

    def path(self, folder: str) -> Path:
        """Where a table lies."""
        return self.root / folder

    def open(self, folder: str, *, version: int | None = None) -> DeltaTable:
        """Open a table, at a version or at its newest, to be read: others may read the same object.

        Raises:
            TableMissing: when nothing was ever written there.
            TableError: when the version was cleaned away, its log cannot be read, or what it says is not whole.
        """
        path = self.path(folder)
        with explained(path, "read"):
            kept = self._opened.newest(path / LOG)
        if kept is not None and version in (None, kept.version()):
            return kept
        table = self._open(folder, version)
        if version is None:
            self._opened.give(path / LOG, table)
        return table

    @contextmanager
    def writing(self, folder: str, *, version: int) -> Iterator[DeltaTable]:
        """A table object at a version for whoever moves it on; what it has become is what is read next.

        But for one that has just made a checkpoint: it is opened anew from there, since an object carries every entry
        of the log that it was moved on by, and each further commit pays for all of them.

        Raises:
            TableMissing, TableError: as `open`.
        """
        log = self.path(folder) / LOG
        table = self._opened.take(log, version) or self._open(folder, version)
        yield table
        if not is_checkpointed(log, table.version()):
            self._opened.give(log, table)

    def _open(self, folder: str, version: int | None) -> DeltaTable:
        path = self.path(folder)
        try:
            table = _Table(path, version=version)
        except TableNotFoundError as error:
            if version is None or self.version(folder) is None:
                msg = f"table {folder}: nothing has been written to {path} yet; materialize {folder} first"
                raise TableMissing(msg) from error
            cleaned = (
                f"table {folder}: version {version} was cleaned away; read a newer one. What is to stay longer "
                "is named by a model's alias, or by Retention(audit=...) of the catalogue"
            )
            there = (path / LOG / f"{version:020}.json").exists()
            raise TableError((there and self._explain_log(folder, version)) or cleaned) from error
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
            kept = self._opened.newest(self.path(folder) / LOG)
            if kept is not None:
                return kept.version()
        try:
            return self.open(folder).version()
        except TableMissing:
            return None

    def table_id(self, folder: str) -> str:
        """What Delta calls this table and no other; one that is removed and made again has a new one."""
        return str(self.open(folder).metadata().id)

    def scan(self, folder: str, *, version: int | None = None, days: Days | None = None) -> pl.LazyFrame:
        """Read a table lazily, only the files of `days` when they are given."""
        with explained(self.path(folder), "read"):
            table = self.open(folder, version=version)
            return pl.scan_delta(table) if days is None else _scan_days(table, days)

    def schema(self, folder: str, *, version: int | None = None) -> pl.Schema:
        """The columns of a table and their types, `day` among them, from the log alone."""
        return _schema_of(self.open(folder, version=version))

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

    def rows_by_day(self, folder: str) -> dict[date | None, int]:
        """How many rows each day has (under None without partitions), from the log alone; nothing without a table."""
        if self.version(folder) is None:
            return {}
        files = pl.DataFrame(self.open(folder).get_add_actions(flatten=True))
        day = pl.col(f"partition.{DAY}").cast(pl.String).str.to_date() if f"partition.{DAY}" in files.columns else None
        counted = files.group_by(pl.lit(None, pl.Date) if day is None else day).agg(pl.col("num_records").sum())
        return dict(counted.iter_rows())

    def _explain_log(self, folder: str, version: int | None) -> str | None:
        damage = damage_of_log(self.path(folder), version=version)
        return f"cannot read the table at {self.path(folder)}: {damage.explain(folder)}" if damage is not None else None

    def commit(self, folder: str, version: int) -> dict[str, Any] | None:
        """What a version says of itself; None when it is gone from the log.

        Read from the log itself: what `history()` says of a version is of another one when a writer commits meanwhile.
        """
        path = self.path(folder)
        if damage_of_entry(path, version) is not None:
            raise TableError(self._explain_log(folder, version))
        with explained(path, "read"):
            try:
                lines = (path / LOG / f"{version:020}.json").read_bytes().splitlines()
            except FileNotFoundError:
                return None
        said = [json.loads(line) for line in lines if b'"commitInfo"' in line]
        return next((dict(action["commitInfo"]) for action in said if "commitInfo" in action), {})

    def files_added(self, folder: str, version: int) -> dict[Path, dict[str, Any]] | None:
        """The data files that a version added, each with its partition; None where it did not only add rows."""
        path = self.path(folder)
        try:
            lines = (path / LOG / f"{version:020}.json").read_bytes().splitlines()
            actions = [json.loads(line) for line in lines]
        except (OSError, ValueError):
            return None
        moved = [action[kind] for action in actions for kind in ("add", "remove") if kind in action]
        if not any(action.get("dataChange", True) for action in moved):
            return {} if actions else None
        if any("remove" in action for action in actions):
            return None
        added = [action["add"] for action in actions if "add" in action]
        return {path / unquote(one["path"]): one["partitionValues"] for one in added}

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


def _schema_of(table: DeltaTable) -> pl.Schema:
    """That of a scan, without making one."""
    return pl.Schema(table.schema().to_arrow())


def _scan_days(table: DeltaTable, days: Days) -> pl.LazyFrame:
    """The files of some days alone: what it takes does not grow with the days that are there, as `scan_delta` does."""
    if table.metadata().partition_columns != [DAY] or table.protocol().reader_features:
        return pl.scan_delta(table).filter(pl.col(DAY).is_between(days.first, days.last))
    schema = _schema_of(table)
    files = table.file_uris(file_pruning_predicate=f"{DAY} >= '{days.first}' AND {DAY} <= '{days.last}'")
    if not files:
        return schema.to_frame(eager=False)
    cells = pl.Schema({name: dtype for name, dtype in schema.items() if name != DAY})
    found = pl.scan_parquet(
        files,
        schema=cells,
        hive_schema={DAY: schema[DAY]},
        hive_partitioning=True,
        missing_columns="insert",
        extra_columns="ignore",
        glob=False,
    )
    return found.select(schema.names())


def _changed_by(commit: Mapping[str, Any]) -> set[date | None] | None:
    """The days that one commit rewrote (None for all of a table without days); None when it does not say."""
    if commit.get("operation") in CHANGES_NOTHING:
        return set()
    said = commit.get(PARTITIONS_KEY)
    if said is None:
        return None
    ranges = [Days(date.fromisoformat(first), date.fromisoformat(last)) for first, last in json.loads(said)]
    is_whole = not ranges and commit.get("operation") != SET_BACK
    return {None} if is_whole else {day for days in ranges for day in days}


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
