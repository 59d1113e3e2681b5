"""What is wrong with a table's own files: the culprit, what can still be read, and what to do.

A commit appears whole or not at all, whoever is killed meanwhile. A power cut can still leave what was
written last empty or cut off, and anything can happen to a disk. Nothing here repairs; it only looks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from platform_assets.declarations.names import DAY

LOG = "_delta_log"
POINTER = "_last_checkpoint"
SET_BACK = "SET BACK"
"""The operation of a log entry that stands where a damaged one was."""

_ENTRY = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint\..*parquet$")
_DATA_FILE = re.compile(r"part-[\w-]+(\.\w+)*\.parquet")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class LogDamage:
    """The first thing that keeps a table's log from being read.

    Attributes:
        culprit: the file.
        says: what is wrong with it.
        readable: the last version that can be read; None when there is none.
        entry: the version whose entry it is; None of a checkpoint.
        is_newest: whether every later entry only stands where a damaged one was.
        replaceable: of checkpoints, the files that can go since the log's entries hold what they hold.
    """

    culprit: Path
    says: str
    readable: int | None
    entry: int | None = None
    is_newest: bool = False
    replaceable: tuple[Path, ...] = ()

    def explain(self, table: str) -> str:
        """What is wrong and what to do, for `table` by its folder below the lake's root."""
        there = self.culprit.parent.parent
        last = f"version {self.readable} is the last that can be read" if self.readable is not None else ""
        away = f"move {there} away and run refresh, which makes it again"
        if self.replaceable:
            files = " and ".join(path.name for path in self.replaceable)
            fix = f"remove {files} from {self.culprit.parent}; nothing is lost, the log's entries hold it all"
        elif self.is_newest and last:
            fix = (
                f"{last}: run `platform-assets set-back {table}`, which goes back to it, and then refresh, which "
                "makes again what is lost"
            )
        else:
            fix = f"{last + ': ' if last else ''}restore it from a copy, or {away}"
        return f"its {self._kind} {self.culprit.name} {self.says}; {fix}"

    @property
    def _kind(self) -> str:
        return "log entry" if self.entry is not None else "checkpoint"


@dataclass(frozen=True, kw_only=True)
class FileDamage:
    """A data file of one version that cannot be read.

    Attributes:
        path: below the table's folder.
        day: the day it belongs to; None for a table without partitions.
        says: what is wrong with it.
    """

    path: str
    day: date | None
    says: str


def damage_of_entry(table: Path, version: int, *, every_line: bool = False) -> str | None:
    """What is wrong with one entry of the log; None when it is whole, or gone into a checkpoint.

    Args:
        table: where the table lies.
        version: the entry's.
        every_line: whether to read the lines of files too, of which there are many. The engine does that
            anyway; it does not see what a cut leaves out, which shows in the first line and the last.
    """
    try:
        content = (table / LOG / f"{version:020}.json").read_bytes()
    except FileNotFoundError:
        return None
    if not content.strip():
        return "is empty"
    lines = content.strip().split(b"\n")
    promised: dict[str, object] = {}
    for number, line in enumerate(lines, start=1):
        if not every_line and number < len(lines) and line.startswith((b'{"add":', b'{"remove":')):
            continue
        try:
            action = json.loads(line)
        except ValueError:
            return f"cannot be read from line {number} on"
        promised = action.get("commitInfo", {}).get("operationMetrics") or promised
    for action, metric in ((b'{"add":', "num_added_files"), (b'{"remove":', "num_removed_files")):
        found, said = sum(line.startswith(action) for line in lines), promised.get(metric)
        if isinstance(said, int) and found < said:
            return f"is cut off: it names {found} of the {said} files of which it speaks"
    return None


