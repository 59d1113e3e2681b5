"""What a replay came to: performance over time, trainings, promotions, alerts and the work spent, policy by policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import polars as pl

from platform_assets.compute.metrics import Performance, performance, performance_by
from platform_assets.declarations.models import Outcomes
from platform_assets.declarations.names import DAY, table_folder
from platform_assets.declarations.times import Days
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.replay.journal import Day
from platform_assets.pipelines.replay.setting import Setting

COMPARED_DAYS = 30
"""The first and the last so many days say whether a day costs what it cost at the beginning."""
_MONTH, _YEAR = "month", "year"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A training, with what came of it."""

    day: date
    why: str
    said: str
    trained: Sequence[int]
    promoted: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class PolicyReport:
    """What came of the days under one policy.

    Attributes:
        policy: its name.
        overall: performance on all rows out of sample whose outcome is known; None where there are none.
        months: the same by month of the event, `2013-02`.
        years: the same by year of the event, `2013`.
        weeks: log loss by the first day of each week (seven days from the first day on).
        changes: the trainings, first ones included.
        alerts: how many began.
        predicted_days: days with predictions.
        champion: at the end.
        training_cpu_seconds: spent on trainings and promotions.
        cpu_seconds: spent on all else that is the policy's own.
    """

    policy: str
    overall: Performance | None
    months: Mapping[str, Performance]
    years: Mapping[str, Performance]
    weeks: Mapping[date, Performance]
    changes: Sequence[Change]
    alerts: int
    predicted_days: int
    champion: int | None
    training_cpu_seconds: float
    cpu_seconds: float

    @property
    def trainings(self) -> int:
        return sum(bool(change.trained) for change in self.changes)

    @property
    def promotions(self) -> int:
        return sum(len(change.promoted) for change in self.changes)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a replay came to.

    Attributes:
        project: the catalogue.
        days: that were operated.
        notes: what was not as declared.
        policies: side by side, in the order in which they were asked for.
        alerts: that began, of what all policies share.
        by_day: the journal.
        first_days: mean seconds of a day without training over the first `COMPARED_DAYS`, wall and processor.
        last_days: the same over the last ones; None where there are too few days to compare.
    """

    project: str
    days: Days
    notes: Sequence[str]
    policies: Sequence[PolicyReport]
    alerts: int
    by_day: Sequence[Day]
    first_days: tuple[float, float] | None
    last_days: tuple[float, float] | None

    @property
    def day_cost_ratio(self) -> float | None:
        """Processor seconds of a day without training, the last `COMPARED_DAYS` over the first; None as for those."""
        return self.last_days[1] / self.first_days[1] if self.first_days and self.last_days else None

    def plain(self) -> dict[str, Any]:
        """As plain values, days as text."""
        policies = [
            {
                **asdict(one),
                "months": {month: found.to_dict() for month, found in one.months.items()},
                "years": {year: found.to_dict() for year, found in one.years.items()},
                "weeks": {str(week): found.to_dict() for week, found in one.weeks.items()},
                "overall": one.overall and one.overall.to_dict(),
                "trainings": one.trainings,
                "promotions": one.promotions,
            }
            for one in self.policies
        ]
        return {
            "project": self.project,
            "from": self.days.first,
            "to": self.days.last,
            "notes": list(self.notes),
            "policies": policies,
            "alerts": self.alerts,
            "seconds_a_day": {"first": self.first_days, "last": self.last_days, "cpu_ratio": self.day_cost_ratio},
            "days": [_plain_day(day) for day in self.by_day],
        }


def report_on(setting: Setting, lake: Lake, by_day: Sequence[Day], policies: Sequence[str]) -> Report:
    """Read the outcomes of every policy, and put the journal's figures beside them."""
    operated = [day for day in by_day if not day.is_backfill]
    enough = len(operated) >= 2 * COMPARED_DAYS
    return Report(
        project=setting.catalogue.name,
        days=setting.days,
        notes=setting.notes,
        policies=[_of_policy(setting, lake, by_day, policy) for policy in policies],
        alerts=sum(len(day.alerts) for day in by_day),
        by_day=by_day,
        first_days=_mean(operated[:COMPARED_DAYS]) if enough else None,
        last_days=_mean(operated[-COMPARED_DAYS:]) if enough else None,
    )


def _of_policy(setting: Setting, lake: Lake, by_day: Sequence[Day], policy: str) -> PolicyReport:
    told = [(day.day, day.policies[policy]) for day in by_day]
    found = [_judged(lake, setting, outcomes) for outcomes in setting.of_policy(policy, Outcomes)]
    rows = pl.concat(found) if found else pl.DataFrame(schema={DAY: pl.Date, "truth": pl.Float64, "said": pl.Float64})
    since = pl.lit(setting.days.first)
    week = since + pl.duration(days=(pl.col(DAY) - since).dt.total_days() // 7 * 7)
    dated = rows.with_columns(
        pl.col(DAY).dt.strftime("%Y-%m").alias(_MONTH), pl.col(DAY).dt.strftime("%Y").alias(_YEAR), week.alias("week")
    )
    return PolicyReport(
        policy=policy,
        overall=performance(rows["truth"].to_numpy(), rows["said"].to_numpy()) if len(rows) else None,
        months=_by(dated, _MONTH),
        years=_by(dated, _YEAR),
        weeks=_by(dated, "week"),
        changes=[
            Change(day=day, why=one.why, said=one.said, trained=one.trained, promoted=one.promoted)
            for day, one in told
            if one.asked
        ],
        alerts=sum(len(one.alerts) for _, one in told),
        predicted_days=sum(one.rows > 0 for _, one in told),
        champion=told[-1][1].champion if told else None,
        training_cpu_seconds=sum(one.training_cpu_seconds for _, one in told),
        cpu_seconds=sum(one.cpu_seconds for _, one in told),
    )


def _by(rows: pl.DataFrame, column: str) -> dict[Any, Performance]:
    if rows.is_empty():
        return {}
    return dict(sorted(performance_by(rows, by=column, label="truth", probability="said").items()))


def _judged(lake: Lake, setting: Setting, outcomes: Outcomes) -> pl.DataFrame:
    """Day, outcome and probability of each prediction out of sample that has come to a yes or no."""
    folder = table_folder(setting.catalogue.name, outcomes.name)
    empty = pl.DataFrame(schema={DAY: pl.Date, "truth": pl.Float64, "said": pl.Float64})
    if lake.version(folder) is None:
        return empty
    with lake.reading(folder):
        return (
            lake.scan(folder)
            .filter(~pl.col("in_sample"), pl.col(outcomes.label.value).is_not_null())
            .select(DAY, pl.col(outcomes.label.value).cast(pl.Float64).alias("truth"), said="probability")
            .sort(DAY, "said", "truth")  # sums of floats follow the order of rows
            .collect()
        )


def _mean(days: Sequence[Day]) -> tuple[float, float]:
    return (
        sum(day.seconds_without_training for day in days) / len(days),
        sum(day.cpu_seconds_without_training for day in days) / len(days),
    )


def _plain_day(day: Day) -> dict[str, Any]:
    told = asdict(day)
    told.pop("memory")
    return told | {"seconds_without_training": day.seconds_without_training}
