"""What a plan reaches and costs, and that a refresh then does exactly that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import asset_name
from platform_assets.declarations.times import Days
from platform_assets.orchestration.outlook import decide, look_ahead, past_runs
from platform_assets.orchestration.records import UNRECORDED
from platform_assets.orchestration.refresh import carry_out, divide
from platform_assets.pipelines.assumed import Change
from platform_assets.pipelines.impact import Impact, ModelReached, PastRun, cost
from platform_assets.pipelines.plan import CODE
from platform_assets_tests import shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed

LATE = date(2024, 4, 12)


def ahead(there: Deployment, catalogue: Catalogue | None = None) -> Impact:
    return look_ahead(there.platform, catalogue or there.catalogue, there.instance, now=datetime.now(UTC))


def days_of(found: Impact) -> dict[str, int | None]:
    return {step.asset: step.day_count for step in found.steps}


def test_where_everything_is_up_to_date_nothing_is_reached(full: Deployment) -> None:
    found = ahead(full)
    assert (found.steps, found.training_datasets, found.models, found.predictions) == ((), (), (), ())
    assert not found.reaches_production


def test_a_changed_feature_reaches_the_champion_and_costs_what_it_cost(full: Deployment) -> None:
    changed = shop.with_changed("customer_history", max_age=timedelta(days=4))
    found = ahead(full, changed)
    assert days_of(found) == {
        "shop/customer_history": 35,
        "shop/orders_asked": 35,
        "shop/returns_dataset": None,
        "shop/return_model": None,
        "shop/return_predictions": 14,
        "shop/return_outcomes": 14,
    }
    rows = {step.asset: step.rows for step in found.steps}
    for name in ("customer_history", "orders_asked", "returns_dataset", "return_predictions"):
        assert rows[f"shop/{name}"] == len(full.rows(name)), name
    assert found.steps[0].reasons == {CODE: 35}
    assert found.training_datasets == ("shop/returns_dataset",)
    assert found.models == (ModelReached(model="shop.return_model", aliases={"champion": 1}),)
    assert found.predictions == ("shop/return_predictions",)
    assert found.reaches_production
    assert found.never_ran == ()
    assert found.seconds == pytest.approx(
        sum(past_runs(full.instance, full.catalogue, full.catalogue[s.asset[5:]])[0].seconds for s in found.steps)
    )


def test_what_no_model_learned_from_reaches_no_model(full: Deployment) -> None:
    """Predictions are made anew of features that changed, by the champion that is."""
    changed = shop.with_changed("return_outcomes", description="Otherwise said.")
    assert ahead(full, changed).steps == ()
    full.platform.registry.client.delete_registered_model_alias("shop.return_model", "champion")
    found = ahead(full, shop.with_changed("customer_history", max_age=timedelta(days=4)))
    assert [model.aliases for model in found.models] == [{}]
    assert not found.reaches_production


def test_what_would_follow_a_change_is_what_follows_it(full: Deployment) -> None:
    """Of one day of orders: what is said beforehand is what is said when that day has landed anew."""
    change = Change(catalogue="shop", name="orders", days=Days(LATE, LATE))
    said = look_ahead(full.platform, full.catalogue, full.instance, now=datetime.now(UTC), assumed=[change])
    assert ahead(full).steps == ()
    shop.land_rows(full.settings.landing, "orders", LATE, shop.rows_to_land("orders", LATE)[:-3])
    found = ahead(full)
    assert [(step.asset, step.days) for step in said.steps] == [(step.asset, step.days) for step in found.steps]
    assert (said.models, said.predictions, said.seconds) == (found.models, found.predictions, found.seconds)
    assert dict(said.steps[0].reasons) == {"it is assumed to change": 1}


def test_a_change_of_all_of_it_reaches_every_day(full: Deployment) -> None:
    changes = [Change(catalogue="shop", name="products"), Change(catalogue="another", name="orders")]
    said = look_ahead(full.platform, full.catalogue, full.instance, now=datetime.now(UTC), assumed=changes)
    assert said.reaches_production
    assert said.steps[0].asset == "shop/products"
    days = {step.asset: step.day_count for step in said.steps}
    assert days["shop/return_predictions"] == 14


def test_what_it_says_is_what_a_refresh_does(full: Deployment) -> None:
    orders = shop.rows_to_land("orders", LATE)
    shop.land_rows(full.settings.landing, "orders", LATE, orders[:-3])
    said = ahead(full)
    assert 0 < len(said.steps) < len(full.catalogue.declarations)
    before = {d.name: len(events(full, d.name)) for d in full.catalogue.declarations}
    decided = decide(full.platform, full.catalogue, full.instance, now=datetime.now(UTC))
    carry_out(full.definitions, full.instance, full.catalogue, divide(full.catalogue, decided), report=lambda _: None)
    done = {}
    for declaration in full.catalogue.declarations:
        new = events(full, declaration.name)[: len(events(full, declaration.name)) - before[declaration.name]]
        if new:
            done[asset_name("shop", declaration.name)] = sorted(event.partition_key or "" for event in new)
    assert done == {
        step.asset: sorted([""] if step.days is None else [str(day) for days in step.days for day in days])
        for step in said.steps
    }
    assert ahead(full).steps == ()


def events(there: Deployment, name: str) -> list[dg.EventLogRecord]:
    return list(there.instance.fetch_materializations(there.key(name), limit=1000).records)


def test_what_dagster_lost_is_planned_too(full: Deployment) -> None:
    """As a refresh does it: without an instance Dagster knows of nothing."""
    found = look_ahead(full.platform, full.catalogue, None, now=datetime.now(UTC))
    assert len(found.steps) == len(full.catalogue.declarations)
    assert all(set(step.reasons) == {UNRECORDED} for step in found.steps)
    assert found.never_ran == tuple(step.asset for step in found.steps)


def test_past_runs_are_told_with_their_days(there: Deployment) -> None:
    shop.land(there.settings.landing)
    early, later = Days(date(2024, 3, 11), date(2024, 3, 20)), Days(date(2024, 3, 21), date(2024, 3, 21))
    there.execute("products")
    there.execute("orders", days=early)
    there.execute("orders", days=later)
    there.execute("orders", days=Days(later.first, date(2024, 3, 23)))
    found = past_runs(there.instance, there.catalogue, there.catalogue["orders"])
    assert [run.days for run in found] == [3, 1, 10]
    assert all(run.seconds > 0 for run in found)
    assert [run.days for run in past_runs(there.instance, there.catalogue, there.catalogue["products"])] == [None]
    assert past_runs(there.instance, there.catalogue, there.catalogue["returns"]) == []


def test_costs_are_those_of_the_run_most_like_it() -> None:
    day = date(2024, 3, 11)

    def days(count: int) -> Days:
        return Days(day, day + timedelta(days=count - 1))

    history = [PastRun(seconds=3, days=1), PastRun(seconds=20, days=100)]
    assert cost([days(1)], history) == 3
    assert cost([days(100)], history) == 20
    assert cost([days(300)], history) == 60, "a longer one in proportion"
    assert cost([days(80)], history) == 20, "a shorter one is not promised to cost less"
    assert cost([days(1), days(100)], history) == 23
    assert cost(None, [PastRun(seconds=7, days=None), PastRun(seconds=9, days=None)]) == 7, "the newest"
    assert cost(None, []) is None
    assert cost([days(1)], []) is None


def test_a_table_that_never_was_has_no_rows_and_no_cost(there: Deployment) -> None:
    shop.land(there.settings.landing)
    found = ahead(there)
    assert {(step.rows, step.seconds) for step in found.steps} == {(None, None)}
    assert found.seconds == 0
    assert found.models == (ModelReached(model="shop.return_model", aliases={}),)
    assert replace(found, models=()).reaches_production is False
    with deployed(there.settings.data):
        assert there.version("orders") is None
