"""A monitor says what it may say, and its days follow from what it compares with."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from platform_assets.compute import drift, thresholds
from platform_assets.declarations import monitor as declared
from platform_assets.declarations.catalogue import Catalogue, days_affected, days_always_read, days_read
from platform_assets.declarations.fingerprint import fingerprint
from platform_assets.declarations.monitor import Fixed, Monitor, SameSeason, Trailing, TrainedOn
from platform_assets.declarations.times import ONE_DAY, Daily, Days
from platform_assets.declarations.views import TimeSplit
from platform_assets.errors import CatalogueError, DeclarationError
from platform_assets_tests import monitored, shop

MONITOR, FIRST = monitored.order_drift, monitored.OPEN.first


def test_measures_are_those_that_can_be_computed() -> None:
    assert declared.MEASURES == drift.MEASURES
    assert declared.ALARMING == thresholds.ALARMING
    assert declared.FEWEST_DAYS == thresholds.FEWEST_WINDOWS


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"of": shop.products}, "of=products has no profiles by day; name a dated source"),
        ({"of": shop.order_returned}, "of=order_returned has no profiles by day"),
        ({"reference": monitored.LEARNED_FROM}, r"reference=Days\(.*\); write Fixed\(days=Days"),
        ({"windows": ()}, r"windows=\(\); write lengths in days, such as \(1, 7\)"),
        ({"windows": (1, 0)}, r"windows=\(1, 0\); write lengths"),
        ({"windows": (7, 7)}, r"windows=\(7, 7\) has a length twice"),
        ({"measures": "psi"}, r"measures='psi' is a string; did you mean measures=\['psi'\]\?"),
        ({"measures": ["psi", "ks"]}, "measures names ks; choose among psi, jensen_shannon"),
        ({"measures": []}, "measures names nothing; choose among"),
        ({"alarms_per_month": 0}, "alarms_per_month=0: no threshold never alarms; allow 1, or 0.1"),
        ({"margin": 0}, "margin=0 and beyond=2.0 must be positive"),
        ({"beyond": float("nan")}, "margin=1.5 and beyond=nan must be positive"),
        ({"floors": {"psi": 0.1, "ks": 0.1}}, "floors has ks; by measure"),
        ({"floors": {"psi": -0.1}}, "floors has psi; by measure"),
        ({"apart": -1}, "apart=-1 must not be negative"),
        ({"at_least": 0}, "at_least=0 must be positive"),
        ({"skip": ["colour"]}, "skip names the column 'colour', which 'orders' does not have"),
        (
            {"reference": Fixed(days=Days(FIRST, date(2024, 4, 9)))},
            "its reference needs 2024-01-01 to 2024-04-09, but 'orders' has 2024-01-01 to 2024-04-09, and days are watched",
        ),
        (
            {"reference": Trailing(days=14, learned_from=Days(FIRST, date(2024, 2, 29)))},
            "its reference needs 2023-12-18 to 2024-02-29, but 'orders' has 2024-01-01",
        ),
        (
            {"reference": Fixed(days=Days(FIRST, FIRST + 44 * ONE_DAY))},
            "2024-01-01 to 2024-02-14 hold 39 windows of 7 days, and thresholds are learned from 40 or more",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=f"monitor 'order_drift': .*{said}"):
        replace(MONITOR, **wrong)


def test_references_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DeclarationError, match="trailing: days=0 are none to compare with"):
        Trailing(days=0, learned_from=monitored.LEARNED_FROM)
    with pytest.raises(DeclarationError, match="same season: around=364"):
        SameSeason(around=364, learned_from=monitored.LEARNED_FROM)
    with pytest.raises(
        DeclarationError, match="warmup=28 leaves nothing of the days on which 'return_model' is trained"
    ):
        TrainedOn(model=shop.return_model, warmup=28)


def test_a_watched_day_reads_its_windows_and_the_reference() -> None:
    orders, day = MONITOR.of, date(2024, 3, 20)
    assert MONITOR.partitions == Daily(first=date(2024, 3, 1), last=date(2024, 4, 9), zone=shop.BERLIN)
    assert days_read(MONITOR, orders, Days(day, day)) == Days(date(2024, 3, 14), day)
    assert days_always_read(MONITOR) == monitored.LEARNED_FROM
    assert days_affected(MONITOR, orders, Days(day, day)) == Days(day, date(2024, 3, 26))
    in_reference = Days(FIRST, FIRST)
    assert days_affected(MONITOR, orders, in_reference) == monitored.WATCHED
    moving = monitored.trailing_drift
    assert days_read(moving, orders, Days(day, day)) == Days(day - 14 * ONE_DAY, day)
    assert days_always_read(moving) == Days(FIRST, date(2024, 2, 29))


def test_what_a_model_was_trained_on_are_the_days_of_fit_and_select() -> None:
    def split(model: Any) -> Any:
        days = TimeSplit(select_from=date(2024, 2, 15), report_from=date(2024, 3, 10), report_until=date(2024, 4, 1))
        view = replace(model.training.view, partitions=monitored.OPEN)
        label = replace(model.training.label, partitions=monitored.OPEN)
        return replace(model, training=replace(model.training, view=view, label=label, split=days))

    model = split(shop.return_model)
    found = Monitor(
        name="asked_drift",
        description="x",
        owners=["team:shop"],
        of=model.training.view,
        reference=TrainedOn(model=model, warmup=5),
    )
    assert found.settled == Days(date(2024, 1, 6), date(2024, 3, 9))
    assert found.partitions.first == date(2024, 3, 10)
    assert found.input_names == ("orders_asked",)


def test_what_it_watches_is_in_the_catalogue() -> None:
    other = replace(monitored.orders, partitions=monitored.OPEN.with_first(FIRST), on_invalid="fail")
    with pytest.raises(CatalogueError, match="'order_drift' refers to another source 'orders' than the one in"):
        Catalogue(name="shop", declarations=[other, MONITOR])
    with pytest.raises(CatalogueError, match="monitor 'order_drift' reads 'orders', which is not in the catalogue"):
        Catalogue(name="shop", declarations=[MONITOR])


@pytest.mark.parametrize(
    "other",
    [
        {"reference": Fixed(days=monitored.LEARNED_FROM.grow(forth=1))},
        {"windows": (1,)},
        {"measures": ["missing"]},
        {"alarms_per_month": 2.0},
        {"apart": 3},
        {"at_least": 60},
        {"skip": ["product"]},
    ],
    ids=str,
)
def test_what_changes_figures_changes_the_fingerprint(other: dict[str, Any]) -> None:
    assert fingerprint(replace(MONITOR, **other)) != fingerprint(MONITOR)
    assert fingerprint(replace(MONITOR, description="y", freshness=None)) == fingerprint(MONITOR)


def test_a_short_calendar_has_no_days_left_to_watch() -> None:
    ends = replace(monitored.orders, partitions=replace(monitored.OPEN, last=FIRST + timedelta(days=59)))
    with pytest.raises(DeclarationError, match="days are watched only after those"):
        replace(MONITOR, of=ends)
