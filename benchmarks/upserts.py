"""A day's rows into a table that has grown for days or years: what a write costs after so much history.

Each history was written as it would have been, a commit a day. The I/O managers of others are asked to store the day as
Dagster would ask them, without the run around it. *Kept up* is as the platform's maintenance leaves a table every Sunday:
the log has the versions of the last 90 days. *Wrong* counts by how many rows the day differs from what was to be
written, however often it was written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from deltalake import DeltaTable, write_deltalake

from benchmarks.contest import Contender, Contest, Work, main
from platform_assets.declarations.names import DAY, table_folder
from platform_assets.declarations.times import ONE_DAY, Days

if TYPE_CHECKING:
    from platform_assets.lake.tables import Lake

FIRST = date(2020, 1, 6)
NEW = FIRST - ONE_DAY
"""The day that is written: before all others, so that it is new to every history."""
BARE = "bare.delta"
"""The table of the others, as dagster-polars names that of an asset `bare`."""


TABLE = table_folder("visits", "visits")
KEPT_UP = "old and kept up"

Upsert = Callable[[Path, pl.DataFrame], Path]


def rows_of(day: date, per_day: int) -> pl.DataFrame:
    """The rows of a day as a table holds them."""
    from benchmarks import visits

    at = pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    return visits.rows_of(day, per_day).with_columns(at, pl.lit(day).alias(DAY))


def make(root: Path, *, per_day: int, **histories: int) -> None:
    """Write each history by the platform's own write, and by delta-rs, a commit a day."""
    from platform_assets.lake.tables import Lake

    for name, count in histories.items():
        lake, bare = Lake(root / name / "ours"), root / name / BARE
        for day in Days(FIRST, FIRST + (count - 1) * ONE_DAY):
            rows = rows_of(day, per_day)
            write_day(lake, rows, day)
            write_deltalake(bare, rows, mode="append", partition_by=[DAY])
    shutil.copytree(root / "old" / "ours", root / KEPT_UP / "ours")
    keep_up_old(Lake(root / KEPT_UP / "ours"))
    rows_of(NEW, per_day).write_parquet(root / "new.parquet")


def keep_up_old(lake: Lake) -> None:
    """What maintenance does to a table that got a version a day, as though the last was of a week ago."""
    from platform_assets.declarations.retention import Retention
    from platform_assets.lake.retention import keep_up, plan_upkeep

    rules, newest = Retention(), lake.open(TABLE).version()
    needed = dict.fromkeys(range(max(newest - rules.audit.days, 0), newest), ("audit",))
    plan = plan_upkeep(
        lake, TABLE, needed=needed, readers=rules.readers, now=datetime.now(UTC) + rules.readers + timedelta(days=1)
    )
    keep_up(lake, plan, run_id="maintenance")


def write_day(lake: Lake, rows: pl.DataFrame, day: date) -> None:
    """The platform's write of one day: planned by content, with its origin."""
    from platform_assets.lake.writes import Provenance, write

    origin = Provenance(asset="visits/visits", fingerprint="f", run_id="r", inputs={})
    write(lake, TABLE, rows, columns=_columns(), days=Days(day, day), provenance=origin)


@cache
def _columns() -> Any:
    from benchmarks import visits

    return visits.project(10)["visits"].columns  # type: ignore[attr-defined]


def ours(root: Path, rows: pl.DataFrame) -> Path:
    from platform_assets.lake.tables import Lake

    lake = Lake(root / "ours")
    write_day(lake, rows, rows[DAY][0])
    return lake.path(TABLE)


def delta_overwrite(root: Path, rows: pl.DataFrame) -> Path:
    write_deltalake(root / BARE, rows, mode="overwrite", predicate=f"{DAY} = '{rows[DAY][0]}'")
    return root / BARE


def delta_merge(root: Path, rows: pl.DataFrame, where: str = "") -> Path:
    merging = DeltaTable(root / BARE).merge(rows, f"t.visit_id = s.visit_id{where}", source_alias="s", target_alias="t")
    merging.when_matched_update_all().when_not_matched_insert_all().execute()
    return root / BARE


def delta_merge_in_day(root: Path, rows: pl.DataFrame) -> Path:
    return delta_merge(root, rows, f" AND t.{DAY} = s.{DAY} AND t.{DAY} = '{rows[DAY][0]}'")


def asked_to_store(asset: str, day: date, **told: Any) -> Any:
    """What Dagster tells an I/O manager beside the rows, when a day of an asset is made."""
    import dagster as dg

    calendar = dg.DailyPartitionsDefinition(start_date=str(NEW - ONE_DAY))
    return dg.build_output_context(
        asset_key=asset,
        partition_key=str(day),
        asset_partitions_def=calendar,
        dagster_type=dg.PythonObjectDagsterType(pl.DataFrame),
        instance=_nowhere(),
        **told,
    )


