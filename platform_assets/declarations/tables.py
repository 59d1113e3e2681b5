"""What may be declared as a Delta table: sources, feature groups, labels, feature views and what follows from them.

Every record is frozen, keyword-only and checks itself when it is built, so that a wrong one fails at
import. Building one reads no clock, no disk and no environment.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, ClassVar, Literal

import dataframely as dy
import polars as pl

from platform_assets.declarations.names import feature_column
from platform_assets.declarations.times import INSTANT, Daily, Freshness, KnownAt
from platform_assets.errors import DeclarationError

OnInvalid = Literal["fail", "quarantine"]
Transform = Callable[..., pl.LazyFrame]

WINDOW_PARAMETER = "window"
"""A transform that names this parameter is handed the `Window` of instants it is to produce."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_OWNER = re.compile(r"team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table as readers see it."""

    name: str
    dtype: pl.DataType
    description: str = ""
    nullable: bool = True


def columns_of(schema: type[dy.Schema]) -> tuple[Column, ...]:
    """The columns of a dataframely schema, in order."""
    return tuple(
        Column(name=name, dtype=column.dtype, description=column.description or "", nullable=column.nullable)
        for name, column in schema.columns().items()
    )


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What every declared asset has: a name, one sentence about it, owners, tags and a freshness limit."""

    kind: ClassVar[str] = "declaration"

    name: str
    description: str
    owners: Sequence[str]
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: Freshness | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            self._refuse("the name must be words in lower case joined by single underscores, such as origin_weather")
        if not self.description.strip():
            self._refuse("nobody can tell what it holds; describe it in one line (a docstring, or description=...)")
        if isinstance(self.owners, str) or not self.owners:
            self._refuse(f"owners must be a list such as ['team:weather'], not {self.owners!r}; did you forget the []?")
        for owner in self.owners:
            if not _OWNER.fullmatch(owner):
                self._refuse(f"the owner {owner!r} is neither 'team:name' nor an e-mail address")

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the declarations whose tables (or model) this one reads."""
        return ()

    def _refuse(self, problem: str) -> None:
        msg = f"{self.kind} {self.name!r}: {problem}"
        raise DeclarationError(msg)

    def _require_list(self, what: str, value: object) -> None:
        if isinstance(value, str):
            self._refuse(f"{what}={value!r} is a string; did you mean {what}=[{value!r}]?")

    def _require_column(self, schema: type[dy.Schema], column: str, role: str) -> None:
        if column not in schema.columns():
            self._refuse(
                f"{role} names the column {column!r}, which {schema.__name__} does not have "
                f"(it has {', '.join(schema.columns())})"
            )

    def _require_instant(self, schema: type[dy.Schema], column: str, role: str) -> None:
        self._require_column(schema, column, role)
        dtype = schema.columns()[column].dtype
        if dtype != INSTANT:
            self._refuse(
                f"{role} {column!r} is {dtype}; instants are UTC microseconds: "
                "dy.Datetime(time_zone='UTC', time_unit='us')"
            )

    def _require_times(self, schema: type[dy.Schema], event_time: str, known_at: KnownAt) -> None:
        self._require_instant(schema, event_time, "event_time")
        if known_at.column is not None:
            self._require_instant(schema, known_at.column, "known_at")
        for column in {event_time, known_at.column} - {None}:
            if schema.columns()[str(column)].nullable:
                self._refuse(
                    f"{column!r} may be null, but a row without its time is invisible to every join; "
                    "declare it nullable=False"
                )

    def _require_keys(self, schema: type[dy.Schema], keys: Sequence[str]) -> None:
        self._require_list("keys", keys)
        if not keys:
            self._refuse("it has no keys; name the columns that identify what a row is about")
        for key in keys:
            self._require_column(schema, key, "keys")

    def _require_described(self, schema: type[dy.Schema]) -> None:
        silent = [column.name for column in columns_of(schema) if not column.description]
        if silent:
            self._refuse(
                f"{schema.__name__} does not describe {', '.join(silent)}; add description='...' with the unit"
            )
        strange = [f"{column.name} ({column.dtype})" for column in columns_of(schema) if not _is_storable(column.dtype)]
        if strange:
            self._refuse(
                f"{schema.__name__} has types that a Delta table does not give back: {', '.join(strange)}; use "
                "text, signed integers, floats, booleans, dates, instants in microseconds, or lists of these"
            )


def _is_storable(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _is_storable(dtype.inner)  # type: ignore[arg-type]
    if isinstance(dtype, pl.Datetime):
        return dtype.time_unit == "us" and dtype.time_zone in (None, "UTC")
    plain = (pl.String, pl.Boolean, pl.Date, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64)
    return dtype in plain


def _parameters(function: Transform) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _docstring(function: Transform) -> str:
    return inspect.getdoc(function) or ""


@dataclass(frozen=True, kw_only=True)
class Source(Declaration):
    """A table of facts as they were delivered: one landed file a day (or one snapshot), checked on the way in.

    `transform` turns the raw columns (typed as in `raw`) into the columns of `schema`; its first
    parameter is the raw frame, further ones are named after other sources. A snapshot (no
    `partitions`) has no event time. `on_invalid` says what happens to rows that break the contract.
    """

    kind: ClassVar[str] = "source"

    keys: Sequence[str]
    schema: type[dy.Schema]
    raw: Mapping[str, pl.DataType | type[pl.DataType]]
    transform: Transform
    known_at: KnownAt
    event_time: str | None = None
    partitions: Daily | None = None
    on_invalid: OnInvalid = "quarantine"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_keys(self.schema, self.keys)
        self._require_described(self.schema)
        if (self.event_time is None) != (self.partitions is None):
            self._refuse("a dated source has both event_time and partitions, a snapshot has neither")
        if self.event_time is not None:
            self._require_times(self.schema, self.event_time, self.known_at)
        elif self.known_at.is_known:
            self._refuse("a snapshot has no time of its own; declare known_at=unknown('why nobody knows')")
        if self.on_invalid not in ("fail", "quarantine"):
            self._refuse(f"on_invalid={self.on_invalid!r}; choose 'fail' or 'quarantine'")
        if not _parameters(self.transform):
            self._refuse("its function takes no parameter; the first is the raw frame of the landed file")
        for name, dtype in self.raw.items():
            if dtype not in (pl.String, pl.Boolean, pl.Date) and not dtype.is_numeric():
                self._refuse(
                    f"raw reads {name!r} as {dtype}; a cell is text, a number, true or false, or a date: "
                    "read it as pl.String and parse it in the function"
                )

    @property
    def input_names(self) -> tuple[str, ...]:
        return _parameters(self.transform)[1:]

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.schema)


@dataclass(frozen=True, kw_only=True)
class FeatureGroup(Declaration):
    """Features of one entity over time: one row per key and event time.

    Either `transform` (a pure function of lazy frames whose parameters are named after its inputs) or
    `sql` (DuckDB, run on the same slices, with `inputs` named). Inputs are handed over with the rows
    whose event time lies from `lookback` before the window to its end. `max_age` is how old a row may
    be at the prediction time and still count.
    """

    kind: ClassVar[str] = "feature group"

    keys: Sequence[str]
    event_time: str
    known_at: KnownAt
    partitions: Daily
    schema: type[dy.Schema]
    max_age: timedelta
    lookback: timedelta = timedelta(0)
    transform: Transform | None = None
    sql: str | None = None
    inputs: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_keys(self.schema, self.keys)
        self._require_described(self.schema)
        self._require_times(self.schema, self.event_time, self.known_at)
        self._require_list("inputs", self.inputs)
        if (self.transform is None) == (self.sql is None):
            self._refuse("give it either a function or sql=..., not both and not neither")
        if self.sql is not None and not self.inputs:
            self._refuse("its SQL reads tables that nobody named; add inputs=['departures', ...]")
        if self.lookback < timedelta(0) or self.max_age <= timedelta(0):
            self._refuse(f"lookback {self.lookback} must not be negative and max_age {self.max_age} must be positive")
        if not self.feature_names:
            self._refuse("it has keys and times but no feature")

    @property
    def input_names(self) -> tuple[str, ...]:
        if self.transform is None:
            return tuple(self.inputs)
        return tuple(p for p in _parameters(self.transform) if p != WINDOW_PARAMETER)

    @property
    def wants_window(self) -> bool:
        return self.transform is not None and WINDOW_PARAMETER in _parameters(self.transform)

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.schema)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns that are neither key nor time."""
        taken = {*self.keys, self.event_time, self.known_at.column}
        return tuple(name for name in self.schema.columns() if name not in taken)

    def select(
        self, *features: str, age: bool = False, on: Mapping[str, str] | None = None, prefix: str | None = None
    ) -> Selection:
        """Choose features for a feature view (all of them when none is named).

        Args:
            features: the columns to take.
            age: also take the age of the row at the prediction time, in minutes.
            on: which spine column holds which key, where the names differ (`{"origin": "destination"}`).
            prefix: what to put before the columns in place of the group's name.
        """
        unknown = [name for name in features if name not in self.feature_names]
        if unknown:
            self._refuse(f"it has no feature {', '.join(map(repr, unknown))}; it has {', '.join(self.feature_names)}")
        strange = [key for key in on or {} if key not in self.keys]
        if strange:
            self._refuse(
                f"on= names {', '.join(map(repr, strange))}, which is not among its keys, {', '.join(self.keys)}"
            )
        return Selection(
            group=self, features=features or self.feature_names, age=age, on=dict(on or {}), prefix=prefix or self.name
        )


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Features of one group, as a feature view takes them."""

    group: FeatureGroup
    features: tuple[str, ...]
    prefix: str
    age: bool = False
    on: Mapping[str, str] = field(default_factory=dict)

    @property
    def spine_keys(self) -> tuple[str, ...]:
        """The spine's columns that hold the group's keys, in the order of the group's keys."""
        return tuple(self.on.get(key, key) for key in self.group.keys)

    @property
    def age_column(self) -> str:
        return feature_column(self.prefix, "age_minutes")

    @property
    def column_sources(self) -> dict[str, str]:
        """From each column of the view to the group's column behind it (the age leads to the event time)."""
        sources = {feature_column(self.prefix, name): name for name in self.features}
        return sources | ({self.age_column: self.group.event_time} if self.age else {})

    @property
    def columns(self) -> tuple[Column, ...]:
        declared = {column.name: column for column in self.group.columns}
        taken = tuple(
            Column(
                name=feature_column(self.prefix, name),
                dtype=declared[name].dtype,
                description=declared[name].description,
            )
            for name in self.features
        )
        if not self.age:
            return taken
        described = f"Minutes from the event of {self.group.name} to the prediction time; null where nothing within its max_age was known."
        return (*taken, Column(name=self.age_column, dtype=pl.Float64(), description=described))


