"""Tables of facts: sources as they were delivered, features and labels as they were computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Literal

import dataframely as dy
import polars as pl

from platform_assets.declarations.declaration import (
    WINDOW_PARAMETER,
    Column,
    Table,
    Transform,
    columns_of,
    docstring_of,
    parameters_of,
)
from platform_assets.declarations.names import feature_column
from platform_assets.declarations.times import Daily, KnownAt

OnInvalid = Literal["fail", "quarantine"]
OnCorrection = Literal["refuse", "keep"]


@dataclass(frozen=True, kw_only=True)
class Source(Table):
    """A table of facts as they were delivered: one landed file a day (or one snapshot), checked on the way in.

    `transform` turns the raw columns (typed as in `raw`) into the columns of `schema`; its first
    parameter is the raw frame, further ones are named after other sources. A snapshot (no
    `partitions`) has no event time. `on_invalid` says what happens to rows that break the contract; its
    primary key is unique within each landed file.

    `on_correction="keep"` lets correction files land beside a day's first delivery: a changed row becomes a
    version more, known from the correction on, beside the one that was known before. Whoever reads the
    source then gets all versions of a row. For that, `known_at` is a column of its own, which `transform`
    fills with when a row of a first delivery could be known, and the primary key is `keys` with `event_time`.

    `date_parts` are the raw columns, whole numbers, that hold year, month and day of one date, `event_ids` those, text,
    that name something which happens once. Nothing is read by either: they are for a replay that lets landed files come
    again with later dates, and sees by itself only what is a date or an instant.
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
    on_correction: OnCorrection = "refuse"
    date_parts: Sequence[str] = ()
    event_ids: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_keys(self.schema, self.keys)
        self._require_described(self.schema)
        self._require_shiftable()
        if (self.event_time is None) != (self.partitions is None):
            self._refuse("a dated source has both event_time and partitions, a snapshot has neither")
        if self.event_time is not None:
            self._require_times(self.schema, self.event_time, self.known_at)
        elif self.known_at.is_known:
            self._refuse("a snapshot has no time of its own; declare known_at=unknown('why nobody knows')")
        if self.on_invalid not in ("fail", "quarantine"):
            self._refuse(f"on_invalid={self.on_invalid!r}; choose 'fail' or 'quarantine'")
        if self.on_correction not in ("refuse", "keep"):
            self._refuse(f"on_correction={self.on_correction!r}; choose 'refuse' or 'keep'")
        if self.on_correction == "keep":
            self._require_versions()
        if not parameters_of(self.transform):
            self._refuse("its function takes no parameter; the first is the raw frame of the landed file")
        for name, dtype in self.raw.items():
            if dtype not in (pl.String, pl.Boolean, pl.Date) and not dtype.is_numeric():
                self._refuse(
                    f"raw reads {name!r} as {dtype}; a cell is text, a number, true or false, or a date: "
                    "read it as pl.String and parse it in the function"
                )

    def _require_shiftable(self) -> None:
        self._require_list("date_parts", self.date_parts)
        self._require_list("event_ids", self.event_ids)
        numbers = [name for name in self.event_ids if self.raw.get(name) != pl.String]
        if numbers:
            self._refuse(
                f"event_ids names {', '.join(map(repr, numbers))}; an id that comes again needs a raw column of text"
            )
        strange = [name for name in self.date_parts if name not in self.raw or not self.raw[name].is_integer()]
        if strange or len(self.date_parts) not in (0, 3):
            self._refuse(
                f"date_parts={self.date_parts!r}; name the raw columns of whole numbers that hold the year, the month "
                "and the day of one date, in this order, such as ('year', 'month', 'day')"
            )

    def _require_versions(self) -> None:
        """What it takes to tell the versions of a row from each other."""
        if self.event_time is None:
            self._refuse("a snapshot is delivered whole and has no corrections; leave out on_correction")
        told_by, known = [*dict.fromkeys([*self.keys, str(self.event_time)])], self.known_at
        if known.column is None or known.column in told_by or known.delay:
            self._refuse(
                f"a correction is known later than what it corrects, which known_at={known} cannot say; give it a "
                "column of its own, known_at=after('known_at'), that its function fills and a correction raises"
            )
        found = self.schema.primary_key()
        if set(found) != set(told_by):
            self._refuse(
                f"the primary key of {self.schema.__name__} is {', '.join(found) or 'missing'}, but corrected rows are "
                f"told apart by keys and event_time; give primary_key=True to exactly {', '.join(told_by)}"
            )

    @property
    def input_names(self) -> tuple[str, ...]:
        return parameters_of(self.transform)[1:]

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.schema)


@dataclass(frozen=True, kw_only=True)
class FeatureGroup(Table):
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
        return tuple(p for p in parameters_of(self.transform) if p != WINDOW_PARAMETER)

    @property
    def wants_window(self) -> bool:
        return self.transform is not None and WINDOW_PARAMETER in parameters_of(self.transform)

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
class Label(Table):
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
        return tuple(p for p in parameters_of(self.transform) if p != WINDOW_PARAMETER)

    @property
    def wants_window(self) -> bool:
        return WINDOW_PARAMETER in parameters_of(self.transform)

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.schema)


def source(**declared: Any) -> Callable[[Transform], Source]:
    """Declare the decorated function as a `Source`; its name and docstring become the table's."""
    return lambda function: Source(
        name=function.__name__, description=docstring_of(function), transform=function, **declared
    )


def feature_group(**declared: Any) -> Callable[[Transform], FeatureGroup]:
    """Declare the decorated function as a `FeatureGroup`; its name and docstring become the table's."""
    return lambda function: FeatureGroup(
        name=function.__name__, description=docstring_of(function), transform=function, **declared
    )


def label(**declared: Any) -> Callable[[Transform], Label]:
    """Declare the decorated function as a `Label`; its name and docstring become the table's."""
    return lambda function: Label(
        name=function.__name__, description=docstring_of(function), transform=function, **declared
    )
