"""The point-in-time join beside what a user would pick instead, on the same Delta tables, in one run.

A spine is joined to three groups of features. *Wrong* counts answers that differ from what was known then: two rows
in a hundred are late, and an as-of join on the known time lets a late row about an old event shadow a newer fact.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from deltalake import DeltaTable, write_deltalake

from benchmarks.contest import Contender, Contest, Work, main

GROUPS, VALUES, ENTITIES, MONTHS = 3, 3, 100_000, 12
START, YEAR, DAY = 1_356_998_400_000_000, 365 * 86_400_000_000, 86_400_000_000


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


def feast_in(root: Path, *, known_then: bool) -> Join:
    """The groups as feature views over the tables' files, in a registry of this process, and the join over them.

    Feast takes the newest event whenever it became known, unless it is told to look at the created time. It reads
    Delta through an extension that DuckDB downloads at run time; the files of tables without removals are the same.
    """
    from tempfile import mkdtemp

    import feast
    from feast.data_format import ParquetFormat
    from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
    from feast.types import Float64

    folder = mkdtemp(dir=root)
    store = feast.FeatureStore(
        config=feast.RepoConfig(
            project="peers",
            provider="local",
            registry=f"{folder}/registry.db",
            offline_store=DuckDBOfflineStoreConfig(),
            online_store=None,
            entity_key_serialization_version=3,
        )
    )
    entity = feast.Entity(name="entity", value_type=feast.ValueType.INT64)
    views = [
        feast.FeatureView(
            name=f"g{number}",
            entities=[entity],
            ttl=None,
            schema=[feast.Field(name=f"g{number}_v{n}", dtype=Float64) for n in range(VALUES)],
            source=feast.FileSource(
                path=str(root / f"g{number}" / "*.parquet"),
                file_format=ParquetFormat(),
                timestamp_field="event_time",
                created_timestamp_column="known_at",
            ),
        )
        for number in range(GROUPS)
    ]
    store.apply([entity, *views])
    asked = [f"g{number}:g{number}_v{n}" for number in range(GROUPS) for n in range(VALUES)]

    def join(_: Path, spine: pl.DataFrame) -> pl.DataFrame:
        rows = spine.rename({"prediction_time": "event_timestamp"}).to_pandas()
        found = store.get_historical_features(rows, asked, filter_by_created_timestamp=known_then).to_arrow()
        return pl.DataFrame(found).rename({"event_timestamp": "prediction_time"}).sort("row")

    return join


def feast_contender(*, known_then: bool) -> Contender:
    def ready(root: Path) -> Work:
        return contender(feast_in(root, known_then=known_then)).ready(root)

    return Contender(ready=ready, peer=True)


def contender(join: Join, spine_name: str = "spine") -> Contender:
    """Read the spine, and join once on a tenth of it, so that what is compiled on first use does not count."""

    def ready(root: Path) -> Work:
        spine = pl.read_parquet(root / f"{spine_name}.parquet")
        join(root, spine.head(len(spine) // 10))
        return lambda: join(root, spine)

    return Contender(ready=ready, judged=spine_name == "spine" and join is not only_scan)


def keep(root: Path, joined: Any) -> None:
    joined.write_parquet(root / "truth.parquet")


def wrong(root: Path, joined: Any) -> int:
    """The rows in which any value differs, at most over the columns."""
    held = pl.read_parquet(root / "truth.parquet")
    values = [name for name in held.columns if name not in ("row", "entity", "prediction_time")]
    return max(int(joined[v].fill_nan(None).ne_missing(held[v]).sum()) for v in values)


CONTEST = Contest(
    module="benchmarks.point_in_time",
    work=f"Joining {{spine}} spine rows to {GROUPS} groups of {{group}} rows on Delta",
    sizes={
        "small": {"spine": 20_000, "group": 100_000, "repeat": 1},
        "default": {"spine": 1_000_000, "group": 5_000_000, "repeat": 3},
        "large": {"spine": 2_000_000, "group": 20_000_000, "repeat": 3},
    },
    make=make,
    contenders={
        "scan of the columns (the floor)": contender(only_scan),
        "point_in_time_joins": contender(ours),
        "Polars join_asof": contender(polars_asof),
        "pandas merge_asof": contender(pandas_asof),
        "DuckDB ASOF": contender(duckdb_asof),
        "Feast on DuckDB": feast_contender(known_then=False),
        "Feast on DuckDB, by created time": feast_contender(known_then=True),
        "point_in_time_joins, 1,000 questions in a week": contender(ours, "week"),
        "the same with max_age of 7 days": contender(lambda root, spine: ours(root, spine, max_age_days=7), "week"),
    },
    base="point_in_time_joins",
    truth="point_in_time_joins",
    keep=keep,
    wrong=wrong,
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
