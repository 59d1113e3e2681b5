"""What people are told, once each, over a real webhook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.events import DagsterEventType

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.times import Days
from platform_assets.orchestration.alerts import RUNS_LOOKED_AT, incidents
from platform_assets_tests import shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed
from platform_assets_tests.orchestration.test_automation import evaluate

DAY = Days(date(2024, 3, 11), date(2024, 3, 11))
NEXT = Days(date(2024, 3, 12), date(2024, 3, 12))
ALERTS = "shop_alerts"


class Webhook:
    """An HTTP server that keeps what is posted to it, and answers with `status`."""

    def __init__(self) -> None:
        self.taken: list[dict[str, str]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if hook.status == 200:
                    hook.taken.append(body)
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/alerts"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    found = Webhook()
    yield found
    found.close()


@pytest.fixture
def there(there: Deployment, webhook: Webhook) -> Iterator[Deployment]:
    with deployed(there.settings.data, PLATFORM_WEBHOOK=webhook.address) as found:
        yield found


def refuse(there: Deployment, days: Days, order_id: str = "x") -> dg.ExecuteInProcessResult:
    """Deliver a return that cannot be read, and try to ingest it."""
    shop.land_rows(there.settings.landing, "returns", days.first, [{"order_id": order_id, "returned_at": "yesterday"}])
    result = there.execute("returns", days=days)
    assert not result.success
    return result


def tick(there: Deployment, cursor: str | None = None) -> tuple[str, str]:
    found = evaluate(there, ALERTS, cursor)
    assert found.run_requests == []
    return found.skip_message, found.cursor


def test_nothing_is_wrong(there: Deployment, webhook: Webhook) -> None:
    assert tick(there) == ("0 reported, 0 not taken, 0 over, 0 open", "{}")
    assert webhook.taken == []


def test_a_failed_check_is_told_once_and_again_only_when_it_reads_differently(
    there: Deployment, webhook: Webhook
) -> None:
    refuse(there, DAY)
    _, cursor = tick(there)
    (told,) = webhook.taken
    assert told["kind"] == "check failed"
    assert told["name"] == "shop/returns:contract"
    assert told["message"].startswith("shop/returns failed contract: 1 of 1 rows break the contract: returned_at")
    assert told["text"] == f"check failed: {told['message']}"

    refuse(there, DAY)
    said, cursor = tick(there, cursor)
    assert said == "0 reported, 0 not taken, 0 over, 1 open"
    assert len(webhook.taken) == 1

    refuse(there, DAY, "y")
    _, cursor = tick(there, cursor)
    tick(there, cursor)
    assert len(webhook.taken) == 2
    assert "'order_id': 'y'" in webhook.taken[1]["message"]


def test_a_failed_check_is_not_over_while_a_run_has_still_to_make_it(there: Deployment, webhook: Webhook) -> None:
    refuse(there, DAY)
    _, cursor = tick(there)
    run = there.instance.create_run_for_job(there.job, asset_selection=frozenset({there.key("returns")}))
    check = dg.AssetCheckKey(there.key("returns"), "contract")
    planned = AssetCheckEvaluationPlanned(asset_key=check.asset_key, check_name=check.name)
    there.instance.report_dagster_event(
        dg.DagsterEvent(
            DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value, run.job_name, event_specific_data=planned
        ),
        run.run_id,
    )
    newest = there.instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
    assert newest.run_id == run.run_id

    said, cursor = tick(there, cursor)
    assert said == "0 reported, 0 not taken, 0 over, 1 open"
    refuse(there, DAY)
    tick(there, cursor)
    assert len(webhook.taken) == 1


def test_what_is_well_again_may_be_told_anew(there: Deployment, webhook: Webhook) -> None:
    shop.land(there.settings.landing, DAY)
    refuse(there, DAY)
    _, cursor = tick(there)
    shop.land(there.settings.landing, DAY)
    assert there.execute("returns", days=DAY).success
    _, cursor = tick(there, cursor)
    assert "shop/returns:contract" not in json.loads(cursor)
    refuse(there, DAY)
    tick(there, cursor)
    assert [told["name"] for told in webhook.taken if told["name"].endswith("contract")] == [
        "shop/returns:contract"
    ] * 2


def test_a_warning_is_told_once_while_it_lasts(there: Deployment, webhook: Webhook) -> None:
    """Day after day some days are missing: that is one thing to be told, not one a run."""
    shop.land(there.settings.landing, Days(DAY.first, NEXT.first))
    cursor = None
    for days in (DAY, NEXT):
        assert there.execute("orders", days=days).success
        assert not there.check("orders", "days_complete").passed
        _, cursor = tick(there, cursor)
    assert [told["name"] for told in webhook.taken] == ["shop/orders:days_complete"]


def test_a_refusal_is_told_although_a_later_run_set_the_check_right(there: Deployment, webhook: Webhook) -> None:
    refused = refuse(there, DAY)
    shop.land(there.settings.landing, NEXT)
    assert there.execute("returns", days=NEXT).success
    assert there.check("returns", "contract").passed

    _, cursor = tick(there)
    (told,) = [told for told in webhook.taken if told["kind"] == "run failed"]
    assert told["message"].startswith("shop/returns: 1 of 1 rows break the contract: returned_at")
    assert told["message"].endswith(f"(run {refused.run_id})")
    tick(there, cursor)
    assert len([told for told in webhook.taken if told["kind"] == "run failed"]) == 1


def test_a_run_that_failed_without_a_check_is_told(there: Deployment, webhook: Webhook) -> None:
    assert not there.execute("product_sales", days=DAY).success
    tick(there)
    (told,) = webhook.taken
    assert told["kind"] == "run failed"
    assert "materialize shop/orders first" in told["message"]


def test_an_old_failed_run_and_another_projects_are_left_alone(there: Deployment) -> None:
    there.execute("product_sales", days=DAY)
    now = datetime.now(UTC)
    assert [found.kind for found in incidents(there.instance, there.catalogue, now=now)] == ["run failed"]
    assert incidents(there.instance, there.catalogue, now=now + RUNS_LOOKED_AT + timedelta(minutes=1)) == []
    other = Catalogue(name="other", declarations=shop.DECLARATIONS)
    assert incidents(there.instance, other, now=now) == []


def test_an_overdue_asset_is_told_once(there: Deployment, webhook: Webhook) -> None:
    def turn(state: FreshnessState, before: FreshnessState) -> None:
        there.instance.report_runless_asset_event(
            FreshnessStateChange(
                key=there.key("orders"),
                new_state=state,
                previous_state=before,
                state_change_timestamp=datetime.now(UTC).timestamp(),
            )
        )

    turn(FreshnessState.FAIL, FreshnessState.PASS)
    _, cursor = tick(there)
    assert webhook.taken == [
        {
            "kind": "overdue",
            "name": "shop/orders:freshness",
            "message": "shop/orders has not been materialized within 36 hours",
            "text": "overdue: shop/orders has not been materialized within 36 hours",
        }
    ]
    _, cursor = tick(there, cursor)
    turn(FreshnessState.PASS, FreshnessState.FAIL)
    said, cursor = tick(there, cursor)
    assert said == "0 reported, 0 not taken, 1 over, 0 open"
    turn(FreshnessState.FAIL, FreshnessState.PASS)
    tick(there, cursor)
    assert len(webhook.taken) == 2


@pytest.mark.parametrize("trouble", ["down", "error"])
def test_what_the_webhook_did_not_take_is_told_later(there: Deployment, webhook: Webhook, trouble: str) -> None:
    there.execute("product_sales", days=DAY)
    webhook.status = 500
    if trouble == "down":
        webhook.close()
    said, cursor = tick(there)
    assert said == "0 reported, 1 not taken, 0 over, 0 open"
    assert webhook.taken == []

    again = Webhook()
    with deployed(there.settings.data, PLATFORM_WEBHOOK=again.address) as later:
        said, cursor = tick(later, cursor)
        assert said == "1 reported, 0 not taken, 0 over, 0 open"
        assert len(again.taken) == 1
        assert tick(later, cursor)[0] == "0 reported, 0 not taken, 0 over, 0 open"
    again.close()


def test_without_a_webhook_the_log_is_told(empty_data: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(empty_data, tmp_path / "quiet")
    with deployed(tmp_path / "quiet") as quiet:
        quiet.execute("product_sales", days=DAY)
        said, cursor = tick(quiet)
        assert said == "1 reported, 0 not taken, 0 over, 0 open"
        assert tick(quiet, cursor)[0] == "0 reported, 0 not taken, 0 over, 0 open"
