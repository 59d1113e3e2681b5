"""What is out of date, and why: declarations and landed files as they stand against what the ledger recorded.

The plan is a value: it is printed, tested, and then carried out, so that what it says is what is done.
It follows changes, not history: an input that moved on from version 7 to 9 makes stale only the days
that versions 8 and 9 rewrote, widened by the reader's windows. The ledger says which those are, also
when the versions themselves were cleaned away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property

from platform_assets.declarations.catalogue import (
    Catalogue,
    Reach,
    calendar,
    days_affected,
    days_always_read,
    days_read,
    reach,
)
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model, Predictions
from platform_assets.declarations.names import asset_name, table_folder
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import ONE_DAY, Days, day_ranges
from platform_assets.declarations.views import TimeSplit, TrainingDataset
from platform_assets.lake import ledger
from platform_assets.lake.ledger import LastChanges
from platform_assets.lake.repair import LOST
from platform_assets.pipelines.assumed import Change, days_assumed
from platform_assets.pipelines.decisions import champions_of
from platform_assets.pipelines.run import Platform, version_for, version_of
from platform_assets.pipelines.splits import kept_days, labelled_days

NEVER = "never materialized"
CODE = "its declaration changed"
BACK = "its table was set back"
FILES = "its landed files changed"
ASSUMED = "it is assumed to change"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One declaration that is out of date.

    Attributes:
        name: the declaration.
        days: the stale days as ranges; None for one without partitions.
        reasons: why, with the number of days each reason holds for (1 without partitions).
        days_by_reason: the days themselves (None without partitions).
    """

    name: str
    days: tuple[Days, ...] | None
    reasons: Mapping[str, int]
    days_by_reason: Mapping[str, frozenset[date | None]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def day_count(self) -> int:
        return sum(len(days) for days in self.days or ())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps that bring everything up to date, in an order in which they can run.

    Attributes:
        steps: what is out of date.
        waiting: per source, the days of its calendar that have not landed.
        early: per source, the days that have landed but are not over, and so are not looked at yet.
    """

    steps: tuple[Step, ...]
    waiting: Mapping[str, int] = field(default_factory=dict)
    early: Mapping[str, tuple[Days, ...]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.name == name), None)


@dataclass(frozen=True, kw_only=True)
class _There:
    """What is there when the plan is made, each thing looked up once."""

    platform: Platform
    catalogue: Catalogue

    @cached_property
    def ledger(self) -> ledger.Ledger:
        return ledger.read(self.platform.lake)

    @cached_property
    def versions(self) -> dict[str, int | None]:
        return {d.name: version_of(self.platform, self.catalogue, d) for d in self.catalogue.declarations}

    def version_for(self, reader: Declaration, read: Declaration) -> int | None:
        """The version of an input that counts for a reader; None when none does, or none is there."""
        if isinstance(reader, Promotion):
            return version_for(self.platform, self.catalogue, reader, read)
        # What a promotion decided reaches predictions by the champion alone.
        decided = isinstance(reader, Predictions) and isinstance(read, Promotion)
        return None if decided else self.versions[read.name]

    def versions_by_day(
        self, declaration: Declaration, days: Collection[date | None]
    ) -> dict[date | None, int | None] | None:
        """The version of its model that counts for each day of predictions; None where one counts for all."""
        if not isinstance(declaration, Predictions) or not declaration.is_by_day:
            return None
        dated = [day for day in days if day is not None]
        found = champions_of(self.platform, self.catalogue, declaration, dated)
        return {day: found[day] for day in dated}

    @cached_property
    def _changes(self) -> dict[str, LastChanges]:
        return {}

    def last_changes(self, name: str, current: int) -> LastChanges:
        """When each day of a table last changed: the ledger tells, and of what came after it the log."""
        if name not in self._changes:
            lake, folder = self.platform.lake, table_folder(self.catalogue.name, name)
            told = self.ledger.last_changes(asset_name(self.catalogue.name, name), lake.table_id(folder))
            later = lake.changes(folder, since=told.until, until=current)
            self._changes[name] = told.with_changes(later, until=current)
        return self._changes[name]


def plan(
    platform: Platform,
    catalogue: Catalogue,
    *,
    now: datetime,
    left_alone: Collection[str] = (),
    assumed: Sequence[Change] = (),
) -> Plan:
    """Compare everything declared with what is there.

    Args:
        platform: where everything lives.
        catalogue: what is declared.
        now: days that are not over at this instant (UTC) are not looked at.
        left_alone: declarations that stay as they are, so that nothing follows from what they would become.
        assumed: what is taken to have changed, to see what would follow.
    """
    steps: dict[str, Step] = {}
    waiting: dict[str, int] = {}
    materialized: dict[str, set[date]] = {}
    there = _There(platform=platform, catalogue=catalogue)
    for declaration in catalogue.declarations:
        reasons: dict[str, set[date | None]] = {}
        latest = there.ledger.latest(asset_name(catalogue.name, declaration.name))
        candidates = _candidates(there, declaration, now, materialized, steps, waiting)
        recorded = {day: entry for day, entry in latest.items() if day in candidates}
        for reason, day in (
            *_stale_by_itself(there, declaration, latest, candidates, now),
            *((ASSUMED, day) for day in days_assumed(assumed, catalogue, declaration, candidates)),
            *_stale_by_input(there, declaration, recorded, candidates, steps),
        ):
            reasons.setdefault(reason, set()).add(day)
        stale = set().union(*reasons.values()) if reasons else set()
        if calendar(declaration) is not None:
            materialized[declaration.name] = {d for d in candidates if d is not None and (d in latest or d in stale)}
        if stale and declaration.name not in left_alone:
            dated = {day for day in stale if day is not None}
            steps[declaration.name] = Step(
                name=declaration.name,
                days=tuple(day_ranges(dated)) if calendar(declaration) is not None else None,
                reasons={reason: len(days) for reason, days in reasons.items()},
                days_by_reason={reason: frozenset(days) for reason, days in reasons.items()},
            )
    return Plan(
        steps=tuple(steps.values()),
        waiting={name: count for name, count in waiting.items() if count},
        early=landed_early(platform, catalogue, now=now),
    )


def landed_early(platform: Platform, catalogue: Catalogue, *, now: datetime) -> dict[str, tuple[Days, ...]]:
    """Per source, the days of its calendar that have landed although they are not over at the instant `now` (UTC)."""
    early = {}
    for source in catalogue.of_kind(Source):
        own = source.partitions
        if own is None:
            continue
        closed, there = own.closed_until(now), own.last or date.max
        found = {day for day in platform.landing.days(source.name) if own.first <= day <= there}
        found -= set(closed or ())
        if found:
            early[source.name] = tuple(day_ranges(found))
    return early


def _candidates(
    there: _There,
    declaration: Declaration,
    now: datetime,
    materialized: Mapping[str, set[date]],
    steps: Mapping[str, Step],
    waiting: dict[str, int],
) -> set[date | None]:
    """The days that could be materialized: over, landed, and with every day of every input that they read."""
    own, catalogue, platform = calendar(declaration), there.catalogue, there.platform
    if own is None:
        return {None} if _can_be_made(platform, catalogue, declaration, materialized) else set()
    closed = own.closed_until(now)
    days = set(own.among(closed)) if closed is not None else set()
    if isinstance(declaration, Source):
        landed_days = platform.landing.days(declaration.name) & days
        waiting[declaration.name] = len(days) - len(landed_days)
        return set(landed_days)
    for read in catalogue.inputs(declaration):
        if read.name in materialized:
            days = {day for day in days if _all_there(declaration, read, day, materialized[read.name])}
        elif read.name not in steps and there.versions[read.name] is None:
            return set()
    return set(days)


def _can_be_made(
    platform: Platform, catalogue: Catalogue, declaration: Declaration, materialized: Mapping[str, set[date]]
) -> bool:
    """Whether something without partitions has what it needs: its file, or its inputs (a dataset, days to report on)."""
    if isinstance(declaration, Source):
        return platform.landing.stamp(declaration.name, None) is not None
    if isinstance(declaration, TrainingDataset):
        view, label = (materialized.get(read, set()) for read in declaration.input_names)
        if isinstance(declaration.split, TimeSplit):
            return any(day >= declaration.split.report_from for day in view)
        return labelled_days(declaration, view, label) is not None
    return all(
        bool(materialized.get(read.name)) or _can_be_made(platform, catalogue, read, materialized)
        for read in catalogue.inputs(declaration)
    )


def _all_there(declaration: Declaration, read: Declaration, day: date, there: set[date]) -> bool:
    reached = days_read(declaration, read, Days(day, day))
    return reached is None or (there.issuperset(reached) and there.issuperset(days_always_read(declaration) or ()))


def _stamps(platform: Platform, declaration: Declaration, now: datetime) -> Mapping[str, str]:
    """The stamps of what has landed for a source up to the last day that is over."""
    if not isinstance(declaration, Source):
        return {}
    closed = None if declaration.partitions is None else declaration.partitions.closed_until(now)
    if declaration.partitions is not None and closed is None:
        return {}
    return platform.landing.stamps(declaration.name, closed)


def _stale_by_itself(
    there: _There,
    declaration: Declaration,
    latest: Mapping[date | None, ledger.Entry],
    candidates: set[date | None],
    now: datetime,
) -> Iterator[tuple[str, date | None]]:
    exists = there.versions[declaration.name] is not None or isinstance(declaration, Model)
    stamps = _stamps(there.platform, declaration, now)
    for day in candidates:
        entry, unit = latest.get(day), "" if day is None else str(day)
        if entry is None or not exists:
            yield NEVER, day
        elif entry.fingerprint != there.catalogue.fingerprints[declaration.name]:
            yield (BACK if entry.fingerprint == LOST else CODE), day
        elif unit in stamps and stamps[unit] != entry.stamps.get(unit):
            yield FILES, day


def _stale_by_input(
    there: _There,
    declaration: Declaration,
    recorded: Mapping[date | None, ledger.Entry],
    candidates: set[date | None],
    steps: Mapping[str, Step],
) -> Iterator[tuple[str, date | None]]:
    for read in _followed(there.catalogue, declaration):
        reason = f"{read.name} changed"
        own = kept_days(declaration, recorded.get(None)) if isinstance(declaration, TrainingDataset) else None
        if read.name in steps and not _is_of_the_past(there, declaration, read):
            for day in _reached(declaration, read, steps[read.name].days, candidates, own=own):
                yield reason, day
        current = there.version_for(declaration, read)
        if current is None:
            continue
        behind = {day: entry.inputs.get(read.name) for day, entry in recorded.items()}
        if isinstance(read, Model):
            wanted = there.versions_by_day(declaration, recorded) or dict.fromkeys(recorded, current)
            yield from ((reason, day) for day, then in behind.items() if then != wanted[day])
            continue
        behind = {day: then for day, then in behind.items() if then != current}
        if not behind:
            continue
        last = there.last_changes(read.name, current)
        if own is not None:
            kept = {day: version for day, version in last.by_day.items() if day is None or day in own}
            last = replace(last, by_day=kept)
        by_day = _newest_by_day(declaration, read, behind, last.by_day)
        always = max((last.by_day.get(day, -1) for day in days_always_read(declaration) or ()), default=-1)
        for day, then in behind.items():
            newest = last.newest if by_day is None or day is None else max(by_day.get(day, -1), last.unsaid, always)
            # A version that the table no longer has, or does not have yet, was of another table.
            if then is None or then > current or newest > then:
                yield reason, day


def _is_of_the_past(there: _There, declaration: Declaration, read: Declaration) -> bool:
    """Whether what becomes of a model no longer matters to a declaration: its days keep the champions that they had."""
    by_day = isinstance(declaration, Predictions) and declaration.is_by_day and isinstance(read, Model | Promotion)
    return by_day and there.versions[read.name] is not None


def _followed(catalogue: Catalogue, declaration: Declaration) -> Sequence[Declaration]:
    """The inputs whose changes reach a declaration: no model whose version it names, where another is changed code."""
    inputs = catalogue.inputs(declaration)
    if isinstance(declaration, Predictions) and declaration.version is not None:
        return [read for read in inputs if not isinstance(read, Model | Promotion)]
    return inputs


def _newest_by_day(
    declaration: Declaration, read: Declaration, days: Collection[date | None], changed: Mapping[date | None, int]
) -> Mapping[date, int] | None:
    """For each of `days` the newest version that changed a day which it reads; None where either has no days."""
    extent = reach(declaration, read)
    if extent is not None:
        return _newest_reached(extent, changed)
    if calendar(declaration) is None or calendar(read) is None:
        return None
    newest = {}
    for day in days:
        reached = None if day is None else days_read(declaration, read, Days(day, day))
        if day is not None and reached is not None:
            newest[day] = max((version for of, version in changed.items() if of in reached), default=-1)
    return newest


def _newest_reached(extent: Reach, changed: Mapping[date | None, int]) -> dict[date, int]:
    """For each day of a reader the newest version that changed a day which it reads."""
    newest: dict[date, int] = {}
    for day, version in changed.items():
        if day is None:
            continue
        for offset in range(-extent.days_forth, extent.days_back + 1):
            reached = day + offset * ONE_DAY
            newest[reached] = max(newest.get(reached, -1), version)
    return newest


def changed_since(
    platform: Platform, catalogue: Catalogue, read: Declaration, version: int | None
) -> Sequence[Days] | None:
    """The days on which a table changed since a version; None where that cannot be said by days."""
    current = version_of(platform, catalogue, read)
    if version is not None and version == current:
        return ()
    if current is None or version is None or version > current or isinstance(read, Model):
        return None
    last = _There(platform=platform, catalogue=catalogue).last_changes(read.name, current)
    if calendar(read) is None:
        return None if last.newest > version else ()
    if last.unsaid > version:
        return None
    return day_ranges({day for day, newest in last.by_day.items() if day is not None and newest > version})


def _reached(
    reader: Declaration,
    read: Declaration,
    changed: Sequence[Days] | None,
    days: set[date | None],
    *,
    own: Days | None = None,
) -> set[date | None]:
    """Which of `days` the changed days of an input reach; of a training dataset, those of its `own` days do."""
    if own is not None and changed is not None:
        changed = [part for part in changed if part.clip(own)]
    if changed is None or calendar(reader) is None or calendar(read) is None:
        return set(days) if changed is None or changed else set()
    reached: set[date | None] = set()
    for part in changed:
        affected = days_affected(reader, read, part)
        reached |= {day for day in days if day is not None and affected is not None and day in affected}
    return reached
