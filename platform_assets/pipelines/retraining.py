"""The retraining pipeline: for each day whether the model is to be trained again, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from platform_assets.declarations.catalogue import Catalogue, days_read
from platform_assets.declarations.names import DAY, asset_name, table_folder
from platform_assets.declarations.retraining import ALARMED, Retraining, RetrainingPolicy
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.declarations.views import TimeSplit
from platform_assets.lake import ledger
from platform_assets.pipelines.checks import TRAINED_WHEN_ASKED
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run
from platform_assets.pipelines.splits import kept_days, newest_day

_MOVED = 3
"""So many columns are named that moved."""


@dataclass(frozen=True, kw_only=True)
class RetrainingFacts:
    """What a retraining is decided by: no more than was known on the morning after `day`.

    Attributes:
        day: the newest day that is in.
        last_trained: the day that was the newest one when the model was last trained; None before that.
        fresh_rows: labelled rows that came in since, and that a training would have now.
        alarmed: by monitor, on how many days in a row up to the newest that it watched it alarmed, as far back as
            the policy asks.
    """

    day: date
    last_trained: date | None
    fresh_rows: int
    alarmed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RetrainingDecision:
    """Whether a retraining is asked for, with every reason for and against it, in words."""

    asked: bool
    reasons: tuple[str, ...]
    cool_down_until: date | None = None

    @property
    def why(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


def decide_retraining(policy: RetrainingPolicy, facts: RetrainingFacts) -> RetrainingDecision:
    """Whether the policy asks for a retraining on the morning after a day.

    It is asked for where the calendar or a monitor asks for it and nothing holds it back. A model that was not
    trained before is not trained again.
    """
    last = facts.last_trained
    if last is None or last >= facts.day:
        return RetrainingDecision(asked=False, reasons=("no training came before, of which this would be the next",))
    asks = [*_calendar(policy, facts.day, last), *_alarms(policy, facts, last)]
    until = last + policy.cool_down - ONE_DAY if policy.cool_down else None
    if not asks:
        return RetrainingDecision(asked=False, reasons=("nothing asks for one",), cool_down_until=until)
    holds = []
    if facts.fresh_rows < policy.fresh_rows:
        holds.append(f"but {facts.fresh_rows:,} rows are fresh, and {policy.fresh_rows:,} are wanted")
    if until is not None and facts.day <= until:
        holds.append(f"but it was trained with {last}, and is left alone until {until}")
    return RetrainingDecision(asked=not holds, reasons=(*asks, *holds), cool_down_until=until)


def _calendar(policy: RetrainingPolicy, day: date, last: date) -> list[str]:
    """Months are those of the mornings: what is trained on the first has the last day of the month before."""
    morning, trained = day + ONE_DAY, last + ONE_DAY
    if policy.every is None or (morning.year, morning.month) <= (trained.year, trained.month):
        return []
    return [f"{morning:%Y-%m} has begun"]


def _alarms(policy: RetrainingPolicy, facts: RetrainingFacts, last: date) -> list[str]:
    """Monitors that alarmed for long enough on days that the last training did not know."""
    if policy.alarms is None:
        return []
    since = (facts.day - last).days
    return [
        f"{name} alarmed on {policy.alarms} day{'s in a row' if policy.alarms > 1 else ''}"
        for name, days in sorted(facts.alarmed.items())
        if min(days, since) >= policy.alarms
    ]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for now: by the newest day that is decided on, and not done yet."""

    day: date
    why: str


def standing_request(platform: Platform, catalogue: Catalogue, retraining: Retraining) -> Request | str:
    """The retraining that is to be launched now, or why there is none, in words.

    Only the newest day asks. One that was decided on while newer labels were in already, as in a backfill, does not.
    """
    asset, label = (asset_name(catalogue.name, d.name) for d in (retraining, retraining.model.training.label))
    book = ledger.read(platform.lake, [asset, label])
    decided = {day for day in book.made(asset) if day is not None}
    if not decided:
        return "no day was decided on yet"
    day, labelled = max(decided), max((day for day in book.made(label) if day is not None), default=None)
    newest = day + retraining.delay * ONE_DAY
    if labelled is not None and labelled + retraining.labels_lag * ONE_DAY > newest:
        return f"the labels of {labelled} are in, and days up to {day} are decided on; the newest will ask"
    row = platform.lake.scan(table_folder(catalogue.name, retraining.name), days=Days(day, day)).collect()
    if row.is_empty() or not row.item(0, "asked"):
        return f"{day} did not ask for one" + ("" if row.is_empty() else f": {row.item(0, 'why')}")
    if any(trained >= newest for trained in trainings(platform, catalogue, retraining)):
        return f"{day} asked for one, and it was trained with that day already"
    return Request(day=day, why=row.item(0, "why"))


