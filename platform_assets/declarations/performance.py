"""Performance monitors: how good predictions were once their labels are in, and how good they claimed to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal, cast

import polars as pl

from platform_assets.declarations.declaration import Column, Table
from platform_assets.declarations.models import Outcomes
from platform_assets.declarations.monitor import FEWEST_DAYS
from platform_assets.declarations.promotion import MONTH
from platform_assets.declarations.times import ONE_DAY, Daily, Days
from platform_assets.declarations.views import FeatureView, RollingSplit, TimeSplit, TrainingDataset

PERFORMANCE_MEASURES = ("auc", "log_loss", "brier", "calibration_error", "base_rate")
ALARMING_PERFORMANCE = ("auc", "log_loss", "calibration_error")
"""The measures that alarm unless others are named; the Brier score moves with the log loss, the base rate with the
calibration error."""
ALL = "all"
"""The slice of all rows."""

Part = Literal["select", "report"]


@dataclass(frozen=True, kw_only=True)
class PerformanceMonitor(Table):
    """How well the predictions did whose labels are in, beside what their probabilities alone let expect.

    Only rows that the model has not learned from count. What alarms is the excess: by how much a measure is worse than
    the probabilities let expect, so that a season that is hard to foretell is no alarm, and labels that no longer follow
    the probabilities are one on the first day. What unchanged days exceed is learned from a part of the training dataset
    of each version, which that version scores once. Where predictions are made for those days themselves, thresholds are
    learned from what is watched: that shows what a monitor does, and finds fewer alarms than days after them would.

    Attributes:
        of: the outcomes that are watched.
        windows: over how many days up to each day; each length has an equal part of the alarms. A window is left out
            that would begin before the first day.
        slices: columns of the view; each of their values with at least `slice_rows` rows in a window is a slice.
        slice_rows: smaller slices are not measured.
        alarming: the measures that may alarm; all are told.
        alarms_per_month: how many measures above a threshold to expect of unchanged days; half of them of all rows
            where there are slices.
        at_least: fewer rows than these are too few to be measured.
        learned_from: "report", or "select" where nothing of the model was fitted there.
        confidence: of the intervals, between 0 and 1.
        draws: of the bootstrap of whole days, where a window has several; one day has intervals of normal errors
            instead, over its rows.
        seed: of the bootstrap.
    """

    kind: ClassVar[str] = "performance monitor"

    of: Outcomes
    windows: Sequence[int] = (1, 7)
    slices: Sequence[str] = ()
    slice_rows: int = 100
    alarming: Sequence[str] = ALARMING_PERFORMANCE
    alarms_per_month: float = 1.0
    at_least: int = 50
    learned_from: Part = "report"
    confidence: float = 0.95
    draws: int = 400
    seed: int = 20130101

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_list("slices", self.slices)
        self._require_list("alarming", self.alarming)
        if not isinstance(self.of, Outcomes):
            found = getattr(self.of, "name", repr(self.of))
            self._refuse(f"of={found} has no labels beside predictions; name outcomes")
        for column in self.slices:
            if column == MONTH and MONTH not in self.view.schema.columns():
                self._refuse(f"slices names {MONTH!r}, but its windows are days already; leave it out")
            self._require_column(self.view.schema, column, "slices")
            if column == ALL:
                self._refuse(f"slices names {ALL!r}, which is what all rows are called; rename the column")
        self._require_choices()
        if not self.alarms_per_month > 0:
            self._refuse(f"alarms_per_month={self.alarms_per_month}: no threshold never alarms; allow 1, or 0.1")
        if self.slice_rows < 1 or self.at_least < 1:
            self._refuse(f"slice_rows={self.slice_rows} and at_least={self.at_least} must be positive")
        if not 0 < self.confidence < 1:
            self._refuse(f"confidence={self.confidence!r} is no share; write 0.95 for 95 in a hundred")
        fewest = round(20 / (1 - self.confidence))
        if self.draws < fewest:
            self._refuse(f"draws={self.draws} are too few for a confidence of {self.confidence}; take {fewest} or more")
        self._require_part()

    def _require_choices(self) -> None:
        if not self.windows or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in self.windows):
            self._refuse(f"windows={self.windows!r}; write lengths in days, such as (1, 7)")
        if len(set(self.windows)) < len(self.windows):
            self._refuse(f"windows={self.windows!r} has a length twice")
        strange = [name for name in self.alarming if name not in PERFORMANCE_MEASURES]
        if strange or not self.alarming:
            told = ", ".join(strange) or "nothing"
            self._refuse(f"alarming names {told}; choose among {', '.join(PERFORMANCE_MEASURES)}")

    def _require_part(self) -> None:
        model = self.of.predictions.model
        if self.learned_from not in ("report", "select"):
            self._refuse(f"learned_from={self.learned_from!r}; choose 'report' or 'select'")
        if self.learned_from == "select" and (model.learner.refit or model.calibration is not None):
            why = "is fitted anew on it" if model.learner.refit else "calibrates its probabilities there"
            self._refuse(
                f"learned_from='select', but {model.name!r} {why}, so that it does better there than it will; "
                "write learned_from='report'" + (", or LightGBM(refit=False)" if model.learner.refit else "")
            )
        days = len(self.settled) if self.settled is not None else self._longest
        count = max(days - max(self.windows) + 1, 0)
        if count < FEWEST_DAYS:
            self._refuse(
                f"{self.learned_from} of {self.training.name!r}, {self.settled or f'{days} days'}, holds {count} windows of "
                f"{max(self.windows)} days, and thresholds are learned from {FEWEST_DAYS} or more; take more days"
            )

    @property
    def training(self) -> TrainingDataset:
        return self.of.predictions.model.training

    @property
    def view(self) -> FeatureView:
        return self.of.predictions.view

    @property
    def settled(self) -> Days | None:
        """The days of the training dataset from which thresholds are learned; None where its split rolls."""
        split = self.training.split
        return None if isinstance(split, RollingSplit) else self.learned_days(split)

    def learned_days(self, split: TimeSplit) -> Days:
        """The days of a training dataset divided like this from which thresholds are learned."""
        if self.learned_from == "report":
            return Days(split.report_from, split.report_until)
        return Days(split.select_from, split.report_from - (1 + math.ceil(split.gap / ONE_DAY)) * ONE_DAY)

    @property
    def fewest_days(self) -> int:
        """How many such days thresholds of its longest window are learned from at the least."""
        return FEWEST_DAYS + max(self.windows) - 1

    @property
    def _longest(self) -> int:
        """How many days a rolling split gives the part once it has grown."""
        split = cast("RollingSplit", self.training.split)
        return (split.report if self.learned_from == "report" else split.select) // ONE_DAY

    @property
    def days_back(self) -> int:
        """How many days before its own it reads."""
        return max(self.windows) - 1

    @property
    def back(self) -> timedelta:
        """The same as a span of time."""
        return self.days_back * ONE_DAY

    @property
    def keys(self) -> tuple[str, ...]:
        return ("window", "sliced_by", "slice", "measure")

    @property
    def partitions(self) -> Daily:
        return self.of.partitions

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.of.name, *([self.view.name] if self.slices else []))

    @property
    def columns(self) -> tuple[Column, ...]:
        share = f"{self.confidence:.0%}"
        return (
            _column("window", pl.Int64(), "How many days up to this one were measured at once."),
            _column("sliced_by", pl.String(), f"The column of {self.view.name}, or {ALL}."),
            _column("slice", pl.String(), f"Its value, or {ALL}."),
            _column("measure", pl.String(), "What was measured."),
            _column("value", pl.Float64(), "What it came to; null of too few rows, or one outcome.", nullable=True),
            _column(
                "low",
                pl.Float64(),
                f"Lower end of its {share} interval, by draws of whole days; where the window is one day, by the standard "
                "error over its rows, of an AUC by DeLong's. Null of a calibration error, which draws inflate.",
                nullable=True,
            ),
            _column("high", pl.Float64(), "Upper end.", nullable=True),
            _column(
                "expected", pl.Float64(), "What the probabilities alone let expect of these same rows.", nullable=True
            ),
            _column("excess", pl.Float64(), "By how much it is worse than expected.", nullable=True),
            _column(
                "threshold",
                pl.Float64(),
                f"What alarms above; null where it may not alarm or {self.learned_from} tells none.",
                nullable=True,
            ),
            _column("alarmed", pl.Boolean(), "Whether the excess is above the threshold."),
            _column("rows", pl.Int64(), "Rows out of sample whose label is in."),
            _column("model_versions", pl.List(pl.Int64()), "Versions of the model that predicted them, in order."),
            _column("too_few", pl.Boolean(), "Whether there were too few rows to measure."),
        )


def _column(name: str, dtype: pl.DataType, description: str, *, nullable: bool = False) -> Column:
    return Column(name=name, dtype=dtype, description=description, nullable=nullable)
