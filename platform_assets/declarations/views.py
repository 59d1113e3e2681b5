"""What is asked and what is learned from: feature views, and training datasets divided by time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, ClassVar, Literal

import dataframely as dy
import polars as pl

from platform_assets.declarations.declaration import (
    Column,
    Declaration,
    Table,
    Transform,
    columns_of,
    docstring_of,
    parameters_of,
)
from platform_assets.declarations.tables import FeatureGroup, Label, Selection
from platform_assets.declarations.times import INSTANT, ONE_DAY, Daily, Days, Known, KnownAt
from platform_assets.errors import DeclarationError

PREDICTION_TIME = "prediction_time"
SPLIT = "split"
Split = Literal["fit", "select", "report"]


@dataclass(frozen=True, kw_only=True)
class FeatureView(Table):
    """The rows for which predictions are asked (the spine) with the chosen features joined as known then.

    Training and inference read the same view, so they cannot disagree. `prediction_time` is derived
    from a spine column; every input of the spine must be known by then, which is checked from the
    declarations alone. With `known="since"` features are joined as corrected since, also by what became
    known only after the prediction time.
    """

    kind: ClassVar[str] = "feature view"

    keys: Sequence[str]
    event_time: str
    prediction_time: KnownAt
    partitions: Daily
    schema: type[dy.Schema]
    transform: Transform
    features: Sequence[Selection]
    accepts_unknown: Mapping[str, str] = field(default_factory=dict)
    known: Known = "then"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_keys(self.schema, self.keys)
        self._require_described(self.schema)
        self._require_times(self.schema, self.event_time, KnownAt(column=self.event_time))
        self._require_list("features", self.features)
        if self.prediction_time.column is None:
            self._refuse("prediction_time must be derived from a column, such as before('departure', hours=1)")
        else:
            self._require_instant(self.schema, self.prediction_time.column, "prediction_time")
            if self.prediction_time.column != self.event_time:
                self._refuse(
                    f"prediction_time is derived from {self.prediction_time.column!r}, its days from "
                    f"{self.event_time!r}; which days of the features are read follows only if both are the same"
                )
        if self.known not in ("then", "since"):
            self._refuse(f"known={self.known!r}; choose 'then' (as known then) or 'since' (as corrected since)")
        if not self.features:
            self._refuse("it selects no features")
        seen: set[str] = set(self.schema.columns()) | {PREDICTION_TIME}
        for selection in self.features:
            if not isinstance(selection, Selection):
                found = selection.name if isinstance(selection, Declaration) else repr(selection)
                self._refuse(f"features holds {found}, which is no selection; write {found}.select('feature', ...)")
            for column in selection.columns:
                if column.name in seen:
                    self._refuse(f"the column {column.name} comes twice; give one selection another prefix=...")
                seen.add(column.name)

    @property
    def spine_inputs(self) -> tuple[str, ...]:
        return parameters_of(self.transform)

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        return tuple({selection.group.name: selection.group for selection in self.features}.values())

    @property
    def input_names(self) -> tuple[str, ...]:
        return (*self.spine_inputs, *(group.name for group in self.groups))

    @property
    def columns(self) -> tuple[Column, ...]:
        described = f"The moment the prediction is asked for: {self.prediction_time} (UTC)."
        spine = (*columns_of(self.schema), Column(name=PREDICTION_TIME, dtype=INSTANT, description=described))
        return (*spine, *(column for selection in self.features for column in selection.columns))

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """The joined feature columns, without the spine's own."""
        return tuple(column.name for selection in self.features for column in selection.columns)


@dataclass(frozen=True, kw_only=True)
class TimeSplit:
    """Rows by prediction time: `fit` before `select_from`, `select` before `report_from`, `report` after.

    `gap` is left out before each boundary, and so is every row whose label matured only after it, so
    that no part learns from what the next one is judged by. Days are those of the view's partitions.
    """

    select_from: date
    report_from: date
    report_until: date
    gap: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not self.select_from < self.report_from <= self.report_until or self.gap < timedelta(0):
            msg = (
                f"time split: select from {self.select_from}, report from {self.report_from} until "
                f"{self.report_until}, gap {self.gap}: the days must follow each other and the gap not be negative"
            )
            raise DeclarationError(msg)


