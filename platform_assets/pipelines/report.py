"""The report: how a project stood over some days, gathered for one page that a person can send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from platform_assets.compute.merging import merge
from platform_assets.compute.metrics import Performance
from platform_assets.compute.profiles import Profile, each
from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model, Outcomes
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import DAY, asset_name, table_folder
from platform_assets.declarations.performance import ALL, PerformanceMonitor
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.lake import ledger
from platform_assets.pipelines.drift import kept_reference
from platform_assets.pipelines.manifest import manifest
from platform_assets.pipelines.monitoring import daily_performance
from platform_assets.pipelines.profiling import held_profiles
from platform_assets.pipelines.run import Platform
from platform_assets.pipelines.timeline import Alarms, Event, about, alarms, is_watching, timeline

SHOWN_DAYS = 28
"""So many days up to a day are shown with it, that it can be told from its neighbours."""

_MOVED, _COLUMNS, _WINDOW = 3, 20, 7


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A column that moved: what it was like in the reference, and in the last week."""

    column: str
    monitor: str
    then: Profile
    now: Profile


@dataclass(frozen=True, kw_only=True)
class Heat:
    """How far columns are from their reference: by column and day how many times the threshold of the furthest measure."""

    monitor: str
    days: Sequence[date]
    times: Mapping[str, Mapping[date, float]]
    left_out: int


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the probabilities of some days let expect of them, by measure and day, and whose probabilities, by day."""

    measures: Mapping[str, Mapping[date, float]]
    versions: Mapping[date, int]


@dataclass(frozen=True, kw_only=True)
class Champion:
    """A model and its champion: version (None where there is none), its figures, and by table the version it was made of."""

    model: str
    version: int | None
    metrics: Mapping[str, float]
    made_of: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Health:
    """One table: rows and days within the report's days, the newest day that there is, and when it was last made (UTC).

    Attributes:
        missing: days within the report's days and before the newest that were never made.
        nulls: the column with the largest share of nulls and that share, of the tables that are profiled.
    """

    asset: str
    kind: str
    version: int
    rows: int
    newest: date | None
    missing: int
    made_at: datetime | None
    nulls: tuple[str, float] | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything the page shows.

    Attributes:
        days: what it is about.
        watched: by monitor from which day to which it has watched at all; none that has not.
        incidents: those that lasted into `days`, the newest last.
        performance: per outcomes table, by day, of rows that were not learned from.
        expected: per outcomes table whose performance is watched, what it is beside.
    """

    catalogue: str
    model: str | None
    days: Days
    made_at: datetime
    watched: Mapping[str, Days]
    incidents: Sequence[Alarms]
    performance: Mapping[str, Mapping[date, Performance]]
    expected: Mapping[str, Expected]
    heat: Sequence[Heat]
    moved: Sequence[Distribution]
    champions: Sequence[Champion]
    events: Sequence[Event]
    health: Sequence[Health]

    @property
    def open(self) -> list[Alarms]:
        """The incidents that are not over on the last day."""
        return [one for one in self.incidents if one.days.last >= self.days.last]


def report(
    platform: Platform,
    catalogue: Catalogue,
    *,
    now: datetime,
    days: Days | None = None,
    model: str | None = None,
    also: Sequence[Event] = (),
) -> Report:
    """Gather a project's state over `days`, or over the last four weeks that a monitor or an outcome speaks of.

    Raises:
        NotFound: when there is no such model.
    """
    events = timeline(platform, catalogue, model=model, also=also)
    names = about(catalogue, model) if model else {declaration.name for declaration in catalogue.declarations}
    declared = [declaration for declaration in catalogue.declarations if declaration.name in names]
    days = days or last_days(platform, catalogue, declared, now=now)
    watching = [declaration for declaration in declared if is_watching(declaration)]
    incidents = [
        one
        for watcher in watching
        for one in alarms(platform, catalogue, watcher, until=days.last)
        if one.days.last >= days.first
    ]
    incidents.sort(key=lambda one: (one.days.first, one.monitor))
    own = days.grow(back=1, forth=1)
    told = [e for e in events if e.days is None or (e.kind != "drift" and own.clip(e.days))]
    entries = ledger.read(platform.lake)
    return Report(
        catalogue=catalogue.name,
        model=model,
        days=days,
        made_at=now,
        watched={
            asset_name(catalogue.name, watcher.name): Days(min(there), max(there))
            for watcher in watching
            if (there := _days(platform, catalogue, watcher))
        },
        incidents=incidents,
        performance={
            d.name: found
            for d in declared
            if isinstance(d, Outcomes) and (found := _performance(platform, catalogue, d, days))
        },
        expected={
            d.of.name: due
            for d in watching
            if isinstance(d, PerformanceMonitor) and (due := _expected(platform, catalogue, d, days))
        },
        heat=[heat for watcher in watching if (heat := _heat(platform, catalogue, watcher, days)) is not None],
        moved=_moved(platform, catalogue, watching, incidents, days),
        champions=[_champion(platform, catalogue, d, entries) for d in declared if isinstance(d, Model)],
        events=told,
        health=[h for d in declared if (h := _health(platform, catalogue, d, days, entries)) is not None],
    )


def last_days(platform: Platform, catalogue: Catalogue, declared: Sequence[Declaration], *, now: datetime) -> Days:
    """The last four weeks that a monitor or an outcome speaks of; before there is any, those up to now (UTC)."""
    speaking = [d for d in declared if is_watching(d) or isinstance(d, Outcomes)]
    there = [max(days, default=date.min) for d in speaking if (days := _days(platform, catalogue, d))]
    last = max(there, default=now.date())
    return Days(last - (SHOWN_DAYS - 1) * ONE_DAY, last)


