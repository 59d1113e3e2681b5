"""The set of declarations that make one project, checked as a whole before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.declaration import NAME, Declaration
from platform_assets.declarations.fingerprint import fingerprint
from platform_assets.declarations.models import Model, Outcomes, Predictions
from platform_assets.declarations.monitor import Monitor, TrainedOn
from platform_assets.declarations.names import LEDGER, MAINTENANCE, PROFILES, QUARANTINE
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retention import Retention
from platform_assets.declarations.tables import FeatureGroup, Label, Source
from platform_assets.declarations.times import Daily, Days
from platform_assets.declarations.views import FeatureView, TrainingDataset
from platform_assets.errors import CatalogueError

D = TypeVar("D", bound=Declaration)

_MAY_READ: dict[type[Declaration], tuple[type[Declaration], ...]] = {
    Source: (Source,),
    FeatureGroup: (Source, FeatureGroup),
    Label: (Source,),
}


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far beyond its own days a table reads an input, in time and in whole partitions."""

    back: timedelta
    forth: timedelta
    days_back: int
    days_forth: int


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """A named set of declarations, in an order in which they can be computed.

    Raises:
        CatalogueError: when they do not fit together, listing every problem.
    """

    name: str
    declarations: Sequence[Declaration]
    retention: Retention = field(default_factory=Retention)
    _by_name: dict[str, Declaration] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        strangers = [
            f"number {n} of its declarations is a {type(d).__name__}, not a declaration; is there a comma or a bracket too many?"
            for n, d in enumerate(self.declarations, start=1)
            if not isinstance(d, Declaration)
        ]
        if not NAME.fullmatch(self.name) or self.name in (QUARANTINE, LEDGER, PROFILES):
            strangers.append(
                f"the name {self.name!r} must be words in lower case joined by single underscores, such as shop, and "
                f"none of {QUARANTINE}, {LEDGER} and {PROFILES}, which are the platform's own folders"
            )
        if not isinstance(self.retention, Retention):
            strangers.append(f"its retention is {self.retention!r}; write Retention(audit=timedelta(days=90))")
        if strangers:
            raise CatalogueError(self.name, strangers)
        object.__setattr__(self, "_by_name", {d.name: d for d in self.declarations})
        problems = [
            *self._duplicates(),
            *self._unknown_inputs(),
            *self._forbidden_inputs(),
            *self._leaks(),
            *self._calendars(),
            *self._strangers(),
            *self._labels(),
            *self._promotions(),
        ]
        try:
            order = list(TopologicalSorter({d.name: d.input_names for d in self.declarations}).static_order())
        except CycleError as error:
            problems.append("these read each other in a circle: " + " -> ".join(error.args[1]))
            order = []
        if problems:
            raise CatalogueError(self.name, problems)
        object.__setattr__(self, "declarations", tuple(self._by_name[name] for name in order))

    def __getitem__(self, name: str) -> Declaration:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def inputs(self, declaration: Declaration) -> tuple[Declaration, ...]:
        """What a declaration reads, each once."""
        return tuple(self._by_name[name] for name in dict.fromkeys(declaration.input_names))

    def _known_inputs(self, declaration: Declaration) -> tuple[Declaration, ...]:
        return tuple(self._by_name[name] for name in dict.fromkeys(declaration.input_names) if name in self._by_name)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of every declaration, by name."""
        return {d.name: fingerprint(d) for d in self.declarations}

    def of_kind(self, kind: type[D]) -> tuple[D, ...]:
        """The declarations of one kind."""
        return tuple(d for d in self.declarations if isinstance(d, kind))

    def promotion_of(self, model: str) -> Promotion | None:
        """The promotion that chooses a model's champion; None where its own check does."""
        return next((p for p in self.of_kind(Promotion) if p.model.name == model), None)

    def _duplicates(self) -> list[str]:
        names = [d.name for d in self.declarations]
        twice = [f"the name {name!r} is declared twice" for name in sorted({n for n in names if names.count(n) > 1})]
        taken = f"the name {MAINTENANCE!r} is that of the platform's own asset; choose another"
        return [*twice, *([taken] if MAINTENANCE in names else [])]

    def _unknown_inputs(self) -> list[str]:
        return [
            f"{d.kind} {d.name!r} reads {name!r}, which is not in the catalogue; add it, or correct the name"
            for d in self.declarations
            for name in d.input_names
            if name not in self._by_name
        ]

    def _forbidden_inputs(self) -> list[str]:
        problems = []
        for d in self.declarations:
            allowed = _MAY_READ.get(type(d))
            for read in self._known_inputs(d) if allowed else ():
                if isinstance(read, Label):
                    problems.append(f"{d.kind} {d.name!r} reads the label {read.name!r}; a label is never a feature")
                elif not isinstance(read, allowed or ()):
                    problems.append(f"{d.kind} {d.name!r} cannot read the {read.kind} {read.name!r}")
        return problems

    def _leaks(self) -> list[str]:
        problems = []
        for view in (d for d in self.declarations if isinstance(d, FeatureView)):
            asked = view.prediction_time
            for name in view.spine_inputs:
                read = self._by_name.get(name)
                if read is None:
                    continue
                if not isinstance(read, Source):
                    problems.append(
                        f"the spine of {view.name!r} reads the {read.kind} {name!r}; a spine is made of sources"
                    )
                elif not read.known_at.is_known:
                    problems += self._unaccepted(view, read)
                elif read.known_at.column != asked.column or read.known_at.delay > asked.delay:
                    problems.append(
                        f"the spine of {view.name!r} reads {name!r}, known at {read.known_at}; "
                        f"that is not shown to be by the prediction time, {asked}"
                    )
            for group in view.groups:
                if not group.known_at.is_known:
                    problems += self._unaccepted(view, group)
        return problems

    @staticmethod
    def _unaccepted(view: FeatureView, read: Source | FeatureGroup) -> list[str]:
        if view.accepts_unknown.get(read.name, "").strip():
            return []
        return [
            (
                f"{view.name!r} uses {read.name!r}, of which nobody knows when it was known ({read.known_at.reason}); "
                f"accept it by name with accepts_unknown={{{read.name!r}: 'why that is harmless'}}, or leave it out"
            )
        ]

    def _calendars(self) -> list[str]:
        problems = []
        for d in self.declarations:
            days = calendar(d)
            for read in self._known_inputs(d):
                other = calendar(read)
                if days is not None and other is not None and days.zone != other.zone:
                    problems.append(
                        f"{d.name!r} is cut into days of {days.zone}, but its input {read.name!r} into "
                        f"days of {other.zone}; use one zone"
                    )
        return problems

    def _strangers(self) -> list[str]:
        """Declarations referred to by value that are not the ones in the catalogue."""
        problems = []
        for d in self.declarations:
            held: list[Declaration] = []
            if isinstance(d, FeatureView):
                held = list(d.groups)
                for s in d.features:
                    problems += [
                        f"{d.name!r} joins {s.group.name!r} on {key!r}, which its spine does not have"
                        for key in s.spine_keys
                        if key not in d.schema.columns()
                    ]
            elif isinstance(d, TrainingDataset):
                held = [d.view, d.label]
            elif isinstance(d, Model):
                held = [d.training]
            elif isinstance(d, Predictions):
                held = [d.model, *([d.promotion] if d.promotion is not None else [])]
            elif isinstance(d, Promotion | Backtest):
                held = [d.model]
            elif isinstance(d, Outcomes):
                held = [d.predictions]
            elif isinstance(d, Monitor | PerformanceMonitor):
                reference = getattr(d, "reference", None)
                held = [d.of, *([reference.model] if isinstance(reference, TrainedOn) else [])]
            problems += [
                f"{d.kind} {d.name!r} refers to another {h.kind} {h.name!r} than the one in the catalogue"
                for h in held
                if self._by_name.get(h.name, h) != h
            ]
        return problems

    def _promotions(self) -> list[str]:
        """A champion is chosen in one place, and whoever predicts with it waits for that."""
        problems, chosen = [], dict[str, Promotion]()
        for d in self.of_kind(Promotion):
            if d.model.name in chosen:
                problems.append(
                    f"the promotions {chosen[d.model.name].name!r} and {d.name!r} both choose the champion of "
                    f"{d.model.name!r}; keep one of them"
                )
            chosen.setdefault(d.model.name, d)
        return problems + [
            f"predictions {d.name!r} do not name the promotion of their model; add promotion={chosen[d.model.name].name}"
            for d in self.of_kind(Predictions)
            if d.promotion is None and d.model.name in chosen
        ]

    def _labels(self) -> list[str]:
        return [
            f"training dataset {d.name!r}: its label {d.label.name!r} is keyed by {', '.join(d.label.keys)}, "
            f"its view {d.view.name!r} by {', '.join(d.view.keys)}; they must be the same"
            for d in self.declarations
            if isinstance(d, TrainingDataset) and tuple(d.label.keys) != tuple(d.view.keys)
        ]


