"""The plan as a refresh carries it out, with what Dagster lost, and how long everything took so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import dagster as dg

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.times import Days, parse_day
from platform_assets.orchestration.instance import open_instance
from platform_assets.orchestration.metadata import RUN_TIME, key_of
from platform_assets.orchestration.records import compare_records, with_unrecorded
from platform_assets.orchestration.refresh import RANGE_END, RANGE_START
from platform_assets.pipelines.assumed import Change
from platform_assets.pipelines.impact import Impact, PastRun, impact
from platform_assets.pipelines.plan import Plan, plan
from platform_assets.pipelines.run import Platform
from platform_assets.settings import Settings

_PAST = 5
"""So many runs of each asset are looked at."""


def decide(
    platform: Platform,
    catalogue: Catalogue,
    instance: dg.DagsterInstance | None,
    *,
    now: datetime,
    assumed: Sequence[Change] = (),
) -> Plan:
    """What a refresh would carry out at the instant `now` (UTC), were what is `assumed` to change changed already.

    Without an instance Dagster has no record of anything.
    """
    decided = plan(platform, catalogue, now=now, assumed=assumed)
    return with_unrecorded(decided, catalogue, compare_records(instance, platform, catalogue))


def look_ahead(
    platform: Platform,
    catalogue: Catalogue,
    instance: dg.DagsterInstance | None,
    *,
    now: datetime,
    assumed: Sequence[Change] = (),
) -> Impact:
    """The same with what it reaches and costs."""
    decided = decide(platform, catalogue, instance, now=now, assumed=assumed)
    history = (
        {} if instance is None else {s.name: past_runs(instance, catalogue, catalogue[s.name]) for s in decided.steps}
    )
    return impact(platform, catalogue, decided, history=history)


def past_runs(instance: dg.DagsterInstance, catalogue: Catalogue, declaration: Declaration) -> list[PastRun]:
    """The last runs of an asset, newest first, as its materializations tell."""
    key, found, before = key_of(catalogue, declaration.name), list[PastRun](), None
    for _ in range(_PAST):
        records = instance.fetch_materializations(dg.AssetRecordsFilter(key, before_timestamp=before), limit=1).records
        record = instance.get_run_record_by_id(records[0].run_id) if records else None
        if not records or record is None or record.start_time is None:
            break
        before = record.start_time  # one run materializes many days; the run before it is wanted
        event, made, tags = records[0], records[0].asset_materialization, record.dagster_run.tags
        seconds = made.metadata.get(RUN_TIME) if made is not None else None
        if seconds is not None and isinstance(seconds.value, float | int):
            days = None if event.partition_key is None else 1
            if days is not None and RANGE_START in tags:
                days = len(Days(parse_day(tags[RANGE_START]), parse_day(tags[RANGE_END])))
            found.append(PastRun(seconds=float(seconds.value), days=days))
    return found


@contextmanager
def instance_if_any(settings: Settings) -> Iterator[dg.DagsterInstance | None]:
    """The instance, or None where none was made yet: looking ahead makes nothing."""
    if not (settings.dagster_home / "dagster.yaml").is_file():
        yield None
        return
    with open_instance(settings) as instance:
        yield instance
