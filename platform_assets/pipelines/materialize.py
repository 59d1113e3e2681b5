"""The one door: materialize any declaration, from a notebook, a test, a worker or Dagster alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model, Outcomes, Predictions
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import asset_name, table_folder
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retraining import Retraining
from platform_assets.declarations.tables import FeatureGroup, Label, Source
from platform_assets.declarations.times import Days, Monthly
from platform_assets.declarations.views import FeatureView, TrainingDataset
from platform_assets.errors import PartitionError, PlatformError
from platform_assets.lake import ledger
from platform_assets.pipelines.checks import days_complete
from platform_assets.pipelines.drift import watch
from platform_assets.pipelines.feature import compute_features, compute_labels, compute_view, ingest
from platform_assets.pipelines.inference import predict
from platform_assets.pipelines.monitoring import judge_predictions
from platform_assets.pipelines.performance.watch import watch_performance
from platform_assets.pipelines.promotion import promote
from platform_assets.pipelines.retraining import ask_for_retraining
from platform_assets.pipelines.run import Materialization, Platform, Run
from platform_assets.pipelines.stretches import in_stretches
from platform_assets.pipelines.training.backtesting import backtest
from platform_assets.pipelines.training.dataset import build_training_dataset
from platform_assets.pipelines.training.train import train
from platform_assets.pipelines.whereabouts import whereabouts


def materialize(
    platform: Platform, catalogue: Catalogue, name: str, run: Run, *, days: Days | None = None
) -> Materialization:
    """Materialize a declaration: all of it, or the `days` of a daily one.

    The result carries the checks that `checks_of` names for the declaration. An error out of the project's own
    code goes on as it is, with a note of where it came up.

    Raises:
        PartitionError: when days are missing, superfluous or not partitions of it.
        PlatformError: whatever its pipeline refuses.
    """
    declaration = catalogue[name]
    _check_days(catalogue, declaration, days)
    tables = [d for d in catalogue.inputs(declaration) if not isinstance(d, Model)]
    try:
        with platform.lake.reading(*(table_folder(catalogue.name, table.name) for table in tables)):
            made = _dispatch(platform, catalogue, declaration, run, days)
    except PlatformError:
        raise
    except Exception as error:
        where = whereabouts(declaration, error)
        if where is not None:
            error.add_note(f"{asset_name(catalogue.name, name)}: {where}")
        raise
    own = calendar(declaration)
    if own is None:
        return made
    asset = asset_name(catalogue.name, name)
    return replace(made, checks=(*made.checks, days_complete(own, ledger.made(platform.lake, asset), run)))


def _dispatch(
    platform: Platform, catalogue: Catalogue, declaration: Declaration, run: Run, days: Days | None
) -> Materialization:
    if isinstance(declaration, Source):
        return ingest(platform, catalogue, declaration, days, run)
    if isinstance(declaration, TrainingDataset):
        return build_training_dataset(platform, catalogue, declaration, run)
    if isinstance(declaration, Model):
        return train(platform, catalogue, declaration, run)
    if isinstance(declaration, Promotion):
        return promote(platform, catalogue, declaration, run)
    assert days is not None  # noqa: S101 - the rest are daily, which was checked above
    daily: Mapping[type[Declaration], Callable[..., Materialization]] = {
        FeatureGroup: compute_features,
        Label: compute_labels,
        FeatureView: compute_view,
        Predictions: predict,
        Backtest: backtest,
        Outcomes: judge_predictions,
        Monitor: watch,
        Retraining: ask_for_retraining,
        PerformanceMonitor: watch_performance,
    }
    pipeline = next((one for kind, one in daily.items() if isinstance(declaration, kind)), None)
    if pipeline is None:
        msg = f"{declaration.kind} {declaration.name!r} has no pipeline"
        raise TypeError(msg)
    return in_stretches(
        platform,
        catalogue,
        declaration,
        days,
        run,
        lambda part: pipeline(platform, catalogue, declaration, part, run),
    )


def _check_days(catalogue: Catalogue, declaration: Declaration, days: Days | None) -> None:
    own, name = calendar(declaration), asset_name(catalogue.name, declaration.name)
    if own is None and days is not None:
        msg = f"{name} has no partitions; leave out the days"
        raise PartitionError(msg)
    if own is not None:
        if days is None:
            cut = "months" if isinstance(own, Monthly) else "days"
            msg = f"{name} is cut into {cut}; say which, for example {own.first}"
            raise PartitionError(msg)
        try:
            own.require(days)
        except PartitionError as error:
            msg = f"{name}: {error}"
            raise PartitionError(msg) from error