@dataclass(frozen=True, kw_only=True)
class Label(Declaration):
    """What came of each entity: the value to be predicted, and when it was known.

    A row with a null `value` is an outcome that is neither positive nor negative. `lookahead` is how
    long after its event an outcome may still come in; a day's labels are complete when it has passed.
    """

    kind: ClassVar[str] = "label"

    keys: Sequence[str]
    event_time: str
    known_at: KnownAt
    value: str
    partitions: Daily
    schema: type[dy.Schema]
    transform: Transform
    lookahead: timedelta

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_keys(self.schema, self.keys)
        self._require_described(self.schema)
        self._require_times(self.schema, self.event_time, self.known_at)
        self._require_column(self.schema, self.value, "value")
        if not self.known_at.is_known:
            self._refuse("a label matures at a known time; declare known_at as a column")
        if self.lookahead < timedelta(0):
            self._refuse(f"lookahead {self.lookahead} must not be negative")

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(p for p in _parameters(self.transform) if p != WINDOW_PARAMETER)

    @property
    def wants_window(self) -> bool:
        return WINDOW_PARAMETER in _parameters(self.transform)

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.schema)


@dataclass(frozen=True, kw_only=True)
class FeatureView(Declaration):
    """The rows for which predictions are asked (the spine) with the chosen features joined as known then.

    Training and inference read the same view, so they cannot disagree. `prediction_time` is derived
    from a spine column; every input of the spine must be known by then, which is checked from the
    declarations alone.
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
        return _parameters(self.transform)

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


PREDICTION_TIME = "prediction_time"
SPLIT = "split"
Split = Literal["fit", "select", "report"]


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
class TrainingDataset(Declaration):
    """A feature view with its matured labels, each row in one part of a split by time."""

    kind: ClassVar[str] = "training dataset"

    view: FeatureView
    label: Label
    split: TimeSplit

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label.value in {column.name for column in self.view.columns}:
            self._refuse(
                f"its view {self.view.name!r} has a column {self.label.value!r} like the label; rename one of them"
            )

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.view.name, self.label.name)

    @property
    def columns(self) -> tuple[Column, ...]:
        extra = tuple(c for c in self.label.columns if c.name == self.label.value)
        part = Column(name=SPLIT, dtype=pl.String(), description="fit, select or report.", nullable=False)
        return (*self.view.columns, *extra, part)


@dataclass(frozen=True, kw_only=True)
class LightGBM:
    """How to fit LightGBM: its own parameters, the most trees, and how long *select* may fail to improve.

    With `refit`, the number of trees is chosen on *select* and the model then fitted anew on *fit* and
    *select* together, so that it has learned from everything before *report*.
    """

    parameters: Mapping[str, Any]
    rounds: int
    early_stopping: int | None = None
    refit: bool = True
    seed: int = 20130101

    def __post_init__(self) -> None:
        owned = {"objective", "seed", "deterministic", "num_threads", "force_row_wise", "force_col_wise"}
        clash = sorted(owned & set(self.parameters))
        if clash:
            msg = f"LightGBM: {', '.join(clash)} are set by the platform so that a model can be made again; leave them out"
            raise DeclarationError(msg)
        if self.rounds < 1:
            msg = f"LightGBM: rounds={self.rounds} grows no tree"
            raise DeclarationError(msg)


@dataclass(frozen=True, kw_only=True)
class Model(Declaration):
    """A binary classifier, logged to MLflow and registered there.

    `request` names the spine's columns that are inputs too (`categories` those of them that are text).
    `baselines` are averages of the label by groups of spine columns; a model that does not beat them
    on *report* does not become champion.
    """

    kind: ClassVar[str] = "model"

    training: TrainingDataset
    learner: LightGBM
    request: Sequence[str] = ()
    categories: Sequence[str] = ()
    baselines: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_list("request", self.request)
        self._require_list("categories", self.categories)
        schema = self.training.view.schema
        for column in self.request:
            self._require_column(schema, column, "request")
        for column in self.categories:
            if column not in self.inputs:
                self._refuse(f"categories names {column!r}, which is not among its inputs")
        for name, columns in self.baselines.items():
            self._require_list(f"baselines[{name!r}]", columns)
            for column in columns:
                self._require_column(schema, column, f"baseline {name!r}")
        if self.training.label.value in self.inputs:
            self._refuse(f"the label {self.training.label.value!r} is among its inputs")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The model's input columns, in order."""
        return (*self.request, *self.training.view.feature_columns)

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.training.name,)


