"""How much is stale and why: of days, of training rows, of what follows; and that what may be stale is left alone."""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days
from platform_assets.lake.repair import set_back
from platform_assets.pipelines.plan import BACK, CODE, FILES, plan
from platform_assets.pipelines.run import CheckResult, Platform
from platform_assets.pipelines.staleness import GONE, Staleness, rows_by_day, staleness, up_to_date
from platform_assets_tests import shop
from platform_assets_tests.pipelines.test_plan import reland
from platform_assets_tests.reference.staleness import differing_days, stale_rows

AFTER_MODEL = {"return_model", "return_predictions", "return_outcomes"}
FOLLOWS_ORDERS = {"product_sales", "customer_history", "category_sales", "order_returned", "orders_asked"}


def look(there: Platform, catalogue: Catalogue = shop.CATALOGUE) -> dict[str, Staleness]:
    return staleness(there, catalogue, now=shop.NOW)


def stale(found: Mapping[str, Staleness]) -> set[str]:
    return {name for name, one in found.items() if one.reasons}


def check(found: Mapping[str, Staleness], name: str) -> CheckResult:
    return up_to_date(found[name])


def tolerant(share: float) -> Catalogue:
    return shop.with_changed("returns_dataset", max_stale=share)


def rows_of(there: Platform, name: str) -> pl.DataFrame:
    return there.lake.scan(table_folder("shop", name)).collect()


