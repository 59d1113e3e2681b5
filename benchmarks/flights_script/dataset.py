"""Every flight an hour before it leaves with what was known of it then, and the part of them that a model learns from."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path

import feast
import polars as pl
from feast.data_format import ParquetFormat
from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig

from benchmarks.flights_script.clean import NEW_YORK

STRING, INT64 = feast.ValueType.STRING, feast.ValueType.INT64
ENTITIES = {
    "origin": STRING, "destination": STRING, "carrier": STRING, "tail_number": STRING, "flight_number": INT64,
}  # fmt: skip
# By view its keys and how old a row may be.
IN_FEAST = {
    "aircraft_rotation": (["tail_number"], timedelta(hours=24)),
    "flight_number_history": (["carrier", "flight_number"], timedelta(days=14)),
    "route_history": (["origin", "destination"], timedelta(hours=12)),
    "origin_weather": (["origin"], timedelta(hours=3)),
}
# Feast pairs every question with every earlier row of its key before it takes the newest. With a row each quarter hour
# and three origins that is billions of pairs, so these are joined by Polars.
BY_HAND = {
    "origin_traffic": (["origin"], timedelta(minutes=30)),
    "origin_carrier_traffic": (["origin", "carrier"], timedelta(minutes=15) - timedelta(microseconds=1)),
    "destination_traffic": (["destination"], timedelta(minutes=15) - timedelta(microseconds=1)),
    "carrier_today": (["carrier"], timedelta(hours=6)),
}
TIMES = ("event_time", "known_at")
RECENT = [
    "waiting_flights", "waiting_minutes_mean", "due_delay_so_far_mean_2h", "departure_delay_mean_1h",
    "departure_delay_mean_3h", "arrival_delay_mean_3h", "lost_en_route_mean_3h",
]  # fmt: skip
CHOSEN = {
    "destination_traffic": RECENT,
    "origin_carrier_traffic": [
        *RECENT, "due_late_share_2h", "departure_late_share_1h", "arrival_late_share_3h",
    ],
}  # fmt: skip
LATE = 30
SELECT_FROM, REPORT_FROM, REPORT_UNTIL = date(2013, 8, 1), date(2013, 10, 1), date(2014, 1, 1)
GAP = timedelta(days=2)


def asked(clean: Path, features: Path, out: Path) -> None:
    """The questions with their features."""
    spine = _spine(pl.read_parquet(clean / "schedule.parquet"), pl.read_parquet(clean / "assignments.parquet"))
    joined = _joined_by_feast(spine, features)
    for name, (keys, ttl) in BY_HAND.items():
        joined = _joined_by_polars(joined, features / f"{name}.parquet", name, keys, ttl)
    age = (pl.col("prediction_time") - pl.col("origin_weather__observed_at")).dt.total_seconds() / 60
    joined = joined.with_columns(origin_weather__age_minutes=age).drop("origin_weather__observed_at")
    joined.sort("prediction_time", "flight_id").write_parquet(out / "asked.parquet")


def training(clean: Path, out: Path) -> None:
    """The flights that arrived, with whether they were late, divided by time with a gap."""
    arrivals = pl.read_parquet(clean / "arrivals.parquet", columns=["flight_id", "arrived_at", "arrival_delay"])
    rows = pl.read_parquet(out / "asked.parquet").join(arrivals, on="flight_id", maintain_order="left")
    at, matured = pl.col("prediction_time"), pl.col("arrived_at")
    select, report, end = (
        pl.lit(day).cast(pl.Datetime("us")).dt.replace_time_zone(NEW_YORK).dt.convert_time_zone("UTC")
        for day in (SELECT_FROM, REPORT_FROM, REPORT_UNTIL)
    )
    split = (
        pl.when(at < select - GAP, matured < select - GAP)
        .then(pl.lit("fit"))
        .when(at >= select, at < report - GAP, matured < report - GAP)
        .then(pl.lit("select"))
        .when(at >= report, at < end)
        .then(pl.lit("report"))
    )
    labelled = rows.with_columns(late=pl.col("arrival_delay") >= LATE, split=split).drop("arrived_at", "arrival_delay")
    labelled.drop_nulls("split").write_parquet(out / "late_arrivals.parquet")


def _spine(schedule: pl.DataFrame, assignments: pl.DataFrame) -> pl.DataFrame:
    local = pl.col("scheduled_departure").dt.convert_time_zone(NEW_YORK)
    hour, day = local.dt.hour().cast(pl.Int32), local.dt.date()
    flights = schedule.join(assignments.select("flight_id", "tail_number"), on="flight_id", how="left")
    return flights.with_columns(
        scheduled_hour=hour,
        minute_of_day=hour * 60 + local.dt.minute(),
        weekday=local.dt.weekday(),
        scheduled_block_minutes=(pl.col("scheduled_arrival") - pl.col("scheduled_departure")).dt.total_minutes(),
        origin_flights_in_hour=pl.len().over("origin", day, hour),
        origin_flights_in_day=pl.len().over("origin", day),
        prediction_time=pl.col("scheduled_departure") - timedelta(hours=1),
    ).drop("scheduled_arrival")


def _joined_by_feast(spine: pl.DataFrame, features: Path) -> pl.DataFrame:
    store = feast.FeatureStore(
        config=feast.RepoConfig(
            project="flights",
            provider="local",
            registry=f"{tempfile.mkdtemp()}/registry.db",
            offline_store=DuckDBOfflineStoreConfig(),
            online_store=None,
            entity_key_serialization_version=3,
        )
    )
    entities = {name: feast.Entity(name=name, value_type=kind) for name, kind in ENTITIES.items()}
    views = [
        feast.FeatureView(
            name=name,
            entities=[entities[key] for key in keys],
            ttl=ttl,
            source=feast.FileSource(
                path=str(features / f"{name}.parquet"),
                file_format=ParquetFormat(),
                timestamp_field="event_time",
                created_timestamp_column="known_at" if name == "origin_weather" else "",
            ),
        )
        for name, (keys, ttl) in IN_FEAST.items()
    ]
    store.apply([*entities.values(), *views])
    refs = [
        f"{name}:{column}"
        for name, (keys, _) in IN_FEAST.items()
        for column in pl.read_parquet_schema(features / f"{name}.parquet")
        if column not in (*keys, *TIMES)
    ]
    rows = spine.rename({"prediction_time": "event_timestamp"}).to_pandas()
    # Without the filter Feast takes the newest weather whenever it became known.
    found = store.get_historical_features(rows, refs, full_feature_names=True, filter_by_created_timestamp=True)
    return pl.DataFrame(found.to_arrow()).rename({"event_timestamp": "prediction_time"})


def _joined_by_polars(rows: pl.DataFrame, path: Path, name: str, keys: list[str], ttl: timedelta) -> pl.DataFrame:
    found = pl.read_parquet(path)
    columns = CHOSEN.get(name, [c for c in found.columns if c not in (*keys, *TIMES)])
    named = found.select(*keys, "event_time", pl.col(columns).name.prefix(f"{name}__")).sort("event_time")
    return rows.sort("prediction_time").join_asof(
        named, left_on="prediction_time", right_on="event_time", by=keys, tolerance=ttl, check_sortedness=False, coalesce=True,
    ).drop("event_time", strict=False)  # fmt: skip
