"""The ledger: what each materialization was made of, also when it changed nothing.

A commit in a table's own log says what that version was made of. But a run whose result is equal to
what is there makes no version, and a model has no table; so every materialization adds a row here, and
what is stale follows from comparing it with what is there now.

Each entry also tells what the versions of its table changed that no entry told of before. So the ledger
answers which days changed since a version, however long ago that was and whatever was cleaned away since.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from platform_assets.declarations.names import LEDGER
from platform_assets.declarations.times import INSTANT, Days, day_ranges
from platform_assets.errors import TableError
from platform_assets.lake.damage import LOG
from platform_assets.lake.opened import Stamp, stamp_of
from platform_assets.lake.retention import shorten_log
from platform_assets.lake.tables import AFTER_COMMIT, ATTEMPTS, ENGINE_ERRORS, NEW_TABLE, Lake, explained

_SCHEMA = pl.Schema(
    {
        "asset": pl.String(),
        "first_day": pl.Date(),
        "last_day": pl.Date(),
        "fingerprint": pl.String(),
        "inputs": pl.String(),
        "stamps": pl.String(),
        "version": pl.Int64(),
        "content_hash": pl.String(),
        "rows": pl.Int64(),
        "run_id": pl.String(),
        "recorded_at": INSTANT,
        "table_id": pl.String(),
        "changes": pl.String(),
    }
)

MERGED_EVERY = 500
"""After so many versions the files of the ledger are merged, one for each asset, and older versions leave its log: Sunday's
maintenance may be far off."""

Changed = Mapping[int, "set[date | None] | None"]
"""By version the days that it changed, `{None}` for a table without days, None where nobody can say."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One materialization.

    Attributes:
        asset: the asset's name, `flights/departures`.
        days: the days it speaks for; None for an asset without partitions.
        fingerprint: of the code and declaration that made it.
        inputs: the version of every input that was read.
        stamps: for a source, the landed file's stamp of every day (under "" for a snapshot).
        version: the version of the table (or model) that held the result.
        content_hash: of the whole result.
        rows: how many rows the result has.
        run_id: the run.
        recorded_at: when, UTC.
        table_id: what Delta calls the table; "" for a model, and in entries older than this column.
        changes: what each version up to `version` changed that no entry told of before; those that changed
            nothing are left out.
    """

    asset: str
    days: Days | None
    fingerprint: str
    inputs: Mapping[str, int]
    version: int
    content_hash: str
    rows: int
    run_id: str
    recorded_at: datetime
    stamps: Mapping[str, str] = field(default_factory=dict)
    table_id: str = ""
    changes: Changed = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LastChanges:
    """When each day of a table last changed.

    Attributes:
        until: the newest version that was told of; -1 for none.
        by_day: per day the newest version that changed it (under None for a table without days).
        unsaid: the newest version of which nobody can say what it changed; -1 for none.
    """

    until: int = -1
    by_day: dict[date | None, int] = field(default_factory=dict)
    unsaid: int = -1

    @property
    def newest(self) -> int:
        """The newest version that changed anything, or may have."""
        return max(self.unsaid, max(self.by_day.values(), default=-1))

    def with_changes(self, changes: Changed, *, until: int) -> LastChanges:
        """The same, and what further versions changed."""
        return _add_changes(replace(self, by_day=dict(self.by_day)), changes, until=until)


@dataclass(frozen=True)
class Ledger:
    """The ledger as it stood when it was read.

    Attributes:
        rows: per asset its rows, newest first.
    """

    rows: Mapping[str, pl.DataFrame]

    def entries(self, asset: str) -> list[Entry]:
        """All entries of one asset, newest first."""
        return [_entry(row) for row in self._rows(asset).iter_rows(named=True)]

    def latest(self, asset: str, *, until: int | None = None) -> dict[date | None, Entry]:
        """The newest entry that speaks for each day (under None for an asset without partitions), up to a version."""
        newest: dict[date | None, Entry] = {}
        rows = self._rows(asset)
        for row in (rows if until is None else rows.filter(pl.col("version") <= until)).iter_rows(named=True):
            unseen = [day for day in _days(row) or (None,) if day not in newest]
            if unseen:
                newest |= dict.fromkeys(unseen, _entry(row))
        return newest

    def made(self, asset: str, *, until: datetime | None = None) -> set[date | None]:
        """The days for which an asset was ever materialized, up to an instant; `{None}` for one without partitions."""
        rows = self._rows(asset)
        return _made(rows if until is None else rows.filter(pl.col("recorded_at") <= until))

    def last_changes(self, asset: str, table_id: str) -> LastChanges:
        """When each day of an asset's table last changed, as far as its entries tell."""
        return _told(self._rows(asset)).get(table_id, LastChanges())

    def _rows(self, asset: str) -> pl.DataFrame:
        return self.rows.get(asset, pl.DataFrame(schema=_SCHEMA))


