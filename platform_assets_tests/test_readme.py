"""The README keeps its word: its code runs, its commands exist and work, its figures are the demo's."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from platform_assets import defs
from platform_assets.declarations.times import Days
from platform_assets.lake.landing import Landing
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Platform, Run
from platform_assets.registry.models import Registry

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = {f"make {target}" for target in re.findall(r"`?make ([a-z-]+)", README)}
RUN_HERE = {"make demo", "make dev", "make mlflow", "make refresh", "make bench"}
RUN_BY_CI = {"make test", "make test-slow", "make check"}


def test_every_command_is_a_target_and_is_run() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {command.removeprefix("make ") for command in COMMANDS} <= targets
    assert COMMANDS == RUN_HERE | RUN_BY_CI
    ci = (ROOT / ".ci" / "run").read_text()
    assert "make test\n" in ci
    assert "make test-slow" in ci
    assert "make lint" in ci
    assert re.search(r"^check: lint test\b", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert len(links) > 10
    # Whoever deletes the project that ships need not mend the README at once.
    gone = "" if (ROOT / "platform_assets" / "defs" / "flights").exists() else "platform_assets/defs/flights"
    missing = [link for link in links if not (ROOT / link).exists() and not (gone and link.startswith(gone))]
    assert not missing


def test_the_declared_project_works_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "defs" / "shop"
    project.mkdir(parents=True)
    (project / "__init__.py").touch()
    for name, code in re.findall(
        r"```python\n# platform_assets/defs/shop/(\w+\.py)\n(.*?)```", README, flags=re.DOTALL
    ):
        (project / name).write_text(code)
    monkeypatch.setattr(defs, "__path__", [*defs.__path__, str(tmp_path / "defs")])
    catalogue = importlib.import_module("platform_assets.defs.shop.catalogue").CATALOGUE
    landing = tmp_path / "landing" / "orders"
    landing.mkdir(parents=True)
    for day, cents in ((1, 100), (2, 50)):
        (landing / f"2026-01-0{day}.csv").write_text(
            f"order_id,customer,ordered_at,cents\no{day},ada,2026-01-0{day}T12:00:00Z,{cents}\n"
        )
    (landing / "2026-01-03.csv").write_text("order_id,customer,ordered_at,cents\no3,ada,yesterday,10\n")
    platform = Platform(
        landing=Landing(tmp_path / "landing"),
        lake=Lake(tmp_path / "lake"),
        registry=Registry(tmp_path / "mlflow"),
        connect=lambda: pytest.fail("no SQL here"),
    )
    run = Run(run_id="readme", now=datetime(2026, 1, 4, 12, tzinfo=UTC))
    days = Days(date(2026, 1, 1), date(2026, 1, 3))
    for name in ("orders", "customer_week"):
        materialize(platform, catalogue, name, run, days=days)
    week = platform.lake.scan("shop/customer_week").sort("at").select("customer", "orders_7d", "cents_7d").collect()
    assert week.rows() == [("ada", 1, 100), ("ada", 2, 150)]
    aside = platform.lake.scan("quarantine/shop/orders").select("reason", "file", "line").collect()
    assert aside.rows() == [("ordered_at|nullability", "orders/2026-01-03.csv", 2)], (
        "bad rows are set aside, as promised"
    )

    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path))
    definitions = importlib.import_module("platform_assets.defs.shop.definitions").shop()
    keys = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    assert keys == {"shop/orders", "shop/customer_week", "shop/maintenance"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree as git sees it, in an empty folder."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _environment() -> dict[str, str]:
    """As in a container, which often forbids Python to keep what it compiled."""
    left_out = ("PLATFORM_", "DAGSTER_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "MAKE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


def _make(clone: Path, target: str, *settings: str) -> str:
    done = subprocess.run(
        ["make", target, *settings],
        cwd=clone,
        env=_environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=1_200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demonstrated(clone: Path) -> str:
    """What `make demo` prints in a fresh clone and a fresh environment."""
    return _make(clone, "demo")


@pytest.mark.slow
def test_the_demo_does_what_the_readme_says(demonstrated: str) -> None:
    assert "flights/late_arrival_outcomes" in demonstrated
    assert "336,776" in demonstrated
    assert max(len(line) for line in demonstrated.splitlines() if "/" not in line) <= 80
    assert "best  day" in demonstrated
    assert "worst day" in demonstrated
    assert "make dev" in demonstrated


@pytest.mark.slow
def test_the_next_process_need_not_compile_again(clone: Path, demonstrated: str) -> None:
    assert demonstrated
    assert any((clone / ".venv").glob("lib/*/site-packages/dagster/__pycache__/*.pyc"))


@pytest.mark.slow
def test_figures_are_the_demo_s(demonstrated: str) -> None:
    told = dict(
        re.findall(
            r"^\| (the model|a linear model|average by carrier and hour|base rate)[^|]*\| (\d\.\d+)",
            README,
            re.MULTILINE,
        )
    )
    shown = {
        "the model": re.search(r"AUC of the model +(\S+)", demonstrated),
        "a linear model": re.search(r"AUC of a linear model +(\S+)", demonstrated),
        "average by carrier and hour": re.search(r"AUC of carrier and hour averages +(\S+)", demonstrated),
        "base rate": re.search(r"AUC of the base rate +(\S+)", demonstrated),
    }
    assert told.keys() == shown.keys()
    for name, found in shown.items():
        assert found is not None, demonstrated
        assert float(told[name]) == pytest.approx(float(found[1]), abs=0.002)


@pytest.mark.slow
def test_the_demo_again_and_the_refresh_have_nothing_to_do(clone: Path, demonstrated: str) -> None:
    assert demonstrated
    assert "nothing to do" in _make(clone, "demo")
    assert "nothing to do" in _make(clone, "refresh")
    plan = subprocess.run(
        [".venv/bin/platform-assets", "refresh", "--plan"],
        cwd=clone,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "everything is up to date" in plan.stdout


def _told(clone: Path, *arguments: str) -> tuple[int, str]:
    command = [".venv/bin/platform-assets", *arguments]
    done = subprocess.run(command, cwd=clone, env=_environment(), capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


MODEL = "models:/flights.late_arrival_model"


@pytest.mark.slow
def test_one_can_ask_where_it_came_from(clone: Path, demonstrated: str) -> None:
    assert demonstrated
    predicted = pl.scan_delta(str(clone / "data/lake/flights/late_arrival_predictions"))
    prediction = predicted.select("prediction_id").head(1).collect().item()
    asked = {
        ("plan",): (0, "nothing to do"),
        ("trace", prediction): (0, "late_arrival_model"),
        ("reproduce", f"{MODEL}@champion"): (0, "82,609"),
        ("usage", "origin_weather.wind_speed_mph"): (1, "not safe to drop"),
        ("champions", MODEL): (0, "promoted"),
        ("history",): (0, "trained flights/late_arrival_model"),
        ("report", "--out", str(clone / "report.html")): (0, "report.html"),
    }
    for arguments, (expected, words) in asked.items():
        status, said = _told(clone, *arguments)
        assert status == expected, said
        assert words in said, said
        # An address in full is of more use than one that is cut.
        assert max(len(line) for line in said.splitlines() if "/" not in line) <= 80
    assert f"`{MODEL}@champion`" in README
    assert "`origin_weather.wind_speed_mph`" in README


@pytest.mark.slow
def test_a_replay_of_two_days_ends_with_a_report(clone: Path, demonstrated: str) -> None:
    assert demonstrated
    days = ["--from", "2013-02-05", "--to", "2013-02-06"]
    status, said = _told(clone, "replay", *days, "--policy", "never", "--policy", "monthly")
    assert status == 0, said
    assert {"never", "monthly"} <= set(said.split())
    assert "`.venv/bin/platform-assets replay --from 2013-02-01 --to 2013-12-31" in README
    assert "nothing to do" in _make(clone, "refresh")


@pytest.mark.slow
def test_maintenance_and_going_back_find_nothing_to_do(clone: Path, demonstrated: str) -> None:
    assert demonstrated
    for arguments in (["maintain", "--plan"], ["maintain"]):
        status, said = _told(clone, *arguments)
        assert status == 0, said
        assert max(map(len, said.splitlines())) <= 80
    status, said = _told(clone, "set-back", "flights/departures")
    assert (status, "there is nothing to go back from" in said) == (1, True)
    assert "nothing to do" in _make(clone, "refresh")


@pytest.mark.slow
def test_the_benchmark_compares(clone: Path, demonstrated: str) -> None:
    assert demonstrated
    said = _make(clone, "bench", "SIZE=small", "WORKS=point_in_time profiles")
    lines = [line.split("|") for line in said.splitlines() if line.startswith("| ")]
    assert {"point_in_time_joins", "Polars join_asof", "DuckDB ASOF"} <= {cells[1].strip() for cells in lines}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "setting", "page"),
    [("dev", "PLATFORM_PORT", "/server_info"), ("mlflow", "PLATFORM_MLFLOW_PORT", "/health")],
)
def test_the_pages_are_served(clone: Path, demonstrated: str, target: str, setting: str, page: str) -> None:
    assert demonstrated
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["make", target],
        cwd=clone,
        env=_environment() | {setting: str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                assert server.poll() is None, server.communicate()[0]
                assert time.monotonic() < deadline, "the page never came"
                time.sleep(1)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
    assert f"http://127.0.0.1:{port}" in (server.stdout.read() if server.stdout else "")


def test_the_promised_python_is_the_one_that_is_tested() -> None:
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in README
