"""Which checks each kind of declaration goes through every time it is materialized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import calendar
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model, Outcomes, Predictions
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.tables import FeatureGroup, Source
from platform_assets.declarations.times import Daily, Monthly, day_ranges
from platform_assets.declarations.views import FeatureView, TrainingDataset
from platform_assets.pipelines.run import CheckResult, Run

CONTRACT = "contract"
NOT_EMPTY = "not_empty"
DAYS_COMPLETE = "days_complete"
SPINE_KEPT = "spine_kept"
SPLITS_FILLED = "splits_filled"
BEATS_BASELINES = "beats_baselines"
EVERY_ROW_SCORED = "every_row_scored"
AS_TRAINED = "as_trained"
LABELS_IN = "labels_in"
KNOWS_NO_FUTURE = "knows_no_future"
AS_KNOWN_THEN = "as_known_then"
SPLITS_APART = "splits_apart"
NOT_TOO_GOOD = "not_too_good"
PROMOTED = "promoted"
NO_DRIFT = "no_drift"
AS_EXPECTED = "as_expected"
UP_TO_DATE = "up_to_date"
"""Not among those of `checks_of`: it looks at the whole catalogue at once, after the materialization and later."""

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check by name: what it asks, and whether failing it stops what is downstream."""

    name: str
    asks: str
    blocking: bool


def checks_of(declaration: Declaration) -> tuple[Check, ...]:  # noqa: C901 - one branch a kind
    """The checks of a declaration, in the order in which they are made."""
    contract = Check(
        name=CONTRACT,
        asks="Do all rows keep the declared schema and ranges, and are keys unique in what was written?",
        blocking=True,
    )
    not_empty = Check(name=NOT_EMPTY, asks="Does every day that was written have rows?", blocking=False)
    complete = Check(name=DAYS_COMPLETE, asks="Is every day that is over materialized?", blocking=False)
    if isinstance(declaration, Source):
        asks = "Do all rows keep the declared schema and ranges, and are keys unique in each landed file?"
        own = Check(name=CONTRACT, asks=asks, blocking=declaration.on_invalid == "fail")
    elif isinstance(declaration, FeatureView):
        kept = Check(name=SPINE_KEPT, asks="Has the join neither lost nor doubled a row of the spine?", blocking=True)
        then = Check(name=AS_KNOWN_THEN, asks="Does a sample, joined again by brute force, agree?", blocking=True)
        return (contract, kept, then, not_empty, complete)
    elif isinstance(declaration, FeatureGroup):
        future = Check(
            name=KNOWS_NO_FUTURE, asks="Do values stay when what was known later goes or changes?", blocking=True
        )
        return (contract, future, not_empty, complete)
    elif isinstance(declaration, TrainingDataset):
        filled = Check(name=SPLITS_FILLED, asks="Do fit, select and report all have rows?", blocking=True)
        apart = Check(
            name=SPLITS_APART, asks="Is each entity in one part, its label known before the next?", blocking=True
        )
        good = Check(name=NOT_TOO_GOOD, asks="Is no single feature too good to be known in time?", blocking=True)
        return (filled, apart, good, not_empty)
    elif isinstance(declaration, Model):
        asks = "Does it beat every declared baseline on report? If not, it does not become champion."
        return (Check(name=BEATS_BASELINES, asks=asks, blocking=True),)
    elif isinstance(declaration, Promotion):
        asks = "Is the newest version champion, equal to it or set aside by hand? If not, the champion stays."
        return (Check(name=PROMOTED, asks=asks, blocking=False),)
    elif isinstance(declaration, Backtest):
        asks = "Does the model beat every declared baseline in every month?"
        return (Check(name=BEATS_BASELINES, asks=asks, blocking=False), not_empty, complete)
    elif isinstance(declaration, Predictions):
        asks = "Has every row of the view a probability between 0 and 1, within its interval if it has one?"
        scored = Check(name=EVERY_ROW_SCORED, asks=asks, blocking=True)
        again = Check(
            name=AS_TRAINED, asks="Does a sample, joined and scored again as in training, agree exactly?", blocking=True
        )
        return (scored, again, not_empty, complete)
    elif isinstance(declaration, Outcomes):
        asks = "Have any of the predictions come to a yes or no?"
        return (Check(name=LABELS_IN, asks=asks, blocking=False), not_empty, complete)
    elif isinstance(declaration, Monitor):
        asks = f"Is no column of {declaration.of.name} further from the reference than unchanged days are?"
        return (Check(name=NO_DRIFT, asks=asks, blocking=False), not_empty, complete)
    elif isinstance(declaration, PerformanceMonitor):
        asks = "Do predictions do no worse than their probabilities let expect, but for what unchanged days do?"
        return (Check(name=AS_EXPECTED, asks=asks, blocking=False), not_empty, complete)
    else:
        own = contract
    return (own, not_empty, complete) if calendar(declaration) is not None else (own, not_empty)


def not_empty(rows: Mapping[date | None, int]) -> CheckResult:
    """The check that every day (or the table) has rows."""
    empty = [str(day) for day, count in rows.items() if not count]
    said = f"{sum(rows.values()):,} rows."
    if empty:
        said = (
            "The table is empty."
            if empty == ["None"]
            else (
                f"{len(empty)} of {len(rows)} days {'has' if len(empty) == 1 else 'have'} no rows: "
                f"{', '.join(empty[:_SHOWN])}."
            )
        )
    return CheckResult(
        name=NOT_EMPTY,
        passed=not empty,
        description=said,
        blocking=False,
        facts={"rows": sum(rows.values()), "empty days": len(empty)},
    )


def days_complete(days: Daily, materialized: set[date | None], run: Run) -> CheckResult:
    """The check that every day (or month) that is over at the run's instant is materialized.

    Dagster's freshness policy looks at the newest materialization of any partition, so that a backfill
    of an old day would hide that the newest is missing; this check looks at the days.
    """
    closed = days.closed_until(run.now)
    wanted = set(days.among(closed)) if closed is not None else set()
    missing = {day for day in wanted if day not in materialized}
    ranges = day_ranges(missing)
    unit = "months" if isinstance(days, Monthly) else "days"
    said = f"All {len(wanted)} {unit} are materialized."
    if missing:
        shown = ", ".join(map(str, ranges[-_SHOWN:]))
        verb, left_out = "is" if len(missing) == 1 else "are", "... " if len(ranges) > _SHOWN else ""
        said = f"{len(missing)} of {len(wanted)} {unit} {verb} not materialized: {left_out}{shown}."
    return CheckResult(
        name=DAYS_COMPLETE,
        passed=not missing,
        description=said,
        blocking=False,
        facts={unit: len(wanted), f"missing {unit}": len(missing)},
    )
