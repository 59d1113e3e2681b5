"""The point-in-time join beside what a user would pick instead, on the same Delta tables, in one run.

    python -m benchmarks.point_in_time [--size small|default|large]

A spine is joined to three groups of features. Each contender runs in a process of its own, in turn, several
times; figures are medians. *Wrong* counts answers that differ from what was known then: two rows in a hundred are
late, and an as-of join on the known time lets a late row about an old event shadow a newer fact.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import DeltaTable, write_deltalake

GROUPS, VALUES, ENTITIES, MONTHS = 3, 3, 100_000, 12
START, YEAR, DAY = 1_356_998_400_000_000, 365 * 86_400_000_000, 86_400_000_000


@dataclass(frozen=True)
class Size:
    """Rows of the spine and of each group, and runs of each contender."""

    spine: int
    group: int
    repeat: int


SIZES = {
    "small": Size(20_000, 100_000, 1),
    "default": Size(1_000_000, 5_000_000, 3),
    "large": Size(2_000_000, 20_000_000, 3),
}

Join = Callable[[Path, pl.DataFrame], pl.DataFrame]


def instants(numbers: np.ndarray) -> pl.Series:
    return pl.Series(numbers, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def make(root: Path, *, spine: int, group: int) -> None:
    """Write the spine, a small spine of one week, and the groups, each in twelve files, in order of event time."""
    dice = np.random.default_rng(7)
    for number in range(GROUPS):
        event = np.sort(dice.integers(0, YEAR, group)) + START
        late = np.where(dice.random(group) < 0.02, dice.integers(0, 3 * DAY, group), 0)
        rows = pl.DataFrame(
            {
                "entity": dice.integers(0, ENTITIES, group),
                "event_time": instants(event),
                "known_at": instants(event + 900_000_000 + late),
                **{f"g{number}_v{n}": dice.normal(size=group) for n in range(VALUES)},
            }
        )
        for part in rows.iter_slices(-(-group // MONTHS)):
            write_deltalake(root / f"g{number}", part, mode="append")
    for name, count, span in (("spine", spine, YEAR), ("week", 1_000, 7 * DAY)):
        asked = instants(dice.integers(0, span, count) + START + (YEAR - span) // 2)
        frame = pl.DataFrame({"entity": dice.integers(0, ENTITIES, count), "prediction_time": asked})
        frame.with_row_index("row").write_parquet(root / f"{name}.parquet")


def scan(root: Path, number: int) -> pl.LazyFrame:
    return pl.scan_delta(str(root / f"g{number}"))


def only_scan(root: Path, spine: pl.DataFrame) -> pl.DataFrame:
    for number in range(GROUPS):
        scan(root, number).collect()
    return spine


def ours(root: Path, spine: pl.DataFrame, *, max_age_days: int | None = None) -> pl.DataFrame:
    from datetime import timedelta

    from platform_assets.compute.point_in_time import Features, point_in_time_joins

    groups = [
        Features(
            rows=scan(root, number),
            on=["entity"],
            event_time="event_time",
            known_at="known_at",
            max_age=None if max_age_days is None else timedelta(days=max_age_days),
        )
        for number in range(GROUPS)
    ]
    return point_in_time_joins(spine, groups, prediction_time="prediction_time")


def polars_asof(root: Path, spine: pl.DataFrame) -> pl.DataFrame:
    joined = spine.sort("prediction_time")
    for number in range(GROUPS):
        rows = scan(root, number).drop("event_time").sort("known_at").collect()
        joined = joined.join_asof(
            rows, left_on="prediction_time", right_on="known_at", by="entity", check_sortedness=False, coalesce=True
        ).drop("known_at", strict=False)
    return joined.sort("row")


def pandas_asof(root: Path, spine: pl.DataFrame) -> pl.DataFrame:
    import pandas as pd

    joined = spine.sort("prediction_time").to_pandas()
    for number in range(GROUPS):
        rows = DeltaTable(root / f"g{number}").to_pandas().drop(columns="event_time").sort_values("known_at")
        joined = pd.merge_asof(joined, rows, left_on="prediction_time", right_on="known_at", by="entity")
        joined = joined.drop(columns="known_at")
    return pl.from_pandas(joined.sort_values("row"))


def duckdb_asof(root: Path, spine: pl.DataFrame) -> pl.DataFrame:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("spine", spine.to_arrow())
    joins = "\n".join(
        f"ASOF LEFT JOIN read_parquet({DeltaTable(root / f'g{n}').file_uris()}) g{n} "
        f"ON spine.entity = g{n}.entity AND g{n}.known_at <= spine.prediction_time"
        for n in range(GROUPS)
    )
    values = ", ".join(f"g{n}_v{v}" for n in range(GROUPS) for v in range(VALUES))
    return connection.sql(f"SELECT spine.*, {values} FROM spine {joins} ORDER BY row").pl()


CONTENDERS: dict[str, tuple[str, Join]] = {
    "scan of the columns (the floor)": ("spine", only_scan),
    "point_in_time_joins": ("spine", ours),
    "Polars join_asof": ("spine", polars_asof),
    "pandas merge_asof": ("spine", pandas_asof),
    "DuckDB ASOF": ("spine", duckdb_asof),
    "point_in_time_joins, 1,000 questions in a week": ("week", ours),
    "the same with max_age of 7 days": ("week", lambda root, spine: ours(root, spine, max_age_days=7)),
}


def run(root: Path, name: str) -> None:
    """Run one contender in this process and print its figures."""
    spine_name, join = CONTENDERS[name]
    spine = pl.read_parquet(root / f"{spine_name}.parquet")
    # Once on a tenth, so that what is loaded on first use (a compiler, say) does not count.
    if join is not only_scan:
        join(root, spine.head(len(spine) // 10))
    began, used = time.perf_counter(), _processor_seconds()
    joined = join(root, spine)
    wall, processor = time.perf_counter() - began, _processor_seconds() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wrong = None
    if spine_name == "spine" and join is not only_scan:
        truth = root / "truth.parquet"
        if join is ours:
            joined.write_parquet(truth)
        else:
            held = pl.read_parquet(truth)
            values = [name for name in held.columns if name not in spine.columns]
            wrong = max(int(joined[v].fill_nan(None).ne_missing(held[v]).sum()) for v in values)
    print(json.dumps({"wall": wall, "processor": processor, "peak": peak, "wrong": wrong}))


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="default", help="how many rows, and how often")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "NAME"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        run(Path(chosen.one[0]), chosen.one[1])
        return
    size = SIZES[chosen.size]
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), spine=size.spine, group=size.group)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(size.repeat):
            for name, figures in found.items():
                command = [sys.executable, "-m", "benchmarks.point_in_time", "--one", folder, name]
                figures.append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    own = statistics.median(f["processor"] for f in found["point_in_time_joins"])
    print(f"{size.spine:,} spine rows, {GROUPS} groups of {size.group:,} rows on Delta, median of {size.repeat}\n")
    print("| | wall s | processor s | against ours | peak GB | wrong rows |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, figures in found.items():
        wall, processor, peak = (statistics.median(f[what] for f in figures) for what in ("wall", "processor", "peak"))
        wrong = "" if figures[0]["wrong"] is None else f"{figures[0]['wrong']:,}"
        print(f"| {name} | {wall:.2f} | {processor:.2f} | {processor / own:.2f} | {peak:.2f} | {wrong} |")


if __name__ == "__main__":
    main()
