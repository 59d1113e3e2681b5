"""The retraining pipeline: for each day whether the model is to be trained again, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from platform_assets.declarations.retraining import RetrainingPolicy
from platform_assets.declarations.times import ONE_DAY


@dataclass(frozen=True, kw_only=True)
class RetrainingFacts:
    """What a retraining is decided by: no more than was known on the morning after `day`.

    Attributes:
        day: the newest day that is in.
        last_trained: the day that was the newest one when the model was last trained; None before that.
        fresh_rows: labelled rows that came in since, and that a training would have now.
        alarmed: by monitor, on how many days in a row up to `day` it alarmed, as far back as the policy asks.
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
