"""The report: a page that holds everything itself, says what is not there yet, and escapes what it is told."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from platform_assets.compute.profiles import Profile, each, profile
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.report import report
from platform_assets.pipelines.report_page import bars, headline, line, render
from platform_assets.pipelines.timeline import CHECK_FAILED, Event
from platform_assets_tests import monitored, shop


def test_a_page_of_nothing_says_so(tmp_path: Path) -> None:
    made = report(shop.platform(tmp_path), shop.CATALOGUE, now=monitored.NOW)
    page = render(made)
    for said in (
        "has no champion yet",
        "Nothing alarmed",
        "No outcome",
        "No monitor",
        "Nothing was decided",
        "Nothing has been",
    ):
        assert said in page
    assert made.days.last == monitored.NOW.date()


def test_a_page_needs_nothing_else_and_escapes_what_it_is_told(finished_shop: Path) -> None:
    bad = Event(at=monitored.NOW, kind=CHECK_FAILED, asset="shop/orders", said="<script>alert(1)</script>")
    made = report(shop.platform(finished_shop), shop.CATALOGUE, now=monitored.NOW, also=[bad])
    page = render(made)
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script|<link|<img|https?://|@import|url\(", page)
    assert "version 1" in page
    assert made.performance
    assert "<polyline" in page


def test_a_line_has_gaps_where_there_is_no_value() -> None:
    days = list(Days(date(2024, 1, 1), date(2024, 1, 5)))
    drawn = line(dict(zip(days, [1.0, 2.0, None, 3.0, 4.0], strict=True)), days=days)
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 4
    assert line({days[0]: None}, days=days) == ""


def profiled(*values: object) -> Profile:
    return next(each(profile(pl.DataFrame({"seen": values}))))


def test_a_truth_has_two_bars_and_the_last_bar_of_a_number_ends_where_its_values_do() -> None:
    truth = bars(profiled(False, False, False, True), profiled(True, True))
    assert [(bar.name, bar.then, bar.now) for bar in truth] == [("false", 0.75, 0.0), ("true", 0.25, 1.0)]
    numbers = bars(profiled(0.0, 1.0, 2.0), profiled(4.0, 6.0))
    assert (numbers[0].name, numbers[-1].until) == ("0", "6")
    assert sum(bar.then for bar in numbers) == pytest.approx(1.0)
    assert numbers[-1].now == 0.5


def test_what_was_to_be_expected_is_dashed_and_another_version_is_marked() -> None:
    days = list(Days(date(2024, 1, 1), date(2024, 1, 3)))
    values: dict[date, float | None] = dict(zip(days, [0.5, 0.5, 0.5], strict=True))
    drawn = line(values, days=days, expected={days[0]: 0.4, days[2]: 0.6}, changes={days[1]: "version 2"})
    assert drawn.count("<polyline") == 1, "an expectation of single days has no line"
    assert "<title>2024-01-02: version 2</title></line>" in drawn
    assert "2024-01-03: 0.5000, expected 0.6000" in drawn
    assert "<title>2024-01-02: 0.5000</title>" in drawn
    assert ">0.600</text>" in drawn, "the scale holds both"
    assert '<polyline class="expected"' in line(values, days=days, expected=dict.fromkeys(days, 0.4))


def test_days_that_nobody_watched_name_those_that_were(tmp_path: Path) -> None:
    there, run = shop.platform(tmp_path), shop.run(monitored.NOW)
    there.lake.root.mkdir()

    def said(days: Days) -> str:
        return headline(report(there, monitored.CATALOGUE, now=monitored.NOW, days=days))

    before = Days(date(2023, 5, 1), date(2023, 5, 28))
    assert said(before) == f"Nothing is watched from {before}, nor on any other day yet."
    monitored.land(there.landing.root, monitored.LONG)
    materialize(there, monitored.CATALOGUE, "orders", run, days=monitored.LONG)
    watched = Days(monitored.LONG.last - 2 * ONE_DAY, monitored.LONG.last)
    for day in (watched.first, watched.last):
        materialize(there, monitored.CATALOGUE, "order_drift", run, days=Days(day, day))
    assert said(before) == f"Nothing is watched from {before}: shop/order_drift watched {watched}."
    assert said(watched.grow(back=27)) == f"Nothing alarmed from {watched.grow(back=27)}."