def read(lake: Lake, assets: Sequence[str] | None = None) -> Ledger:
    """The ledger as it stands: of some assets, or of all."""
    book = _book(lake)
    return Ledger({name: book.rows(name) for name in (book.parts if assets is None else assets)})


def made(lake: Lake, asset: str) -> AbstractSet[date | None]:
    """The days for which an asset was ever materialized; `{None}` for one without partitions. Not to be altered."""
    return _book(lake).made.get(asset, frozenset())


def last_changes(lake: Lake, asset: str, table_id: str) -> LastChanges:
    """When each day of an asset's table last changed, as far as its entries tell."""
    return _book(lake).told.get((asset, table_id), LastChanges())


def record(lake: Lake, entry: Entry) -> None:
    """Add an entry."""
    row = pl.DataFrame(
        [
            (
                entry.asset,
                entry.days and entry.days.first,
                entry.days and entry.days.last,
                entry.fingerprint,
                json.dumps(dict(entry.inputs), sort_keys=True),
                json.dumps(dict(entry.stamps), sort_keys=True),
                entry.version,
                entry.content_hash,
                entry.rows,
                entry.run_id,
                entry.recorded_at,
                entry.table_id,
                _write_changes(entry.changes),
            )
        ],
        schema=_SCHEMA,
        orient="row",
    )
    path = lake.path(LEDGER)
    with explained(path, "write"):
        path.mkdir(parents=True, exist_ok=True)
        for attempt in range(ATTEMPTS):
            try:
                _remember(lake, row, version=_append(lake, row))
            except CommitFailedError:
                # Appends do not conflict, but the first ones do: each would create the table.
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 - jitter, not a secret
            else:
                return


def _append(lake: Lake, row: pl.DataFrame) -> int:
    """Add a row, and give back the version that holds it."""
    there = lake.version(LEDGER)
    if there is None:
        write_deltalake(
            lake.path(LEDGER),
            row,
            mode="append",
            partition_by=["asset"],
            description="What each materialization was made of",
            configuration=NEW_TABLE,
        )
        return 0
    with lake.writing(LEDGER, version=there) as table:
        # A ledger that was begun without the newer columns gets them.
        write_deltalake(table, row, mode="append", schema_mode="merge", post_commithook_properties=AFTER_COMMIT)
        version = table.version()
        if version % MERGED_EVERY:
            return version
        # Each entry is a file and a version, and each of both is in the way of every further entry. The entry is in:
        # whatever keeps this from being done is no failure of it, and is met again by maintenance.
        with suppress(*ENGINE_ERRORS):
            table.optimize.compact()
    if version > MERGED_EVERY:
        # A commit lists the whole log, twice. What older versions held is in the newest.
        with suppress(TableError, *ENGINE_ERRORS):
            shorten_log(lake, LEDGER, log_from=version - MERGED_EVERY)
    return version


