"""Profiles and drift beside what a user would do instead, on the same Delta tables, in one run.

Fifty columns of a million rows are compared with a million before them; and sixty columns of a year, day by day.
*Off* is the greatest difference of a Kolmogorov-Smirnov distance (Evidently's is a Wasserstein distance in standard
deviations) from the one that the values have. Reading the rows is part of what needs them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from deltalake import write_deltalake

from benchmarks.contest import Contender, Contest, Work, main

COLUMNS, DAYS, DAILY_COLUMNS, DAILY_ROWS = 50, 365, 60, 900
YEAR, REFERENCE = (date(2013, 1, 1), date(2013, 12, 31)), (date(2013, 1, 1), date(2013, 9, 30))


Distances = dict[str, float]
Compare = Callable[[Path, int], Distances]


def make(root: Path, rows: int) -> None:
    """Write the rows before, the rows since, a year by day, and the profiles of the first and the last."""
    from platform_assets.compute.profiles import profile

    (root / "rows").write_text(str(rows))
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
    found: Distances = {}
    for name in before.columns:
        drift = exact_drift(before[name], since[name])
        told_of = {name: drift["kolmogorov_smirnov"], in_spreads(name): drift["wasserstein_in_spreads"]}
        found |= {key: distance for key, distance in told_of.items() if distance is not None}
    return found


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


def evidently_s_preset(root: Path, count: int) -> Distances:
    """Its default for numbers of so many rows: the Wasserstein distance in standard deviations of the rows before."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    before, since = (rows_of(root, name, count).to_pandas() for name in ("before", "since"))
    found = Report([DataDriftPreset(num_method="wasserstein")]).run(since, before).dict()["metrics"]
    of_columns = [metric for metric in found if "column" in metric["config"]]
    return {in_spreads(metric["config"]["column"]): float(metric["value"]) for metric in of_columns}


def nannyml_by_column(root: Path, count: int) -> Distances:
    """One chunk; above 10,000 rows it takes the distance at 10,000 equal steps from the least to the greatest value."""
    import nannyml

    before, since = (rows_of(root, name, count).to_pandas() for name in ("before", "since"))
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(before), continuous_methods=["kolmogorov_smirnov"], chunk_number=1
    )
    found = calculator.fit(before).calculate(since).filter(period="analysis").to_df()
    return {name: float(found[name, "kolmogorov_smirnov", "value"].iloc[-1]) for name in before}


def in_spreads(column: str) -> str:
    """The key of a column's Wasserstein distance in standard deviations."""
    return f"{column}, Wasserstein"


def profile_a_year(root: Path, _: int) -> Distances:
    from platform_assets.compute.profiles import profile

    profile(pl.scan_delta(str(root / "year")), day="day")
    return {}


def merge_a_year(root: Path, _: int) -> Distances:
    from platform_assets.compute.merging import merge

    merge(pl.read_delta(str(root / "year_profiles")))
    return {}


def drift_of_a_year(root: Path, _: int) -> Distances:
    from platform_assets.compute.drift import drift_over, fixed
    from platform_assets.compute.merging import merge
    from platform_assets.declarations.times import Days

    stored = pl.read_delta(str(root / "year_profiles"))
    grid = merge(stored.filter(pl.col("day") <= REFERENCE[1]), points=256)
    drift_over(stored, fixed(Days(*YEAR), Days(*REFERENCE)), grid=grid)
    return {}


def thresholds_of_a_year(root: Path, _: int) -> Distances:
    from platform_assets.compute.drift import drift_over
    from platform_assets.compute.merging import merge
    from platform_assets.compute.thresholds import held_out, learn
    from platform_assets.declarations.times import Days

    stored = pl.read_delta(str(root / "year_profiles"))
    grid = merge(stored.filter(pl.col("day") <= REFERENCE[1]), points=256)
    quiet = drift_over(stored, held_out(Days(*REFERENCE), apart=14), grid=grid)
    learn(quiet, alarms_per_month=1)
    return {}


def contender(compare: Compare, *, judged: bool = False, peer: bool = False, in_readme: bool = True) -> Contender:
    """Do it once on a tenth of the rows, so that what is loaded on first use does not count."""

    def ready(root: Path) -> Work:
        rows = int((root / "rows").read_text())
        compare(root, rows // 10)
        return lambda: compare(root, rows)

    return Contender(ready=ready, judged=judged, peer=peer, in_readme=in_readme)


def keep(root: Path, found: Any) -> None:
    (root / "truth.json").write_text(json.dumps(found))


def off(root: Path, found: Any) -> float:
    """The greatest difference of a distance from the one that the values have; every column must be told of."""
    held = json.loads((root / "truth.json").read_text())
    if len(found) < COLUMNS:
        return float("inf")
    return float(max(abs(found[name] - held[name]) for name in found))


CONTEST = Contest(
    module="benchmarks.profiles",
    work=f"Comparing {COLUMNS} columns of {{rows}} rows with as many; {DAILY_COLUMNS} columns of {DAYS} days of "
    f"{DAILY_ROWS} rows",
    sizes={"small": {"rows": 20_000, "repeat": 1}, "default": {"rows": 1_000_000, "repeat": 3}}
    | {"large": {"rows": 5_000_000, "repeat": 3}},
    make=make,
    contenders={
        "reading the rows since (the floor)": contender(only_read),
        "reading and profiling them": contender(profiled),
        "reading, profiling, comparing with what is stored": contender(against_the_stored, judged=True),
        "exact, each column sorted once": contender(exact, judged=True),
        "SciPy, call by call": contender(scipy_by_call, judged=True),
        "Evidently, DataDriftPreset": contender(evidently_s_preset, judged=True, peer=True),
        "NannyML, by column": contender(nannyml_by_column, judged=True, peer=True),
        "a year: reading and profiling 365 days": contender(profile_a_year, in_readme=False),
        "a year: merging its profiles": contender(merge_a_year, in_readme=False),
        "a year: drift of every day": contender(drift_of_a_year, in_readme=False),
        "a year: learning the thresholds": contender(thresholds_of_a_year, in_readme=False),
    },
    base="reading, profiling, comparing with what is stored",
    truth="exact, each column sorted once",
    keep=keep,
    wrong=off,
    wrong_is="off",
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