@cache
def _nowhere() -> Any:
    import dagster as dg

    return dg.DagsterInstance.ephemeral()


def dagster_polars(root: Path, rows: pl.DataFrame) -> Path:
    import dagster as dg
    from dagster_polars import PolarsDeltaIOManager

    context = asked_to_store("bare", rows[DAY][0], definition_metadata={"partition_by": DAY, "mode": "overwrite"})
    manager = PolarsDeltaIOManager(base_dir=str(root))
    manager.setup_for_execution(dg.build_init_resource_context(instance=_nowhere()))
    manager.handle_output(context, rows)
    return root / BARE


def dagster_deltalake(root: Path, rows: pl.DataFrame) -> Path:
    from dagster_deltalake_polars import DeltaLakePolarsIOManager

    settings = {"root_uri": str(root.parent), "storage_options": {"local": {}}, "schema": root.name}
    context = asked_to_store(BARE, rows[DAY][0], definition_metadata={"partition_expr": DAY}, resource_config=settings)
    manager = DeltaLakePolarsIOManager(**settings).create_io_manager(None)
    manager.handle_output(context, rows)
    return root / BARE


def one_file(root: Path, rows: pl.DataFrame) -> Path:
    """What no table can do without: the rows as a file."""
    folder = root / "file" / f"{DAY}={rows[DAY][0]}"
    folder.mkdir(parents=True, exist_ok=True)
    rows.drop(DAY).write_parquet(folder / "rows.parquet")
    return root / "file"


def after(age: str, upsert: Upsert) -> Contender:
    """An upsert into a copy of a history, once another day was upserted to load what is loaded on first use."""

    def ready(root: Path) -> Work:
        copied = root / f"copy-{os.getpid()}"
        shutil.copytree(root / age, copied, copy_function=_link)
        rows = pl.read_parquet(root / "new.parquet")
        upsert(
            copied,
            rows.with_columns(pl.lit(NEW - ONE_DAY).alias(DAY), pl.format("before-{}", "visit_id").alias("visit_id")),
        )
        return lambda: upsert(copied, rows)

    return Contender(ready=ready, peer=upsert in PEERS.values(), in_readme=upsert is ours or age == "old")


def _link(source: str, target: str) -> None:
    """Data files are never changed in place; the log is copied."""
    if source.endswith(".parquet") and "_delta_log" not in source:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def wrong(root: Path, table: Any) -> int:
    """By how many rows the day differs from what was to be there."""
    wanted = pl.read_parquet(root / "new.parquet").drop(DAY)
    files = (
        DeltaTable(table).file_uris(file_pruning_predicate=f"{DAY} = '{NEW}'")
        if (table / "_delta_log").exists()
        else table / "**/*.parquet"
    )
    found = pl.read_parquet(files, hive_partitioning=True).filter(pl.col(DAY).cast(pl.String) == str(NEW))
    same = found.select(wanted.columns).join(wanted, on=wanted.columns, how="semi", nulls_equal=True)
    return len(found) - len(same) + abs(len(wanted) - len(same))


AGES = ("young", "grown", "old")
ENDS = (AGES[0], AGES[-1])
"""What the others are asked about."""
WAYS: Mapping[str, Upsert] = {
    "one Parquet file (the floor)": one_file,
    "write": ours,
    "delta-rs, overwrite of the day": delta_overwrite,
    "delta-rs, merge within the day": delta_merge_in_day,
    "delta-rs, merge": delta_merge,
}
PEERS: Mapping[str, Upsert] = {
    "dagster-polars, overwrite of the day": dagster_polars,
    "dagster-deltalake-polars, overwrite of the day": dagster_deltalake,
}

CONTEST = Contest(
    module="benchmarks.upserts",
    work="Upserting a day of {per_day} rows of 32 columns into a table of {young} (young), {grown} (grown) and {old} (old) "
    "days, a commit each",
    sizes={
        "small": {"per_day": 300, "young": 1, "grown": 3, "old": 10, "repeat": 1},
        "default": {"per_day": 5_000, "young": 1, "grown": 30, "old": 365, "repeat": 5},
        "large": {"per_day": 500, "young": 1, "grown": 365, "old": 3_650, "repeat": 5},
    },
    make=make,
    contenders={
        f"{name}, {age}": after(age, way)
        for name, way in (WAYS | PEERS).items()
        for age in ((*AGES, KEPT_UP) if way is ours else ENDS)
    },
    base="write, young",
    truth=None,
    wrong=wrong,
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