def _remember(lake: Lake, row: pl.DataFrame, *, version: int) -> None:
    """What was just added need not be read again, unless others came in between: then all is read on as ever."""
    table_id, log = lake.table_id(LEDGER), lake.path(LEDGER) / LOG
    with lake.lock:
        book = lake.remembered.get(LEDGER)
        if isinstance(book, _Book) and book.version == version - 1 and book.is_of(table_id, log):
            book.add(row)
            book.version, book.stamp = version, stamp_of(log, version)


def with_changes(lake: Lake, entry: Entry, *, folder: str) -> Entry:
    """The entry with what its table's versions changed that no entry told of before.

    The versions are mostly the entry's own, which the log tells; also those of a writer that was killed
    before its entry, and what maintenance did. Entries may tell of a version twice, never leave one out.
    """
    table_id = lake.table_id(folder)
    told = last_changes(lake, entry.asset, table_id).until
    found = lake.changes(folder, since=told, until=entry.version)
    return replace(
        entry, table_id=table_id, changes={version: days for version, days in found.items() if days != set()}
    )


def entries(lake: Lake, asset: str) -> list[Entry]:
    """All entries of one asset, newest first."""
    return read(lake, [asset]).entries(asset)


def latest(lake: Lake, asset: str, *, until: int | None = None) -> dict[date | None, Entry]:
    """The newest entry that speaks for each day (under None for an asset without partitions), up to a version."""
    return read(lake, [asset]).latest(asset, until=until)


@dataclass
class _Book:
    """The rows of the ledger that were read so far, and what is asked of them again and again.

    Rows are only ever added, and what is derived from them here does not depend on their order: so a version
    more costs the rows that it added.
    """

    table_id: str = ""
    version: int = -1
    stamp: Stamp | None = None
    parts: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    made: dict[str, set[date | None]] = field(default_factory=dict)
    told: dict[tuple[str, str], LastChanges] = field(default_factory=dict)

    def is_of(self, table_id: str, log: Path) -> bool:
        """Whether it was read of this table as it still is: neither set back nor made again."""
        return (self.table_id, self.stamp) == (table_id, stamp_of(log, self.version))

    def rows(self, asset: str) -> pl.DataFrame:
        """The rows of an asset, newest first."""
        parts = self.parts.get(asset)
        if parts is None:
            return pl.DataFrame(schema=_SCHEMA)
        if len(parts) > 1:
            parts[:] = [pl.concat(parts).sort("recorded_at", "version", descending=True)]
        return parts[0]

    def add(self, rows: pl.DataFrame) -> None:
        for key, part in rows.partition_by("asset", as_dict=True).items():
            asset = str(key[0])
            first = part.sort("recorded_at", "version", descending=True)
            self.parts.setdefault(asset, []).append(first)
            self.made.setdefault(asset, set()).update(_made(part))
            for table_id, told in _told(part).items():
                there = self.told.get((asset, table_id))
                self.told[asset, table_id] = told if there is None else _together(there, told)


def _book(lake: Lake) -> _Book:
    """The ledger, read on from where it was read to."""
    version = lake.version(LEDGER)
    with lake.lock:
        book = lake.remembered.get(LEDGER)
        if version is None:
            return _Book()
        table_id, log = lake.table_id(LEDGER), lake.path(LEDGER) / LOG
        if not isinstance(book, _Book) or not book.is_of(table_id, log):
            book = None  # set back, or made again
        added = None if book is None else _added(lake, book.version, version)
        if book is None or added is None:
            book, added = _Book(table_id=table_id), _all(lake, version)
        if len(added):
            book.add(added)
        book.version, book.stamp = version, stamp_of(log, version)
        lake.remembered[LEDGER] = book
        return book


def _all(lake: Lake, version: int) -> pl.DataFrame:
    with explained(lake.path(LEDGER), "read"):
        return _with_all_columns(lake.scan(LEDGER, version=version).collect())


