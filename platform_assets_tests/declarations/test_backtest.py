"""Months as partitions, which days a fold reads, and how a backtest that cannot be is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from platform_assets.declarations.catalogue import Catalogue, days_affected, days_read, reach
from platform_assets.declarations.fingerprint import fingerprint
from platform_assets.declarations.times import Daily, Days, Monthly
from platform_assets.declarations.tuning import Tuning, whole
from platform_assets.errors import CatalogueError, DeclarationError, PartitionError
from platform_assets_tests import ferry

MONTHS = Monthly(first=date(2023, 4, 1), last=date(2023, 6, 10), zone="America/New_York")
OPEN_ENDED = Monthly(first=date(2023, 11, 1), zone="America/New_York")


def test_a_month_has_its_days_as_far_as_the_calendar_goes() -> None:
    assert MONTHS.among(Days(date(2023, 1, 1), date(2024, 1, 1))) == ferry.MONTHS
    assert MONTHS.among(Days(date(2023, 4, 2), date(2023, 4, 30))) == []
    assert MONTHS.among(Days(date(2023, 4, 2), date(2023, 5, 1))) == [date(2023, 5, 1)]
    assert MONTHS.month_of(date(2023, 5, 1)) == Days(date(2023, 5, 1), date(2023, 5, 31))
    assert MONTHS.month_of(date(2023, 6, 1)) == Days(date(2023, 6, 1), date(2023, 6, 10))
    assert OPEN_ENDED.among(Days(date(2023, 12, 1), date(2024, 2, 15))) == [
        date(2023, 12, 1),
        *(date(2024, n, 1) for n in (1, 2)),
    ]
    assert Daily(first=date(2023, 1, 2), last=date(2023, 1, 4)).among(Days(date(2023, 1, 1), date(2023, 1, 3))) == [
        date(2023, 1, 2),
        date(2023, 1, 3),
    ]


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (datetime(2023, 5, 1, 3, 59, tzinfo=UTC), None),
        (datetime(2023, 5, 1, 4, tzinfo=UTC), date(2023, 4, 1)),
        (datetime(2023, 6, 1, 4, tzinfo=UTC), date(2023, 5, 1)),
        (datetime(2023, 6, 11, 4, tzinfo=UTC), date(2023, 5, 1)),
        (datetime(2023, 7, 1, 3, 59, tzinfo=UTC), date(2023, 5, 1)),
        (datetime(2023, 7, 1, 4, tzinfo=UTC), date(2023, 6, 1)),
        (datetime(2030, 1, 1, tzinfo=UTC), date(2023, 6, 1)),
    ],
)
def test_a_month_counts_once_it_is_over_even_where_the_calendar_ends_before(now: datetime, last: date | None) -> None:
    assert MONTHS.closed_until(now) == (None if last is None else Days(date(2023, 4, 1), last))


def test_a_row_is_of_the_month_of_its_local_day() -> None:
    instants = pl.Series([datetime(2023, 5, 1, 3, 59, tzinfo=UTC), datetime(2023, 5, 1, 4, tzinfo=UTC)])
    found = pl.select(MONTHS.day_of(pl.lit(instants.cast(pl.Datetime("us", "UTC"))))).to_series().to_list()
    assert found == [date(2023, 4, 1), date(2023, 5, 1)]
    window = MONTHS.window(Days(date(2023, 4, 1), date(2023, 6, 1)))
    assert (window.start, window.end) == (datetime(2023, 4, 1, 4, tzinfo=UTC), datetime(2023, 6, 11, 4, tzinfo=UTC))


@pytest.mark.parametrize(
    "days",
    [
        Days(date(2023, 4, 1), date(2023, 4, 2)),
        Days(date(2023, 3, 1), date(2023, 4, 1)),
        Days(date(2023, 7, 1), date(2023, 7, 1)),
    ],
)
def test_what_is_no_month_is_refused(days: Days) -> None:
    with pytest.raises(PartitionError, match="the months, by their first days, run from 2023-04-01 to 2023-06-01"):
        MONTHS.require(days)
    MONTHS.require(Days(date(2023, 4, 1), date(2023, 6, 1)))


def naive_days_read(month: date) -> set[date]:
    """Every day of the view up to the end of the month, by looking at each."""
    days = [ferry.SAILED.first + timedelta(days=n) for n in range(len(ferry.SAILED))]
    return {day for day in days if (day.year, day.month) <= (month.year, month.month)}


@pytest.mark.parametrize("name", ["crossings_asked", "crossing_late"])
def test_a_fold_reads_everything_up_to_the_end_of_its_month_and_nothing_later(name: str) -> None:
    read, backtest = ferry.CATALOGUE[name], ferry.late_backtest
    assert reach(backtest, read) is None
    for month in ferry.MONTHS:
        assert set(days_read(backtest, read, Days(month, month)) or ()) == naive_days_read(month)
    for day in ferry.SAILED:
        affected = days_affected(backtest, read, Days(day, day))
        stale = set(backtest.partitions.among(affected)) if affected else set()
        assert stale == {month for month in ferry.MONTHS if day in naive_days_read(month)}, str(day)


def test_days_after_the_last_month_reach_no_fold() -> None:
    over = replace(ferry.late_backtest, last=ferry.MONTHS[0] + timedelta(days=27))
    read = ferry.CATALOGUE["crossings_asked"]
    for day in ferry.SAILED:
        affected = days_affected(over, read, Days(day, day))
        in_first = (day.year, day.month) <= (ferry.MONTHS[0].year, ferry.MONTHS[0].month)
        assert (affected is not None) == in_first, str(day)


TUNED = replace(
    ferry.late_model.learner, parameters={}, tuning=Tuning(trials=2, space={"num_leaves": whole(2, 9, start=4)})
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first": date(2023, 4, 2)}, "first=2023-04-02 is no first day of a month; write 2023-04-01"),
        ({"first": date(2023, 2, 1)}, "nothing is left to fit on, since 'crossings_asked' begins on 2023-01-20"),
        ({"select": timedelta(days=2)}, "select=2 days, 0:00:00 is no longer than the gap of its training dataset"),
        ({"last": date(2023, 6, 11)}, "last=2023-06-11 is not among the days from 2023-04-01 to 2023-06-10"),
        ({"last": date(2023, 3, 31)}, "last=2023-03-31 is not among the days"),
        (
            {
                "model": replace(
                    ferry.late_model,
                    learner=replace(TUNED, tuning=Tuning(trials=2, space={"num_leaves": whole(2, 9)})),
                )
            },
            "num_leaves of 'late_model' are tuned from no start, so that a fold has nothing to take",
        ),
    ],
)
def test_a_backtest_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        replace(ferry.late_backtest, **changes)


def test_months_are_named_by_their_first_day() -> None:
    with pytest.raises(DeclarationError, match="months are named by their first day, 2023-04-01"):
        Monthly(first=date(2023, 4, 3))


def test_its_model_is_the_one_of_the_catalogue() -> None:
    other = replace(ferry.late_model, description="Another.")
    with pytest.raises(CatalogueError, match="backtest 'late_backtest' refers to another model 'late_model'"):
        ferry.with_backtest(model=other)


def test_what_reaches_a_figure_changes_its_fingerprint() -> None:
    own = fingerprint(ferry.late_backtest)
    assert fingerprint(replace(ferry.late_backtest, description="Other words.")) == own
    for changes in (
        {"select": timedelta(days=15)},
        {"model": replace(ferry.late_model, learner=replace(ferry.late_model.learner, seed=1))},
        {"model": replace(ferry.late_model, baselines={})},
    ):
        assert fingerprint(replace(ferry.late_backtest, **changes)) != own
    assert isinstance(ferry.CATALOGUE, Catalogue)
