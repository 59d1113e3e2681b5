"""What Dagster and the platform on top of it cost: loading, one small asset on one day, a backfill of many days.

The asset counts what each visitor did in the last seven days. The script reads the same slice of the same table day by
day and writes a Parquet file; plain Dagster does so with its stock I/O manager, which takes a run for each day. Ours runs on
the instance that ships (events are stored in batches, on connections that stay open), the others on Dagster's stock one.
Jobs are built beforehand. *Wrong* counts rows that differ from those of one pass over all days.
"""

# No `from __future__ import annotations`: Dagster reads the types of contexts, not their text.

import importlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.contest import Contender, Contest, Work, main

PLAIN_ASSETS = 24
"""As many as the flights declare."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

# Nothing here imports dagster or the platform before it is asked for: loading them is part of what is measured.


def make(root: Path, *, days: int, per_day: int) -> None:
    """Visits of so many days and the week before, as a table."""
    from benchmarks import visits

    span = _span(visits.FIRST, days + 7)
    visits.land(root, span, per_day=per_day)
    visits.make(root, visits.project(len(span)), "visits", days=span)


def _span(first: date, count: int) -> Any:
    from platform_assets.declarations.times import Days

    return Days(first, first + timedelta(days=count - 1))


def _days(root: Path) -> list[date]:
    """The days that are made: all that have a week before them."""
    return sorted(date.fromisoformat(found.stem) for found in (root / "landing" / "visits").iterdir())[7:]


def _table(root: Path) -> str:
    from platform_assets.declarations.names import table_folder

    return str(root / "lake" / table_folder("visits", "visits"))


def habits(visits: pl.LazyFrame) -> pl.LazyFrame:
    """What a script would write down."""
    counted = visits.group_by("visitor", "at").agg(pl.len().alias("visits"), pl.col("n0").fill_null(0).sum())
    rolled = counted.sort("visitor", "at").rolling("at", period="7d", group_by="visitor")
    return rolled.agg(visits_7d=pl.col("visits").sum().cast(pl.Int64), spent_7d=pl.col("n0").sum())


def of_one_day(root: Path, day: date) -> pl.DataFrame:
    """The day's rows, from the slice that they need."""
    read = pl.scan_delta(_table(root)).filter(pl.col("day").is_between(day - timedelta(days=7), day))
    return habits(read).filter(pl.col("at").dt.date() == day).collect()


def import_dagster(_: Path) -> Work:
    return lambda: importlib.import_module("dagster")


def load_flights(root: Path) -> Work:
    os.environ["PLATFORM_DATA"] = str(root / "data")

    def work() -> Any:
        found = importlib.import_module("platform_assets.definitions").defs()
        return found.resolve_all_asset_specs()

    return work


def load_plain(_: Path) -> Work:
    def work() -> Any:
        dg = importlib.import_module("dagster")
        assets = [dg.asset(name=f"a{n}", deps=[f"a{n - 1}"] if n else [])(lambda: None) for n in range(PLAIN_ASSETS)]
        return dg.Definitions(assets=assets).resolve_all_asset_specs()

    return work


def script(root: Path, count: int | None) -> Work:
    days = _days(root)[:count]
    folder = Path(tempfile.mkdtemp(dir=root))
    of_one_day(root, days[0]).write_parquet(folder / "warm.parquet")

    def work() -> Work:
        for day in days:
            of_one_day(root, day).write_parquet(folder / f"{day}.parquet")
        return lambda: (days, pl.read_parquet([folder / f"{day}.parquet" for day in days]))

    return work


def ours(root: Path, count: int | None, *, through_dagster: bool) -> Work:
    import dagster as dg

    from benchmarks import visits
    from platform_assets.lake.tables import Lake
    from platform_assets.orchestration.definitions import build_definitions
    from platform_assets.orchestration.instance import open_instance
    from platform_assets.orchestration.refresh import RANGE_END, RANGE_START
    from platform_assets.settings import load_settings

    days, own = _days(root)[:count], Path(tempfile.mkdtemp(dir=root))
    catalogue = visits.project(len(_days(root)) + 7)
    shutil.copytree(root / "lake", own / "lake")
    settings = load_settings({"PLATFORM_DATA": str(own)})
    settings.require_writable()
    found = build_definitions(catalogue, settings=settings)
    job = dg.Definitions(assets=found.assets, resources=found.resources, executor=found.executor)
    resolved = job.resolve_implicit_global_asset_job_def()
    instance = open_instance(settings)

    def run(first: date, last: date) -> None:
        tags = {RANGE_START: str(first), RANGE_END: str(last)}
        chosen = [dg.AssetKey(["visits", "visitor_habits"])]
        resolved.execute_in_process(instance=instance, tags=tags, asset_selection=chosen, run_config=QUIET)

    def call(first: date, last: date) -> None:
        visits.make(own, catalogue, "visitor_habits", days=_span(first, (last - first).days + 1))

    go: Callable[[date, date], None] = run if through_dagster else call
    go(_days(root)[-1], _days(root)[-1])

    def work() -> Work:
        go(days[0], days[-1])
        rows = Lake(own / "lake").scan("visits/visitor_habits").filter(pl.col("day").is_in(days))
        return lambda: (days, rows.drop("day").collect())

    return work