@dataclass(frozen=True, kw_only=True)
class RollingSplit:
    """A split that moves on with the labels: `report` are the last labelled days, `select` those before, `fit` the rest.

    It is resolved anew whenever the training dataset is built. While the table is young, select and report shrink
    in proportion, so that together they take at most the share `most` of the labelled days.

    Attributes:
        select: how many whole days are used to stop and to tune.
        report: how many whole days models are compared on.
        gap: as for `TimeSplit`.
        most: the share of the labelled days that select and report take at most, between 0 and 1.
    """

    select: timedelta
    report: timedelta
    gap: timedelta = timedelta(0)
    most: float = 0.5

    def __post_init__(self) -> None:
        for part in ("select", "report"):
            span = getattr(self, part)
            if not isinstance(span, timedelta) or span < ONE_DAY or span % ONE_DAY:
                self._refuse(f"{part}={span!r} is no number of whole days; write timedelta(days=28)")
        if not isinstance(self.gap, timedelta) or self.gap < timedelta(0):
            self._refuse(f"gap={self.gap!r} is no span of time; write timedelta(hours=12)")
        if self.gap >= min(self.select, self.report):
            self._refuse(f"the gap of {self.gap} leaves nothing of select ({self.select}) or report ({self.report})")
        if isinstance(self.most, bool) or not isinstance(self.most, int | float) or not 0 < self.most < 1:
            self._refuse(f"most={self.most!r} is no share that leaves something to fit on; write 0.5")

    def resolve(self, first: date, last: date) -> TimeSplit:
        """The days of the parts, where `first` to `last` are labelled; select and report have a day each at least."""
        wanted, labelled = (self.select + self.report) // ONE_DAY, (last - first).days + 1
        share = min(1.0, labelled * self.most / wanted)
        select, report = (max(1, int((span // ONE_DAY) * share)) for span in (self.select, self.report))
        report_from = last - (report - 1) * ONE_DAY
        return TimeSplit(
            select_from=report_from - select * ONE_DAY, report_from=report_from, report_until=last, gap=self.gap
        )

    @staticmethod
    def _refuse(problem: str) -> None:
        msg = f"rolling split: {problem}"
        raise DeclarationError(msg)


@dataclass(frozen=True, kw_only=True)
class TrainingDataset(Table):
    """A feature view with its matured labels, each row in one part of a split by time.

    It is rebuilt, and its models fitted anew, by the month, by a refresh and by hand; and by itself when a
    larger share of its rows than `max_stale` is stale, where that is given.
    """

    kind: ClassVar[str] = "training dataset"

    view: FeatureView
    label: Label
    split: TimeSplit | RollingSplit
    max_stale: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label.value in {column.name for column in self.view.columns}:
            self._refuse(
                f"its view {self.view.name!r} has a column {self.label.value!r} like the label; rename one of them"
            )
        if not isinstance(self.split, TimeSplit | RollingSplit):
            self._refuse(f"split={self.split!r}; write TimeSplit(...), or RollingSplit(select=..., report=...)")
        share = self.max_stale
        if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1):
            self._refuse(
                f"max_stale={share!r} is no share of its rows; write 0.05 for five in a hundred, or leave it out to "
                "have it rebuilt by the month and by a refresh alone"
            )

    def days_of(self, split: TimeSplit) -> Days:
        """The days of its view and label that it is made of, with its split resolved."""
        return Days(self.view.partitions.first, split.report_until)

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.view.name, self.label.name)

    @property
    def columns(self) -> tuple[Column, ...]:
        extra = tuple(c for c in self.label.columns if c.name == self.label.value)
        part = Column(name=SPLIT, dtype=pl.String(), description="fit, select or report.", nullable=False)
        return (*self.view.columns, *extra, part)


def feature_view(**declared: Any) -> Callable[[Transform], FeatureView]:
    """Declare the decorated function, which returns the spine, as a `FeatureView`."""
    return lambda function: FeatureView(
        name=function.__name__, description=docstring_of(function), transform=function, **declared
    )
