"""The timeline: a story in which things happen at a shop, and every one is told once, in order, with its reason."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from platform_assets.declarations.names import DAY, table_folder
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.errors import NotFound
from platform_assets.pipelines.timeline import CHECK_FAILED, DRIFT, Event, about, alarms, as_table, timeline
from platform_assets_tests import monitored, shop
from platform_assets_tests.reference.incidents import naive_drifting

ONE_PRODUCT = Days(date(2024, 3, 20), date(2024, 3, 24))


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that sells one product only for five days."""
    root = tmp_path_factory.mktemp("drifted")
    monitored.land(root / "landing", [day for day in monitored.LONG if day not in ONE_PRODUCT])
    monitored.land(root / "landing", ONE_PRODUCT, product="boots")
    there = shop.platform(root)
    shop.make(there, "orders", "order_drift", catalogue=monitored.CATALOGUE)
    return root


def test_an_incident_names_the_column_that_moved_and_when_it_was_over(drifted: Path) -> None:
    told = [
        e for e in timeline(shop.platform(drifted), monitored.CATALOGUE) if e.kind == DRIFT and "product (" in e.said
    ]
    first = next(event for event in told if event.days is not None and ONE_PRODUCT.last in event.days)
    assert (first.kind, first.asset, first.is_over) == (DRIFT, "shop/order_drift", True)
    assert first.days is not None
    assert first.days.first == ONE_PRODUCT.first + ONE_DAY
    assert first.days.last >= ONE_PRODUCT.last
    assert first.at == monitored.OPEN.start_of(ONE_PRODUCT.first + ONE_DAY)
    assert f"until {first.days.last}" in first.said
    assert "times its threshold" in first.said


def test_incidents_are_those_of_the_naive_twin_on_every_day(drifted: Path) -> None:
    there = shop.platform(drifted)
    folder = table_folder("shop", "order_drift")
    rows = there.lake.scan(folder).filter("alarmed").select(DAY, "column").unique().collect()
    watched = sorted(there.lake.days(folder))
    assert len(rows)
    for day in watched:
        naive = naive_drifting(rows.iter_rows(), day, watched[0])
        open_now = [a for a in alarms(there, monitored.CATALOGUE, monitored.order_drift, until=day) if not a.is_over]
        assert {one.days.first for one in open_now} == set(naive.values())
        assert {moved.name for one in open_now for moved in one.moved} >= set(naive)


def test_since_and_until_keep_what_lasts_into_them(drifted: Path) -> None:
    there = shop.platform(drifted)
    everything = timeline(there, monitored.CATALOGUE)
    assert timeline(there, monitored.CATALOGUE, since=ONE_PRODUCT.last, until=date(2030, 1, 1))[0].at < monitored.NOW
    inside = timeline(there, monitored.CATALOGUE, since=ONE_PRODUCT.last)
    assert any(event.days is not None and event.days.first == ONE_PRODUCT.first + ONE_DAY for event in inside)
    assert timeline(there, monitored.CATALOGUE, until=date(2023, 12, 1)) == []
    assert [e for e in everything if e.at.date() <= ONE_PRODUCT.first] == timeline(
        there, monitored.CATALOGUE, until=ONE_PRODUCT.first
    )


def test_order_does_not_depend_on_the_order_things_are_handed_in(drifted: Path) -> None:
    there, instants = shop.platform(drifted), itertools.cycle([monitored.NOW, monitored.NOW - timedelta(days=40)])
    also = [
        Event(at=instant, kind=CHECK_FAILED, asset="shop/orders", said=f"check {number}")
        for number, instant in zip(range(6), instants, strict=False)
    ]
    expected = timeline(there, monitored.CATALOGUE, also=also)
    assert [event.at for event in expected] == sorted(event.at for event in expected)
    for seed in range(5):
        random.Random(seed).shuffle(also)
        assert timeline(there, monitored.CATALOGUE, also=also) == expected


def test_a_model_is_told_with_what_it_was_trained_on(finished_shop: Path) -> None:
    there, model = shop.platform(finished_shop), "return_model"
    told = timeline(there, shop.CATALOGUE, model=model)
    trained = [event for event in told if event.kind == "trained"]
    assert [event.version for event in trained] == [1]
    assert "version 1 from" in trained[0].said
    assert as_table(told, most=1).height == 1


def test_a_model_is_about_what_it_is_made_of_and_what_is_made_of_it() -> None:
    found = about(shop.CATALOGUE, "return_model")
    assert {"orders", "return_model", "return_predictions"} <= found


def test_a_correction_is_told_when_it_landed(tmp_path: Path) -> None:
    monitored.land(tmp_path / "landing", [monitored.LONG.first])
    first = tmp_path / "landing" / "orders" / f"{monitored.LONG.first}.csv"
    first.with_name(f"{monitored.LONG.first}@2024-01-05T060000Z.csv").write_text(first.read_text())
    (event,) = timeline(shop.platform(tmp_path), monitored.CATALOGUE)
    assert (event.kind, event.at) == ("correction", datetime(2024, 1, 5, 6, tzinfo=UTC))
    assert event.said == f"landed for {monitored.LONG.first}"


def test_nothing_happened_yet(tmp_path: Path) -> None:
    assert timeline(shop.platform(tmp_path), monitored.CATALOGUE) == []
    assert as_table([]).equals(pl.DataFrame(schema=dict.fromkeys(["when", "what", "of", "why"], pl.String)))


@pytest.mark.parametrize(("asked", "said"), [({"model": "nope"}, "shop.nope is not"), ({"asset": "x/y"}, "x/y is not")])
def test_what_is_not_declared_is_refused_by_name(tmp_path: Path, asked: dict[str, str], said: str) -> None:
    with pytest.raises(NotFound, match=said):
        timeline(shop.platform(tmp_path), shop.CATALOGUE, **asked)  # type: ignore[arg-type]
