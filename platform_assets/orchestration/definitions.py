"""A catalogue as a Dagster code location."""

from __future__ import annotations

import os
import warnings

import dagster as dg

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import registered_model, table_folder
from platform_assets.orchestration.alerts import alert_sensor
from platform_assets.orchestration.assets import asset_of
from platform_assets.orchestration.automation import (
    TRIGGER,
    automation_sensor,
    jobs_of,
    landing_sensor,
    nightly_schedules,
)
from platform_assets.orchestration.maintenance import maintenance_asset, maintenance_schedule
from platform_assets.orchestration.resources import resources
from platform_assets.orchestration.retraining import retraining_job, retraining_schedules, retraining_sensors
from platform_assets.orchestration.up_to_date import up_to_date_checks, up_to_date_job, up_to_date_schedule
from platform_assets.settings import Settings, load_settings


def build_definitions(catalogue: Catalogue, *, settings: Settings | None = None) -> dg.Definitions:
    """Everything Dagster needs to run a catalogue: assets, checks, automation, resources.

    Args:
        catalogue: the declarations.
        settings: where to read and write; from the environment when None.
    """
    settings = settings or load_settings(os.environ)
    jobs, retraining, looking = jobs_of(catalogue), retraining_job(catalogue), up_to_date_job(catalogue)
    with warnings.catch_warnings():
        # Backfill policies and freshness policies are still marked beta; the upstream tests watch them.
        for category in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", category)
        assets = [asset_of(catalogue, d, uri=_uri(settings, catalogue, d)) for d in catalogue.declarations]
    return dg.Definitions(
        assets=[*assets, maintenance_asset(catalogue)],
        asset_checks=[up_to_date_checks(catalogue)],
        jobs=[*jobs.values(), looking, *([retraining] if retraining else [])],
        schedules=[
            *nightly_schedules(catalogue, jobs),
            up_to_date_schedule(catalogue, looking, tags={TRIGGER: "up to date"}),
            *(retraining_schedules(catalogue, retraining) if retraining else []),
            maintenance_schedule(catalogue),
        ],
        sensors=[
            automation_sensor(catalogue),
            landing_sensor(catalogue, jobs),
            *(retraining_sensors(catalogue, retraining) if retraining else []),
            alert_sensor(catalogue, webhook=settings.webhook),
        ],
        resources=resources(settings),
        # A step in a process of its own costs seconds of imports; the work of a day takes less.
        executor=dg.in_process_executor,
    )


def _uri(settings: Settings, catalogue: Catalogue, declaration: Declaration) -> str:
    if isinstance(declaration, Model):
        return f"models:/{registered_model(catalogue.name, declaration.name)}"
    return str(settings.lake / table_folder(catalogue.name, declaration.name))
