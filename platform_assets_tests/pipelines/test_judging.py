"""Which policies of a replay performance cannot judge: the advice is followed, and nothing is said any more."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.replay.judging import unjudged
from platform_assets.pipelines.replay.policies import KNOWN
from platform_assets.pipelines.replay.setting import set_up
from platform_assets_tests import replayed

LAST = date(2023, 6, 10)
SPLIT = (timedelta(days=20), timedelta(days=50))


def notes(
    first: date, *, split: tuple[timedelta, timedelta] = SPLIT, windows: tuple[int, ...] = (1, 2), last: date = LAST
) -> list[str]:
    monitor = PerformanceMonitor(
        name="late_watch",
        description="How good the predictions were.",
        of=replayed.outcomes,
        windows=windows,
        owners=["team:ferry"],
    )
    catalogue = Catalogue(name="ferry", declarations=[*replayed.CATALOGUE.declarations, monitor])
    return unjudged(set_up(catalogue, days=Days(first, last), policies=list(KNOWN), split=split), KNOWN)


def test_what_is_too_short_is_said_with_its_days_and_what_to_change() -> None:
    """From 20 January to 28 March are 68 labelled days; half of them are divided as 20 to 50."""
    learned = "and what is too much is learned from 41 or more"
    ways = "to change that, begin with --from 2023-05-15, or give it shorter windows"
    never, others = notes(date(2023, 3, 29))
    has = f"on 2023-03-28, has 24 days of report, {learned}; {ways}"
    assert never == f"late_watch cannot judge never: its only training, {has}"
    before = "before a training on 2023-05-14"
    assert others == f"late_watch cannot judge monthly and drift {before}: the first training, {has}"


def test_where_no_training_is_late_enough_every_policy_is_named() -> None:
    assert [one.partition(":")[0] for one in notes(date(2023, 3, 29), last=date(2023, 5, 13))] == [
        "late_watch cannot judge never",
        "late_watch cannot judge monthly and drift at all",
    ]


@pytest.mark.parametrize("windows", [(1,), (1, 2)])
@pytest.mark.parametrize("first", [date(2023, 2, 1), date(2023, 4, 20), date(2023, 5, 10)])
def test_who_begins_when_it_says_is_told_nothing_and_who_begins_a_day_before_is(
    first: date, windows: tuple[int, ...]
) -> None:
    told = notes(first, windows=windows)[0]
    found = re.search(r"--from (\S+?),? ", f"{told} ")
    assert found is not None
    begin = date.fromisoformat(found[1])
    assert begin > first
    assert notes(begin, windows=windows) == []
    assert notes(begin - ONE_DAY, windows=windows) != []
    assert ("shorter windows" in told) == (len(windows) > 1)


def test_a_split_that_it_says_is_long_enough() -> None:
    first = date(2023, 5, 10)
    told = notes(first)[0]
    found = re.search(r"--split (\d+),(\d+)", told)
    assert found is not None
    select, report = (timedelta(days=int(days)) for days in found.groups())
    assert (notes(first, split=(select, report)), report.days) == ([], 41)
    assert "--split" not in notes(date(2023, 2, 1))[0], "nothing would be left to fit on"