@dataclass(frozen=True, kw_only=True)
class Predictions(Declaration):
    """What the champion says of every row of the view, day by day from `first` on."""

    kind: ClassVar[str] = "predictions"

    model: Model
    first: date

    def __post_init__(self) -> None:
        super().__post_init__()
        days = self.view.partitions
        if self.first < days.first or (days.last is not None and self.first > days.last):
            self._refuse(
                f"first={self.first} is not among the days of {self.view.name!r}, {days.first} to "
                f"{days.last or 'today'}"
            )

    @property
    def view(self) -> FeatureView:
        return self.model.training.view

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.view.keys)

    @property
    def event_time(self) -> str:
        return self.view.event_time

    @property
    def partitions(self) -> Daily:
        return self.view.partitions.with_first(self.first)

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.view.name, self.model.name)

    @property
    def columns(self) -> tuple[Column, ...]:
        kept = {*self.keys, self.event_time}
        spine = tuple(c for c in columns_of(self.view.schema) if c.name in kept)
        return (
            Column(
                name="prediction_id",
                dtype=pl.String(),
                nullable=False,
                description="Identifies this prediction: model version and keys.",
            ),
            *spine,
            Column(name=PREDICTION_TIME, dtype=INSTANT, description=f"{self.view.prediction_time} (UTC)."),
            Column(
                name="probability",
                dtype=pl.Float64(),
                nullable=False,
                description=f"Probability that {self.model.training.label.value} is true.",
            ),
            Column(
                name="model_version",
                dtype=pl.Int64(),
                nullable=False,
                description="Version of the model in MLflow's registry.",
            ),
            Column(
                name="in_sample",
                dtype=pl.Boolean(),
                nullable=False,
                description="Whether the model may have learned from a row of that time; never count it as performance.",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Outcomes(Declaration):
    """Each prediction beside what came of it, for the days whose labels are in."""

    kind: ClassVar[str] = "outcomes"

    predictions: Predictions

    @property
    def label(self) -> Label:
        return self.predictions.model.training.label

    @property
    def keys(self) -> tuple[str, ...]:
        return self.predictions.keys

    @property
    def event_time(self) -> str:
        return self.predictions.event_time

    @property
    def partitions(self) -> Daily:
        return self.predictions.partitions

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.predictions.name, self.label.name)

    @property
    def columns(self) -> tuple[Column, ...]:
        already = {c.name for c in self.predictions.columns}
        return (*self.predictions.columns, *(c for c in self.label.columns if c.name not in already))


Table = Source | FeatureGroup | Label | FeatureView | TrainingDataset | Predictions | Outcomes
"""The kinds that are Delta tables."""


def source(**declared: Any) -> Callable[[Transform], Source]:
    """Declare the decorated function as a `Source`; its name and docstring become the table's."""
    return lambda function: Source(
        name=function.__name__, description=_docstring(function), transform=function, **declared
    )


def feature_group(**declared: Any) -> Callable[[Transform], FeatureGroup]:
    """Declare the decorated function as a `FeatureGroup`; its name and docstring become the table's."""
    return lambda function: FeatureGroup(
        name=function.__name__, description=_docstring(function), transform=function, **declared
    )


def label(**declared: Any) -> Callable[[Transform], Label]:
    """Declare the decorated function as a `Label`; its name and docstring become the table's."""
    return lambda function: Label(
        name=function.__name__, description=_docstring(function), transform=function, **declared
    )


def feature_view(**declared: Any) -> Callable[[Transform], FeatureView]:
    """Declare the decorated function, which returns the spine, as a `FeatureView`."""
    return lambda function: FeatureView(
        name=function.__name__, description=_docstring(function), transform=function, **declared
    )
