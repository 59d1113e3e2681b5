"""The ledger: what each materialization was made of, also when it changed nothing.

A commit in a table's own log says what that version was made of. But a run whose result is equal to
what is there makes no version, and a model has no table; so every materialization adds a row here, and
what is stale follows from comparing it with what is there now.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from platform_assets.declarations.names import LEDGER
from platform_assets.declarations.times import INSTANT, Days
from platform_assets.lake.tables import ATTEMPTS, Lake, explained

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
    }
)


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
                write_deltalake(
                    path,
                    row,
                    mode="append",
                    partition_by=["asset"],
                    description="What each materialization was made of",
                )
            except CommitFailedError:
                # Appends do not conflict, but the first ones do: each would create the table.
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 - jitter, not a secret
            else:
                return


def entries(lake: Lake, asset: str) -> list[Entry]:
    """All entries of one asset, newest first."""
    if lake.version(LEDGER) is None:
        return []
    with explained(lake.path(LEDGER), "read"):
        rows = lake.scan(LEDGER).filter(pl.col("asset") == asset).collect()
        rows = rows.sort("recorded_at", "version", descending=True)
    return [_entry(row) for row in rows.iter_rows(named=True)]


def latest(lake: Lake, asset: str, *, until: int | None = None) -> dict[date | None, Entry]:
    """The newest entry that speaks for each day (under None for an asset without partitions), up to a version."""
    newest: dict[date | None, Entry] = {}
    for entry in entries(lake, asset):
        if until is not None and entry.version > until:
            continue
        for day in entry.days or (None,):
            newest.setdefault(day, entry)
    return newest


def days(lake: Lake, assets: Sequence[str]) -> dict[str, set[date]]:
    """The days for which each asset was ever materialized."""
    found: dict[str, set[date]] = {asset: set() for asset in assets}
    if lake.version(LEDGER) is None:
        return found
    with explained(lake.path(LEDGER), "read"):
        rows = lake.scan(LEDGER).filter(pl.col("asset").is_in(list(assets)), pl.col("first_day").is_not_null())
        ranges = rows.select("asset", "first_day", "last_day").unique().collect()
    for asset, first, last in ranges.iter_rows():
        found[asset].update(Days(first, last))
    return found


def _entry(row: dict[str, object]) -> Entry:
    first, last = row.pop("first_day"), row.pop("last_day")
    days = Days(first, last) if isinstance(first, date) and isinstance(last, date) else None
    inputs, stamps = json.loads(str(row.pop("inputs"))), json.loads(str(row.pop("stamps")))
    return Entry(days=days, inputs=inputs, stamps=stamps, **row)  # type: ignore[arg-type]
