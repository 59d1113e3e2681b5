"""Monitors: which days of a table are compared with which, and how many false alarms are allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, cast

import polars as pl

from platform_assets.declarations.declaration import Column, Table
from platform_assets.declarations.models import Model, Predictions
from platform_assets.declarations.tables import FeatureGroup, Source
from platform_assets.declarations.times import ONE_DAY, Daily, Days
from platform_assets.declarations.views import FeatureView, TimeSplit
from platform_assets.errors import DeclarationError

MEASURES = (
    "psi",
    "jensen_shannon",
    "infinity_norm",
    "kolmogorov_smirnov",
    "wasserstein",
    "wasserstein_in_spreads",
    "missing",
    "unseen",
)
ALARMING = ("jensen_shannon", "infinity_norm", "wasserstein_in_spreads", "missing", "unseen")
"""The measures that alarm unless others are named: each sees something that the others do not."""

FLOORS = {
    "psi": 0.1,
    "jensen_shannon": 0.13,
    "infinity_norm": 0.05,
    "kolmogorov_smirnov": 0.08,
    "wasserstein_in_spreads": 0.2,
    "missing": 0.05,
    "unseen": 0.05,
}
"""What is too little to matter unless others are named; Wasserstein in the column's own unit has none.

A PSI below 0.1 is by custom no shift (Siddiqi, Credit Risk Scorecards, 2006); a Jensen-Shannon distance of 0.13 is about
the same, psi = 8 ln(2) distance². A fifth of a standard deviation is Cohen's small effect (Statistical Power Analysis,
1988), and moves a normal distribution function by 0.08. Of shares, five rows in a hundred."""

FEWEST_DAYS = 40
"""Thresholds are learned from so many windows, or not at all."""
_SEASON = 364


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """The same days for every day that is watched; from these the thresholds are learned too."""

    days: Days

    @property
    def settled(self) -> Days:
        """The days that every watched day needs: those compared with, and those from which thresholds are learned."""
        return self.days

    @property
    def days_back(self) -> int:
        """How many days before a window it is compared with."""
        return 0


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The days of *fit* and *select* of a model's training dataset, as its split declares them.

    Features that look back are not filled on the first days: `warmup` of them are left out.
    """

    model: Model
    warmup: int = 0

    def __post_init__(self) -> None:
        split = self.model.training.split
        if not isinstance(split, TimeSplit):
            msg = (
                f"trained on: the split of {self.model.training.name!r} rolls, so that the days on which "
                f"{self.model.name!r} is trained move with each training; compare with Fixed(days=...) or Trailing(...)"
            )
            raise DeclarationError(msg)
        first, last = self.model.training.view.partitions.first, split.report_from - ONE_DAY
        if self.warmup < 0 or first + self.warmup * ONE_DAY > last:
            msg = (
                f"trained on: warmup={self.warmup} leaves nothing of the days on which {self.model.name!r} is trained, "
                f"{first} to {last}; shorten it"
            )
            raise DeclarationError(msg)

    @property
    def settled(self) -> Days:
        """The days that every watched day needs."""
        training = self.model.training
        split = cast("TimeSplit", training.split)  # a rolling one was refused above
        return Days(training.view.partitions.first + self.warmup * ONE_DAY, split.report_from - ONE_DAY)

    @property
    def days_back(self) -> int:
        """How many days before a window it is compared with."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Trailing:
    """The `days` before each window; thresholds are learned from windows that end on the days of `learned_from`."""

    learned_from: Days
    days: int = 28

    def __post_init__(self) -> None:
        if self.days < 1:
            msg = f"trailing: days={self.days} are none to compare with; write 28"
            raise DeclarationError(msg)

    @property
    def settled(self) -> Days:
        """The days that every watched day needs."""
        return self.learned_from.grow(back=self.days_back)

    @property
    def days_back(self) -> int:
        """How many days before a window it is compared with."""
        return self.days


@dataclass(frozen=True, kw_only=True)
class SameSeason:
    """The days `around` each window 364 days before, weekday for weekday; thresholds as for `Trailing`."""

    learned_from: Days
    around: int = 7

    def __post_init__(self) -> None:
        if not 0 <= self.around < _SEASON:
            msg = f"same season: around={self.around}; between 0 and {_SEASON - 1} days lie around a day of last year"
            raise DeclarationError(msg)

    @property
    def settled(self) -> Days:
        """The days that every watched day needs."""
        return self.learned_from.grow(back=self.days_back)

    @property
    def days_back(self) -> int:
        """How many days before a window it is compared with."""
        return _SEASON + self.around


Reference = Fixed | TrainedOn | Trailing | SameSeason


@dataclass(frozen=True, kw_only=True)
class Monitor(Table):
    """How far each column of a table has drifted from a reference, day by day, and whether that is too much.

    It reads profiles, never rows. A day is watched once the days that thresholds are learned from are over.

    Attributes:
        of: the table that is watched.
        reference: the days that are compared with.
        windows: how many days are compared at once; each length has an equal part of the alarms.
        measures: what is measured and may alarm.
        alarms_per_month: how many days and columns above a threshold to expect of days like those of the reference, were
            it not for what follows, which leaves fewer.
        margin: thresholds are so many times what would be exceeded that often: days after the reference are of another
            season.
        beyond: but at most so many times the worst day that thresholds are learned from.
        floors: by measure what is too little to matter: no threshold is lower, however quiet the reference was.
        apart: days nearer than this are alike, and are left out of the reference while thresholds are learned.
        at_least: fewer values than these are too few to be measured.
        skip: columns that are not watched. Texts of which most rows have their own are not watched either.
    """

    kind: ClassVar[str] = "monitor"

    of: Source | FeatureGroup | FeatureView | Predictions
    reference: Reference
    windows: Sequence[int] = (1, 7)
    measures: Sequence[str] = ALARMING
    alarms_per_month: float = 1.0
    margin: float = 1.5
    beyond: float = 2.0
    floors: Mapping[str, float] = field(default_factory=FLOORS.copy)
    apart: int = 14
    at_least: int = 50
    skip: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_list("skip", self.skip)
        self._require_list("measures", self.measures)
        own = getattr(self.of, "partitions", None)
        if not isinstance(self.of, Source | FeatureGroup | FeatureView | Predictions) or own is None:
            found = getattr(self.of, "name", repr(self.of))
            self._refuse(
                f"of={found} has no profiles by day; name a dated source, a feature group, a view, predictions"
            )
        if not isinstance(self.reference, Reference):
            self._refuse(
                f"reference={self.reference!r}; write Fixed(days=Days(...)), TrainedOn(model=...) or Trailing(...)"
            )
        if not self.windows or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in self.windows):
            self._refuse(f"windows={self.windows!r}; write lengths in days, such as (1, 7)")
        if len(set(self.windows)) < len(self.windows):
            self._refuse(f"windows={self.windows!r} has a length twice")
        strange = [name for name in self.measures if name not in MEASURES]
        if strange or not self.measures:
            self._refuse(f"measures names {', '.join(strange) or 'nothing'}; choose among {', '.join(MEASURES)}")
        self._require_limits()
        columns = [column.name for column in self.of.columns]
        for name in self.skip:
            if name not in columns:
                self._refuse(f"skip names the column {name!r}, which {self.of.name!r} does not have")
        assert own is not None  # noqa: S101 - refused above
        self._require_days(own)

    def _require_limits(self) -> None:
        if not self.alarms_per_month > 0:
            self._refuse(f"alarms_per_month={self.alarms_per_month}: no threshold never alarms; allow 1, or 0.1")
        if not self.margin > 0 or not self.beyond > 0:
            self._refuse(f"margin={self.margin} and beyond={self.beyond} must be positive; write 1.5 and 2.0")
        if odd := [name for name, least in self.floors.items() if name not in MEASURES or not least >= 0]:
            self._refuse(
                f"floors has {', '.join(odd)}; by measure ({', '.join(MEASURES)}) what is too little to matter"
            )
        if self.apart < 0 or self.at_least < 1:
            self._refuse(f"apart={self.apart} must not be negative and at_least={self.at_least} must be positive")

    def _require_days(self, own: Daily) -> None:
        settled = self.reference.settled
        if settled.first < own.first or (own.last is not None and settled.last >= own.last):
            self._refuse(
                f"its reference needs {settled}, but {self.of.name!r} has {own.first} to {own.last or 'today'}, and "
                "days are watched only after those"
            )
        learning = getattr(self.reference, "learned_from", settled)
        if len(learning) - max(self.windows) + 1 < FEWEST_DAYS:
            self._refuse(
                f"{learning} hold {max(len(learning) - max(self.windows) + 1, 0)} windows of {max(self.windows)} days, "
                f"and thresholds are learned from {FEWEST_DAYS} or more; take more days"
            )

    @property
    def settled(self) -> Days:
        """The days of the watched table that each of its own days reads."""
        return self.reference.settled

    @property
    def days_back(self) -> int:
        """How many days before its own it reads."""
        return self.reference.days_back + max(self.windows) - 1

    @property
    def back(self) -> timedelta:
        """The same as a span of time."""
        return self.days_back * ONE_DAY

    @property
    def keys(self) -> tuple[str, ...]:
        return ("window", "column", "measure")

    @property
    def partitions(self) -> Daily:
        return self.of.partitions.with_first(self.settled.last + ONE_DAY)  # type: ignore[union-attr]

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.of.name,)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            _column("window", pl.Int64(), "How many days up to this one were compared at once."),
            _column("column", pl.String(), f"The column of {self.of.name}."),
            _column("measure", pl.String(), "What was measured."),
            _column("value", pl.Float64(), "How far it is from the reference; null of too few values.", nullable=True),
            _column("threshold", pl.Float64(), "What alarms above; null where none could be learned.", nullable=True),
            _column("alarmed", pl.Boolean(), "Whether the value is above the threshold."),
            _column("rows", pl.Int64(), "Rows of the window."),
            _column("too_few", pl.Boolean(), "Whether there were too few values to measure, here or in the reference."),
            _column("deaf", pl.Boolean(), "Whether nothing can be above the threshold."),
        )


def _column(name: str, dtype: pl.DataType, description: str, *, nullable: bool = False) -> Column:
    return Column(name=name, dtype=dtype, description=description, nullable=nullable)