def _days(platform: Platform, catalogue: Catalogue, declaration: Declaration) -> set[date]:
    folder = table_folder(catalogue.name, declaration.name)
    return set() if platform.lake.version(folder) is None else platform.lake.days(folder)


def _performance(platform: Platform, catalogue: Catalogue, outcomes: Outcomes, days: Days) -> dict[date, Performance]:
    folder = table_folder(catalogue.name, outcomes.name)
    if platform.lake.version(folder) is None:
        return {}
    needed = [outcomes.event_time, outcomes.label.value, "probability", "in_sample"]
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder, days=days).select(needed).filter(~pl.col("in_sample")).collect()
    found = daily_performance(outcomes, rows)
    return {day: found[day] for day in days if day in found}


def _expected(platform: Platform, catalogue: Catalogue, watcher: PerformanceMonitor, days: Days) -> Expected | None:
    folder = table_folder(catalogue.name, watcher.name)
    if platform.lake.version(folder) is None:
        return None
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder, days=days).filter(window=1, sliced_by=ALL).sort(DAY, "measure").collect()
    measures = {
        str(measure): dict(part.drop_nulls("expected").select(DAY, "expected").iter_rows())
        for (measure,), part in rows.partition_by("measure", as_dict=True).items()
    }
    newest = rows.select(DAY, pl.col("model_versions").list.last()).drop_nulls()
    return Expected(measures=measures, versions=dict(newest.iter_rows()))


def _heat(platform: Platform, catalogue: Catalogue, watcher: Declaration, days: Days) -> Heat | None:
    folder = table_folder(catalogue.name, watcher.name)
    if not isinstance(watcher, Monitor) or platform.lake.version(folder) is None:
        return None
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder, days=days).select(DAY, "column", "value", "threshold").collect()
    times = pl.when(pl.col("threshold") > 0).then(pl.col("value") / pl.col("threshold"))
    cells = rows.group_by("column", DAY).agg(times.max().alias("times")).drop_nulls("times")
    ranked = cells.group_by("column").agg(pl.col("times").max()).sort("times", "column", descending=[True, False])
    names = ranked.get_column("column").to_list()
    by_column = {
        name: dict(cells.filter(pl.col("column") == name).select(DAY, "times").iter_rows()) for name in names[:_COLUMNS]
    }
    asset = asset_name(catalogue.name, watcher.name)
    return (
        Heat(monitor=asset, days=list(days), times=by_column, left_out=max(len(names) - _COLUMNS, 0)) if names else None
    )


def _moved(
    platform: Platform, catalogue: Catalogue, watching: Sequence[Declaration], incidents: Sequence[Alarms], days: Days
) -> list[Distribution]:
    """The three that moved most in the incidents that are open, or else in all of these days."""
    open_ones = [one for one in incidents if one.days.last >= days.last] or incidents
    ranked = sorted(((m, one) for one in open_ones for m in one.moved), key=lambda pair: -(pair[0].times or 0.0))
    monitors = {asset_name(catalogue.name, d.name): d for d in watching if isinstance(d, Monitor)}
    found: dict[str, Distribution] = {}
    for moved, incident in ranked:
        monitor = monitors.get(incident.monitor)
        if monitor is None or moved.name in found or len(found) == _MOVED:
            continue
        last = min(incident.days.last, days.last)
        week = Days(max(incident.days.first, last - (_WINDOW - 1) * ONE_DAY), last)
        reference = kept_reference(platform, catalogue, monitor).filter(pl.col("column") == moved.name)
        held = held_profiles(platform.lake, catalogue, monitor.of, week).filter(pl.col("column") == moved.name)
        if len(reference) and len(held):
            then, now = next(each(reference)), next(each(merge(held)))
            found[moved.name] = Distribution(column=moved.name, monitor=incident.monitor, then=then, now=now)
    return list(found.values())


def _champion(platform: Platform, catalogue: Catalogue, model: Model, entries: ledger.Ledger) -> Champion:
    version = platform.registry.champion(catalogue.name, model.name)
    if version is None:
        return Champion(model=asset_name(catalogue.name, model.name), version=None, metrics={}, made_of={})
    made_of = manifest(entries, catalogue, model.name, version)
    return Champion(
        model=asset_name(catalogue.name, model.name),
        version=version,
        metrics=platform.registry.metrics(catalogue.name, model.name, version),
        made_of={name: made.version for name, made in made_of.items()},
    )


def _health(
    platform: Platform, catalogue: Catalogue, declaration: Declaration, days: Days, entries: ledger.Ledger
) -> Health | None:
    folder, asset = table_folder(catalogue.name, declaration.name), asset_name(catalogue.name, declaration.name)
    version = None if isinstance(declaration, Model) else platform.lake.version(folder)
    if version is None:
        return None
    own = calendar(declaration)
    dated = own is not None and DAY in platform.lake.scan(folder).collect_schema()
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder, days=days if dated else None).select(pl.len()).collect().item()
    made = {day for day in entries.made(asset) if day is not None}
    newest = max(made, default=None) if dated else None
    wanted = {day for day in days if newest is not None and min(made) <= day <= newest}
    latest = entries.entries(asset)
    held = held_profiles(platform.lake, catalogue, declaration, days) if dated else None
    worst = None
    if held is not None and len(held):
        shares = held.group_by("column").agg((pl.col("nulls").sum() / pl.col("rows").sum()).alias("share"))
        column, share = shares.sort("share", "column", descending=[True, False]).row(0)
        worst = (column, share) if share and share > 0 else None
    return Health(
        asset=asset,
        kind=declaration.kind,
        version=version,
        rows=rows,
        newest=newest,
        missing=len(wanted - made),
        made_at=latest[0].recorded_at if latest else None,
        nulls=worst,
    )