def ask_for_retraining(
    platform: Platform, catalogue: Catalogue, retraining: Retraining, days: Days, run: Run
) -> Materialization:
    """Decide for each of `days` whether the model is to be trained again, from what was known on its next morning."""
    inputs = Inputs.pin(platform, catalogue, retraining, days)
    trained = trainings(platform, catalogue, retraining)
    alarms, moved = _alarms_by_day(retraining, inputs, days), _moved_by_day(retraining, inputs, days)
    late = Days(days.first + retraining.delay * ONE_DAY, days.last + retraining.delay * ONE_DAY)
    fresh = _FreshRows.read(retraining, inputs, trained, late)
    decided = []
    for day in days:
        newest_day_in = day + retraining.delay * ONE_DAY
        last = max((with_day for with_day in trained if with_day < newest_day_in), default=None)
        facts = RetrainingFacts(
            day=newest_day_in,
            last_trained=last,
            fresh_rows=0 if last is None else fresh.count(trained[last], newest_day_in),
            alarmed={name: _in_a_row(found, day) for name, found in alarms.items()},
        )
        decision = decide_retraining(retraining.policy, facts)
        decided.append(
            {
                DAY: day,
                "asked": decision.asked,
                "why": decision.why,
                "alarmed": ", ".join(sorted(name for name, found in alarms.items() if day in found)) or None,
                "moved": moved.get(day),
                "fresh_rows": facts.fresh_rows,
                "last_trained": last,
                "cool_down_until": decision.cool_down_until,
            }
        )
    types = {column.name: column.dtype for column in retraining.columns} | {DAY: pl.Date()}
    newest = decided[-1]
    told: dict[str, Any] = {"asked for": newest["asked"], "why": newest["why"], "fresh rows": newest["fresh_rows"]}
    told |= {title.replace("_", " "): str(newest[title]) for title in ("last_trained", "moved") if newest[title]}
    return publish(
        platform,
        catalogue,
        retraining,
        pl.DataFrame(decided, schema=types),
        days,
        run,
        inputs,
        checks=[_trained_when_asked(platform, catalogue, retraining, decided, trained)],
        facts=told,
        stamps={"trained": ", ".join(map(str, sorted(trained)))},
    )


def trainings(platform: Platform, catalogue: Catalogue, retraining: Retraining) -> dict[date, date]:
    """Every training of the model: by the newest day that was in when its rows were taken, the last day of those rows.

    What a day may know of is told by days alone, not by when a run happened to take place.
    """
    dataset = retraining.model.training
    fitted, built = (asset_name(catalogue.name, name) for name in (retraining.model.name, dataset.name))
    book = ledger.read(platform.lake, [fitted, built])
    made, found = book.entries(built), {}
    for entry in book.entries(fitted):
        of = entry.inputs.get(dataset.name)
        # The newest that it can have read: built again to equal rows, a dataset keeps its version.
        rows = next((e for e in made if e.version == of and e.recorded_at <= entry.recorded_at), None)
        days, newest = (None, None) if rows is None else (kept_days(dataset, rows), newest_day(dataset, rows))
        if days is not None and newest is not None:
            found[newest + retraining.labels_lag * ONE_DAY] = days.last
    return found


