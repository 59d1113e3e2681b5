"""What is declared, as a replay takes it: nothing in it knows a day that is still to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, TypeVar, cast

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model, Outcomes, Predictions
from platform_assets.declarations.monitor import FEWEST_DAYS, Fixed, Monitor, TrainedOn
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retraining import Retraining
from platform_assets.declarations.tables import Selection, Source
from platform_assets.declarations.times import ONE_DAY, Daily, Days
from platform_assets.declarations.views import RollingSplit, TrainingDataset
from platform_assets.errors import DeclarationError, PartitionError

_REFERENCE_DAYS = FEWEST_DAYS + 20  # a reference that a replay has to find itself is so long
_OF_A_POLICY = (Model, Promotion, Predictions, Outcomes)

D = TypeVar("D", bound=Declaration)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A catalogue as a replay takes it.

    Attributes:
        catalogue: the declared one, with a model, a promotion, predictions and outcomes for each policy.
        policy_of: of each declaration that is a policy's own, whose.
        notes: what is not as declared, a sentence each.
        days: the days that are operated one by one.
    """

    catalogue: Catalogue
    policy_of: Mapping[str, str]
    notes: tuple[str, ...]
    days: Days

    @property
    def calendar(self) -> Daily:
        """Whose clock is meant by a day."""
        return next(own for own in map(calendar, self.catalogue.of_kind(Source)) if own is not None)

    def of_policy(self, policy: str, kind: type[Any]) -> list[Any]:
        """The declarations of a kind that are a policy's own."""
        return [d for d in self.catalogue.of_kind(kind) if self.policy_of.get(d.name) == policy]


def set_up(
    catalogue: Catalogue,
    *,
    days: Days,
    policies: Sequence[str],
    split: tuple[timedelta, timedelta] | None = None,
    longer: timedelta | None = None,
) -> Setting:
    """Take a catalogue for a replay.

    Args:
        catalogue: as it is declared.
        days: the days that are operated one by one.
        policies: the names of what decides about retraining.
        split: how long *select* and *report* are; else as long as a training dataset declares.
        longer: by how much every calendar that ends goes on, for a landing that repeats.

    Raises:
        PartitionError: when the days are not days of the project.
        DeclarationError: when the project has nothing that could be replayed.
    """
    known: dict[str, Declaration] = {}
    own: dict[str, dict[str, Declaration]] = {policy: {} for policy in policies}
    policy_of, notes = dict[str, str](), _of_snapshots(catalogue)
    _require_days(catalogue, days, longer or timedelta(0))
    for declaration in catalogue.declarations:
        if isinstance(declaration, Backtest):
            notes.append(f"{declaration.name} is left out: a replay is a backtest of everything")
        elif isinstance(declaration, Retraining):
            notes.append(f"{declaration.name} is left out: the policies of the replay decide")
        elif isinstance(declaration, _OF_A_POLICY) or _watches_a_policy(declaration):
            for policy in policies:
                made = _taken(declaration, {**known, **own[policy]}, days, notes, name=f"{declaration.name}_{policy}")
                if made is not None:
                    own[policy][declaration.name] = made
                    policy_of[made.name] = policy
        else:
            changes: dict[str, Any] = {}
            if isinstance(declaration, TrainingDataset):
                changes["split"] = _rolling(declaration, split, notes)
            ends = calendar(declaration)
            if longer and ends is not None and ends.last is not None and not isinstance(declaration, Monitor):
                changes["partitions"] = replace(ends, last=ends.last + longer)
            taken = _taken(declaration, known, days, notes, **changes)
            if taken is not None:
                known[declaration.name] = taken
    declarations = [*known.values(), *(d for by_name in own.values() for d in by_name.values())]
    return Setting(
        catalogue=Catalogue(name=catalogue.name, declarations=declarations, retention=catalogue.retention),
        policy_of=policy_of,
        notes=tuple(dict.fromkeys(notes)),
        days=days,
    )


def _require_days(catalogue: Catalogue, days: Days, longer: timedelta) -> None:
    dated = [own for own in map(calendar, catalogue.of_kind(Source)) if own is not None]
    if not dated:
        msg = f"{catalogue.name} has no source by day, so that there is nothing to be replayed"
        raise DeclarationError(msg)
    first = min(own.first for own in dated)
    last = max((own.last + longer for own in dated if own.last is not None), default=days.last)
    if not first < days.first <= days.last <= last:
        msg = (
            f"{catalogue.name} has days from {first} to {last}; a replay from {days.first} to {days.last} needs one "
            f"before it at least, and none after: choose from {first + ONE_DAY} to {last}"
        )
        raise PartitionError(msg)


