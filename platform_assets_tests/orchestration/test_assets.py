"""One asset, one body: what a Dagster run makes is what the pipeline makes, and Dagster shows all of it."""

from __future__ import annotations

import inspect
import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterEventType
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest
from polars.testing import assert_frame_equal

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.times import Days
from platform_assets.lake import ledger
from platform_assets.orchestration.failures import failures_of
from platform_assets.orchestration.metadata import definition_metadata
from platform_assets.pipelines.checks import checks_of
from platform_assets.pipelines.plan import plan
from platform_assets_tests import quotes, shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed

FIRST = date(2024, 3, 11)
ONE_DAY, SIX_DAYS = Days(FIRST, FIRST), Days(FIRST, date(2024, 3, 16))
DERIVED = ("product_sales", "customer_history", "category_sales", "orders_asked")
"""Daily assets that can be computed from the first days on; the label reads days ahead."""


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        f"{found.asset_key.path[-1]}:{found.check_name}": found.passed for found in result.get_asset_check_evaluations()
    }


def metadata_of(result: dg.ExecuteInProcessResult, name: str, partition: str | None = None) -> dict[str, object]:
    events = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[-1] == name and event.partition == partition
    ]
    assert len(events) == 1
    return {title: value.value for title, value in events[0].metadata.items()}


@pytest.mark.parametrize("days", [ONE_DAY, SIX_DAYS], ids=str)
def test_a_run_makes_what_the_pipelines_make(there: Deployment, tmp_path: Path, days: Days) -> None:
    shop.land(there.settings.landing, days)
    direct = shop.platform(tmp_path / "direct")
    shutil.copytree(there.settings.landing, tmp_path / "direct" / "landing")
    names = ("orders", *DERIVED)
    made = {one.declaration.name: one for one in shop.make(direct, "products", *names, days=days)}

    assert there.execute("products").success
    result = there.execute(*names, days=days)

    assert result.success
    for name in names:
        assert_frame_equal(there.rows(name), direct.lake.scan(f"shop/{name}").collect(), check_row_order=False)
        tags = [
            event.materialization.tags
            for event in result.get_asset_materialization_events()
            if event.asset_key == there.key(name)
        ]
        assert {found["dagster/data_version"] for found in tags} == {made[name].digest}
        assert there.materialized(name) == {str(day) for day in days}


def test_a_range_is_one_run_with_one_commit_and_a_row_count_per_day(there: Deployment) -> None:
    shop.land(there.settings.landing, SIX_DAYS)

    result = there.execute("orders", days=SIX_DAYS)

    assert there.version("orders") == 0
    rows = there.rows("orders")
    for day in SIX_DAYS:
        shown = metadata_of(result, "orders", str(day))
        assert shown["dagster/partition_row_count"] == len(rows.filter(pl.col("day") == day)) == 30
        assert shown["version"] == 0
        assert shown["dagster/uri"] == str(there.settings.lake / "shop" / "orders")
        assert ("preview" in shown) == (day == SIX_DAYS.last), "the preview is stored once, not once a day"
    newest = metadata_of(result, "orders", str(SIX_DAYS.last))
    assert newest["dagster/row_count"] == 180
    assert str(newest["preview"]).startswith("| order_id | customer |")


def test_a_run_again_writes_nothing_and_says_so(there: Deployment) -> None:
    shop.land(there.settings.landing, ONE_DAY)
    first, second = (there.execute("orders", days=ONE_DAY) for _ in range(2))
    assert first.success
    assert second.success
    assert there.version("orders") == 0
    assert metadata_of(first, "orders", str(FIRST))["new version"] is True
    assert metadata_of(second, "orders", str(FIRST))["new version"] is False


def test_every_declared_check_is_recorded(full: Deployment) -> None:
    keys = {
        dg.AssetCheckKey(full.key(d.name), check.name): check.blocking
        for d in full.catalogue.declarations
        for check in checks_of(d)
    }
    found = full.instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    assert set(found) == set(keys)
    for key, record in found.items():
        evaluation = record.event.get_dagster_event().asset_check_evaluation_data
        assert evaluation.passed or evaluation.severity == dg.AssetCheckSeverity.WARN, (
            f"{key}: {evaluation.description}"
        )
        assert evaluation.description
        assert evaluation.blocking == keys[key]


