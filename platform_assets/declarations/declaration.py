"""What every declaration has, and how it refuses what it cannot mean.

Every record is frozen, keyword-only and checks itself when it is built, so that a wrong one fails at
import. Building one reads no clock, no disk and no environment.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import dataframely as dy
import polars as pl

from platform_assets.declarations.times import INSTANT, Daily, Freshness, KnownAt
from platform_assets.errors import DeclarationError

Transform = Callable[..., pl.LazyFrame]

WINDOW_PARAMETER = "window"
"""A transform that names this parameter is handed the `Window` of instants it is to produce."""

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
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
        if not NAME.fullmatch(self.name):
            self._refuse("the name must be words in lower case joined by single underscores, such as origin_weather")
        if not self.description.strip():
            self._refuse("nobody can tell what it holds; describe it in one line (a docstring, or description=...)")
        if isinstance(self.owners, str) or not self.owners:
            self._refuse(f"owners must be a list such as ['team:weather'], not {self.owners!r}; did you forget the []?")
        days = vars(self).get("partitions")
        if days is not None and not isinstance(days, Daily):
            self._refuse(f"partitions is a {type(days).__name__}, not a Daily(...); is there a comma too many?")
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
        strange = [f"{column.name} ({column.dtype})" for column in columns_of(schema) if not is_storable(column.dtype)]
        if strange:
            self._refuse(
                f"{schema.__name__} has types that a Delta table does not give back: {', '.join(strange)}; use "
                "text, signed integers, floats, booleans, dates, instants in microseconds, or lists of these"
            )


@dataclass(frozen=True, kw_only=True)
class Table(Declaration, ABC):
    """A declaration whose asset is a Delta table: every kind but the model."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The columns of its table as readers see it; `day` is beside them where it has partitions."""


def is_storable(dtype: pl.DataType) -> bool:
    """Whether a Delta table gives back a column of this type as it was written."""
    if isinstance(dtype, pl.List):
        return is_storable(dtype.inner)  # type: ignore[arg-type]
    if isinstance(dtype, pl.Datetime):
        return dtype.time_unit == "us" and dtype.time_zone in (None, "UTC")
    plain = (pl.String, pl.Boolean, pl.Date, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64)
    return dtype in plain


def parameters_of(function: Transform) -> tuple[str, ...]:
    """The names of a function's parameters, in order."""
    return tuple(inspect.signature(function).parameters)


def docstring_of(function: Transform) -> str:
    """A function's docstring without its indentation; empty when it has none."""
    return inspect.getdoc(function) or ""
