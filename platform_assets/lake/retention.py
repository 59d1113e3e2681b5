"""Keeping a table small without breaking a version that somebody needs: first a plan, then its execution.

A version is its files and the log that lists them. Files that no kept version lists are removed, each by
name, so that what is done is what was planned; a version that a clean-up by age would have kept or lost by
accident is kept or lost on purpose. At every instant of the execution all kept versions are whole, so that
after a kill it is enough to run it again.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError

from platform_assets.errors import TableError
from platform_assets.lake.damage import LOG
from platform_assets.lake.tables import CHANGES_NOTHING, Lake, explained

NEWEST, READERS = "newest", "readers"
"""Why a version is kept: it is what everybody reads, or was so within the readers' grace."""

MOST_PARTITIONS = 400
"""So many partitions are merged at once, those of most files first; the rest follow with the next runs."""

_LARGE = 100 * 1024 * 1024
"""Files are merged into files of so many bytes."""
_TRIES = 3
_GONE = "the log no longer has it"
_COMMITS_BETWEEN_CHECKPOINTS = 10
_OF_VERSION = re.compile(r"(\d{20})\.(json|crc|checkpoint\..*parquet|checkpoint\.parquet)")


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What is to be done to one table.

    Attributes:
        table: the table's folder.
        newest: its newest version.
        kept: every version that stays, and why.
        lost: kept versions that cannot be read any more, and why.
        merges: per partition ("" for a table without) how many files become one.
        removes: the files that no kept version lists, below the table's folder, with their bytes.
        log_from: the oldest version that stays in the log.
        log: the files of the log that go.
        checkpoint: whether so many commits have come since the last checkpoint that a new one is due.
    """

    table: str
    newest: int
    kept: Mapping[int, tuple[str, ...]]
    lost: Mapping[int, str] = field(default_factory=dict)
    merges: Mapping[str, int] = field(default_factory=dict)
    removes: Mapping[str, int] = field(default_factory=dict)
    log_from: int = 0
    log: tuple[str, ...] = ()
    checkpoint: bool = False

    @property
    def bytes(self) -> int:
        return sum(self.removes.values())


@dataclass(frozen=True, kw_only=True)
class Upkept:
    """What was done to a table: files merged (0 when other writers won), files and bytes and log files removed."""

    merged: int
    files: int
    bytes: int
    log: int


def plan_upkeep(
    lake: Lake,
    table: str,
    *,
    needed: Mapping[int, Sequence[str]],
    readers: timedelta,
    now: datetime,
    told_until: int | None = None,
) -> Upkeep:
    """Decide what of a table stays, and what goes.

    Args:
        lake: the lake.
        table: the table's folder.
        needed: the versions that somebody needs, and why.
        readers: versions that were the newest so long ago stay, and so do files that are not older.
        now: the instant that this is counted from (UTC).
        told_until: the newest version of which the ledger tells what it changed: the log of later ones stays;
            None when nobody asks.

    Raises:
        TableError: when the table cannot be read.
    """
    path, since, newest = lake.path(table), now - readers, lake.open(table).version()
    kept = {version: list(why) for version, why in needed.items() if version <= newest}
    kept.setdefault(newest, []).append(NEWEST)
    entries = _log_entries(path)
    oldest = min((version for name, version in entries.items() if name.endswith(".json")), default=newest)
    for version in range(oldest, newest):
        if _committed_at(lake, table, version + 1) >= since:  # until then everybody read the one before
            kept.setdefault(version, []).append(READERS)
    there = _files_there(path)
    listed, lost = _files_listed(lake, table, kept, there)
    # One whose files are missing holds the log: they may be restored.
    logged = [version for version in kept if lost.get(version) != _GONE]
    reasons = {version: tuple(kept[version]) for version in sorted(kept)}
    if newest in lost:  # nothing goes from a table that is damaged: what is left may be needed to mend it
        return Upkeep(table=table, newest=newest, kept=reasons, lost=lost, log_from=oldest)
    removes = {
        name: size
        for name, (size, changed_at) in there.items()
        if name not in listed and changed_at < since.timestamp()
    }
    log_from = _rows_made_at(lake, table, min(logged))
    if told_until is not None:
        log_from = min(log_from, max(told_until + 1, oldest))
    checkpoints = [version for name, version in entries.items() if ".checkpoint." in name]
    return Upkeep(
        table=table,
        newest=newest,
        kept=reasons,
        lost=lost,
        merges=_merges(lake.open(table)),
        removes=removes,
        log_from=log_from,
        log=_before(entries, log_from),
        checkpoint=newest - max(checkpoints, default=-1) > _COMMITS_BETWEEN_CHECKPOINTS,
    )


def keep_up(lake: Lake, upkeep: Upkeep, *, run_id: str) -> Upkept:
    """Carry out a plan: merge files, then shorten the log, then remove files.

    Files that a version made since then lists stay. Whatever is gone already counts as done by another.

    Raises:
        TableError: when the table cannot be written.
    """
    path = lake.path(upkeep.table)
    with explained(path, "write"):
        merged = _merge(lake, upkeep, run_id)
        if upkeep.checkpoint and not upkeep.log:
            lake.open(upkeep.table).create_checkpoint()
        _remove_log(lake, upkeep.table, upkeep.log, log_from=upkeep.log_from)
        listed = _files_of(lake.open(upkeep.table))
        gone = {name: size for name, size in upkeep.removes.items() if name not in listed}
        removed = {name: size for name, size in gone.items() if _remove(path / name)}
    return Upkept(merged=merged, files=len(removed), bytes=sum(removed.values()), log=len(upkeep.log))


def broken_versions(lake: Lake, upkeep: Upkeep) -> dict[int, str]:
    """The versions that were to be kept and cannot be read, and why: they do not open, or files of theirs are missing."""
    return _files_listed(lake, upkeep.table, upkeep.kept, _files_there(lake.path(upkeep.table)))[1]


def _files_there(path: Path) -> dict[str, tuple[int, float]]:
    """Every file of a table that is not of its log, with its size and the time of its last change."""
    found = {}
    for file in path.rglob("*"):
        name = file.relative_to(path)
        if name.parts[0].startswith(("_", ".")):
            continue
        try:
            known = file.stat()
        except FileNotFoundError:  # a writer's own, moved to its place meanwhile
            continue
        if file.is_file():
            found[str(name)] = (known.st_size, known.st_mtime)
    return found


def _files_listed(
    lake: Lake, table: str, versions: Mapping[int, object], there: Mapping[str, object]
) -> tuple[set[str], dict[int, str]]:
    """The files that versions list, and the versions that do not open or list a file that is not there."""
    listed: set[str] = set()
    lost: dict[int, str] = {}
    pending = _unbroken(versions)
    while pending:
        first, last = pending.pop()
        try:
            names = _files_of(lake.open(table, version=first))
        except TableError:
            lost[first] = _GONE
            pending += [(first + 1, last)] if first < last else []
            continue
        # Each further version lists some of what the one before it lists, and what it adds.
        together = set(names)
        for version in range(first + 1, last + 1):
            added = _added_by(lake, table, version)
            if added is None:
                pending.append((version, last))
                last = version - 1
                break
            together |= added
        listed |= together
        missing = sorted(together - set(there))
        if missing and first < last:
            middle = (first + last) // 2
            pending += [(first, middle), (middle + 1, last)]
        elif missing:
            lost[first] = f"{len(missing)} of its {len(names)} files are missing, for example {missing[0]}"
    return listed, lost


def _unbroken(versions: Iterable[int]) -> list[tuple[int, int]]:
    """Versions as first and last of unbroken rows."""
    found: list[tuple[int, int]] = []
    for version in sorted(versions):
        if found and version == found[-1][1] + 1:
            found[-1] = (found[-1][0], version)
        else:
            found.append((version, version))
    return found


def _added_by(lake: Lake, table: str, version: int) -> set[str] | None:
    """The files that a version added, from its entry in the log; None when that is gone."""
    path = lake.path(table)
    with explained(path, "read"):
        try:
            lines = (path / LOG / f"{version:020}.json").read_text().splitlines()
        except FileNotFoundError:
            return None
    actions = [json.loads(line) for line in lines if '"add"' in line]
    return {unquote(action["add"]["path"]) for action in actions if "add" in action}


def _files_of(table: DeltaTable) -> set[str]:
    """The files that a version lists, as they lie below the table's folder; the log writes them as parts of an address."""
    return {unquote(path) for path in _listed(table)["path"]}