def calendar(declaration: Declaration) -> Daily | None:
    """The partitions of a declaration, days or months, or None when it has none."""
    days = getattr(declaration, "partitions", None)
    return days if isinstance(days, Daily) else None


def reach(reader: Declaration, read: Declaration) -> Reach | None:
    """How far `reader` looks beyond its own days into `read`; None where either is not daily, or it reads all before.

    The look-back of a feature group, the age limit of a feature in a view and the look-ahead of a
    label are all of it: the slice that is read, Dagster's partition mapping and the days that go stale
    when an upstream day is rewritten follow from this one value.
    """
    days, other = calendar(reader), calendar(read)
    if days is None or other is None or isinstance(reader, Backtest):
        return None
    back = forth = timedelta(0)
    if isinstance(reader, Monitor | PerformanceMonitor):  # whole days, whatever the clocks did
        return Reach(back=reader.back, forth=forth, days_back=reader.days_back, days_forth=0)
    if isinstance(reader, FeatureGroup):
        back = reader.lookback
    elif isinstance(reader, Label):
        forth = reader.lookahead
    elif isinstance(reader, FeatureView) and isinstance(read, FeatureGroup):
        back = read.max_age + max(-reader.prediction_time.delay, timedelta(0))
        forth = max(reader.prediction_time.delay, timedelta(0))
    return Reach(back=back, forth=forth, days_back=days.days_touching(back), days_forth=days.days_touching(forth))


