"""Keeping a catalogue's tables small: what is needed of each, what will go, and doing it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import LEDGER, asset_name, profile_folder, quarantine_folder, table_folder
from platform_assets.declarations.promotion import Promotion
from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.lake.retention import Upkeep, Upkept, broken_versions, keep_up, plan_upkeep
from platform_assets.pipelines.decisions import WAITS, history
from platform_assets.pipelines.run import CheckResult, Platform, Run

AUDIT = "audit"
"""Why a version is kept: a materialization within the audit window made or read it."""

KEPT_VERSIONS_WHOLE = "kept_versions_whole"

_SHOWN = 3

Needed = Mapping[str, Mapping[int, tuple[str, ...]]]
"""By table the versions that somebody needs, and why."""


@dataclass(frozen=True, kw_only=True)
class Maintained:
    """What maintenance planned and did, table by table.

    Attributes:
        plans: what was planned.
        done: what was done, by table; one that failed is missing.
        failed: the tables that could not be maintained, and why.
        check: whether every kept version is still there.
    """

    plans: tuple[Upkeep, ...]
    done: Mapping[str, Upkept]
    failed: Mapping[str, str]
    check: CheckResult


def plan_maintenance(
    platform: Platform, catalogue: Catalogue, *, now: datetime
) -> tuple[tuple[Upkeep, ...], dict[str, str]]:
    """What is to be done to each table of a catalogue, its quarantine, profiles and the ledger; and what cannot be read, and why.

    Tables that are no longer declared are left alone.
    """
    entries = ledger.read(platform.lake)
    needed = needed_versions(platform, catalogue, entries, now=now)
    plans, failed = [], {}
    for table in _tables(platform, catalogue):
        try:
            plans.append(
                plan_upkeep(
                    platform.lake,
                    table,
                    needed=needed.get(table, {}),
                    readers=catalogue.retention.readers,
                    now=now,
                    told_until=_told_until(platform, catalogue, entries, table),
                )
            )
        except TableError as error:
            failed[table] = str(error)
    return tuple(plans), failed


def maintain(platform: Platform, catalogue: Catalogue, run: Run) -> Maintained:
    """Merge small files, shorten logs and remove the files that no kept version lists.

    A table that cannot be maintained does not keep the others from it.
    """
    plans, failed = plan_maintenance(platform, catalogue, now=run.now)
    done = {}
    for upkeep in plans:
        try:
            done[upkeep.table] = keep_up(platform.lake, upkeep, run_id=run.run_id)
        except TableError as error:
            failed[upkeep.table] = str(error)
            continue
        run.say(f"{upkeep.table}: {len(upkeep.kept)} versions kept, {done[upkeep.table].bytes:,} bytes removed")
    check = _kept_versions_whole(platform, plans, failed)
    return Maintained(plans=plans, done=done, failed=failed, check=check)


def needed_versions(platform: Platform, catalogue: Catalogue, entries: ledger.Ledger, *, now: datetime) -> Needed:
    """The versions that models in use were made of, and those that the audit window names.

    Raises:
        TableError: when the decisions about champions cannot be read, so that nobody knows who comes back by rollback.
    """
    needed: dict[str, dict[int, tuple[str, ...]]] = {}

    def need(table: str, version: int, why: str) -> None:
        known = needed.setdefault(table, {}).get(version, ())
        needed[table][version] = known if why in known else (*known, why)

    for why, tags in _answered_for(platform, catalogue):
        dataset, version = tags.get("training_dataset"), tags.get("training_dataset_version")
        if dataset is None or version is None:
            continue  # it was registered by hand, from no table of ours
        need(dataset, int(version), why)
        for name, read in _made_of(platform, entries, dataset, int(version)).items():
            need(table_folder(catalogue.name, name), read, why)
    since = now - catalogue.retention.audit
    for asset, rows in entries.rows.items():
        if not asset.startswith(asset_name(catalogue.name, "")):
            continue
        recent = rows.filter(pl.col("recorded_at") >= since)
        for version, inputs in recent.select("version", "inputs").unique().iter_rows():
            need(asset, version, AUDIT)
            for name, read in json.loads(inputs).items():
                need(table_folder(catalogue.name, name), read, AUDIT)
    return needed


def _answered_for(platform: Platform, catalogue: Catalogue) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The models that somebody may ask about, and why, with their tags: aliased, waiting, or one rollback away."""
    for model in platform.registry.aliased(catalogue.name):
        yield f"{' and '.join(model.aliases)} of {model.name}", model.tags
    for promotion in catalogue.of_kind(Promotion):
        known, name = history(platform, catalogue, promotion), promotion.model.name
        waiting = {d.version for d in known.decisions} - known.past
        found = {version: "waits" for version in waiting if (last := known.last_of(version)) and last.verdict == WAITS}
        found |= {} if known.before_it is None else {known.before_it: "comes back by rollback"}
        for version, why in sorted(found.items()):
            yield f"{name} version {version} {why}", platform.registry.tags(catalogue.name, name, version)


def _made_of(platform: Platform, entries: ledger.Ledger, dataset: str, version: int) -> Mapping[str, int]:
    """The versions of the inputs that a version of a training dataset was made of."""
    try:
        commit = platform.lake.made_by(dataset, version) or {}
    except TableError:  # said of the dataset itself, when it is planned
        commit = {}
    if "platform.inputs" in commit:
        return dict(json.loads(commit["platform.inputs"]))
    recorded = (entry for entry in reversed(entries.entries(dataset)) if entry.version == version)
    return next((entry.inputs for entry in recorded), {})


def _tables(platform: Platform, catalogue: Catalogue) -> list[str]:
    """The tables that are there: what is declared, what was refused, profiles, and the ledger."""
    declared = [d.name for d in catalogue.declarations if not isinstance(d, Model)]
    wanted = [
        *(table_folder(catalogue.name, name) for name in declared),
        *(quarantine_folder(catalogue.name, name) for name in declared),
        *(profile_folder(catalogue.name, name) for name in declared),
        LEDGER,
    ]
    return [table for table in wanted if platform.lake.path(table).is_dir()]


def _told_until(platform: Platform, catalogue: Catalogue, entries: ledger.Ledger, table: str) -> int | None:
    declared = {
        table_folder(catalogue.name, d.name): asset_name(catalogue.name, d.name) for d in catalogue.declarations
    }
    if table not in declared:
        return None
    return entries.last_changes(declared[table], platform.lake.table_id(table)).until


def _kept_versions_whole(platform: Platform, plans: tuple[Upkeep, ...], failed: Mapping[str, str]) -> CheckResult:
    problems = [*failed.values()]
    for upkeep in plans:
        if upkeep.table not in failed:
            broken = broken_versions(platform.lake, upkeep)
            problems += [
                f"{upkeep.table} version {version} ({', '.join(upkeep.kept[version])}): {why}"
                for version, why in broken.items()
            ]
    kept = sum(len(upkeep.kept) for upkeep in plans)
    said = f"All {kept} kept versions open and have all their files."
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        said = f"{'; '.join(problems[:_SHOWN])}{more}. Restore the files, or move the alias to a version that is there."
    return CheckResult(
        name=KEPT_VERSIONS_WHOLE,
        passed=not problems,
        description=said,
        blocking=False,
        facts={"kept versions": kept, "problems": len(problems)},
    )
