"""The harness of faults: what is spoilt, what follows, and that nothing is caught where nothing began."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks import faults, spoilt
from platform_assets.compute.incidents import spells
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.defs.flights.catalogue import CATALOGUE as FLIGHTS
from platform_assets_tests import monitored, shop

CHANGED = Days(monitored.LONG.last - 20 * ONE_DAY, monitored.LONG.last)


def in_euros(rows: pl.DataFrame, lasted: int) -> pl.DataFrame:
    """Whole euros in place of cents."""
    return rows.with_columns((pl.col("amount_cents").cast(pl.Int64) // 100).cast(pl.String))


EUROS = spoilt.Fault(name="euros", what="euros in place of cents", sources={"orders": in_euros})


def text(**columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def test_celsius_is_what_the_thermometer_shows() -> None:
    changed = spoilt.celsius(
        text(temp=["32", "212", None], dewp=["-40", "", "50"]).with_columns(pl.col("dewp").replace("", None)), 3
    )
    assert changed.rows() == [("0.0", "-40.0"), ("100.0", None), (None, "10.0")]


def test_delays_move_with_the_clock_and_never_past_midnight() -> None:
    flown = text(dep_time=["558", "2357", None], dep_delay=["-2", "3", None])
    assert spoilt.ever_later(flown, 6).rows() == [("601", "1"), ("2357", "3"), (None, None)]
    assert spoilt.ever_later(flown, 7).rows()[0] == ("604", "4")
    landed = text(arr_time=["1200", "1200", "2350", None], arr_delay=["0", "90", "10", None])
    assert spoilt.flipped(landed, 0).rows() == [("1259", "59"), ("959", "-31"), ("2350", "10"), (None, None)]


def test_what_follows_from_weather_is_made_in_order_and_nothing_else() -> None:
    days = Days(monitored.LONG.first.replace(year=2013, month=11), monitored.LONG.first.replace(year=2013, month=12))
    names = list(faults.followers(FLIGHTS, spoilt.FAULTS["celsius"], days))
    assert names[:3] == ["weather", "origin_weather", "flights_asked"]
    assert {"late_arrival_drift", "late_arrival_performance"} <= set(names)
    flip = faults.followers(FLIGHTS, spoilt.FAULTS["label_flip"], days)
    assert "late_arrival_outcomes" in flip
    assert "late_arrival_predictions" not in flip


def test_what_drifts_anyway_is_no_catch() -> None:
    day = CHANGED.first
    anyway = spells([(day + n * ONE_DAY, "a") for n in (-2, -1, 0, 1)])
    assert faults.noticed("f", "m", CHANGED, anyway, anyway).after is None
    found = spells(
        [(day + n * ONE_DAY, column) for n, column in ((0, "a"), (1, "a"), (1, "b"), (2, "b"), (8, "c"), (9, "c"))]
    )
    caught = faults.noticed("f", "m", CHANGED, anyway, found)
    assert (caught.after, caught.columns, caught.others) == (3, ("b",), 1)


def test_a_fault_that_lands_goes_through_the_pipelines_and_is_told(tmp_path: Path) -> None:
    there = shop.platform(tmp_path)
    monitored.land(there.landing.root, monitored.LONG)
    for folder in faults.COPIED:
        (tmp_path / folder).mkdir(exist_ok=True)
    faults._make(there, monitored.CATALOGUE, "orders", monitored.LONG)
    before = {path: path.read_bytes() for path in Path(there.landing.root).rglob("*.csv")}
    found = list(faults.measure(tmp_path, monitored.CATALOGUE, [EUROS], CHANGED))
    assert [(one.fault, one.incidents) for one in found[:2]] == [("untouched", 0), ("untouched", 0)]
    caught = {one.monitor: one for one in found[2:]}
    assert caught["order_drift"].after == 2
    assert caught["trailing_drift"].after == 2
    assert all(one.columns == ("amount_cents",) for one in caught.values())
    assert before == {path: path.read_bytes() for path in Path(there.landing.root).rglob("*.csv")}
    said = faults.as_markdown(found, CHANGED)
    assert "| euros | order_drift | 2 | amount_cents | 0 |" in said


def test_a_fault_that_nobody_knows_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        faults.main(["--faults", "fog", "--data", str(tmp_path)])
    assert "no such fault: fog; there are celsius" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        faults.main(["--faults", "celsius", "--data", str(tmp_path)])
    assert "has no landing, lake, mlflow" in capsys.readouterr().err
