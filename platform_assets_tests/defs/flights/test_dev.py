"""The whole of it as `make dev` starts it: web server, daemon, queue, and a materialization launched as the UI does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from platform_assets.declarations.times import Days
from platform_assets.defs.flights.catalogue import CATALOGUE
from platform_assets.defs.flights.upstream import land
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.checks import UP_TO_DATE

PROJECT = Path(__file__).parents[3]
DAYS = Days(date(2013, 1, 1), date(2013, 1, 2))
CHECKS = ("contract", "not_empty", "days_complete")
PATIENCE_SECONDS = 300
"""Only an upper bound for a machine that is stuck; what is waited for comes in seconds."""

START = """
import signal, sys
# As from a shell script: interrupts ignored, which the command must undo or nothing can stop it.
signal.signal(signal.SIGINT, signal.SIG_IGN)
from platform_assets.cli import main
sys.exit(main(["dev"]))
"""
LAUNCH = """
mutation LaunchAssets($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
RUN = """
query Run($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"""
ASSETS = """
{ assetNodes { assetKey { path } hasMaterializePermission } }"""
AUTOMATIC = """
{ repositoriesOrError { ... on RepositoryConnection { nodes {
    sensors { name sensorState { status } } schedules { name scheduleState { status } } jobs { name } } } } }"""
MATERIALIZED = """
query Asset($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetMaterializations { runId partition metadataEntries { label ... on IntMetadataEntry { intValue } } }
      assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { runId status } } } }
    }
  }
}"""


@dataclass(frozen=True, kw_only=True)
class Dev:
    """`platform-assets dev` that is up."""

    url: str
    data: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found = json.loads(answer.read())
        assert "errors" not in found, found
        answered: dict[str, Any] = found["data"]
        return answered

    def launch(self, *, tags: Mapping[str, str] = MappingProxyType({}), **selection: Any) -> str:
        """The run that the mutation behind the page's buttons starts."""
        launched = self.ask(
            LAUNCH,
            executionParams={
                "mode": "default",
                "runConfigData": "{}",
                "selector": {
                    "repositoryLocationName": "platform_assets",
                    "repositoryName": "__repository__",
                    "jobName": "__ASSET_JOB",
                    **selection,
                },
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def wait_for(self, run_id: str) -> str:
        """The status in which a run ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            status: str = self.ask(RUN, id=run_id)["runOrError"]["status"]
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return status
            time.sleep(0.2)
        raise AssertionError(f"the run is still {status}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children_of(data: Path) -> list[int]:
    """The processes whose environment names this data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and f"PLATFORM_DATA={data}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    data = tmp_path_factory.mktemp("dev") / "data"
    port = _free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PLATFORM_")}
    log = data.with_suffix(".log")
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", START],
            cwd=PROJECT,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environ | {"PLATFORM_DATA": str(data), "PLATFORM_PORT": str(port)},
        )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5):
                    break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        yield Dev(url=f"http://127.0.0.1:{port}", data=data)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=PATIENCE_SECONDS)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _children_of(data):
            assert time.monotonic() < deadline, f"left behind: {_children_of(data)}"
            time.sleep(0.2)
    finally:
        for pid in _children_of(data):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def test_the_workspace_shows_every_asset_and_everything_automatic_runs(dev: Dev) -> None:
    keys = {tuple(node["assetKey"]["path"]) for node in dev.ask(ASSETS)["assetNodes"]}
    assert keys == {("flights", name) for name in (*(d.name for d in CATALOGUE.declarations), "maintenance")}
    (repository,) = dev.ask(AUTOMATIC)["repositoriesOrError"]["nodes"]
    sensors = {s["name"]: s["sensorState"]["status"] for s in repository["sensors"]}
    schedules = {s["name"]: s["scheduleState"]["status"] for s in repository["schedules"]}
    assert set(sensors) == {"flights_landing", "flights_automation", "flights_alerts", "flights_retraining"}
    assert len(schedules) == 7  # the month trains nothing of a model that has a retraining
    assert {*sensors.values(), *schedules.values()} == {"RUNNING"}
    assert {"flights_retraining", "flights_up_to_date"} <= {job["name"] for job in repository["jobs"]}


def test_a_range_launched_in_the_browser_lands_in_the_lake(dev: Dev) -> None:
    """The landing sensor may ask for the same days meanwhile; whoever is second writes nothing."""
    land(dev.data / "landing", first=DAYS.first, last=DAYS.last)
    key = {"path": ["flights", "weather"]}
    run_id = dev.launch(
        tags={
            "dagster/asset_partition_range_start": str(DAYS.first),
            "dagster/asset_partition_range_end": str(DAYS.last),
        },
        assetSelection=[key],
        # The page names the checks that come with a materialization; without them the selection is refused.
        assetCheckSelection=[{"assetKey": key, "name": name} for name in CHECKS],
    )

    assert dev.wait_for(run_id) == "SUCCESS"

    rows = Lake(dev.data / "lake").scan("flights/weather").collect()
    assert set(rows["day"]) >= set(DAYS)
    shown = dev.ask(MATERIALIZED, key=key)["assetNodeOrError"]
    ours = {event["partition"]: event for event in shown["assetMaterializations"] if event["runId"] == run_id}
    assert set(ours) == {str(day) for day in DAYS}
    for day, event in ours.items():
        numbers = {entry["label"]: entry.get("intValue") for entry in event["metadataEntries"]}
        assert numbers["dagster/partition_row_count"] == len(rows.filter(pl.col("day") == date.fromisoformat(day)))
    checks = {
        check["name"]: check["executionForLatestMaterialization"] for check in shown["assetChecksOrError"]["checks"]
    }
    assert set(checks) == {*CHECKS, UP_TO_DATE}
    assert checks["contract"]["status"] == "SUCCEEDED"
    assert checks[UP_TO_DATE] is None

    looked = dev.launch(assetSelection=[], assetCheckSelection=[{"assetKey": key, "name": UP_TO_DATE}])
    assert dev.wait_for(looked) == "SUCCESS"
    shown = dev.ask(MATERIALIZED, key=key)["assetNodeOrError"]["assetChecksOrError"]["checks"]
    (check,) = [check["executionForLatestMaterialization"] for check in shown if check["name"] == UP_TO_DATE]
    assert check == {"runId": looked, "status": "SUCCEEDED"}
