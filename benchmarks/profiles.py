"""Profiles and drift beside what a user would do instead, on the same Delta tables, in one run.

    python -m benchmarks.profiles [--size small|default]

Fifty columns of a million rows are compared with a million before them; and sixty columns of a year, day by day. Each
contender runs in a process of its own, in turn, several times; figures are medians. *Off* is the greatest difference of a
Kolmogorov-Smirnov distance from the one that the values have. Reading the rows is part of what needs them.
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
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import write_deltalake

COLUMNS, DAYS, DAILY_COLUMNS, DAILY_ROWS = 50, 365, 60, 900
YEAR, REFERENCE = (date(2013, 1, 1), date(2013, 12, 31)), (date(2013, 1, 1), date(2013, 9, 30))


@dataclass(frozen=True)
class Size:
    """Rows of either table, and runs of each contender."""

    rows: int
    repeat: int


SIZES = {"small": Size(20_000, 1), "default": Size(1_000_000, 3)}

Distances = dict[str, float]
Contender = Callable[[Path, int], Distances]


def make(root: Path, rows: int) -> None:
    """Write the rows before, the rows since, a year by day, and the profiles of the first and the last."""
    from platform_assets.compute.profiles import profile

    dice = np.random.default_rng(7)
    for name, drift in (("before", 0.0), ("since", 0.05)):
        columns = {f"c{n}": _values(dice, n, rows, drift * (n % 3)) for n in range(COLUMNS)}
        write_deltalake(root / name, pl.DataFrame(columns))
    write_deltalake(root / "profiles", profile(pl.scan_delta(str(root / "before"))))
    days = pl.date_range(*YEAR, eager=True).alias("day").repeat_by(DAILY_ROWS).explode()
    year = pl.DataFrame(
        {"day": days, **{f"c{n}": _values(dice, n, DAYS * DAILY_ROWS, 0.0) for n in range(DAILY_COLUMNS)}}
    )
    write_deltalake(root / "year", year)
    write_deltalake(root / "year_profiles", profile(year, day="day"))


def _values(dice: np.random.Generator, number: int, rows: int, drift: float) -> np.ndarray:
    shape = number % 5
    if shape == 0:
        return np.where(dice.random(rows) < 0.02, np.nan, dice.exponential(30, rows) * (1 + drift))
    if shape == 1:
        return dice.poisson(20 * (1 + drift), rows).astype(np.float64)
    return dice.normal(drift, 1 + drift, rows)


def rows_of(root: Path, name: str, count: int) -> pl.DataFrame:
    return pl.scan_delta(str(root / name)).head(count).collect()


def told(drift: pl.DataFrame) -> Distances:
    return dict(drift.select("column", "kolmogorov_smirnov").rows())


def only_read(root: Path, count: int) -> Distances:
    rows_of(root, "since", count)
    return {}


def profiled(root: Path, count: int) -> Distances:
    from platform_assets.compute.profiles import profile

    profile(rows_of(root, "since", count))
    return {}


def against_the_stored(root: Path, count: int) -> Distances:
    from platform_assets.compute.drift import drift
    from platform_assets.compute.profiles import profile

    stored = pl.read_delta(str(root / "profiles"))
    return told(drift(stored, profile(rows_of(root, "since", count))))


def exact(root: Path, count: int) -> Distances:
    from platform_assets.compute.drift import exact_drift

    before, since = (rows_of(root, name, count) for name in ("before", "since"))
    found = {name: exact_drift(before[name], since[name])["kolmogorov_smirnov"] for name in before.columns}
    return {name: distance for name, distance in found.items() if distance is not None}


def scipy_by_call(root: Path, count: int) -> Distances:
    from scipy import spatial, stats

    before, since = (rows_of(root, name, count) for name in ("before", "since"))
    found = {}
    for name in before.columns:
        p, q = (frame[name].drop_nans().to_numpy() for frame in (before, since))
        edges = np.unique([-np.inf, *np.quantile(p, np.arange(1, 10) / 10), np.inf])
        counts = [np.histogram(side, edges)[0] + 0.5 for side in (p, q)]
        spatial.distance.jensenshannon(*counts, base=2)
        stats.entropy(*counts) + stats.entropy(*reversed(counts))
        stats.wasserstein_distance(p, q)
        found[name] = float(stats.ks_2samp(p, q, method="asymp").statistic)
    return found


def profile_a_year(root: Path, _: int) -> Distances:
    from platform_assets.compute.profiles import profile

    profile(pl.scan_delta(str(root / "year")), day="day")
    return {}


def merge_a_year(root: Path, _: int) -> Distances:
    from platform_assets.compute.profiles import merge

    merge(pl.read_delta(str(root / "year_profiles")))
    return {}


def drift_of_a_year(root: Path, _: int) -> Distances:
    from platform_assets.compute.drift import drift_over, fixed
    from platform_assets.compute.profiles import merge
    from platform_assets.declarations.times import Days

    stored = pl.read_delta(str(root / "year_profiles"))
    grid = merge(stored.filter(pl.col("day") <= REFERENCE[1]), points=256)
    drift_over(stored, fixed(Days(*YEAR), Days(*REFERENCE)), grid=grid)
    return {}


def thresholds_of_a_year(root: Path, _: int) -> Distances:
    from platform_assets.compute.drift import drift_over
    from platform_assets.compute.profiles import merge
    from platform_assets.compute.thresholds import held_out, learn
    from platform_assets.declarations.times import Days

    stored = pl.read_delta(str(root / "year_profiles"))
    grid = merge(stored.filter(pl.col("day") <= REFERENCE[1]), points=256)
    quiet = drift_over(stored, held_out(Days(*REFERENCE), apart=14), grid=grid)
    learn(quiet, alarms_per_month=1)
    return {}


# Others' libraries come here, each with a process and a lock of its own.
CONTENDERS: dict[str, Contender] = {
    "reading the rows since (the floor)": only_read,
    "and profiling them": profiled,
    "and comparing them with the stored profile": against_the_stored,
    "exact, each column sorted once": exact,
    "SciPy, call by call": scipy_by_call,
    "a year: reading and profiling 365 days": profile_a_year,
    "a year: merging its profiles": merge_a_year,
    "a year: drift of every day": drift_of_a_year,
    "a year: learning the thresholds": thresholds_of_a_year,
}


def run(root: Path, name: str, rows: int) -> None:
    """Run one contender in this process and print its figures."""
    contender = CONTENDERS[name]
    contender(root, rows // 10)  # what is loaded on first use does not count
    began, used = time.perf_counter(), _processor_seconds()
    found = contender(root, rows)
    wall, processor = time.perf_counter() - began, _processor_seconds() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    off = None
    truth = root / "truth.json"
    if contender is exact:
        truth.write_text(json.dumps(found))
    if found and truth.exists():
        held = json.loads(truth.read_text())
        off = max(abs(found[column] - held[column]) for column in held)
    print(json.dumps({"wall": wall, "processor": processor, "peak": peak, "off": off}))


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="default", help="how many rows, and how often")
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "NAME", "ROWS"), help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=2, metavar=("FOLDER", "ROWS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        run(Path(chosen.one[0]), chosen.one[1], int(chosen.one[2]))
        return
    if chosen.make:
        make(Path(chosen.make[0]), int(chosen.make[1]))
        return
    size = SIZES[chosen.size]
    itself = [sys.executable, "-m", "benchmarks.profiles"]
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: the peak of a parent is inherited.
        subprocess.run([*itself, "--make", folder, str(size.rows)], check=True)
        found: dict[str, list[dict[str, float | None]]] = {name: [] for name in CONTENDERS}
        ordered = sorted(found, key=lambda name: CONTENDERS[name] is not exact)  # the others are measured by it
        for _ in range(size.repeat):
            for name in ordered:
                command = [*itself, "--one", folder, name, str(size.rows)]
                found[name].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    daily = f"{DAILY_COLUMNS} columns of {DAYS} days of {DAILY_ROWS} rows"
    print(f"{COLUMNS} columns of {size.rows:,} rows against as many; {daily}; median of {size.repeat}\n")
    print("| | wall s | processor s | peak GB | off |")
    print("|---|---:|---:|---:|---:|")
    for name, figures in found.items():
        wall, processor, peak = (
            statistics.median(f[what] or 0.0 for f in figures) for what in ("wall", "processor", "peak")
        )
        off = "" if figures[0]["off"] is None else f"{figures[0]['off']:.5f}"
        print(f"| {name} | {wall:.2f} | {processor:.2f} | {peak:.2f} | {off} |")


if __name__ == "__main__":
    main()
