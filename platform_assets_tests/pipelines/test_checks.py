"""What checks say, in the singular and the plural."""

from __future__ import annotations

from datetime import date

import pytest

from platform_assets.declarations.times import Monthly
from platform_assets.pipelines.checks import days_complete, not_empty
from platform_assets_tests import shop

FIRST, SECOND = shop.OPEN.first, date(2024, 3, 12)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({FIRST: 3, SECOND: 4}, "7 rows."),
        ({FIRST: 0, SECOND: 4}, "1 of 2 days has no rows: 2024-03-11."),
        ({FIRST: 0, SECOND: 0}, "2 of 2 days have no rows: 2024-03-11, 2024-03-12."),
        ({None: 0}, "The table is empty."),
    ],
)
def test_days_without_rows(rows: dict[date | None, int], said: str) -> None:
    found = not_empty(rows)
    assert found.description == said
    assert found.passed == (0 not in rows.values())


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (set(), "All 35 days are materialized."),
        ({FIRST}, "1 of 35 days is not materialized: 2024-03-11."),
        ({FIRST, SECOND}, "2 of 35 days are not materialized: 2024-03-11 to 2024-03-12."),
    ],
)
def test_days_that_are_missing(missing: set[date], said: str) -> None:
    there: set[date | None] = {*shop.SOLD} - missing
    found = days_complete(shop.OPEN, there, shop.run())
    assert found.description == said
    assert found.passed == (not missing)


def test_of_a_calendar_of_months_it_is_months_that_are_missing() -> None:
    months = Monthly(first=date(2024, 1, 1), zone=shop.BERLIN)
    found = days_complete(months, {date(2024, 1, 1), date(2024, 3, 1)}, shop.run())
    assert (found.passed, found.description) == (False, "1 of 3 months is not materialized: 2024-02-01.")
    assert found.facts == {"months": 3, "missing months": 1}
