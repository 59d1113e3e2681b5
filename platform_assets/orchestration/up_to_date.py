"""The check `up_to_date` of every asset: one look at the whole catalogue, each morning, by hand, and after a refresh."""

# No `from __future__ import annotations`: Dagster reads the types of contexts and resources, not their text.
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.views import TrainingDataset
from platform_assets.errors import PlatformError
from platform_assets.orchestration.metadata import check_result, key_of
from platform_assets.orchestration.resources import PlatformResource
from platform_assets.pipelines.checks import UP_TO_DATE
from platform_assets.pipelines.staleness import staleness, up_to_date


def up_to_date_key(catalogue: Catalogue, name: str) -> dg.AssetCheckKey:
    """The check of one declaration."""
    return dg.AssetCheckKey(key_of(catalogue, name), UP_TO_DATE)


def up_to_date_checks(catalogue: Catalogue) -> dg.AssetChecksDefinition:
    """The checks of all declarations, made by one step from one plan.

    What was never materialized gets no result: there is nothing to be stale.
    """
    names = {up_to_date_key(catalogue, declaration.name): declaration.name for declaration in catalogue.declarations}

    @dg.multi_asset_check(
        name=f"{catalogue.name}_staleness",
        specs=[_spec(catalogue, declaration) for declaration in catalogue.declarations],
        can_subset=True,
    )
    def look(context: dg.AssetCheckExecutionContext, platform: PlatformResource) -> Iterator[dg.AssetCheckResult]:
        try:
            found = staleness(platform.open(), catalogue, now=datetime.now(UTC))
        except PlatformError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        for check in sorted(context.selected_asset_check_keys):
            one = found.get(names[check])
            if one is not None:
                yield check_result(check.asset_key, up_to_date(one))

    return look


def last_failed() -> dg.AutomationCondition[dg.AssetCheckKey]:
    """Whether a check failed when it was made last; Dagster's own forgets that when the asset is materialized."""
    return dg.AutomationCondition.check_failed().since(dg.AutomationCondition.check_passed()).with_label("last failed")


def shown_staleness(instance: dg.DagsterInstance, catalogue: Catalogue) -> dict[str, dg.AssetCheckEvaluation]:
    """By declaration, what the check said when it was made last, also while it is being made again."""
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

    names = {up_to_date_key(catalogue, declaration.name): declaration.name for declaration in catalogue.declarations}
    storage, over = instance.event_log_storage, {Status.SUCCEEDED, Status.FAILED}
    shown = {}
    for check, newest in storage.get_latest_asset_check_execution_by_key(list(names)).items():
        done = [newest] if newest.status in over else storage.get_asset_check_execution_history(check, 1, status=over)
        if done and done[0].evaluation is not None:
            shown[names[check]] = done[0].evaluation
    return {name: shown[name] for name in names.values() if name in shown}


def up_to_date_job(catalogue: Catalogue) -> Any:
    """All of them at once, to be launched by hand or each morning."""
    return dg.define_asset_job(
        f"{catalogue.name}_up_to_date",
        selection=dg.AssetSelection.checks(*(up_to_date_key(catalogue, d.name) for d in catalogue.declarations)),
        description="Looks at how much of every asset is stale, and why.",
    )


def up_to_date_schedule(catalogue: Catalogue, job: Any, *, tags: dict[str, str]) -> dg.ScheduleDefinition:
    """Each morning, an hour after the night's runs were asked for."""
    zones = [days.zone for days in map(calendar, catalogue.declarations) if days is not None]
    return dg.ScheduleDefinition(
        name=f"{job.name}_daily",
        job=job,
        cron_schedule="0 7 * * *",
        execution_timezone=zones[0] if zones else "UTC",
        tags=tags,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks each morning at how much of every asset is stale, and why.",
    )


def _spec(catalogue: Catalogue, declaration: Declaration) -> dg.AssetCheckSpec:
    """A check that failed is made again when its asset is materialized, so that it does not stay red till morning.

    That of a training dataset also when its view or label is: until they followed a change, what it says of
    the rows is only how far the change can reach.
    """
    followed = catalogue.inputs(declaration) if isinstance(declaration, TrainingDataset) else ()
    again = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.newly_updated() & ~dg.AutomationCondition.executed_with_root_target()
    )
    condition = (
        (last_failed() & again).since(dg.AutomationCondition.newly_requested() | dg.AutomationCondition.check_passed())
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )
    return dg.AssetCheckSpec(
        name=UP_TO_DATE,
        asset=key_of(catalogue, declaration.name),
        additional_deps=[key_of(catalogue, read.name) for read in followed],
        description="Is it what it would be if it were made now?",
        blocking=False,
        automation_condition=condition.with_label("look again while stale"),
    )
