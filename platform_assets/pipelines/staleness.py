"""How much of what is materialized is no longer what it would be if it were made now, and why.

It is the plan, told of each declaration in its own units: days, or the rows of a training dataset. What was
never materialized is not stale: it is missing, and `days_complete` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import polars as pl

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import asset_name, table_folder
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import Days, Monthly, day_ranges
from platform_assets.declarations.views import TrainingDataset
from platform_assets.lake import ledger
from platform_assets.lake.repair import LOST
from platform_assets.pipelines.checks import UP_TO_DATE
from platform_assets.pipelines.manifest import manifest
from platform_assets.pipelines.plan import CODE, Plan, Step, changed_since, plan
from platform_assets.pipelines.run import CheckResult, Platform, version_of
from platform_assets.pipelines.splits import kept_days

GONE = "its table is gone"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Staleness:
    """How much of one declaration is stale.

    Attributes:
        name: the declaration.
        unit: what is counted: days, months, rows of a training dataset, or the whole of it.
        stale: how many are stale.
        total: of how many.
        days: the stale days as ranges (of a training dataset, days of its view, also those it has no row of yet).
        reasons: why; none when it is up to date.
        allowed: the share that may be stale; None when a refresh should leave nothing to do.
    """

    name: str
    unit: Literal["day", "month", "row", "whole"]
    stale: int
    total: int
    days: tuple[Days, ...] = ()
    reasons: tuple[str, ...] = ()
    allowed: float | None = None

    @property
    def share(self) -> float:
        """The stale share, 0 to 1."""
        return self.stale / self.total if self.total else float(bool(self.reasons))

    @property
    def is_tolerable(self) -> bool:
        """Whether nothing needs to be done: it is up to date, or no more of it is stale than may be."""
        return not self.reasons or (self.allowed is not None and self.share <= self.allowed)


def staleness(platform: Platform, catalogue: Catalogue, *, now: datetime) -> dict[str, Staleness]:
    """Of everything that was materialized, how much is stale.

    A training dataset that is not staler than it may be stays as it is, so that its models and what they
    predict are not stale for its sake.

    Args:
        platform: where everything lives.
        catalogue: what is declared.
        now: days that are not over at this instant (UTC) are not looked at.
    """
    decided, entries = plan(platform, catalogue, now=now), ledger.read(platform.lake)
    found = {d.name: _of_dataset(platform, catalogue, d, decided, entries) for d in catalogue.of_kind(TrainingDataset)}
    tolerated = {name for name, one in found.items() if one is not None and one.reasons and one.is_tolerable}
    if tolerated:
        decided = plan(platform, catalogue, now=now, left_alone=tolerated)
    for declaration in catalogue.declarations:
        if declaration.name not in found:
            found[declaration.name] = _of(platform, catalogue, declaration, decided[declaration.name], entries)
    return {d.name: one for d in catalogue.declarations if (one := found[d.name]) is not None}


def up_to_date(found: Staleness) -> CheckResult:
    """The check that a declaration is what it would be if it were made now; it warns and stops nothing."""
    facts: dict[str, object] = {"stale share": found.share}
    if found.unit != "whole":
        facts |= {f"stale {found.unit}s": found.stale, f"{found.unit}s": found.total}
    if found.days:
        facts["which days"] = say_days(found.days, most=20)
    if found.reasons:
        facts["reasons"] = ", ".join(found.reasons)
    if found.allowed is not None:
        facts["share that may be stale"] = found.allowed
    return CheckResult(name=UP_TO_DATE, passed=found.is_tolerable, description=_say(found), blocking=False, facts=facts)


def say_days(days: Sequence[Days], *, most: int = _SHOWN) -> str:
    """Ranges of days, the first `most` of them: `2013-11-15, 2013-12-01 to 2013-12-03`."""
    return ", ".join(map(str, days[:most])) + (f" and {len(days) - most} more ranges" if len(days) > most else "")


def _of(
    platform: Platform, catalogue: Catalogue, declaration: Declaration, step: Step | None, book: ledger.Ledger
) -> Staleness | None:
    entries = book.latest(asset_name(catalogue.name, declaration.name))
    if not entries:
        return None
    stale: set[date | None] = set()
    if step is not None:
        stale = {None} if step.days is None else {day for days in step.days for day in days}
    stale &= entries.keys()
    reasons = _reasons(platform, catalogue, declaration, step, stale)
    if calendar(declaration) is None:
        return Staleness(name=declaration.name, unit="whole", stale=len(stale), total=1, reasons=reasons)
    return Staleness(
        name=declaration.name,
        unit="month" if isinstance(calendar(declaration), Monthly) else "day",
        stale=len(stale),
        total=len(entries),
        days=tuple(day_ranges({day for day in stale if day is not None})),
        reasons=reasons,
    )


def _of_dataset(
    platform: Platform, catalogue: Catalogue, dataset: TrainingDataset, decided: Plan, book: ledger.Ledger
) -> Staleness | None:
    entry, step = book.latest(asset_name(catalogue.name, dataset.name)).get(None), decided[dataset.name]
    if entry is None:
        return None
    if step is None:
        return Staleness(name=dataset.name, unit="row", stale=0, total=entry.rows, allowed=dataset.max_stale)
    reasons = _reasons(platform, catalogue, dataset, step, {None})
    changed, stale, total = None, entry.rows, entry.rows
    if GONE not in reasons:
        changed = _changed_days(platform, catalogue, dataset, entry, decided)
        reasons = _causes(platform, catalogue, dataset, entry, decided, book) or reasons
        rows = rows_by_day(platform, catalogue, dataset)
        total = sum(rows.values())
        stale = sum(count for day, count in rows.items() if changed is None or day in changed)
    return Staleness(
        name=dataset.name,
        unit="row",
        stale=stale,
        total=total,
        days=() if changed is None else tuple(day_ranges(changed)),
        reasons=reasons,
        allowed=dataset.max_stale,
    )


def rows_by_day(platform: Platform, catalogue: Catalogue, dataset: TrainingDataset) -> Mapping[date, int]:
    """The rows of a training dataset by the day of its view that they are from."""
    day = dataset.view.partitions.day_of(pl.col(dataset.view.event_time)).alias("of")
    rows = platform.lake.scan(table_folder(catalogue.name, dataset.name)).group_by(day).len().collect()
    return dict(rows.iter_rows())


def _changed_days(
    platform: Platform, catalogue: Catalogue, dataset: TrainingDataset, entry: ledger.Entry, decided: Plan
) -> set[date] | None:
    """The days on which its view or label changed since it was made, or will by the plan; None when all of it is stale."""
    if entry.fingerprint != catalogue.fingerprints[dataset.name]:
        return None
    found = [
        _days_since(platform, catalogue, read, entry.inputs.get(read.name), decided)
        for read in catalogue.inputs(dataset)
    ]
    if None in found:
        return None
    own = kept_days(dataset, entry)
    return None if own is None else {day for days in found if days is not None for day in days if day in own}


def _causes(
    platform: Platform,
    catalogue: Catalogue,
    dataset: TrainingDataset,
    entry: ledger.Entry,
    decided: Plan,
    book: ledger.Ledger,
) -> tuple[str, ...]:
    """Where it began: the days of the sources, and the declarations, that changed since the dataset was made."""
    found = [] if entry.fingerprint in (catalogue.fingerprints[dataset.name], LOST) else [CODE]
    behind, own = manifest(book, catalogue, dataset.name, entry.version), kept_days(dataset, entry)
    for read in (d for d in catalogue.declarations if d.name in behind and d.name != dataset.name):
        made = behind[read.name]
        if set(made.fingerprints) - {catalogue.fingerprints[read.name]}:
            found.append(f"the declaration of {read.name} changed")
        elif isinstance(read, Source):
            days = _days_since(platform, catalogue, read, made.version, decided)
            if days is None:
                found.append(f"{read.name} changed")
            elif within := {day for day in days if own is None or day in own}:
                found.append(f"{read.name} of {say_days(day_ranges(within))} changed")
    return tuple(found)


def _days_since(
    platform: Platform, catalogue: Catalogue, read: Declaration, version: int | None, decided: Plan
) -> set[date] | None:
    """The days of a table that changed since a version, or will by the plan; None where that cannot be said by days."""
    since, step = changed_since(platform, catalogue, read, version), decided[read.name]
    if since is None or (step is not None and step.days is None):
        return None
    return {day for days in (*since, *((step and step.days) or ())) for day in days}


def _reasons(
    platform: Platform, catalogue: Catalogue, declaration: Declaration, step: Step | None, stale: set[date | None]
) -> tuple[str, ...]:
    if step is None or not stale:
        return ()
    if not isinstance(declaration, Model) and version_of(platform, catalogue, declaration) is None:
        return (GONE,)
    return tuple(reason for reason, days in step.days_by_reason.items() if days & stale)


def _say(found: Staleness) -> str:
    what = {"day": "days", "month": "months", "row": "training rows", "whole": ""}[found.unit]
    why = "; ".join(found.reasons)
    if not found.reasons:
        return f"All {found.total:,} {what} are up to date." if what else "Up to date."
    if found.unit == "whole":
        return f"Stale: {why}."
    if found.unit in ("day", "month"):
        return f"{found.stale} of {found.total} {what} {'is' if found.stale == 1 else 'are'} stale ({say_days(found.days)}): {why}."
    may = "" if found.allowed is None else f", {_percent(found.allowed)} may be"
    if not found.stale:
        return f"None of the {found.total:,} training rows is stale, but others may have come{may}: {why}."
    return f"{_percent(found.share)} of the training rows are stale{may}: {why}."


def _percent(share: float) -> str:
    shown = f"{share:.1%}"
    return "less than 0.1%" if share and shown == "0.0%" else shown