def _added(lake: Lake, since: int, until: int) -> pl.DataFrame | None:
    """The rows that the versions after `since` up to `until` added; None where a version did not only add rows."""
    parts = [pl.DataFrame(schema=_SCHEMA)]
    for version in range(since + 1, until + 1):
        files = lake.files_added(LEDGER, version)
        if files is None:
            return None
        with explained(lake.path(LEDGER), "read"):
            parts += [
                _with_all_columns(
                    pl.read_parquet(path, hive_partitioning=False).with_columns(asset=pl.lit(held["asset"]))
                )
                for path, held in files.items()
            ]
    return pl.concat(parts)


def _with_all_columns(rows: pl.DataFrame) -> pl.DataFrame:
    """Also those columns that older entries do not have."""
    missing = [name for name in _SCHEMA if name not in rows.columns]
    return rows.with_columns(pl.lit(None, pl.String).alias(name) for name in missing).select(list(_SCHEMA))


def _made(rows: pl.DataFrame) -> set[date | None]:
    ranges = set(zip(rows.get_column("first_day"), rows.get_column("last_day"), strict=True))
    return {day for first, last in ranges for day in ((None,) if first is None else Days(first, last))}


def _told(rows: pl.DataFrame) -> dict[str, LastChanges]:
    """By table what its entries tell of it; those that tell of the same version read it from the same commit."""
    found: dict[str, LastChanges] = {}
    for table_id, version, changes in rows[["table_id", "version", "changes"]].iter_rows():
        if table_id is not None:
            told = found.get(table_id, LastChanges(by_day={}))
            found[table_id] = _add_changes(told, _read_changes(changes or "{}"), until=version)
    return found


def _add_changes(told: LastChanges, changes: Changed, *, until: int) -> LastChanges:
    """What was told, and more; the days of what was told are altered."""
    by_day, unsaid = told.by_day, told.unsaid
    for version, days in changes.items():
        if days is None:
            unsaid = max(unsaid, version)
        for day in days or ():
            by_day[day] = max(by_day.get(day, -1), version)
    return LastChanges(until=max(told.until, until), by_day=by_day, unsaid=unsaid)


def _together(told: LastChanges, more: LastChanges) -> LastChanges:
    """Both; the days of the first are altered."""
    by_day = told.by_day
    for day, version in more.by_day.items():
        by_day[day] = max(by_day.get(day, -1), version)
    return LastChanges(until=max(told.until, more.until), by_day=by_day, unsaid=max(told.unsaid, more.unsaid))


def _days(row: Mapping[str, Any]) -> Days | None:
    return Days(row["first_day"], row["last_day"]) if row["first_day"] is not None else None


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        asset=row["asset"],
        days=_days(row),
        fingerprint=row["fingerprint"],
        inputs=json.loads(row["inputs"]),
        version=row["version"],
        content_hash=row["content_hash"],
        rows=row["rows"],
        run_id=row["run_id"],
        recorded_at=row["recorded_at"],
        stamps=json.loads(row["stamps"]),
        table_id=row["table_id"] or "",
        changes=_read_changes(row["changes"] or "{}"),
    )


def _write_changes(changes: Changed) -> str:
    return json.dumps({str(version): _ranges(days) for version, days in sorted(changes.items())})


def _ranges(days: Iterable[date | None] | None) -> list[list[str] | None] | None:
    if days is None:
        return None
    dated = {day for day in days if day is not None}
    return [[str(part.first), str(part.last)] for part in day_ranges(dated)] if dated else [None]


def _read_changes(text: str) -> Changed:
    found: dict[int, set[date | None] | None] = {}
    for version, ranges in json.loads(text).items():
        parts = [(None,) if r is None else Days(*map(date.fromisoformat, r)) for r in ranges or ()]
        found[int(version)] = None if ranges is None else {day for part in parts for day in part}
    return found