def test_every_materialization_shows_what_it_is_and_what_it_was_made_of(full: Deployment) -> None:
    for declaration in full.catalogue.declarations:
        event = full.instance.get_latest_materialization_event(full.key(declaration.name))
        shown = {title: value.value for title, value in event.asset_materialization.metadata.items()}
        entry = ledger.entries(full.platform.lake, f"shop/{declaration.name}")[0]
        assert shown["fingerprint"] == entry.fingerprint == full.catalogue.fingerprints[declaration.name]
        assert shown["run"] == entry.run_id == event.run_id
        assert shown["version"] == entry.version
        assert {name: shown[f"version of {name}"] for name in declaration.input_names} == dict(entry.inputs)
        assert shown["content hash"]
        if calendar(declaration) is None:
            assert shown["content hash"] == entry.content_hash
        titles = [title for title, value in shown.items() if value == entry.version and "version" in title]
        assert titles.count("version") == 1
        assert "model version" not in titles, "the version of a model is told once"


def test_how_features_are_known_is_shown_and_recorded(full: Deployment) -> None:
    for name in ("orders_asked", "returns_dataset"):
        event = full.instance.get_latest_materialization_event(full.key(name))
        assert event.asset_materialization.metadata["features as known"].value == "then"
    shown = definition_metadata(quotes.CATALOGUE, quotes.orders_priced_since, "somewhere")
    assert (shown["known"], shown["fingerprint"]) == ("since", quotes.CATALOGUE.fingerprints["orders_priced_since"])
    assert definition_metadata(quotes.CATALOGUE, quotes.quotes, "somewhere")["on correction"] == "keep"
    run_id = full.platform.registry.client.get_model_version("shop.return_model", "1").run_id
    manifest = full.platform.registry.client.download_artifacts(run_id, "manifest.json", str(full.settings.data))
    assert json.loads(Path(manifest).read_text())["training_dataset"]["features_as_known"] == "then"


def test_a_blocking_check_that_fails_stops_what_is_downstream_in_the_run(there: Deployment) -> None:
    shop.land(there.settings.landing, SIX_DAYS)
    there.execute("products")
    days = Days(FIRST, date(2024, 3, 13))
    assert there.execute("orders", "returns", days=SIX_DAYS).success
    assert there.execute(*DERIVED, "order_returned", days=days).success

    result = there.execute("returns_dataset", "return_model")

    assert not result.success
    assert evaluations(result)["returns_dataset:splits_filled"] is False
    assert {event.step_key for event in result.all_events if event.is_step_start} == {"shop__returns_dataset"}
    assert there.platform.registry.champion("shop", "return_model") is None


def test_a_refused_delivery_fails_with_its_message_and_leaves_the_table_alone(there: Deployment) -> None:
    landing = there.settings.landing
    shop.land(landing, SIX_DAYS)
    assert there.execute("returns", days=Days(FIRST, date(2024, 3, 15))).success
    before = there.rows("returns")
    last = SIX_DAYS.last
    good = shop.rows_to_land("returns", last)
    shop.land_rows(landing, "returns", last, [*good[:-1], {"order_id": "x", "returned_at": "yesterday"}])

    result = there.execute("returns", days=Days(last, last))

    assert not result.success
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    said = failure.user_failure_data.description
    assert "shop/returns: 1 of" in said
    assert f"returns/{last}.csv" in said
    assert "Traceback" not in said
    contract = there.check("returns", "contract")
    assert not contract.passed
    assert contract.blocking
    assert contract.description == said
    assert_frame_equal(there.rows("returns"), before)
    assert there.materialized("returns") == {str(day) for day in SIX_DAYS} - {str(last)}

    shop.land_rows(landing, "returns", last, good)
    assert there.execute("returns", days=Days(last, last)).success
    assert there.check("returns", "contract").passed
    assert len(there.rows("returns")) == len(before) + len(good)


def test_a_truncated_file_is_refused_likewise(there: Deployment) -> None:
    shop.land(there.settings.landing, ONE_DAY)
    path = there.settings.landing / "orders" / f"{FIRST}.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:5]) + "\n")
    result = there.execute("orders", days=ONE_DAY)
    assert not result.success
    assert "promises 30 rows, the file has 4" in there.check("orders", "contract").description
    assert there.version("orders") is None


def test_bad_rows_set_aside_warn_and_stop_nothing(there: Deployment) -> None:
    shop.land(there.settings.landing, ONE_DAY)
    rows = shop.rows_to_land("orders", FIRST)
    rows[3]["amount_cents"] = "-1"
    shop.land_rows(there.settings.landing, "orders", FIRST, rows)
    there.execute("products")

    result = there.execute("orders", "product_sales", days=ONE_DAY)

    assert result.success
    contract = there.check("orders", "contract")
    assert (contract.passed, contract.blocking, contract.severity) == (False, False, dg.AssetCheckSeverity.WARN)
    assert len(there.rows("orders")) == 29
    assert metadata_of(result, "orders", str(FIRST))["rows set aside"] == 1


