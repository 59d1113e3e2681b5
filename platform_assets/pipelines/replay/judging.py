"""Which policies of a replay performance cannot judge, why, and what to change: it is said before the days begin.

A version has thresholds where the part of its training that they are learned from is long enough, and that part grows
with the labelled days. What is declared tells how long it will be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import cast

from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.retraining import RetrainingPolicy
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.declarations.views import RollingSplit
from platform_assets.pipelines.replay.setting import Setting
from platform_assets.pipelines.splits import FEWEST_DAYS

_SOUGHT = 366
"""So many days on a later beginning is looked for."""


def unjudged(setting: Setting, policies: Mapping[str, RetrainingPolicy]) -> list[str]:
    """A sentence for each policy of which performance judges nothing, or nothing at first.

    Args:
        setting: what is replayed.
        policies: by name, those that it was set up for.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for monitor in setting.catalogue.of_kind(PerformanceMonitor):
        policy = setting.policy_of[monitor.name]
        why = _why(setting, monitor, asks=policies[policy].asks)
        if why:
            found.setdefault((monitor.name.removesuffix(f"_{policy}"), why), []).append(policy)
    return [f"{monitor} cannot judge {' and '.join(told)}{why}" for (monitor, why), told in found.items()]


def _why(setting: Setting, monitor: PerformanceMonitor, *, asks: bool) -> str:
    """Why it cannot judge the versions of its policy, and what to change; "" where it can."""
    trainings, needed, part = _trainings(setting, monitor), monitor.fewest_days, monitor.learned_from
    trained, there = next(trainings)
    if there >= needed:
        return ""
    enough = next((day for day, length in trainings if length >= needed), None)
    late = enough is not None and enough <= setting.days.last
    when = "at all" if not late else f"before a training on {enough}"
    which = ("the first training" if late else "the first of its trainings") if asks else "its only training"
    has = f"{there} day{'' if there == 1 else 's'} of {part}, and what is too much is learned from {needed} or more"
    split = _long_enough(monitor, trained)
    ways = [
        *([] if enough is None else [f"begin with --from {enough + ONE_DAY}"]),
        *([] if split is None else [f"write --split {split}"]),
        *([] if max(monitor.windows) == 1 else ["give it shorter windows"]),
    ]
    said = f"{f' {when}' if asks else ''}: {which}, on {trained}, has {has}"
    return said + (f"; to change that, {', or '.join(ways)}" if ways else "")


def _trainings(setting: Setting, monitor: PerformanceMonitor) -> Iterator[tuple[date, int]]:
    """Each day on which a model can be trained, the first one first, and how many days thresholds are learned from then."""
    day = setting.days.first - ONE_DAY
    while len(_labelled(monitor, day)) < FEWEST_DAYS:
        day += ONE_DAY
    for later in Days(day, day + _SOUGHT * ONE_DAY):
        yield later, _learned(monitor, later, cast("RollingSplit", monitor.training.split))


def _labelled(monitor: PerformanceMonitor, newest: date) -> list[date]:
    """The days that are labelled when a day is in."""
    label, first = monitor.training.label, monitor.view.partitions.first
    last = newest - label.partitions.days_touching(label.lookahead) * ONE_DAY
    return list(Days(first, last)) if last >= first else []


def _learned(monitor: PerformanceMonitor, newest: date, split: RollingSplit) -> int:
    labelled = _labelled(monitor, newest)
    return len(monitor.learned_days(split.resolve(labelled[0], labelled[-1])))


def _long_enough(monitor: PerformanceMonitor, trained: date) -> str | None:
    """What to write for a split whose report is long enough at a training; None where no such split leaves enough to fit on."""
    split = cast("RollingSplit", monitor.training.split)
    report = monitor.fewest_days
    select = int(len(_labelled(monitor, trained)) * split.most) - report
    if monitor.learned_from != "report" or select * ONE_DAY <= split.gap:
        return None
    return f"{select},{report}"
