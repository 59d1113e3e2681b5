"""A group larger than the memory a process may use still joins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

ROWS, COLUMNS = 24_000_000, 8
LIMIT = 700
"""Mebibytes that a process may use beyond what its imports take."""

LIMITED = """
import resource, sys
import polars as pl
from datetime import UTC, datetime, timedelta
from platform_assets.compute import sight_compiled
from platform_assets.compute.point_in_time import point_in_time_join

in_use = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) * 1024
limit = in_use + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
rows = pl.scan_parquet(sys.argv[1])
if sys.argv[3] == "collect":
    print(len(rows.collect()))
else:
    spine = pl.DataFrame({"entity": range(20_000), "t": [datetime(2014, 1, 1, tzinfo=UTC)] * 20_000})
    joined = point_in_time_join(
        spine, rows, on=["entity"], prediction_time="t", event_time="event_time", known_at="known_at"
    )
    print(len(joined), joined["v0"].sum())
"""


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of rows in no order of time, each of whose values tells its number."""
    path = tmp_path_factory.mktemp("large") / "group.parquet"
    number = pl.int_range(ROWS, eager=True)
    # Entity n has the rows n, n + 20,000, ...; the last in order of time is the one with the highest number.
    event = pl.from_epoch(1_356_998_400 + number, time_unit="s").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    values = {f"v{n}": number.cast(pl.Float64) + n for n in range(COLUMNS - 3)}
    rows = pl.DataFrame({"entity": number % 20_000, "event_time": event, "known_at": event, **values})
    order = np.random.default_rng(3).permutation(48)
    parts = [rows.slice(int(n) * (ROWS // 48), ROWS // 48) for n in order]
    pl.concat(parts).write_parquet(path, compression="uncompressed", row_group_size=50_000)
    assert path.stat().st_size > 1.9 * LIMIT * 2**20
    return path


def limited(group: Path, what: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIMITED, str(group), str(LIMIT), what]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
def test_a_group_of_twice_the_memory_is_joined(group: Path) -> None:
    done = limited(group, "join")
    newest = sum(range(ROWS - 20_000, ROWS))
    assert done.stdout.split() == ["20000", str(float(newest))], done.stderr[-1_000:]


@pytest.mark.slow
def test_the_limit_would_not_hold_the_group_itself(group: Path) -> None:
    assert limited(group, "collect").returncode != 0
