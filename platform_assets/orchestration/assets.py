"""Every declaration as a Dagster asset: one thin body around its pipeline."""

# No `from __future__ import annotations`: Dagster reads the types of contexts and resources, not their text.
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model, Outcomes, Predictions
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import group_name
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retraining import Retraining
from platform_assets.declarations.tables import FeatureGroup
from platform_assets.declarations.views import TrainingDataset
from platform_assets.errors import ContractError, LandedFileError, PlatformError
from platform_assets.orchestration.automation import condition_of
from platform_assets.orchestration.metadata import (
    check_result,
    definition_metadata,
    heavy_metadata,
    key_of,
    run_metadata,
)
from platform_assets.orchestration.partitions import days_of_run, dependency, partitions_of
from platform_assets.orchestration.resources import PlatformResource
from platform_assets.pipelines.checks import CONTRACT, checks_of
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Materialization, Run


def asset_of(catalogue: Catalogue, declaration: Declaration, *, uri: str) -> dg.AssetsDefinition:
    """The asset of one declaration."""
    key = key_of(catalogue, declaration.name)
    freshness = declaration.freshness

    @dg.asset(
        key=key,
        deps=[dependency(key_of(catalogue, read.name), declaration, read) for read in catalogue.inputs(declaration)],
        partitions_def=partitions_of(declaration),
        # A backtest fits a model for each month, a run of its own.
        backfill_policy=dg.BackfillPolicy.multi_run()
        if isinstance(declaration, Backtest)
        else dg.BackfillPolicy.single_run(),
        group_name=group_name(declaration.kind),
        owners=list(declaration.owners),
        tags=dict(declaration.tags),
        kinds=kinds_of(declaration),
        description=declaration.description,
        metadata=definition_metadata(catalogue, declaration, uri),
        code_version=catalogue.fingerprints[declaration.name],
        freshness_policy=None
        if freshness is None
        else dg.FreshnessPolicy.time_window(fail_window=freshness.fail, warn_window=freshness.warn),
        automation_condition=condition_of(catalogue, declaration),
        check_specs=[
            dg.AssetCheckSpec(name=check.name, asset=key, description=check.asks, blocking=check.blocking)
            for check in checks_of(declaration)
        ],
    )
    def body(context: dg.AssetExecutionContext, platform: PlatformResource) -> Iterator[object]:
        started = time.perf_counter()
        run = Run(run_id=context.run.run_id, now=datetime.now(UTC), say=context.log.info)
        try:
            made = materialize(platform.open(), catalogue, declaration.name, run, days=days_of_run(context))
        except PlatformError as error:
            if isinstance(error, ContractError | LandedFileError) and any(
                check.name == CONTRACT for check in checks_of(declaration)
            ):
                yield dg.AssetCheckResult(asset_key=key, check_name=CONTRACT, passed=False, description=str(error))
            raise dg.Failure(description=str(error), allow_retries=False) from error
        yield from _events(context, catalogue, made, time.perf_counter() - started)

    return body


def kinds_of(declaration: Declaration) -> set[str]:
    """The technologies behind an asset, as Dagster's icons know them."""
    if isinstance(declaration, Model):
        return {"mlflow", "lightgbm"}
    if isinstance(declaration, FeatureGroup) and declaration.sql is not None:
        return {"deltalake", "duckdb"}
    if isinstance(declaration, Promotion):
        return {"deltalake", "mlflow"}
    if isinstance(declaration, Predictions | Backtest):
        return {"deltalake", "lightgbm"}
    if isinstance(declaration, TrainingDataset | Outcomes):
        return {"deltalake", "dataset" if isinstance(declaration, TrainingDataset) else "monitor"}
    if isinstance(declaration, Monitor | PerformanceMonitor | Retraining):
        return {"deltalake", "monitor"}
    return {"deltalake", "polars"}


def _events(
    context: dg.AssetExecutionContext, catalogue: Catalogue, made: Materialization, seconds: float
) -> Iterator[object]:
    key = key_of(catalogue, made.declaration.name)
    kept = "" if made.is_new else " as before: the content is equal"
    said = f"{made.row_count:,} rows in {seconds:.1f} s, version {made.version}{kept}"
    context.log.info(said)
    light, heavy = run_metadata(catalogue, made, context.run.run_id, seconds), heavy_metadata(made)
    metadata: dict[str, Any] = {}
    if made.days is None:
        metadata = {**heavy, **light, "content hash": made.digest} | (
            {} if isinstance(made.declaration, Model) else {"dagster/row_count": made.row_count}
        )
    else:
        newest = max((day for day in made.rows if day is not None), default=None)
        for day, rows in made.rows.items():
            # The newest day's event is the one that the asset's page opens with, what there is to see first.
            shown = {**heavy, "dagster/row_count": made.row_count} if day == newest else {}
            context.add_asset_metadata(
                {**shown, **light, "dagster/partition_row_count": rows, "content hash": made.hashes[day]},
                asset_key=key,
                partition_key=str(day),
            )
    yield dg.MaterializeResult(
        asset_key=key,
        metadata=metadata,
        data_version=dg.DataVersion(made.digest),
        check_results=[check_result(key, found) for found in made.checks],
    )
