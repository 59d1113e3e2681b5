"""Writers for processes of their own: they are imported there, so they live in a module without fixtures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from deltalake.exceptions import CommitFailedError

from platform_assets.declarations.declaration import Column
from platform_assets.declarations.times import Days
from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.lake.tables import Lake
from platform_assets.lake.writes import Provenance, Written, write

TABLE = "shop/orders"
COLUMNS = (Column(name="key", dtype=pl.String()), Column(name="value", dtype=pl.Int64()))
FIRST = date(2024, 3, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


def days(first: int, last: int | None = None) -> Days:
    return Days(day(first), day(last or first))


def rows(*cells: tuple[str, int | None, int]) -> pl.DataFrame:
    """Rows of key, value and the number of their day."""
    return pl.DataFrame(
        [(key, value, day(number)) for key, value, number in cells],
        schema={"key": pl.String, "value": pl.Int64, "day": pl.Date},
        orient="row",
    )


def put(
    lake: Lake,
    frame: pl.DataFrame,
    when: Days | None,
    *,
    columns: Sequence[Column] = COLUMNS,
    table: str = TABLE,
    run: str = "run-1",
) -> Written:
    provenance = Provenance(asset=table, fingerprint="f00d", run_id=run, inputs={"raw": 3})
    return write(lake, table, frame, columns=columns, days=when, provenance=provenance, description="Orders.")


def held(lake: Lake, table: str = TABLE) -> list[tuple[Any, ...]]:
    return sorted(lake.scan(table).select("key", "value", "day").collect().rows())


def write_days(root: str, numbers: Sequence[int], writer: int, gate: Any, repeats: int) -> None:
    """In a process of its own: rewrite each of the days again and again, and record it."""
    lake = Lake(Path(root))
    gate.wait()
    for repeat in range(repeats):
        for number in numbers:
            written = put(lake, rows((f"w{writer}", repeat, number)), days(number), run=f"w{writer}")
            ledger.record(
                lake,
                ledger.Entry(
                    asset=TABLE,
                    days=days(number),
                    fingerprint="f00d",
                    inputs={},
                    version=written.version,
                    content_hash=written.plan.digest,
                    rows=1,
                    run_id=f"w{writer}",
                    recorded_at=datetime.fromisoformat("2024-04-01T00:00:00+00:00"),
                ),
            )


def compact(root: str, stop: Any, answer: Any) -> None:
    """In a process of its own: merge files, lay down checkpoints and clean up until told to stop."""
    lake, times, merged, lost = Lake(Path(root)), 0, 0, 0
    while not stop.is_set():
        times += 1
        try:
            table = lake.open(TABLE)
            merged += table.optimize.compact()["numFilesRemoved"]
            table.create_checkpoint()
            table.vacuum(dry_run=False)
        except CommitFailedError:
            lost += 1
    answer.put((times, merged, lost))


def write_large(root: str, value: int, gate: Any) -> None:
    """In a process of its own: one write that takes a while; `gate` is set when it begins."""
    lake = Lake(Path(root))
    frame = large(value)
    gate.set()
    put(lake, frame, days(1, 10))


def large(value: int) -> pl.DataFrame:
    numbers = pl.int_range(50_000, eager=True)
    return pl.DataFrame(
        {
            "key": numbers.cast(pl.String),
            "value": numbers + value,
            "day": pl.select(pl.lit(FIRST) + pl.duration(days=numbers % 10)).to_series(),
        }
    )


def write_as_nobody(root: str, answer: Any) -> None:
    """In a process of its own: try to write as a user who may not; file permissions do not bind root."""
    if os.geteuid() == 0:
        os.setuid(65_534)
    try:
        put(Lake(Path(root)), rows(("a", 2, 1)), days(1))
    except TableError as error:
        answer.put(str(error))
    else:
        answer.put("written")