Read = Callable[[list[date]], pl.DataFrame]


def pickled(own: Path) -> tuple[Any, Read]:
    """The I/O manager that Dagster uses unless told otherwise, and what reads the days that it wrote."""
    import dagster as dg

    def read(days: list[date]) -> pl.DataFrame:
        files = [own / "storage" / "visitor_habits" / str(day) for day in days]
        return pl.concat(pickle.loads(file.read_bytes()) for file in files)  # noqa: S301 - written above

    return dg.FilesystemIOManager(base_dir=str(own / "storage")), read


def in_delta(own: Path) -> tuple[Any, Read]:
    """That of dagster-polars, which keeps the days of an asset in one Delta table."""
    from dagster_polars import PolarsDeltaIOManager

    table = own / "storage" / "visitor_habits.delta"
    storage = PolarsDeltaIOManager(base_dir=str(own / "storage"))
    return storage, lambda days: pl.scan_delta(str(table)).filter(pl.col("day").is_in(days)).collect()


def plain(root: Path, count: int | None, stored: Callable[[Path], tuple[Any, Read]]) -> Work:
    import dagster as dg

    days, own = _days(root)[:count], Path(tempfile.mkdtemp(dir=root))
    calendar = dg.DailyPartitionsDefinition(start_date=str(days[0] - timedelta(days=7)))

    @dg.asset(partitions_def=calendar, metadata={"partition_by": "day"})
    def visitor_habits(context: dg.AssetExecutionContext) -> pl.DataFrame:
        day = date.fromisoformat(context.partition_key)
        return of_one_day(root, day).with_columns(day=pl.lit(day))

    instance = dg.DagsterInstance.local_temp(str(own))
    storage, read = stored(own)
    found = dg.Definitions(assets=[visitor_habits], resources={"io_manager": storage}, executor=dg.in_process_executor)
    resolved = found.resolve_implicit_global_asset_job_def()

    def run(day: date) -> None:
        resolved.execute_in_process(instance=instance, partition_key=str(day), run_config=QUIET)

    run(days[0] - timedelta(days=1))

    def work() -> Work:
        for day in days:
            run(day)
        return lambda: (days, read(days))

    return work


def wrong(root: Path, answer: Any) -> int:
    """Rows of the days that were made that are not those of one pass over everything."""
    if not callable(answer):
        return 0
    days, found = answer()
    right = habits(pl.scan_delta(_table(root))).filter(pl.col("at").dt.date().is_in(days)).collect()
    near = [pl.col("spent_7d").round(6), "visitor", "at", "visits_7d"]
    missing = right.select(near).join(found.select(near), on=["visitor", "at", "visits_7d", "spent_7d"], how="anti")
    return len(missing) + abs(len(found) - len(right))


LOAD, DAY, BACKFILL = "import dagster (the floor)", "a script, one day", "a script, every day"

CONTEST = Contest(
    module="benchmarks.orchestration",
    work="Loading a code location; one small asset of {per_day} rows a day, on one day and on {days}, ours and plain Dagster's "
    "each with the instance that it comes with",
    sizes={
        "small": {"days": 5, "per_day": 200, "repeat": 1},
        "default": {"days": 365, "per_day": 200, "repeat": 3},
        "large": {"days": 3_650, "per_day": 200, "repeat": 3},
    },
    make=make,
    contenders={
        LOAD: Contender(ready=import_dagster, judged=False),
        f"load {PLAIN_ASSETS} assets of plain Dagster": Contender(ready=load_plain, judged=False),
        "load the flights": Contender(ready=load_flights, judged=False),
        DAY: Contender(ready=lambda root: script(root, 1), base=DAY),
        "materialize, one day": Contender(ready=lambda root: ours(root, 1, through_dagster=False), base=DAY),
        "our asset, one day": Contender(ready=lambda root: ours(root, 1, through_dagster=True), base=DAY),
        "an asset of plain Dagster, one day": Contender(ready=lambda root: plain(root, 1, pickled), base=DAY),
        "with dagster-polars on Delta, one day": Contender(
            ready=lambda root: plain(root, 1, in_delta), base=DAY, peer=True
        ),
        BACKFILL: Contender(ready=lambda root: script(root, None), base=BACKFILL),
        "materialize, every day": Contender(ready=lambda root: ours(root, None, through_dagster=False), base=BACKFILL),
        "our asset, every day in a run": Contender(
            ready=lambda root: ours(root, None, through_dagster=True), base=BACKFILL
        ),
        "an asset of plain Dagster, a run for each day": Contender(
            ready=lambda root: plain(root, None, pickled), base=BACKFILL
        ),
    },
    base=LOAD,
    wrong=wrong,
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
