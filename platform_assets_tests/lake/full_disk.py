"""A disk that fills up, for a process with mounts of its own: `unshare -rm python -m ...full_disk FOLDER`.

It mounts a small file system over FOLDER, which nobody else sees and which is gone with the process, and prints
as JSON what happened at each amount of free space.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.lake.tables import Lake
from platform_assets_tests.lake.writers import TABLE, day, days, held, put, rows

PAGE = 4_096


def fill(filler: Path, leave: int) -> None:
    """Write until only `leave` bytes are free."""
    with filler.open("wb") as file:
        while True:
            found = os.statvfs(filler.parent)
            if found.f_bavail * found.f_frsize <= leave:
                return
            file.write(bytes(PAGE))
            file.flush()


def large(seed: int) -> pl.DataFrame:
    """Some 200 kB that do not compress."""
    numbers = [(number * 7_919 * (seed + 3)) % 100_003 for number in range(20_000)]
    return pl.DataFrame({"key": list(map(str, numbers)), "value": numbers, "day": [day(1)] * len(numbers)})


def record(lake: Lake, number: int) -> None:
    ledger.record(
        lake,
        ledger.Entry(
            asset=TABLE,
            days=days(1),
            fingerprint="f00d",
            inputs={},
            version=number,
            content_hash="c0ffee",
            rows=1,
            run_id=f"run-{number}",
            recorded_at=datetime(2024, 4, 1, tzinfo=UTC),
        ),
    )


def attempt(action: Any) -> str:
    try:
        action()
    except TableError as error:
        return str(error)
    return "written"


def found_in(lake: Lake) -> list[Any]:
    return [lake.version(TABLE), held(lake), sorted(entry.version for entry in ledger.entries(lake, TABLE))]


def main(root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(root)], check=True)
    lake, filler, told = Lake(root / "lake"), root / "filler", []
    small = rows(("a", 1, 1), ("a", 2, 2))
    put(lake, small, days(1, 2))
    record(lake, 0)
    other = lake.scan(TABLE, days=days(2))
    for number, pages in enumerate((0, 1, 2, 8, 24, 48), start=1):
        reader, before = lake.scan(TABLE), found_in(lake)
        fill(filler, pages * PAGE)
        said = [
            attempt(lambda number=number: put(lake, large(number), days(1))),
            attempt(lambda: put(lake, small, days(1, 2), table="shop/new")),
            attempt(lambda number=number: record(lake, number)),
        ]
        while_full = found_in(lake)
        still_read = sorted(reader.select("key", "value", "day").collect().rows()) == before[1]
        filler.unlink()
        again = put(lake, large(number), days(1))
        told.append(
            {
                "free": pages * PAGE,
                "said": said,
                "table as it was": while_full[:2] == before[:2] and still_read,
                "recorded": len(while_full[2]) - len(before[2]),
                "whole when run again": again.version == before[0] + 1 and len(held(lake)) == len(large(number)) + 1,
                "other day as it was": other.select("key").collect()["key"].to_list() == ["a"],
            }
        )
        put(lake, rows(("a", 1, 1)), days(1))
        lake.open(TABLE).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    put(lake, small, days(1, 2), table="shop/new")
    record(lake, 99)
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
