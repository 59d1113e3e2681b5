"""The timeline: what happened to a project and why, from what its tables, models and landed files tell.

Nothing is recorded for it. Trainings are in the ledger, decisions in the promotions' tables, incidents in the
monitors', refused rows in the quarantine, corrections in the names of landed files. What only Dagster knows, such
as failed checks, is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeGuard

import polars as pl

from platform_assets.compute.incidents import Spell, spells
from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Declaration, Table
from platform_assets.declarations.models import Model
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import DAY, asset_name, quarantine_folder, registered_model, table_folder
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retraining import ALARMED
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import ONE_DAY, Days, day_ranges
from platform_assets.errors import NotFound
from platform_assets.lake import ledger
from platform_assets.lake.repair import LOST
from platform_assets.pipelines.decisions import Decision, history
from platform_assets.pipelines.run import Platform

CORRECTION, QUARANTINE, CHECK_FAILED, DRIFT, WORSE, ASKED, TRAINED = (
    "correction",
    "quarantine",
    "check failed",
    "drift",
    "worse than expected",
    "retraining asked",
    "trained",
)
KINDS = (CORRECTION, QUARANTINE, CHECK_FAILED, DRIFT, WORSE, ASKED, TRAINED)
"""The kinds of events beside the verdicts of decisions; of one instant causes come before what they cause."""

_TOLD = 3


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        at: when, UTC: what the platform did at its instant, what befell a day of data as that day began.
        kind: one of `KINDS`, or the verdict of a decision.
        asset: of what: `flights/late_arrival_drift`.
        said: what and why, in one sentence.
        days: the days of data it is about; None where it is about none.
        is_over: whether an incident ended, or a check passed again; None for what has no end.
        version: the model's version it is about; None where it is about none.
    """

    at: datetime
    kind: str
    asset: str
    said: str
    days: Days | None = None
    is_over: bool | None = None
    version: int | None = None

    @property
    def when(self) -> str:
        """The day of data, or the minute in UTC."""
        return f"{self.days.first}" if self.days is not None else f"{self.at:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A column of an incident, by its measure that was furthest above its threshold.

    Attributes:
        name: the column, or slice and measure.
        said: the same with measure, window and how far.
        times: how many times its threshold; None where that cannot be told.
    """

    name: str
    said: str
    times: float | None


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """What began to drift together and how long it lasted: one incident, as `compute.incidents` has it.

    Attributes:
        monitor: the asset.
        days: from the day it began to the last on which any of it alarmed.
        is_over: whether none of it drifts on the newest day that was watched.
        moved: all of it, furthest first.
    """

    monitor: str
    days: Days
    is_over: bool
    moved: Sequence[Moved]

    @property
    def said(self) -> str:
        """The three that moved most, and how many more."""
        more = f"; and {len(self.moved) - _TOLD} more" if len(self.moved) > _TOLD else ""
        one = "column" if len(self.moved) == 1 else "columns"
        lasted = f"until {self.days.last}" if self.is_over else "not over"
        return f"{len(self.moved)} {one}, {lasted}: {'; '.join(found.said for found in self.moved[:_TOLD])}{more}"


def timeline(
    platform: Platform,
    catalogue: Catalogue,
    *,
    model: str | None = None,
    asset: str | None = None,
    since: date | None = None,
    until: date | None = None,
    also: Iterable[Event] = (),
) -> list[Event]:
    """What happened and why, newest last.

    Args:
        platform: where to look.
        catalogue: what is declared.
        model: only what is about this model (`late_arrival_model`): itself, what it is made of, what is made of it.
        asset: only what is about this asset (`flights/departures`).
        since: leave out what was over before this day (UTC).
        until: leave out what came after this day (UTC).
        also: events that only others know.

    Raises:
        NotFound: when there is no such model or asset.
    """
    names = _wanted(catalogue, model=model, asset=asset)
    assets = {asset_name(catalogue.name, name) for name in names}
    found = [event for event in also if event.asset in assets]
    entries = ledger.read(platform.lake, sorted(assets))
    for declaration in catalogue.declarations:
        if declaration.name not in names:
            continue
        if isinstance(declaration, Model):
            found += _trainings(catalogue, declaration, entries)
        elif isinstance(declaration, Promotion):
            found += _decisions(platform, catalogue, declaration)
        elif is_watching(declaration):
            found += [_incident(catalogue, declaration, one) for one in alarms(platform, catalogue, declaration)]
        elif isinstance(declaration, Source):
            found += _corrections(platform, catalogue, declaration)
        found += _asked(platform, catalogue, declaration)
        found += _quarantined(platform, catalogue, declaration)
    within = [event for event in found if _lasts_into(event, since) and (until is None or event.at.date() <= until)]
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(within, key=lambda one: (one.at, order.get(one.kind, len(order)), one.asset, one.said))


def about(catalogue: Catalogue, model: str) -> set[str]:
    """The declarations that are about a model: itself, what it is made of, what is made of it, and their monitors."""
    behind, made = {model}, {model}
    for declaration in reversed(catalogue.declarations):  # whoever reads comes before what it reads
        if declaration.name in behind:
            behind.update(declaration.input_names)
    for declaration in catalogue.declarations:
        if made.intersection(declaration.input_names):
            made.add(declaration.name)
    watching = {
        d.name for d in catalogue.declarations if is_watching(d) and (behind | made).intersection(d.input_names)
    }
    return behind | made | watching


def is_watching(declaration: Declaration) -> TypeGuard[Monitor | PerformanceMonitor]:
    """Whether its table says of days of data whether they alarm: every kind of monitor."""
    if not isinstance(declaration, Table):
        return False
    types = {column.name: column.dtype for column in declaration.columns}
    return types.get(ALARMED) == pl.Boolean() and calendar(declaration) is not None


def alarms(
    platform: Platform, catalogue: Catalogue, monitor: Monitor | PerformanceMonitor, *, until: date | None = None
) -> list[Alarms]:
    """The incidents of a monitor, oldest first, as they stood after the day `until`."""
    folder = table_folder(catalogue.name, monitor.name)
    if platform.lake.version(folder) is None:
        return []
    with platform.lake.reading(folder):
        rows = _labelled(monitor, platform.lake.scan(folder).filter(ALARMED)).collect()
    watched = {day for day in platform.lake.days(folder) if until is None or day <= until}
    rows = rows if until is None else rows.filter(pl.col(DAY) <= until)
    found = spells(rows.select(DAY, "name").unique().iter_rows())
    begun: dict[date, list[tuple[Spell, Moved]]] = {}
    for spell in found:
        inside = rows.filter(pl.col("name") == spell.column, pl.col(DAY).is_between(spell.first, spell.last))
        furthest = inside.sort("times", "said", descending=[True, False], nulls_last=True).row(0, named=True)
        times = furthest["times"]
        far = "" if times is None else f", {times:.1f} times its threshold"
        moved = Moved(name=spell.column, said=f"{spell.column} ({furthest['said']}{far})", times=times)
        begun.setdefault(spell.incident, []).append((spell, moved))
    asset, told = asset_name(catalogue.name, monitor.name), []
    for first, parts in sorted(begun.items()):
        days = Days(first, max(spell.last for spell, _ in parts))
        most = sorted((one for _, one in parts), key=lambda one: (-(one.times or 0.0), one.name))
        is_over = not any(spell.drifts(max(watched)) for spell, _ in parts)
        told.append(Alarms(monitor=asset, days=days, is_over=is_over, moved=most))
    return told


def as_table(events: Sequence[Event], *, most: int = 40) -> pl.DataFrame:
    """The newest events, newest last, as a page shows them."""
    schema = ["when", "what", "of", "why"]
    rows = [(event.when, event.kind, event.asset, event.said) for event in events[-most:]]
    return pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String), orient="row")


def _wanted(catalogue: Catalogue, *, model: str | None, asset: str | None) -> set[str]:
    names = {declaration.name for declaration in catalogue.declarations}
    if asset is not None:
        there = {asset_name(catalogue.name, name): name for name in names}
        if asset not in there:
            msg = f"{asset} is not declared; usage and the UI list what is"
            raise NotFound(msg)
        names = {there[asset]}
    if model is not None:
        models = [declaration.name for declaration in catalogue.declarations if isinstance(declaration, Model)]
        if model not in models:
            declared = ", ".join(registered_model(catalogue.name, name) for name in models) or "no model"
            msg = f"{registered_model(catalogue.name, model)} is not declared; {catalogue.name} has {declared}"
            raise NotFound(msg)
        names &= about(catalogue, model)
    return names


def _trainings(catalogue: Catalogue, model: Model, entries: ledger.Ledger) -> Iterator[Event]:
    asset, seen = asset_name(catalogue.name, model.name), set[int]()
    for entry in reversed(entries.entries(asset)):
        if entry.version in seen or entry.fingerprint == LOST:
            continue
        seen.add(entry.version)
        made_of = ", ".join(f"{name} version {version}" for name, version in entry.inputs.items())
        said = f"version {entry.version} from {entry.rows:,} rows of {made_of}"
        yield Event(at=entry.recorded_at, kind=TRAINED, asset=asset, said=said, version=entry.version)


def _decisions(platform: Platform, catalogue: Catalogue, promotion: Promotion) -> Iterator[Event]:
    asset = asset_name(catalogue.name, promotion.name)
    for decision in history(platform, catalogue, promotion).decisions:
        yield Event(
            at=decision.decided_at,
            kind=decision.verdict,
            asset=asset,
            said=f"version {decision.version}; champion is {_named(decision.champion)}: {why(decision)}",
            version=decision.version,
        )


def why(decision: Decision) -> str:
    """What decided: what speaks against the version, else what a person said, else what was compared."""
    against = [reason.said for reason in decision.reasons if reason.passed is False]
    people = [reason.said for reason in decision.reasons if reason.passed is None and reason.measured is None]
    compared = [reason.said for reason in decision.reasons if reason.measured is not None]
    told = against or (compared if len(decision.reasons) > 1 else people) or [r.said for r in decision.reasons]
    return " ".join(told[:_TOLD])


def _incident(catalogue: Catalogue, monitor: Declaration, found: Alarms) -> Event:
    return Event(
        at=_start(monitor, found.days.first),
        kind=WORSE if isinstance(monitor, PerformanceMonitor) else DRIFT,
        asset=asset_name(catalogue.name, monitor.name),
        said=found.said,
        days=found.days,
        is_over=found.is_over,
    )


def _corrections(platform: Platform, catalogue: Catalogue, source: Source) -> Iterator[Event]:
    if source.partitions is None:
        return
    landed: dict[datetime, set[date]] = {}
    for day, deliveries in platform.landing.deliveries(source.name).items():
        for delivery in deliveries:
            if delivery.corrected_at is not None:
                landed.setdefault(delivery.corrected_at, set()).add(day)
    for instant, days in landed.items():
        told = ", ".join(map(str, day_ranges(days)))
        asset = asset_name(catalogue.name, source.name)
        yield Event(at=instant, kind=CORRECTION, asset=asset, said=f"landed for {told}")


def _asked(platform: Platform, catalogue: Catalogue, declaration: Declaration) -> Iterator[Event]:
    """The days on which a retraining was asked for, of a table that says so."""
    folder = table_folder(catalogue.name, declaration.name)
    if not isinstance(declaration, Table) or not {"asked", "why"} <= {column.name for column in declaration.columns}:
        return
    if platform.lake.version(folder) is None:
        return
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder).filter("asked").select(DAY, "why").sort(DAY).collect()
    for day, reason in rows.iter_rows():
        asset = asset_name(catalogue.name, declaration.name)
        yield Event(at=_start(declaration, day), kind=ASKED, asset=asset, said=reason, days=Days(day, day))


def _quarantined(platform: Platform, catalogue: Catalogue, declaration: Declaration) -> Iterator[Event]:
    folder = quarantine_folder(catalogue.name, declaration.name)
    if platform.lake.version(folder) is None:
        return
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder).collect()
    asset = asset_name(catalogue.name, declaration.name)
    by = [DAY] if DAY in rows.columns else []
    counted = (
        rows.group_by(*by, "reason").len().sort(*by, "len", "reason", descending=[*(False for _ in by), True, False])
    )
    parts = counted.partition_by(DAY, maintain_order=True) if by else [counted] if len(counted) else []
    for part in parts:
        reasons = "; ".join(f"{count:,} of {reason}" for reason, count in part.select("reason", "len").iter_rows())
        total = part.get_column("len").sum()
        said = f"{total:,} row{'s' if total > 1 else ''} refused: {reasons}"
        day = part.get_column(DAY)[0] if by else None
        if day is None:
            made = platform.lake.open(folder).history(1)[0]["timestamp"]
            yield Event(at=datetime.fromtimestamp(made / 1000, UTC), kind=QUARANTINE, asset=asset, said=said)
        else:
            yield Event(at=_start(declaration, day), kind=QUARANTINE, asset=asset, said=said, days=Days(day, day))


def _labelled(monitor: Monitor | PerformanceMonitor, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Of each alarm what moved (`name`), how it was measured (`said`), and by how many times its threshold (`times`)."""
    keys = [key for key in monitor.keys if key != "window"]
    what = ["column"] if "column" in keys else keys
    how = [key for key in keys if key not in what]
    columns = rows.collect_schema().names()
    value = pl.col("excess" if "excess" in columns else "value")
    window = pl.format("over {} d", "window") if "window" in columns else pl.lit("")
    return rows.select(
        DAY,
        pl.col("window") if "window" in columns else pl.lit(1, pl.Int64).alias("window"),
        pl.concat_str(pl.col(what).cast(pl.String), separator=" ", ignore_nulls=True).alias("name"),
        pl.concat_str(*how, window, separator=" ", ignore_nulls=True).alias("said"),
        pl.when(pl.col("threshold") > 0).then(value / pl.col("threshold")).alias("times"),
    )


def _start(declaration: Declaration, day: date) -> datetime:
    days = calendar(declaration)
    assert days is not None  # noqa: S101 - the table has days
    return days.start_of(day)


def _lasts_into(event: Event, since: date | None) -> bool:
    if since is None or event.at.date() >= since:
        return True
    return event.days is not None and event.days.last + ONE_DAY > since and event.kind in (DRIFT, WORSE)


def _named(version: int | None) -> str:
    return "nobody" if version is None else f"version {version}"