def damage_of_log(table: Path, *, version: int | None = None) -> LogDamage | None:
    """Look for what keeps the log from being read, up to a version when one is given."""
    log = table / LOG
    entries = dict(_numbered(log, _ENTRY))
    checkpoints = {path: _reads(path) for v, path in _numbered(log, _CHECKPOINT) if version is None or v <= version}
    sound = [int(path.name.split(".")[0]) for path, reads in checkpoints.items() if reads]
    broken = [path for path, reads in checkpoints.items() if not reads]
    newest = max([*entries, *sound], default=None)
    if newest is None:
        return None
    newest = newest if version is None else min(newest, version)
    base = max(sound, default=-1)
    first_wrong = _first_wrong(table, range(base + 1, newest + 1))
    lost = _lost_checkpoint(log) if version is None else None
    if broken or lost is not None:
        pointer = log / POINTER
        can_go = first_wrong is None
        return LogDamage(
            culprit=broken[-1] if broken else lost or pointer,
            says="cannot be read" if broken else "is missing",
            readable=newest if can_go else _before(first_wrong),
            replaceable=tuple(p for p in (*broken, pointer) if p.exists()) if can_go else (),
        )
    if first_wrong is None:
        return None
    culprit, says = first_wrong
    later = [path for v, path in entries.items() if v > culprit]
    return LogDamage(
        culprit=log / f"{culprit:020}.json",
        says=says,
        readable=_before(first_wrong),
        entry=culprit,
        is_newest=all(_is_set_back(path) for path in later),
    )


def damaged_files(table: DeltaTable, folder: Path) -> list[FileDamage]:
    """The data files of an opened version that are missing, cut off or cannot be read, by looking at each."""
    found = []
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    day = pl.col(f"partition.{DAY}") if f"partition.{DAY}" in files.columns else pl.lit(None, pl.Date)
    for spelled, size, when in files.select("path", "size_bytes", day).iter_rows():
        path = unquote(spelled)
        says = _damage_of_file(folder / path, size)
        if says is not None:
            found.append(FileDamage(path=path, day=when, says=says))
    return found


def say_files(damaged: list[FileDamage], table: str) -> str:
    """Which data files cannot be read, and what to do."""
    shown = "; ".join(f"{file.path} {file.says}" for file in damaged[:_SHOWN])
    more = f"; and {len(damaged) - _SHOWN} more files" if len(damaged) > _SHOWN else ""
    days = sorted({str(file.day) for file in damaged if file.day is not None})
    named = f"{', '.join(days[:_SHOWN])}{', ...' if len(days) > _SHOWN else ''} of {table}" if days else table
    return f"{shown}{more}; restore from a copy, or materialize {named} again, which replaces what is damaged"


def was_named(folder: Path, message: str) -> str | None:
    """The data file that a message names, when the log of this table knows it."""
    found = _DATA_FILE.search(message)
    if found is None:
        return None
    entries = (path for _, path in _numbered(folder / LOG, _ENTRY))
    return found.group() if any(found.group().encode() in path.read_bytes() for path in entries) else None


def _numbered(log: Path, pattern: re.Pattern[str]) -> Iterator[tuple[int, Path]]:
    for path in sorted(log.iterdir()) if log.is_dir() else []:
        match = pattern.match(path.name)
        if match:
            yield int(match.group(1)), path


def _reads(checkpoint: Path) -> bool:
    try:
        pl.read_parquet(checkpoint, columns=["add"], use_pyarrow=False)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False
    return True


def _lost_checkpoint(log: Path) -> Path | None:
    """The checkpoint that the pointer names and that is not there; a pointer that says nothing does no harm."""
    try:
        version = int(json.loads((log / POINTER).read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = any(v >= version for v, _ in _numbered(log, _CHECKPOINT))
    return None if there else log / f"{version:020}.checkpoint.parquet"


def _first_wrong(table: Path, versions: range) -> tuple[int, str] | None:
    for version in versions:
        there = (table / LOG / f"{version:020}.json").exists()
        says = damage_of_entry(table, version, every_line=True) if there else "is missing"
        if says is not None:
            return version, says
    return None


def _before(first_wrong: tuple[int, str] | None) -> int | None:
    return first_wrong[0] - 1 if first_wrong is not None and first_wrong[0] > 0 else None


def _is_set_back(entry: Path) -> bool:
    return f'"operation":"{SET_BACK}"'.encode() in entry.read_bytes()


def _damage_of_file(path: Path, size: int) -> str | None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if found != size:
        return f"has {found:,} of {size:,} bytes"
    try:
        pl.read_parquet(path, use_pyarrow=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return "cannot be read"
    return None
