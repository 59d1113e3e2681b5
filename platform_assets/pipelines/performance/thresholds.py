"""What unchanged days exceed, learned once for each version of a model from rows that it has not learned from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from platform_assets.compute.thresholds import FEWEST_WINDOWS, learn
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Column
from platform_assets.declarations.names import DAY, asset_name, profile_folder, registered_model, table_folder
from platform_assets.declarations.performance import ALL, PerformanceMonitor
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import PREDICTION_TIME, SPLIT
from platform_assets.errors import ModelError, TableError
from platform_assets.lake.writes import write
from platform_assets.pipelines.performance.windows import PROBABILITY, TRUTH, VERSION, cuts, slice_columns, title_of
from platform_assets.pipelines.run import Inputs, Platform, Run, provenance
from platform_assets.registry.models import LoadedModel

THRESHOLDS = pl.Schema(
    {
        VERSION: pl.Int64(),
        "window": pl.Int64(),
        "sliced_by": pl.String(),
        "slice": pl.String(),
        "measure": pl.String(),
        "threshold": pl.Float64(),
    }
)
_BASIS = "basis"
_METHOD = 1
"""Raised when thresholds come to be learned in another way, so that kept ones are learned anew."""
_KEPT = pl.Schema({_BASIS: pl.String(), **THRESHOLDS})


def thresholds_of(
    platform: Platform,
    catalogue: Catalogue,
    monitor: PerformanceMonitor,
    versions: Sequence[int],
    inputs: Inputs,
    run: Run,
) -> tuple[pl.DataFrame, list[str]]:
    """The thresholds of some versions, as they were kept or learned now; and of which versions there are none, and why.

    All rows have half of the alarms and the slices together the other half, or a fault of all rows would have to be as
    rare as one of a single slice. They are kept while the monitor stays, and the version and the training dataset that it was made of.

    Returns:
        A frame of `THRESHOLDS`, and a sentence for each version that has none.
    """
    folder, model = profile_folder(catalogue.name, monitor.name), monitor.of.predictions.model.name
    kept = pl.DataFrame(schema=_KEPT)
    if platform.lake.version(folder) is not None:
        with platform.lake.reading(folder):
            kept = platform.lake.scan(folder).select(_KEPT.names()).collect()
    found, without, learned = [kept.clear()], [], kept
    for version in versions:
        tags = platform.registry.tags(catalogue.name, model, version)
        if not tags:
            without.append(f"version {version} of {registered_model(catalogue.name, model)} is no longer in MLflow")
            continue
        basis = _basis(catalogue, monitor, version, tags)
        own = kept.filter(pl.col(_BASIS) == basis)
        if own.is_empty():
            try:
                own = _learned(platform, catalogue, monitor, version, tags, run)
            except (ModelError, TableError) as error:
                without.append(f"version {version} of {registered_model(catalogue.name, model)}: {error}")
                continue
            own = own.select(pl.lit(basis).alias(_BASIS), *THRESHOLDS.names())
            learned = pl.concat([learned.filter(pl.col(VERSION) != version), own])
        found.append(own)
    if learned is not kept:
        write(
            platform.lake,
            folder,
            learned.sort(_KEPT.names()),
            columns=[Column(name=name, dtype=dtype) for name, dtype in _KEPT.items()],
            days=None,
            provenance=provenance(catalogue, monitor, inputs.versions, run),
            description=f"By how much {asset_name(catalogue.name, monitor.name)} lets each version be worse than expected",
        )
    return pl.concat(found).select(THRESHOLDS.names()), without


def _basis(catalogue: Catalogue, monitor: PerformanceMonitor, version: int, tags: Mapping[str, str]) -> str:
    """What thresholds follow from: the method, the monitor, and the version with the rows that it was made of."""
    made_of = [version, tags["content_hash"], tags["training_dataset_version"]]
    told = json.dumps([_METHOD, catalogue.fingerprints[monitor.name], *made_of])
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def _learned(
    platform: Platform,
    catalogue: Catalogue,
    monitor: PerformanceMonitor,
    version: int,
    tags: Mapping[str, str],
    run: Run,
) -> pl.DataFrame:
    asset, training = asset_name(catalogue.name, monitor.name), monitor.training
    run.say(f"{asset}: learns from {monitor.learned_from} what is too much of version {version}")
    folder = table_folder(catalogue.name, training.name)
    with platform.lake.reading(folder):
        lying = _rows(platform, catalogue, monitor, tags)
        measures, days = list(monitor.alarming), monitor.settled or _span(lying)
        few = [window for window in monitor.windows if days is None or len(days) - window + 1 < FEWEST_WINDOWS]
        if few:  # said before anything is read and scored: it would be, and said, every day
            raise TableError(_too_few(asset, monitor, few[0], days))
        kept = lying.collect().sort(training.view.keys)
    rows = _scored(monitor, platform.registry.load(catalogue.name, monitor.of.predictions.model.name, version), kept)
    told: dict[int, list[dict[str, object]]] = {window: [] for window in monitor.windows}
    for cut in cuts(monitor, rows, days, first=days.first) if days is not None else ():
        judged = cut.judged(at_least=monitor.at_least)
        if judged is not None:
            index = {"day": cut.day, "sliced_by": cut.sliced_by, "slice": cut.slice}
            told[cut.window].append(index | {name: judged[name].excess for name in measures})
    parts = []
    for window, seen in told.items():
        schema = {"day": pl.Date, "sliced_by": pl.String, "slice": pl.String, **dict.fromkeys(measures, pl.Float64)}
        quiet = pl.DataFrame(seen, schema=schema)
        quiet = quiet.filter(pl.len().over("sliced_by", "slice") >= FEWEST_WINDOWS)
        if quiet.is_empty():
            raise TableError(_too_few(asset, monitor, window, days))
        names = quiet.select("sliced_by", "slice").unique(maintain_order=True)
        names = names.with_columns(
            pl.Series("column", [title_of(*pair) for pair in names.iter_rows()], dtype=pl.String)
        )
        quiet = quiet.join(names, on=["sliced_by", "slice"])
        groups = [
            part for part in quiet.with_columns(whole=pl.col("sliced_by") == ALL).partition_by("whole") if len(part)
        ]
        budget = monitor.alarms_per_month / len(monitor.windows) / len(groups)
        # Better than expected is no alarm, however far from what it was.
        floors = dict.fromkeys(measures, 0.0)
        found = pl.concat(learn(own, alarms_per_month=budget, measures=measures, floors=floors) for own in groups)
        parts.append(found.join(names, on="column").with_columns(pl.lit(window, pl.Int64).alias("window")))
    return pl.concat(parts).with_columns(pl.lit(version, pl.Int64).alias(VERSION)).select(THRESHOLDS.names())


def _too_few(asset: str, monitor: PerformanceMonitor, window: int, days: Days | None) -> str:
    return (
        f"{asset}: fewer than {FEWEST_WINDOWS} windows of {window} days of {monitor.training.name} on "
        f"{days or 'no day'} have {monitor.at_least} labelled rows; lower at_least, or take more days"
    )


def _rows(
    platform: Platform, catalogue: Catalogue, monitor: PerformanceMonitor, tags: Mapping[str, str]
) -> pl.LazyFrame:
    """The part of its training dataset that a version is judged by, with the day of each row."""
    training = monitor.training
    kept = pl.col(SPLIT) == monitor.learned_from
    if monitor.learned_from == "report":
        kept &= pl.col(PREDICTION_TIME) > datetime.fromisoformat(tags["learned_until"])
    made_of = int(tags["training_dataset_version"])
    rows = platform.lake.scan(table_folder(catalogue.name, training.name), version=made_of).filter(kept)
    return rows.with_columns(training.view.partitions.day_of(pl.col(training.view.event_time)).alias(DAY))


def _span(rows: pl.LazyFrame) -> Days | None:
    first, last = rows.select(pl.col(DAY).min().alias("first"), pl.col(DAY).max().alias("last")).collect().row(0)
    return None if first is None else Days(first, last)


def _scored(monitor: PerformanceMonitor, loaded: LoadedModel, rows: pl.DataFrame) -> pl.DataFrame:
    scored = loaded.score(rows.drop(DAY)) if len(rows) else np.empty(0)
    return rows.select(
        DAY,
        pl.lit(loaded.version, pl.Int64).alias(VERSION),
        pl.col(monitor.training.label.value).cast(pl.Float64).alias(TRUTH),
        pl.Series(PROBABILITY, scored, dtype=pl.Float64),
        *slice_columns(monitor),
    )
