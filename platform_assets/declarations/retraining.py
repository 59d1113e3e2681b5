"""When a model is trained again: a policy, and the table of what it asked for day by day and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import ClassVar, Literal

import polars as pl

from platform_assets.declarations.declaration import Column, Declaration, Table
from platform_assets.declarations.models import Model, Outcomes
from platform_assets.declarations.times import ONE_DAY, Daily
from platform_assets.errors import DeclarationError

ALARMED = "alarmed"
"""The Boolean column by which a monitor says that a row of it is an alarm."""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclass(frozen=True, kw_only=True)
class RetrainingPolicy:
    """What asks for a retraining, and what holds it back.

    Attributes:
        every: "month" asks on the first morning of each month; None leaves the calendar out.
        alarms: so many days in a row on which one monitor alarms ask for one; None leaves monitors out.
        fresh_rows: with fewer labelled rows than these that the last training did not have, none is asked for.
        cool_down: nor within so many whole days after the last training.
    """

    every: Literal["month"] | None = None
    alarms: int | None = None
    fresh_rows: int = 1
    cool_down: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if self.every not in (None, "month"):
            self._refuse(f"every={self.every!r}; write 'month', or leave it out")
        if self.alarms is not None and not _is_count(self.alarms):
            self._refuse(f"alarms={self.alarms!r} is no number of days in a row; write 3, or leave it out")
        if not _is_count(self.fresh_rows):
            self._refuse(
                f"fresh_rows={self.fresh_rows!r}: without a fresh row the same model would be trained again; ask for 1 or more"
            )
        if not isinstance(self.cool_down, timedelta) or self.cool_down < timedelta(0) or self.cool_down % ONE_DAY:
            self._refuse(f"cool_down={self.cool_down!r} is no number of whole days; write timedelta(days=28)")
        if not self.asks and (self.fresh_rows > 1 or self.cool_down):
            self._refuse("it holds back what nothing asks for; give every='month' or alarms=3, or take NEVER")

    @property
    def asks(self) -> bool:
        """Whether anything can ask for a retraining."""
        return self.every is not None or self.alarms is not None

    def _refuse(self, problem: str) -> None:
        msg = f"retraining policy: {problem}"
        raise DeclarationError(msg)


NEVER = RetrainingPolicy()
MONTHLY = RetrainingPolicy(every="month")


@dataclass(frozen=True, kw_only=True)
class Retraining(Table):
    """For each day whether its model is to be trained again, and why; what it asks for, a sensor launches.

    A day is decided on when its monitors have watched it and the labels are in that were due by then. What is
    known of a training is the newest day that was in when its rows were taken, never the clock: so a day
    that is decided on again comes to the same row, also after the training that it asked for.

    Attributes:
        model: what is trained again, with its training dataset and its promotion.
        policy: what asks for it and what holds it back.
        monitors: whose alarms count: daily tables with a Boolean column `alarmed`.
    """

    kind: ClassVar[str] = "retraining"

    model: Model
    policy: RetrainingPolicy
    monitors: Sequence[Table] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, Model):
            self._refuse(f"model={self.model!r} is no model")
        if not isinstance(self.policy, RetrainingPolicy):
            self._refuse(f"policy={self.policy!r}; write RetrainingPolicy(alarms=3), MONTHLY or NEVER")
        if isinstance(self.monitors, Declaration | str):
            self._refuse(f"monitors={getattr(self.monitors, 'name', self.monitors)} is no list; put it in []")
        for monitor in self.monitors:
            columns = {column.name: column.dtype for column in getattr(monitor, "columns", ())}
            if columns.get(ALARMED) != pl.Boolean() or _calendar_of(monitor) is None:
                self._refuse(
                    f"monitors holds {getattr(monitor, 'name', repr(monitor))}, which is no daily table with a "
                    f"Boolean column {ALARMED!r}; name a Monitor"
                )
        names = [monitor.name for monitor in self.monitors]
        if len(set(names)) < len(names):
            self._refuse(f"monitors names one twice: {', '.join(names)}")
        if self.policy.alarms is not None and not self.monitors:
            self._refuse(f"alarms={self.policy.alarms} of no monitor never come; give monitors=[...]")
        first, last = self._shared
        if last is not None and last < first:
            self._refuse(f"its monitors share no day: one begins on {first}, another ends on {last}")

    @property
    def days_back(self) -> int:
        """How many days before its own it reads of its monitors: alarms are counted in a row."""
        return (self.policy.alarms or 1) - 1

    @property
    def labels_lag(self) -> int:
        """How many days behind the newest day the labels are that are due with it."""
        label = self.model.training.label
        return label.partitions.days_touching(label.lookahead)

    @property
    def delay(self) -> int:
        """How many days behind the newest day its own days are: none, unless a monitor waits for outcomes."""
        return self.labels_lag if any(isinstance(getattr(m, "of", None), Outcomes) for m in self.monitors) else 0

    @property
    def keys(self) -> tuple[str, ...]:
        return ()

    @property
    def partitions(self) -> Daily:
        first, last = self._shared
        return Daily(first=first, last=last, zone=self._calendars[0].zone)

    @property
    def _calendars(self) -> Sequence[Daily]:
        watched = [days for monitor in self.monitors if (days := _calendar_of(monitor)) is not None]
        return watched or [self.model.training.label.partitions]

    @property
    def _shared(self) -> tuple[date, date | None]:
        lasts = [days.last for days in self._calendars if days.last is not None]
        return max(days.first for days in self._calendars), min(lasts, default=None)

    @property
    def input_names(self) -> tuple[str, ...]:
        return (*(monitor.name for monitor in self.monitors), self.model.training.label.name)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            _column("asked", pl.Boolean(), "Whether the model is to be trained again."),
            _column("why", pl.String(), "What asks for it, and what holds it back."),
            _column("alarmed", pl.String(), "The monitors that alarmed on the day.", nullable=True),
            _column("moved", pl.String(), "The three features furthest above their thresholds.", nullable=True),
            _column("fresh_rows", pl.Int64(), "Labelled rows that the last training did not have."),
            _column(
                "last_trained", pl.Date(), "The newest day that was in when it was last trained before.", nullable=True
            ),
            _column(
                "cool_down_until",
                pl.Date(),
                "Until this is the newest day that is in, nothing is asked for.",
                nullable=True,
            ),
        )


def _calendar_of(monitor: Declaration) -> Daily | None:
    days = getattr(monitor, "partitions", None)
    return days if isinstance(days, Daily) else None


def _column(name: str, dtype: pl.DataType, description: str, *, nullable: bool = False) -> Column:
    return Column(name=name, dtype=dtype, description=description, nullable=nullable)