def test_a_missing_input_is_named_without_a_contract_failure(there: Deployment) -> None:
    result = there.execute("product_sales", days=ONE_DAY)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "materialize shop/orders first" in failure.user_failure_data.description
    assert evaluations(result) == {}


def test_an_undeclared_failure_keeps_its_traceback(there: Deployment, tmp_path: Path) -> None:
    """Only what is refused on purpose is told in one sentence; a bug must show where it is."""
    result, said = fail(there, shop.with_changed("products", transform=raises))
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is None
    assert "ZeroDivisionError" in str(failure.error)
    assert DagsterEventType.ASSET_CHECK_EVALUATION not in {event.event_type for event in result.all_events}
    file, line = Path(__file__).relative_to(Path.cwd()), inspect.getsourcelines(raises)[1] + 1
    assert said == f"shop/products: ZeroDivisionError: nothing to divide by (in raises, {file} line {line})"


def raises(raw: pl.LazyFrame) -> pl.LazyFrame:
    raise ZeroDivisionError("nothing to divide by")


def asks_for_what_is_not_there(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw.select("product", pl.col("categry"))


def fail(there: Deployment, catalogue: Catalogue) -> tuple[dg.ExecuteInProcessResult, str]:
    """A run of the first asset, and the sentence that people are told of it."""
    with deployed(there.settings.data, catalogue) as odd:
        shop.land(odd.settings.landing, [])
        result = odd.execute("products")
        (said,) = failures_of(odd.instance, result.run_id)
    return result, said


def test_an_error_in_a_lazy_frame_names_the_function_that_made_it(there: Deployment) -> None:
    _, said = fail(there, shop.with_changed("products", transform=asks_for_what_is_not_there))
    file, line = Path(__file__).relative_to(Path.cwd()), inspect.getsourcelines(asks_for_what_is_not_there)[1]
    assert said.startswith("shop/products: ")
    assert "categry" in said
    assert said.endswith(f" (in what asks_for_what_is_not_there returns, {file} line {line})")
    assert "\n" not in said


def test_an_error_in_sql_is_said_to_be_there(full: Deployment) -> None:
    catalogue = shop.with_changed("customer_history", sql="SELECT customer, ordred_at FROM orders")
    with deployed(full.settings.data, catalogue) as odd:
        result = odd.execute("customer_history", days=ONE_DAY)
        (said,) = failures_of(odd.instance, result.run_id)
    assert said.startswith("shop/customer_history: ")
    assert "ordred_at" in said
    assert said.endswith(" (in its SQL)")


def status_of(there: Deployment, name: str, day: date) -> str:
    """What Dagster itself says of a day."""
    graph = there.definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(there.instance, graph, LoadingContextForTest(there.instance))
    return resolver.get_status(there.key(name), str(day)).value


# Dagster keeps one data version for all days of a range, so that of a day alone is another; our plan knows better.
@pytest.mark.parametrize(("made", "says"), [(ONE_DAY, "FRESH"), (SIX_DAYS, "STALE")], ids=str)
def test_equal_content_leaves_what_reads_it_fresh_by_day_in_dagsters_own_terms_too(
    there: Deployment, made: Days, says: str
) -> None:
    shop.land(there.settings.landing, SIX_DAYS)
    for name in ("orders", "product_sales"):
        assert there.execute(name, days=made).success
    version = there.version("orders")
    shop.land_rows(there.settings.landing, "orders", FIRST, shop.rows_to_land("orders", FIRST)[::-1])
    assert there.execute("orders", days=ONE_DAY).success
    assert there.version("orders") == version, "the same rows in another order make no version"
    assert status_of(there, "product_sales", FIRST) == says
    step = plan(there.platform, there.catalogue, now=datetime.now(UTC))["product_sales"]
    assert FIRST not in {day for days in (step.days if step else None) or () for day in days}
    shop.land_rows(there.settings.landing, "orders", FIRST, shop.rows_to_land("orders", FIRST)[1:])
    assert there.execute("orders", days=ONE_DAY).success
    assert there.version("orders") == (version or 0) + 1
    assert status_of(there, "product_sales", FIRST) == "STALE"
