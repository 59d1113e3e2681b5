"""From a prediction back to its rows: found without a scan, joined again to the same values, and honest about what is gone."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from platform_assets.declarations.names import DAY, table_folder
from platform_assets.errors import NotFound
from platform_assets.lake import ledger
from platform_assets.lake.lookup import days_that_may_hold, why_unreadable
from platform_assets.pipelines.addresses import Addresses
from platform_assets.pipelines.manifest import manifest
from platform_assets.pipelines.run import Platform
from platform_assets.pipelines.trace import Trace, read_prediction_id, trace
from platform_assets_tests import shop

UIS = Addresses(dagster="http://127.0.0.1:3000", mlflow="http://127.0.0.1:5000")
PREDICTIONS = table_folder("shop", "return_predictions")


def traced(there: Platform, prediction_id: str, catalogue: Any = shop.CATALOGUE) -> Trace:
    return trace(there, [catalogue], prediction_id, addresses=UIS)


def rows_of(there: Platform, name: str, version: int | None = None) -> pl.DataFrame:
    return there.lake.scan(table_folder("shop", name), version=version).collect()


def some_id(there: Platform, number: int = 100) -> str:
    return str(rows_of(there, "return_predictions").sort("ordered_at", "order_id")["prediction_id"][number])


@pytest.fixture
def there(finished_shop: Path) -> Platform:
    return shop.platform(finished_shop)


def test_a_prediction_leads_to_its_model_and_its_tables(there: Platform) -> None:
    found = traced(there, some_id(there))
    assert (found.asset, found.is_newest, found.problems) == ("shop/return_predictions", True, ())
    assert found.row["prediction_id"] == found.prediction_id
    assert found.day == found.row["ordered_at"].astimezone(ZoneInfo(shop.BERLIN)).date()
    assert found.model is not None
    assert (found.model.name, found.model.version, found.model.aliases) == ("shop.return_model", 1, ("champion",))
    assert found.model.training_dataset == "shop/returns_dataset"
    assert found.model.code_is_current
    whole = manifest(ledger.read(there.lake), shop.CATALOGUE, "returns_dataset", found.model.training_dataset_version)
    assert {t.asset: t.versions[-1] for t in found.trained_on} == {
        f"shop/{name}": made.version for name, made in whole.items()
    }
    assert all(t.code_is_current and t.gone is None and t.runs for t in (*found.behind, *found.trained_on))
    assert found.links["the training in MLflow"].startswith("http://127.0.0.1:5000/#/experiments/")
    assert found.links["this day in Dagster"] == (
        f"http://127.0.0.1:3000/assets/shop/return_predictions?partition={found.day}"
    )


def test_the_days_behind_a_prediction_are_those_that_its_windows_reach(there: Platform) -> None:
    found = traced(there, some_id(there))
    days = {table.asset: [day for part in table.days for day in part] for table in found.behind}
    assert days["shop/orders_asked"] == [found.day]
    # Features count for 6 hours and 5 days, behind them the sums look back 24 hours and 3 days more; since days may
    # have 23 hours, 5 times 24 hours reach into the sixth day before.
    assert days["shop/product_sales"] == [found.day - timedelta(days=1), found.day]
    assert days["shop/customer_history"] == [found.day - timedelta(days=n) for n in range(6, -1, -1)]
    assert days["shop/orders"] == [found.day - timedelta(days=n) for n in range(10, -1, -1)]
    assert days["shop/products"] == []
    assert "shop/returns" not in days


@pytest.mark.parametrize("number", [0, 7, 100, 250, 419])
def test_the_feature_rows_are_those_that_a_search_of_all_rows_finds(there: Platform, number: int) -> None:
    found = traced(there, some_id(there, number))
    asked, checked = found.row["prediction_time"], 0
    for feature in found.features:
        rows = rows_of(there, feature.group.removeprefix("shop/"))
        group = shop.CATALOGUE[feature.group.removeprefix("shop/")]
        for key, value in feature.keys.items():
            rows = rows.filter(pl.col(key) == value)
        # Every group of the shop is known the moment it is true.
        rows = rows.filter(pl.col("event_time") <= asked).sort("event_time")
        newest = rows.tail(1).to_dicts()
        assert feature.agrees is True
        if not newest or asked - newest[0]["event_time"] > group.max_age:
            assert feature.state in ("none", "expired")
            assert set(feature.values.values()) == {None}
            continue
        assert (feature.state, feature.event_time, feature.known_at) == (
            "used",
            newest[0]["event_time"],
            newest[0]["event_time"],
        )
        taken = {c.split("__")[1]: v for c, v in feature.values.items() if not c.endswith("age_minutes")}
        assert taken == {name: newest[0][name] for name in taken}
        checked += 1
    assert checked


def test_only_the_day_of_the_prediction_is_read(there: Platform) -> None:
    wanted = some_id(there)
    day = rows_of(there, "return_predictions").filter(prediction_id=wanted).item(0, DAY)
    newest = there.lake.open(PREDICTIONS).version()
    assert days_that_may_hold(there.lake, PREDICTIONS, version=newest, column="prediction_id", value=wanted) == {day}


def test_a_text_that_the_log_cuts_short_is_still_looked_for(there: Platform) -> None:
    """Of a long text the log keeps the beginning: a file of which the greatest is a beginning of the wanted one counts."""
    newest, greatest = (
        there.lake.open(PREDICTIONS).version(),
        rows_of(there, "return_predictions")["prediction_id"].max(),
    )
    assert isinstance(greatest, str)
    last = date(2024, 4, 14)
    found = days_that_may_hold(
        there.lake, PREDICTIONS, version=newest, column="prediction_id", value=f"{greatest} and more"
    )
    assert found == {last}


@pytest.mark.parametrize("text", ["", "return_model", "return_model-v1", "return_model-v1:", "Return-v1:x", "a-vx:1"])
def test_what_is_no_id_is_told_how_one_reads(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no prediction_id; one reads MODEL-vVERSION:KEYS, such as"):
        read_prediction_id(text)


@pytest.mark.parametrize("text", ["return_model-v1:nothing", "return_model-v7:20240402-001", "other-v1:20240402-001"])
def test_an_unknown_id_is_told_where_ids_are(there: Platform, text: str) -> None:
    with pytest.raises(NotFound) as refused:
        traced(there, text)
    assert str(refused.value) == (
        f"there is no prediction {text!r}; copy one from the column prediction_id: those of shop/return_predictions "
        "read return_model-vVERSION:order_id (made by version 1)"
    )


def test_a_prediction_that_was_replaced_is_read_from_the_version_that_had_it(shop_copy: Platform) -> None:
    first = some_id(shop_copy)
    shop.make(shop_copy, "return_model")
    shop_copy.registry.crown("shop", "return_model", 2)
    shop.make(shop_copy, "return_predictions")
    assert first not in rows_of(shop_copy, "return_predictions")["prediction_id"]
    found = traced(shop_copy, first)
    assert (found.is_newest, found.version, found.problems) == (False, 0, ())
    assert found.model is not None
    assert (found.model.version, found.model.aliases) == (1, ())
    again = traced(shop_copy, first.replace("-v1:", "-v2:"))
    assert again.is_newest
    assert again.model is not None
    assert (again.model.version, again.model.aliases) == (2, ("champion",))


def test_a_replaced_prediction_whose_version_is_gone_is_said_to_be(shop_copy: Platform) -> None:
    first = some_id(shop_copy)
    shop.make(shop_copy, "return_model")
    shop_copy.registry.crown("shop", "return_model", 2)
    shop.make(shop_copy, "return_predictions")
    shop_copy.lake.open(PREDICTIONS).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(NotFound, match=r"Not looked at: shop/return_predictions version 0 cannot be read: "):
        traced(shop_copy, first)


def test_a_version_that_is_gone_is_named_and_the_rest_still_told(shop_copy: Platform) -> None:
    wanted = some_id(shop_copy)
    lost = next((shop_copy.lake.root / "shop" / "customer_history").rglob("*.parquet"))
    lost.unlink()
    found = traced(shop_copy, wanted)
    assert [p.split(":")[0] for p in found.problems] == ["shop/customer_history"]
    assert f"files of version 0 are missing, for example {lost.parent.name}/{lost.name}" in found.problems[0]
    states = {feature.group: (feature.state, feature.agrees) for feature in found.features}
    assert states["shop/customer_history"] == ("gone", None)
    assert states["shop/product_sales"] == ("used", True)


def test_feature_rows_that_were_altered_behind_its_back_are_found(shop_copy: Platform) -> None:
    wanted = some_id(shop_copy)
    used = {f.group: f for f in traced(shop_copy, wanted).features}["shop/product_sales"]
    day = used.event_time.astimezone(ZoneInfo(shop.BERLIN)).date()
    table = shop_copy.lake.root / "shop" / "product_sales"
    file = next((table / f"day={day}").glob("*.parquet"))
    size = file.stat().st_size
    pl.read_parquet(file, hive_partitioning=False).with_columns(pl.col("orders_24h") + 1).write_parquet(file)
    log = table / "_delta_log" / f"{0:020}.json"
    lines = [
        line if file.name not in line else line.replace(f'"size":{size}', f'"size":{file.stat().st_size}')
        for line in log.read_text().splitlines()
    ]
    log.write_text("\n".join(lines))
    found = traced(shop_copy, wanted)
    assert "shop/product_sales: the join, made again, gives other values" in found.problems


def test_changed_code_is_said_of_its_table_and_of_all_after_it(there: Platform) -> None:
    changed = shop.with_changed("product_sales", max_age=timedelta(hours=5))
    found = traced(there, some_id(there), changed)
    assert not next(t for t in found.behind if t.asset == "shop/product_sales").code_is_current
    assert next(t for t in found.behind if t.asset == "shop/orders").code_is_current


def test_a_model_that_the_registry_has_lost_is_said(shop_copy: Platform) -> None:
    wanted = some_id(shop_copy)
    shutil.rmtree(shop_copy.registry.root)
    found = traced(shop.platform(shop_copy.lake.root.parent), wanted)
    assert found.model is None
    assert found.trained_on == ()
    assert "models:/shop.return_model/1: nothing was ever registered" in found.problems[0]


def test_tracing_writes_nothing(shop_copy: Platform) -> None:
    root = shop_copy.lake.root.parent
    wanted = some_id(shop_copy)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    traced(shop_copy, wanted)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_version_that_is_whole_is_readable(there: Platform) -> None:
    assert why_unreadable(there.lake, PREDICTIONS, 0) is None
    assert str(why_unreadable(there.lake, PREDICTIONS, 99)).startswith(
        "the table has no version 99 any more, its newest"
    )
    assert str(why_unreadable(there.lake, "shop/nothing", 0)).startswith(
        "the table has no version 0 any more, it is not"
    )