def _listed(table: DeltaTable) -> pl.DataFrame:
    return pl.DataFrame(table.get_add_actions(flatten=True))


def _committed_at(lake: Lake, table: str, version: int) -> datetime:
    """When a version was committed; one that does not say counts as new."""
    said = (lake.commit(table, version) or {}).get("timestamp")
    return datetime.max.replace(tzinfo=UTC) if said is None else datetime.fromtimestamp(said / 1000, UTC)


def _rows_made_at(lake: Lake, table: str, version: int) -> int:
    """The version that made the rows of a version, before any maintenance, as far as the log goes back."""
    made = version
    while (lake.commit(table, made) or {}).get("operation") in CHANGES_NOTHING and lake.commit(table, made - 1):
        made -= 1
    return made


def _log_entries(path: Path) -> dict[str, int]:
    """The files of a log that belong to a version."""
    names = (_OF_VERSION.fullmatch(file.name) for file in (path / LOG).iterdir())
    return {found.group(0): int(found.group(1)) for found in names if found}


def _merges(table: DeltaTable) -> dict[str, int]:
    """The partitions with several files that fit into one, those of most files first."""
    found = _listed(table)
    by = [name for name in found.columns if name.startswith("partition.")]
    small = found.filter(pl.col("size_bytes") < _LARGE // 2)
    counted = small.group_by(
        pl.concat_str(pl.col(by).cast(pl.String)).alias("of") if by else pl.lit("").alias("of")
    ).len()
    several = counted.filter(pl.col("len") > 1).sort(["len", "of"], descending=[True, False])
    return dict(several.head(MOST_PARTITIONS).iter_rows())


def _merge(lake: Lake, upkeep: Upkeep, run_id: str) -> int:
    if not upkeep.merges:
        return 0
    properties = CommitProperties(custom_metadata={"platform.asset": upkeep.table, "platform.run": run_id})
    for attempt in range(_TRIES):
        column = lake.open(upkeep.table).metadata().partition_columns
        filters = [(column[0], "in", list(upkeep.merges))] if column else None
        try:
            with lake.writing(upkeep.table, version=lake.open(upkeep.table).version()) as table:
                done = table.optimize.compact(
                    partition_filters=filters, target_size=_LARGE, commit_properties=properties
                )
        except CommitFailedError:
            time.sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 - jitter, not a secret
        else:
            return int(done["numFilesRemoved"])
    return 0  # whoever writes so often is compacted another time


def shorten_log(lake: Lake, table: str, *, log_from: int) -> None:
    """Let the log of a table begin at a version: what lies before it can no longer be opened.

    Raises:
        TableError: when the log cannot be read.
    """
    _remove_log(lake, table, _before(_log_entries(lake.path(table)), log_from), log_from=log_from)


def _before(entries: Mapping[str, int], version: int) -> tuple[str, ...]:
    return tuple(sorted(name for name, own in entries.items() if own < version))


def _remove_log(lake: Lake, table: str, names: Sequence[str], *, log_from: int) -> None:
    """Give the log a new beginning, and only then remove what lies before it, oldest first."""
    if names:
        lake.open(table, version=log_from).create_checkpoint()
        # Last, so that readers are pointed to it and not to the older one.
        lake.open(table).create_checkpoint()
    for name in names:
        _remove(lake.path(table) / LOG / name)


def _remove(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