def days_read(reader: Declaration, read: Declaration, days: Days) -> Days | None:
    """The partitions of `read` that `reader` reads for `days`, clipped to those that exist; None where there are none."""
    extent, other = reach(reader, read), calendar(read)
    if isinstance(reader, Backtest) and other is not None:
        until = reader.partitions.month_of(days.last.replace(day=1)).last
        return _existing(Days(other.first, max(other.first, until)), other)
    if extent is None or other is None:
        return None
    wide = days.grow(back=extent.days_back, forth=extent.days_forth)
    return _existing(wide, other)


def days_always_read(reader: Declaration) -> Days | None:
    """The partitions of its input that every day of a reader reads beside those near it; None where there are none."""
    return reader.settled if isinstance(reader, Monitor) else None


def days_affected(reader: Declaration, read: Declaration, days: Days) -> Days | None:
    """The partitions of `reader` that go stale when `days` of `read` are rewritten."""
    extent, own, always = reach(reader, read), calendar(reader), days_always_read(reader)
    if isinstance(reader, Backtest) and calendar(read) is not None:
        month, last = days.first.replace(day=1), reader.partitions.last or date.max
        return _existing(Days(month, last), reader.partitions) if month <= last else None
    if extent is None or own is None:
        return None
    if always is not None and days.clip(always) is not None:
        return _existing(Days(own.first, own.last or date.max), own)
    wide = days.grow(back=extent.days_forth, forth=extent.days_back)
    return _existing(wide, own)


def _existing(days: Days, calendar: Daily) -> Days | None:
    """The days that a calendar has, or None."""
    if days.last < calendar.first:
        return None
    return days.clip(Days(calendar.first, calendar.last or days.last))
