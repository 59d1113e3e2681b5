"""The command as people type it: what goes wrong is one sentence on standard error, and never a traceback."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from platform_assets.cli import main
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.times import Days
from platform_assets.orchestration.refresh import Progress
from platform_assets.pipelines.plan import Plan
from platform_assets.terminal import Follow, show_plan
from platform_assets_tests import shop


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data folder of its own, and no settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("PLATFORM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says on standard error, when it fails as it should."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert err.startswith("platform-assets: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    return err.removeprefix("platform-assets: ").strip()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_an_unknown_setting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_PROT", "3001")
    said = refused(capsys, "refresh")
    assert said == (
        "no such setting: PLATFORM_PROT; there are PLATFORM_DATA, PLATFORM_HOST, PLATFORM_MEMORY, PLATFORM_MLFLOW_PORT, "
        "PLATFORM_PORT, PLATFORM_WEBHOOK"
    )


@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "3000.0", " 3000"])
def test_a_bad_port(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PLATFORM_PORT", value)
    assert (
        refused(capsys, "dev") == f"PLATFORM_PORT={value!r} is not a port; use a number from 1 to 65535, such as 3000"
    )


def test_a_bad_webhook(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_WEBHOOK", "hooks.example.org/x")
    assert "PLATFORM_WEBHOOK='hooks.example.org/x' is not a web address" in refused(capsys, "refresh")


@pytest.mark.parametrize(("command", "setting"), [("dev", "PLATFORM_PORT"), ("mlflow", "PLATFORM_MLFLOW_PORT")])
def test_a_port_in_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, taken_port: int, command: str, setting: str
) -> None:
    monkeypatch.setenv(setting, str(taken_port))
    said = refused(capsys, command)
    assert said == (
        f"port {taken_port} on 127.0.0.1 cannot be used (Address already in use); free it, or choose "
        f"another with {setting}"
    )


def test_a_host_that_is_not_ours(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_HOST", "no-such-host.invalid")
    said = refused(capsys, "dev")
    assert said.startswith("this machine cannot listen on no-such-host.invalid (")
    assert said.endswith("choose another address with PLATFORM_HOST")


@pytest.mark.parametrize("command", ["dev", "mlflow", "refresh"])
def test_a_data_folder_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path / "file" / "data"))
    said = refused(capsys, command)
    assert said == (
        f"the data folder {tmp_path}/file/data cannot be written to (Not a directory); make it writable, "
        "or name another one with PLATFORM_DATA"
    )


def test_a_data_folder_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path / "file" / "data"))
    assert f"there is no data folder {tmp_path}/file/data; correct PLATFORM_DATA" in refused(
        capsys, "refresh", "--plan"
    )


@pytest.mark.parametrize("arguments", [["refesh"], [], ["refresh", "--dry-run"]])
def test_an_unknown_command(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: platform-assets" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    for command in ("refresh", "maintain", "dev", "mlflow"):
        assert command in out


def test_a_plan_changes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("platform_assets.orchestration.projects.find_catalogues", lambda: [shop.CATALOGUE])
    data = tmp_path / "data"
    shop.land(data / "landing", [shop.OPEN.first])
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    assert main(["refresh", "--plan"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "shop/orders" in out
    assert "never materialized" in out
    assert "34 days have not landed" in out
    assert max(map(len, out.splitlines())) <= 80
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_a_landed_day_that_is_not_over_is_said() -> None:
    text = io.StringIO()
    early = {
        "orders": (Days(date(2013, 12, 30), date(2013, 12, 30)),),
        "returns": (Days(date(2013, 12, 28), date(2013, 12, 28)), Days(date(2013, 12, 30), date(2013, 12, 31))),
    }
    show_plan(Console(file=text, width=80, highlight=False), shop.CATALOGUE, Plan(steps=(), early=early))
    assert text.getvalue().splitlines() == [
        "! shop/orders: 1 landed day not over yet, from 2013-12-30",
        "! shop/returns: 3 landed days not over yet, from 2013-12-28",
        "✓ shop: everything is up to date, nothing to do",
    ]


def test_maintenance_without_a_data_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refused(capsys, "maintain")
    assert said == f"there is no data folder {tmp_path / 'data'}; correct PLATFORM_DATA, or run refresh to make it"
    assert not (tmp_path / "data").exists()


def test_a_project_that_fails_does_not_stop_the_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = (Catalogue(name=name, declarations=[shop.products]) for name in ("first", "second"))
    monkeypatch.setattr("platform_assets.orchestration.projects.find_catalogues", lambda: [first, second])
    data = tmp_path / "data"
    shop.land(data / "landing", [])
    assert main(["refresh"]) == 0
    log = data / "lake" / "first" / "products" / "_delta_log" / f"{0:020}.json"
    log.write_text("not json")
    capsys.readouterr()
    assert main(["refresh"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"platform-assets: cannot read the table at {data / 'lake' / 'first' / 'products'}: ")
    assert err.count("\n") == 1
    assert "second: everything is up to date, nothing to do" in out


def test_refusing_an_argument_imports_no_dagster() -> None:
    """A typing mistake should not take the seconds that importing Dagster takes."""
    script = "import sys; from platform_assets.cli import main\ntry: main(['x'])\nexcept SystemExit: pass\nprint('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_progress_shows_any_message() -> None:
    out = Console(file=io.StringIO(), width=80)
    with Follow(out, 2) as report:
        for asset, message in (("shop/orders", "rows [/of] [red]text"), ("shop/returns", "")):
            report(Progress(asset=asset, state="started", message="", run="r"))
            report(Progress(asset=asset, state="said", message=message, run="r"))
            report(Progress(asset=asset, state="done", message="", run="r"))
    assert isinstance(out.file, io.StringIO)
    said = out.file.getvalue()
    assert "rows [/of] [red]text" in said
    assert "✓ shop/returns" in said