def _of_snapshots(catalogue: Catalogue) -> list[str]:
    """What is seen before anybody can say that it was known."""
    names = ", ".join(source.name for source in catalogue.of_kind(Source) if source.partitions is None)
    return [f"nothing tells since when {names} have been so: each day sees them as they are now"] if names else []


def _watches_a_policy(declaration: Declaration) -> bool:
    return isinstance(declaration, PerformanceMonitor) or (
        isinstance(declaration, Monitor) and isinstance(declaration.of, Predictions)
    )


def _rolling(dataset: TrainingDataset, asked: tuple[timedelta, timedelta] | None, notes: list[str]) -> RollingSplit:
    """A split that rolls on: as asked for, as declared, or as long as the one that is declared for certain days."""
    declared = dataset.split
    if asked is not None:
        return RollingSplit(select=asked[0], report=asked[1], gap=declared.gap)
    if isinstance(declared, RollingSplit):
        return declared
    select = declared.report_from - declared.select_from
    report = declared.report_until - declared.report_from + ONE_DAY
    notes.append(
        f"{dataset.name} is divided anew at each training, with the {select.days} days of select and the {report.days} "
        "of report that it declares, until then shrunk to half of the labelled days"
    )
    return RollingSplit(select=select, report=report, gap=declared.gap)


def _taken(
    declaration: Declaration, known: Mapping[str, Declaration], days: Days, notes: list[str], **changes: Any
) -> Declaration | None:
    """A declaration that reads what the replay knows; None, and a note, where there is no such thing."""
    if isinstance(declaration, Predictions):
        changes |= {"first": days.first, "version": None}
        changes["champion"] = None if declaration.promotion is None else "of the day"
        notes.append(f"{declaration.name} begin on {days.first}, each day by the champion that it had")
    if isinstance(declaration, Monitor):
        return _monitor(declaration, known, days, notes, **changes)
    if isinstance(declaration, PerformanceMonitor):
        try:
            return _exchanged(declaration, known, **changes)
        except DeclarationError as error:
            notes.append(f"{declaration.name} is left out, since there is nothing to learn from: {error}")
            return None
    return _exchanged(declaration, known, **changes)


def _monitor(
    declaration: Monitor, known: Mapping[str, Declaration], days: Days, notes: list[str], **changes: Any
) -> Monitor | None:
    """A monitor with a reference that lies before the days it watches."""
    of = known[declaration.of.name]
    if not isinstance(declaration.reference, TrainedOn) and not isinstance(declaration.of, Predictions):
        made = _exchanged(declaration, known, **changes)
        if made.settled.last < days.last:
            return made
        notes.append(f"{declaration.name} is left out: its reference, {made.settled}, is not over before {days.last}")
        return None
    own = calendar(of)
    assert own is not None  # noqa: S101 - a monitor watches days
    warmup = declaration.reference.warmup if isinstance(declaration.reference, TrainedOn) else 0
    first = own.first + warmup * ONE_DAY
    reference = Fixed(days=Days(first, max(first + (_REFERENCE_DAYS - 1) * ONE_DAY, days.first - ONE_DAY)))
    try:
        made = _exchanged(declaration, known, reference=reference, **changes)
    except DeclarationError as error:
        notes.append(f"{declaration.name} is left out, since there is nothing to compare with: {error}")
        return None
    if reference.days.last >= days.last:
        notes.append(
            f"{declaration.name} is left out: {reference.days}, to compare with, are not over before {days.last}"
        )
        return None
    notes.append(
        f"{declaration.name} compares with {reference.days}, and watches the days after them: "
        "what a model will have been trained on is not known before"
    )
    return made


def _known(declaration: D, known: Mapping[str, Declaration]) -> D:
    """What is known under a declaration's name, or else itself."""
    return cast("D", known.get(declaration.name, declaration))


def _exchanged(declaration: D, known: Mapping[str, Declaration], **changes: Any) -> D:
    """A declaration that holds what is known under the names of what it held."""
    held: dict[str, Any] = {}
    for name in (f.name for f in fields(declaration) if f.init):
        value = getattr(declaration, name)
        if isinstance(value, Declaration):
            held[name] = _known(value, known)
        elif isinstance(value, list | tuple) and any(isinstance(item, Selection) for item in value):
            held[name] = [replace(item, group=_known(item.group, known)) for item in value]
        elif isinstance(value, TrainedOn):
            held[name] = replace(value, model=_known(value.model, known))
    return replace(declaration, **(held | changes))