@pytest.fixture
def edited(tmp_path: Path) -> Iterator[Callable[[str, str], Catalogue]]:
    """The shop's catalogue after an edit of its source text, imported as if it were the shop."""

    def edit(old: str, new: str) -> Catalogue:
        text = Path(shop.__file__).read_text()
        assert text.count(old) == 1
        path = tmp_path / "shop_edited.py"
        path.write_text(text.replace(old, new))
        spec = importlib.util.spec_from_file_location("platform_assets_tests.shop_edited", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        catalogue: Catalogue = module.CATALOGUE
        return catalogue

    yield edit
    sys.modules.pop("platform_assets_tests.shop_edited", None)


def test_when_everything_was_made_nothing_is_stale(finished_shop: Path) -> None:
    found = look(shop.platform(finished_shop))
    assert set(found) == {d.name for d in shop.CATALOGUE.declarations}
    assert stale(found) == set()
    assert {one.share for one in found.values()} == {0.0}
    assert all(up_to_date(one).passed for one in found.values())
    assert check(found, "orders").description == "All 35 days are up to date."
    rows = len(rows_of(shop.platform(finished_shop), "returns_dataset"))
    assert check(found, "returns_dataset").description == f"All {rows:,} training rows are up to date."
    assert check(found, "return_model").description == "Up to date."


def test_what_was_never_materialized_is_not_stale(empty_shop: Callable[..., Platform]) -> None:
    there = empty_shop()
    assert look(there) == {}
    early = Days(shop.OPEN.first, date(2024, 3, 20))
    shop.make(there, "orders", days=early)
    found = look(there)
    assert set(found) == {"orders"}
    assert (found["orders"].stale, found["orders"].total) == (0, 10)
    assert plan(there, shop.CATALOGUE, now=shop.NOW)["orders"] is not None


def test_an_edited_docstring_makes_nothing_stale(finished_shop: Path, edited: Callable[[str, str], Catalogue]) -> None:
    catalogue = edited(
        '"""Sales of all products of a category over the last 24 hours."""',
        '"""What was sold of a category in a day.\n\n    Said otherwise.\n    """\n    # and with a remark',
    )
    assert stale(look(shop.platform(finished_shop), catalogue)) == set()


def test_an_edited_expression_makes_stale_its_table_and_what_is_downstream(
    finished_shop: Path, edited: Callable[[str, str], Catalogue]
) -> None:
    catalogue = edited('.agg(pl.col("orders_24h").sum())', '.agg(pl.col("orders_24h").max())')
    found = look(shop.platform(finished_shop), catalogue)
    assert stale(found) == {"category_sales", "orders_asked", "returns_dataset", *AFTER_MODEL}
    assert found["category_sales"].reasons == (CODE,)
    assert found["orders_asked"].reasons == ("category_sales changed",)
    assert check(found, "returns_dataset").description == (
        "100.0% of the training rows are stale: the declaration of category_sales changed."
    )
    assert check(found, "return_model").description == "Stale: returns_dataset changed."


def test_an_equal_delivery_makes_nothing_downstream_stale(shop_copy: Platform) -> None:
    day = date(2024, 4, 2)
    reland(shop_copy, "orders", day)
    shop.make(shop_copy, "orders", days=Days(day, day))
    assert stale(look(shop_copy)) == set()


@pytest.mark.parametrize(
    "rewritten",
    [
        {"orders": {shop.OPEN.first}},
        {"orders": {shop.CLOCKS_FORWARD}, "returns": {date(2024, 3, 13)}},
        {"returns": {shop.DELIVERED.last}},
        {"orders": {date(2024, 4, 14), date(2024, 3, 20)}},
    ],
)
def test_a_rewritten_day_makes_stale_the_rows_that_the_naive_twin_counts(
    shop_copy: Platform, rewritten: dict[str, set[date]]
) -> None:
    compare_with_twin(shop_copy, rewritten)


def compare_with_twin(there: Platform, rewritten: Mapping[str, set[date]]) -> float:
    for name, days in rewritten.items():
        for day in days:
            reland(there, name, day, drop=1)
    found = look(there)
    rows = rows_of(there, "returns_dataset")
    expected = stale_rows(shop.CATALOGUE, shop.returns_dataset, rows, rewritten)
    one = found["returns_dataset"]
    assert (one.stale, one.total) == (expected, len(rows))
    assert one.share == expected / len(rows)
    assert check(found, "returns_dataset").passed == (not expected)
    for name, days in rewritten.items():
        assert (found[name].stale, found[name].reasons) == (len(days), (FILES,))
    return one.share


@pytest.mark.slow
def test_generated_changes_make_stale_what_the_naive_twin_counts(finished_shop: Path, tmp_path: Path) -> None:
    dice = random.Random(20240311)
    shares = []
    for number in range(20):
        root = tmp_path / str(number)
        shutil.copytree(finished_shop, root, copy_function=shutil.copy2)
        days = {"orders": list(shop.SOLD), "returns": list(shop.DELIVERED)}
        rewritten = {name: set(dice.sample(days[name], dice.randrange(1, 4))) for name in dice.sample([*days], 1)}
        shares.append(compare_with_twin(shop.platform(root), rewritten))
        shutil.rmtree(root)
    assert len({round(share, 3) for share in shares}) > 10, "the changes differ in how far they reach"


def test_when_upstream_has_followed_only_rows_that_really_changed_are_stale(shop_copy: Platform) -> None:
    day = date(2024, 4, 2)
    before = {name: rows_of(shop_copy, name) for name in ("orders_asked", "order_returned")}
    reland(shop_copy, "orders", day, drop=3)
    reached = look(shop_copy)["returns_dataset"]
    shop.make(shop_copy, "orders", days=Days(day, day))
    shop.make(shop_copy, "product_sales", "customer_history", "category_sales", "order_returned", "orders_asked")

    found = look(shop_copy)

    assert stale(found) == {"returns_dataset", *AFTER_MODEL}
    one = found["returns_dataset"]
    differing = {d for name, rows in before.items() for d in differing_days(rows, rows_of(shop_copy, name))}
    rows = rows_by_day(shop_copy, shop.CATALOGUE, shop.returns_dataset)
    assert one.stale == sum(rows[d] for d in differing if d in rows) > 0
    assert {d for days in one.days for d in days} == differing
    assert one.stale < reached.stale, "before, it could only say how far the change can reach"
    assert one.reasons == ("orders of 2024-04-02 changed",)
    assert check(found, "returns_dataset").description.endswith(
        "% of the training rows are stale: orders of 2024-04-02 changed."
    )
    assert sum(rows.values()) == one.total == len(rows_of(shop_copy, "returns_dataset"))

    shop.make(shop_copy, "returns_dataset")
    found = look(shop_copy)
    assert stale(found) == AFTER_MODEL
    shop.make(shop_copy, "return_model", "return_predictions", "return_outcomes")
    assert stale(look(shop_copy)) == set()


class TestWhatMayBeStale:
    DAY = date(2024, 4, 14)

    def changed(self, there: Platform) -> float:
        reland(there, "orders", self.DAY, drop=1)
        return look(there)["returns_dataset"].share

    def test_is_left_alone_with_all_that_would_follow(self, shop_copy: Platform) -> None:
        share = self.changed(shop_copy)
        assert 0 < share < 0.5
        found = look(shop_copy, tolerant(share))
        one = check(found, "returns_dataset")
        assert one.passed
        assert one.description == (
            f"{share:.1%} of the training rows are stale, {share:.1%} may be: orders of 2024-04-14 changed."
        )
        assert one.facts["stale share"] == one.facts["share that may be stale"] == share
        assert up_to_date(found["return_model"]).passed
        assert (found["return_predictions"].stale, found["return_predictions"].total) == (1, 14), "its row changed"
        assert found["return_predictions"].reasons == ("orders_asked changed",)

    def test_no_more_than_that(self, shop_copy: Platform) -> None:
        share = self.changed(shop_copy)
        found = look(shop_copy, tolerant(share - 1e-9))
        assert not check(found, "returns_dataset").passed
        assert found["return_predictions"].stale == 14

    def test_a_changed_declaration_of_its_own_makes_all_of_it_stale(self, finished_shop: Path) -> None:
        catalogue = shop.with_changed("returns_dataset", max_stale=0.99, split=shop.returns_dataset.split)
        assert stale(look(shop.platform(finished_shop), catalogue)) == set(), "how stale it may be changes no data"
        other = shop.with_changed(
            "returns_dataset",
            max_stale=0.99,
            split=shop.TimeSplit(
                select_from=date(2024, 4, 1), report_from=date(2024, 4, 8), report_until=date(2024, 4, 13)
            ),
        )
        one = look(shop.platform(finished_shop), other)["returns_dataset"]
        assert (one.share, one.reasons) == (1.0, (CODE,))
        assert not up_to_date(one).passed


def test_days_after_the_report_make_no_dataset_stale(shop_copy: Platform) -> None:
    """They are not read, so a platform that goes on does not ask for a retraining every morning."""
    split = shop.TimeSplit(select_from=date(2024, 4, 1), report_from=date(2024, 4, 5), report_until=date(2024, 4, 9))
    catalogue = shop.with_changed("returns_dataset", split=split)
    shop.refresh(shop_copy, catalogue=catalogue)
    reland(shop_copy, "orders", date(2024, 4, 14), drop=1)
    found = look(shop_copy, catalogue)
    assert {"orders_asked", "return_predictions"} <= stale(found)
    assert stale(found).isdisjoint({"returns_dataset", "return_model"})
    after = Days(date(2024, 4, 10), date(2024, 4, 14))
    shop.make(shop_copy, "orders", days=Days(after.last, after.last), catalogue=catalogue)
    for name in ("product_sales", "customer_history", "category_sales", "orders_asked"):
        shop.make(shop_copy, name, days=after, catalogue=catalogue)
    shop.make(shop_copy, "order_returned", days=after, catalogue=catalogue)
    assert stale(look(shop_copy, catalogue)).isdisjoint({"returns_dataset", "return_model"}), "nor once they followed"
    reland(shop_copy, "orders", date(2024, 4, 9), drop=1)
    assert {"returns_dataset", "return_model"} <= stale(look(shop_copy, catalogue))


def test_rows_that_have_yet_to_come_are_told_but_not_counted(empty_shop: Callable[..., Platform]) -> None:
    there = empty_shop()
    shop.make(there, "products")
    for name in ("orders", "returns"):
        shop.make(there, name, days=Days(shop.OPEN.first, date(2024, 4, 13)))
    early = Days(shop.OPEN.first, date(2024, 4, 10))
    shop.make(there, *sorted(FOLLOWS_ORDERS - {"category_sales", "orders_asked"}), days=early)
    shop.make(there, "category_sales", "orders_asked", days=early)
    shop.make(there, "returns_dataset")
    found = look(there)["returns_dataset"]
    assert found.stale == 0
    assert found.reasons
    said = up_to_date(found)
    assert not said.passed
    assert said.description.startswith(
        f"None of the {found.total:,} training rows is stale, but others may have come: "
    )
    assert up_to_date(look(there, tolerant(0.0))["returns_dataset"]).passed


@pytest.mark.parametrize("name", ["category_sales", "returns_dataset"])
def test_a_table_that_is_gone_is_stale_altogether(shop_copy: Platform, name: str) -> None:
    shutil.rmtree(shop_copy.lake.path(table_folder("shop", name)))
    one = look(shop_copy)[name]
    assert (one.share, one.reasons) == (1.0, (GONE,))
    assert GONE in up_to_date(one).description


@pytest.mark.parametrize("name", ["orders_asked", "returns_dataset"])
def test_what_a_damaged_log_took_back_is_stale_until_it_is_made_again(shop_copy: Platform, name: str) -> None:
    day = date(2024, 4, 2)
    reland(shop_copy, "orders", day, drop=3)
    shop.refresh(shop_copy)
    folder = table_folder("shop", name)
    (shop_copy.lake.path(folder) / "_delta_log" / f"{1:020}.json").write_bytes(b"")
    set_back(shop_copy.lake, folder, run_id="repair", now=shop.run().now)
    found = look(shop_copy)
    assert BACK in found[name].reasons
    assert found["returns_dataset"].stale > 0
    assert stale(found) == {name, "returns_dataset", *AFTER_MODEL}
    shop.refresh(shop_copy, now=shop.run().now)
    assert stale(look(shop_copy)) == set()


def test_a_snapshot_delivered_anew_is_named(shop_copy: Platform) -> None:
    shop.land_rows(shop_copy.landing.root, "products", None, [{"product": "chair", "category": "home"}])
    found = look(shop_copy)
    assert check(found, "products").description == "Stale: its landed files changed."
    assert found["returns_dataset"].reasons == ("products changed",)
    assert found["returns_dataset"].share == 1.0


def test_the_days_that_are_told_are_few() -> None:
    days = tuple(Days(date(2024, 1, n), date(2024, 1, n)) for n in range(1, 10, 2))
    said = up_to_date(Staleness(name="x", unit="day", stale=5, total=40, days=days, reasons=("y changed",)))
    assert said.description == (
        "5 of 40 days are stale (2024-01-01, 2024-01-03, 2024-01-05 and 2 more ranges): y changed."
    )
    assert said.facts["which days"] == "2024-01-01, 2024-01-03, 2024-01-05, 2024-01-07, 2024-01-09"
    one = up_to_date(Staleness(name="x", unit="day", stale=1, total=40, days=days[:1], reasons=("y changed",)))
    assert one.description == "1 of 40 days is stale (2024-01-01): y changed."
    few = Staleness(name="x", unit="row", stale=1, total=10_000, reasons=("y changed",))
    assert up_to_date(few).description == "less than 0.1% of the training rows are stale: y changed."