@dataclass(frozen=True, kw_only=True)
class _FreshRows:
    """Labelled rows by the day that they are of and the day by whose end their label was known."""

    rows: pl.DataFrame
    lag: int
    until: date | None

    @staticmethod
    def read(retraining: Retraining, inputs: Inputs, trained: Mapping[date, date], days: Days) -> _FreshRows:
        """The labels of days after the first training that counts for any of `days`."""
        dataset, lag = retraining.model.training, retraining.labels_lag
        split, label = dataset.split, dataset.label
        until = split.report_until if isinstance(split, TimeSplit) else None
        first = max((with_day for with_day in trained if with_day < days.first), default=None)
        known = [trained[with_day] for with_day in trained if (first or days.first) <= with_day < days.last]
        newest = days.last - lag * ONE_DAY
        newest = newest if until is None else min(newest, until)
        schema = {"of": pl.Date(), "known": pl.Date(), "len": pl.UInt32()}
        if not known or newest <= min(known):
            return _FreshRows(rows=pl.DataFrame(schema=schema), lag=lag, until=until)
        rows = (
            inputs.scan(label.name, days=Days(min(known) + ONE_DAY, newest))
            .filter(pl.col(label.value).is_not_null())
            .group_by(pl.col(DAY).alias("of"), label.partitions.day_of(label.known_at.expr()).alias("known"))
            .len()
            .collect()
        )
        return _FreshRows(rows=rows, lag=lag, until=until)

    def count(self, known: date, day: date) -> int:
        """Those that a training with everything up to `day` has, and one whose rows end on `known` had not."""
        of, last = pl.col("of"), day - self.lag * ONE_DAY
        return int(self.rows.filter(of > known, of <= last, pl.col("known") <= day).get_column("len").sum())


def _alarms_by_day(retraining: Retraining, inputs: Inputs, days: Days) -> dict[str, set[date]]:
    """By monitor the days on which any of its rows alarmed."""
    found = {}
    for monitor in retraining.monitors:
        wanted = days_read(retraining, monitor, days) or days
        alarmed = inputs.scan(monitor.name, days=wanted).filter(ALARMED).select(DAY).unique().collect()
        found[monitor.name] = set(alarmed.get_column(DAY))
    return found


def _in_a_row(alarmed: set[date], day: date) -> int:
    first = day
    while first in alarmed:
        first -= ONE_DAY
    return (day - first).days


def _moved_by_day(retraining: Retraining, inputs: Inputs, days: Days) -> dict[date, str]:
    """The columns that moved most on each day, in times of their thresholds, of the monitors that tell of columns."""
    tables = [
        inputs.scan(monitor.name, days=days).select(
            DAY, "column", (pl.col("value") / pl.col("threshold")).alias("times")
        )
        for monitor in retraining.monitors
        if {"column", "value", "threshold"} <= {column.name for column in monitor.columns}
    ]
    if not tables:
        return {}
    times = pl.concat(tables).filter(pl.col("times").is_finite()).group_by(DAY, "column").agg(pl.col("times").max())
    most = times.sort(DAY, "times", "column", descending=[False, True, False]).group_by(DAY, maintain_order=True)
    said: dict[date, list[str]] = {}
    for day, column, far in most.head(_MOVED).collect().iter_rows():
        said.setdefault(day, []).append(f"{column} ({far:.2g})")
    return {day: ", ".join(columns) for day, columns in said.items()}


def _trained_when_asked(
    platform: Platform,
    catalogue: Catalogue,
    retraining: Retraining,
    decided: Sequence[Mapping[str, Any]],
    trained: Mapping[date, date],
) -> CheckResult:
    """Whether what the day before the newest one asked for has come; that of the newest one cannot have yet."""
    newest, before = (
        decided[-1],
        decided[-2] if len(decided) > 1 else _row_before(platform, catalogue, retraining, decided[0]),
    )
    wanted = newest[DAY] + (retraining.delay - 1) * ONE_DAY
    waits = before is not None and before["asked"] and not any(with_day >= wanted for with_day in trained)
    said = "Nothing that was asked for is left undone."
    if waits and before is not None:
        said = f"{before[DAY]} asked for a training of {retraining.model.name}, which was not trained since: {before['why']}."
    elif newest["asked"]:
        said = f"{newest[DAY]} asks for a training of {retraining.model.name}: {newest['why']}."
    return CheckResult(name=TRAINED_WHEN_ASKED, passed=not waits, description=said, blocking=False)


def _row_before(
    platform: Platform, catalogue: Catalogue, retraining: Retraining, first: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    folder, day = table_folder(catalogue.name, retraining.name), first[DAY] - ONE_DAY
    if platform.lake.version(folder) is None:
        return None
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder, days=Days(day, day)).collect()
    return rows.row(0, named=True) if len(rows) else None
