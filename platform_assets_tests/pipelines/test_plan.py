"""What is out of date and why; and that carrying out the plan leaves nothing to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days
from platform_assets.lake import ledger
from platform_assets.pipelines.plan import CODE, FILES, NEVER, Plan, plan
from platform_assets.pipelines.run import Platform
from platform_assets_tests import shop

AFTER_MODEL = ("return_model", "return_predictions", "return_outcomes")


def planned(there: Platform, catalogue: Catalogue = shop.CATALOGUE, now: datetime = shop.NOW) -> Plan:
    return plan(there, catalogue, now=now)


def days_of(decided: Plan) -> dict[str, str]:
    return {step.name: ", ".join(map(str, step.days)) if step.days is not None else "-" for step in decided.steps}


def reland(there: Platform, source: str, day: date, *, drop: int = 0) -> None:
    """The same file once more, or with rows fewer."""
    rows = shop.rows_to_land(source, day)
    path = shop.land_rows(there.landing.root, source, day, rows[drop:])
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000))


def test_when_everything_was_made_nothing_is_planned(finished_shop) -> None:
    assert planned(shop.platform(finished_shop)) == Plan(steps=(), waiting={})


def test_at_first_everything_is_planned_in_an_order_in_which_it_can_run(empty_shop: Callable[..., Platform]) -> None:
    decided = planned(empty_shop())
    assert [step.name for step in decided.steps] == [d.name for d in shop.CATALOGUE.declarations]
    assert {reason for step in decided.steps for reason in step.reasons} >= {NEVER}
    assert decided["orders"] is not None
    assert decided["orders"].days == (shop.SOLD,)
    assert decided["orders"].day_count == 35
    assert decided["products"] is not None
    assert decided["products"].days is None
    assert decided["nothing"] is None


def test_one_day_delivered_anew_makes_stale_exactly_the_days_its_windows_reach(shop_copy: Platform) -> None:
    reland(shop_copy, "orders", date(2024, 4, 2), drop=3)
    decided = planned(shop_copy)
    # product_sales looks back 24 hours, customer_history 72, both may touch a day more; the view looks back as far
    # as the age limits, 6 hours and 5 days; the label looks 48 hours ahead, that is up to 3 days before.
    assert days_of(decided) == {
        "orders": "2024-04-02",
        "product_sales": "2024-04-02 to 2024-04-04",
        "customer_history": "2024-04-02 to 2024-04-06",
        "category_sales": "2024-04-02 to 2024-04-04",
        "order_returned": "2024-03-30 to 2024-04-02",
        "orders_asked": "2024-04-02 to 2024-04-12",
        "returns_dataset": "-",
        "return_model": "-",
        "return_predictions": "2024-04-01 to 2024-04-14",
        "return_outcomes": "2024-04-01 to 2024-04-14",
    }
    assert decided["orders"] is not None
    assert decided["orders"].reasons == {FILES: 1}
    assert decided["product_sales"] is not None
    assert decided["product_sales"].reasons == {"orders changed": 3}


def test_carrying_out_the_plan_leaves_nothing_to_do(shop_copy: Platform) -> None:
    before = {
        name: shop_copy.lake.scan(table_folder("shop", name)).collect() for name in ("customer_history", "orders_asked")
    }
    reland(shop_copy, "orders", date(2024, 4, 2), drop=3)
    carried_out = shop.refresh(shop_copy)
    assert len(carried_out.steps) == 10
    assert planned(shop_copy).steps == ()
    after = shop_copy.lake.scan(table_folder("shop", "orders_asked")).collect()
    assert len(after) == len(before["orders_asked"]) - 3


def test_the_same_file_delivered_again_changes_nothing_downstream(shop_copy: Platform) -> None:
    reland(shop_copy, "orders", date(2024, 4, 2))
    assert days_of(planned(shop_copy))["orders"] == "2024-04-02"
    shop.make(shop_copy, "orders", days=Days(date(2024, 4, 2), date(2024, 4, 2)))
    assert planned(shop_copy).steps == ()


def test_a_change_that_was_ingested_but_not_carried_on_is_still_planned(shop_copy: Platform) -> None:
    reland(shop_copy, "orders", date(2024, 4, 14), drop=1)
    shop.make(shop_copy, "orders", days=Days(date(2024, 4, 14), date(2024, 4, 14)))
    assert days_of(planned(shop_copy)) == {
        "product_sales": "2024-04-14",
        "customer_history": "2024-04-14",
        "category_sales": "2024-04-14",
        "order_returned": "2024-04-11 to 2024-04-14",
        "orders_asked": "2024-04-14",
        "returns_dataset": "-",
        "return_model": "-",
        "return_predictions": "2024-04-01 to 2024-04-14",
        "return_outcomes": "2024-04-01 to 2024-04-14",
    }


def test_a_change_after_a_compaction_is_told_by_days_all_the_same(shop_copy: Platform) -> None:
    shop_copy.lake.open(table_folder("shop", "orders")).optimize.compact()
    assert planned(shop_copy).steps == ()
    reland(shop_copy, "orders", date(2024, 4, 14), drop=1)
    shop.make(shop_copy, "orders", days=Days(date(2024, 4, 14), date(2024, 4, 14)))
    assert days_of(planned(shop_copy))["customer_history"] == "2024-04-14"


def test_a_snapshot_delivered_anew_makes_stale_whoever_reads_it(shop_copy: Platform) -> None:
    shop.land_rows(shop_copy.landing.root, "products", None, [{"product": "chair", "category": "home"}])
    assert set(days_of(planned(shop_copy))) == {
        "products",
        "category_sales",
        "orders_asked",
        "returns_dataset",
        *AFTER_MODEL,
    }
    assert days_of(planned(shop_copy))["category_sales"] == str(shop.SOLD)


def test_a_changed_declaration_makes_stale_its_days_and_what_follows(finished_shop) -> None:
    changed = shop.with_changed("category_sales", lookback=timedelta(hours=1))
    decided = planned(shop.platform(finished_shop), changed)
    assert set(days_of(decided)) == {"category_sales", "orders_asked", "returns_dataset", *AFTER_MODEL}
    assert decided["category_sales"] is not None
    assert decided["category_sales"].reasons == {CODE: 35}


def test_a_changed_description_makes_nothing_stale(finished_shop) -> None:
    changed = shop.with_changed("category_sales", description="Said otherwise.", owners=["team:other"])
    assert planned(shop.platform(finished_shop), changed).steps == ()


def test_the_code_that_was_changed_and_carried_out_is_no_longer_stale(shop_copy: Platform) -> None:
    changed = shop.with_changed("category_sales", lookback=timedelta(hours=1))
    shop.refresh(shop_copy, catalogue=changed)
    assert planned(shop_copy, changed).steps == ()
    assert "category_sales" in days_of(planned(shop_copy))


def test_days_that_are_not_over_or_have_not_landed_are_waited_for(empty_shop: Callable[..., Platform]) -> None:
    there = empty_shop(days=Days(shop.OPEN.first, date(2024, 3, 20)))
    noon = datetime(2024, 3, 25, 12, tzinfo=UTC)
    decided = planned(there, now=noon)
    assert decided.waiting == {"orders": 4, "returns": 4}
    assert days_of(decided) == {
        "products": "-",
        "orders": "2024-03-11 to 2024-03-20",
        "returns": "2024-03-11 to 2024-03-20",
        "product_sales": "2024-03-11 to 2024-03-20",
        "customer_history": "2024-03-11 to 2024-03-20",
        "category_sales": "2024-03-11 to 2024-03-20",
        "order_returned": "2024-03-11 to 2024-03-17",
        "orders_asked": "2024-03-11 to 2024-03-20",
    }, "no day of *report* has landed, so there is nothing to train for yet"
    earlier = planned(there, now=datetime(2024, 3, 15, 22, 59, tzinfo=UTC))
    assert days_of(earlier)["orders"] == "2024-03-11 to 2024-03-14"
    assert days_of(planned(there, now=datetime(2024, 3, 15, 23, tzinfo=UTC)))["orders"] == "2024-03-11 to 2024-03-15"


def test_a_day_that_landed_before_it_is_over_is_said_and_left_alone(empty_shop: Callable[..., Platform]) -> None:
    there = empty_shop(days=[*Days(shop.OPEN.first, date(2024, 3, 16)), date(2024, 3, 18)])
    noon = datetime(2024, 3, 15, 12, tzinfo=UTC)
    early = (Days(date(2024, 3, 15), date(2024, 3, 16)), Days(date(2024, 3, 18), date(2024, 3, 18)))
    decided = planned(there, now=noon)
    assert decided.early == {"orders": early, "returns": early}
    assert days_of(decided)["orders"] == "2024-03-11 to 2024-03-14"
    assert planned(there, now=datetime(2024, 3, 19, tzinfo=UTC)).early == {}
    before = planned(there, now=datetime(2024, 3, 10, tzinfo=UTC)).early
    assert before["orders"][0] == Days(shop.OPEN.first, date(2024, 3, 16)), (
        "before the first day is over, all are early"
    )


def test_a_day_outside_the_calendar_is_not_early(empty_shop: Callable[..., Platform]) -> None:
    there = empty_shop(days=Days(shop.OPEN.first, shop.OPEN.first))
    for stray in (shop.OPEN.first - timedelta(days=1), date(2024, 4, 15)):
        shop.land_rows(there.landing.root, "orders", stray, [])
    assert planned(there, now=datetime(2024, 3, 12, 12, tzinfo=UTC)).early == {}


def test_a_day_that_lands_is_planned_with_what_it_reaches(empty_shop: Callable[..., Platform]) -> None:
    there = empty_shop(days=Days(shop.OPEN.first, date(2024, 3, 20)))
    names = ("products", "orders", "returns", "product_sales", "customer_history", "category_sales", "orders_asked")
    shop.make(there, *names, days=Days(shop.OPEN.first, date(2024, 3, 20)))
    shop.make(there, "order_returned", days=Days(shop.OPEN.first, date(2024, 3, 17)))
    done = {name: days for name, days in days_of(planned(there)).items() if name in (*names, "order_returned")}
    assert done == {}
    shop.land(there.landing.root, [date(2024, 3, 21)])
    shutil.rmtree(there.landing.root / "returns")
    found = days_of(planned(there))
    assert (found["orders"], found["customer_history"], found["orders_asked"]) == ("2024-03-21",) * 3
    assert "order_returned" not in found, "its look-ahead reaches returns that have not landed"


def test_a_removed_table_is_made_again(shop_copy: Platform) -> None:
    shutil.rmtree(shop_copy.lake.path(table_folder("shop", "category_sales")))
    decided = planned(shop_copy)
    assert decided["category_sales"] is not None
    assert decided["category_sales"].reasons == {NEVER: 35}
    assert decided["category_sales"].days == (shop.SOLD,)


def test_every_materialization_is_in_the_ledger(finished_shop) -> None:
    there = shop.platform(finished_shop)
    for declared in shop.CATALOGUE.declarations:
        latest = ledger.latest(there.lake, f"shop/{declared.name}")
        assert set(latest) == set(shop.days_of(declared.name) or [None])
        entry = next(iter(latest.values()))
        assert set(entry.inputs) == set(declared.input_names)
        assert entry.fingerprint == shop.CATALOGUE.fingerprints[declared.name]


@pytest.mark.parametrize("day", [shop.OPEN.first, shop.CLOCKS_FORWARD])
def test_what_a_change_really_alters_is_among_what_is_planned(shop_copy: Platform, day: date) -> None:
    """The plan may be too careful, never too careless."""
    names = ("product_sales", "customer_history", "category_sales", "order_returned", "orders_asked")
    reland(shop_copy, "orders", day, drop=15)
    decided = planned(shop_copy)
    shop.make(shop_copy, "orders", days=Days(day, day))
    for name in names:
        made = shop.make(shop_copy, name)[0]
        altered = {changed for part in made.changed or () for changed in part}
        step = decided[name]
        assert step is not None
        assert altered <= {planned_day for part in step.days or () for planned_day in part}
        assert altered
