"""Training again: the job that does it, and what launches it: a retraining that asks, or else the month."""

# No `from __future__ import annotations`: Dagster reads the types of contexts and resources, not their text.
from collections.abc import Sequence

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retraining import Retraining
from platform_assets.declarations.views import TrainingDataset
from platform_assets.orchestration.automation import TRIGGER, UnresolvedJob
from platform_assets.orchestration.metadata import checks_along, key_of
from platform_assets.orchestration.resources import PlatformResource
from platform_assets.pipelines.retraining import standing_request

REASON = "platform/reason"
"""The tag that says of a retraining why it was asked for."""


def retraining_job(catalogue: Catalogue) -> UnresolvedJob | None:
    """Training datasets, models and promotions, to be launched by what asks for it and by hand; None without any."""
    wanted = _trained(catalogue)
    if not wanted:
        return None
    return dg.define_asset_job(
        f"{catalogue.name}_retraining",
        selection=dg.AssetSelection.assets(*(key_of(catalogue, name) for name in wanted)),
        description="Rebuilds the training datasets, fits the models anew and decides on their promotion.",
    )


def retraining_schedules(catalogue: Catalogue, job: UnresolvedJob) -> list[dg.ScheduleDefinition]:
    """On the first of each month, what no retraining asks for; none where that is nothing."""
    asked_for = {d.model.name for d in catalogue.of_kind(Retraining)}
    models = [model for model in catalogue.of_kind(Model) if model.name not in asked_for]
    held = {model.training.name for model in catalogue.of_kind(Model)}
    wanted = {name for model in models for name in _with_its_own(catalogue, model)}
    wanted |= {d.name for d in catalogue.of_kind(TrainingDataset) if d.name not in held}
    if not wanted:
        return []
    names = [name for name in _trained(catalogue) if name in wanted]

    @dg.schedule(
        name=f"{job.name}_monthly",
        job=job,
        cron_schedule="0 3 1 * *",
        tags={TRIGGER: "retraining"},
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Rebuilds the training datasets and fits the models anew, once a month.",
    )
    def monthly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(
            run_key=f"{context.scheduled_execution_time:%Y-%m-%d}",
            asset_selection=[key_of(catalogue, name) for name in names],
            asset_check_keys=checks_along(catalogue, names),
            tags={TRIGGER: "retraining", REASON: "month"},
        )

    return [monthly]


def retraining_sensors(catalogue: Catalogue, job: UnresolvedJob) -> list[dg.SensorDefinition]:
    """Launches what a retraining asks for; none where nothing is declared to ask."""
    asking = catalogue.of_kind(Retraining)
    if not asking:
        return []

    @dg.sensor(
        name=f"{catalogue.name}_retraining",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Trains a model again, with its dataset and promotion, when its newest day asks for that.",
    )
    def retrain(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult | dg.SkipReason:
        opened = platform.open()
        requests, skipped = [], []
        for retraining in asking:
            found = standing_request(opened, catalogue, retraining)
            if isinstance(found, str):
                skipped.append(f"{retraining.name}: {found}")
                continue
            going = _under_way(context.instance, catalogue, retraining)
            if going is not None:
                skipped.append(f"{retraining.name}: {found.day} asks for one, while {going} is under way")
                continue
            names = _with_its_own(catalogue, retraining.model)
            requests.append(
                dg.RunRequest(
                    run_key=f"{retraining.name}/{found.day}",
                    asset_selection=[key_of(catalogue, name) for name in names],
                    asset_check_keys=checks_along(catalogue, names),
                    tags={
                        TRIGGER: "retraining",
                        _ASKED_BY: retraining.name,
                        REASON: f"{retraining.name} of {found.day}: {found.why}",
                    },
                )
            )
        return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("; ".join(skipped))

    return [retrain]


_ASKED_BY = "platform/asked_by"


def _under_way(instance: dg.DagsterInstance, catalogue: Catalogue, retraining: Retraining) -> str | None:
    """A run of the retraining job that is not finished, whoever launched it."""
    going = dg.RunsFilter(job_name=f"{catalogue.name}_retraining", statuses=list(NOT_FINISHED_STATUSES))
    for run in instance.get_runs(going):
        if run.tags.get(_ASKED_BY, retraining.name) == retraining.name:
            return f"run {run.run_id[:8]}"
    return None


def _trained(catalogue: Catalogue) -> Sequence[str]:
    return [d.name for d in catalogue.declarations if isinstance(d, TrainingDataset | Model | Promotion)]


def _with_its_own(catalogue: Catalogue, model: Model) -> Sequence[str]:
    """A model with its training dataset and its promotion, in the order in which they are made."""
    promotion = catalogue.promotion_of(model.name)
    own: list[Declaration | None] = [model.training, model, promotion]
    return [d.name for d in own if d is not None]
