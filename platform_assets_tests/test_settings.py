"""Settings: defaults that work, and every mistake named with its variable and value."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform_assets.errors import SettingsError
from platform_assets.settings import DEFAULT_DATA, load_settings


def test_the_defaults_need_nothing() -> None:
    found = load_settings({})
    assert (found.data, found.host, found.port, found.mlflow_port, found.webhook) == (
        DEFAULT_DATA,
        "127.0.0.1",
        3000,
        5000,
        None,
    )
    assert [f.relative_to(found.data) for f in (found.landing, found.lake, found.mlflow, found.dagster_home)] == [
        Path(name) for name in ("landing", "lake", "mlflow", "dagster")
    ]


def test_everything_can_be_set(tmp_path: Path) -> None:
    found = load_settings(
        {
            "PLATFORM_DATA": str(tmp_path),
            "PLATFORM_HOST": "192.0.2.7",
            "PLATFORM_PORT": "3001",
            "PLATFORM_MLFLOW_PORT": "5001",
            "PLATFORM_WEBHOOK": "https://example.org/hook",
            "PATH": "/bin",
        }
    )
    assert (found.data, found.host, found.port, found.mlflow_port) == (tmp_path, "192.0.2.7", 3001, 5001)
    assert found.webhook == "https://example.org/hook"


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load_settings({"PLATFORM_DATA": "", "PLATFORM_PORT": "", "PLATFORM_WEBHOOK": ""}) == load_settings({})


def test_the_data_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"PLATFORM_DATA": "here"}).data == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings({"PLATFORM_DATA": "~/there"}).data == tmp_path / "home" / "there"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PLATFORM_DATE": "x"}, "no such setting: PLATFORM_DATE; there are PLATFORM_DATA, PLATFORM_HOST"),
        ({"PLATFORM_PORT": "http"}, "PLATFORM_PORT='http' is not a port; use a number from 1 to 65535, such as 3000"),
        ({"PLATFORM_PORT": "0"}, "PLATFORM_PORT='0' is not a port"),
        ({"PLATFORM_MLFLOW_PORT": "65536"}, "PLATFORM_MLFLOW_PORT='65536' is not a port; .* such as 5000"),
        (
            {"PLATFORM_WEBHOOK": "example.org/hook"},
            "PLATFORM_WEBHOOK='example.org/hook' is not a web address; write it with http:// or https://",
        ),
        ({"PLATFORM_WEBHOOK": "https://"}, "PLATFORM_WEBHOOK='https://' is not a web address"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(environ)


def test_the_folders_are_made(tmp_path: Path) -> None:
    found = load_settings({"PLATFORM_DATA": str(tmp_path / "data")})
    found.require_writable()
    found.require_writable()
    assert {path.name for path in found.data.iterdir()} == {"landing", "lake", "mlflow", "dagster"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = load_settings({"PLATFORM_DATA": str(tmp_path / "file")})
    with pytest.raises(
        SettingsError,
        match=r"the data folder .*/file cannot be written to .*; make it writable, or name another one with PLATFORM_DATA",
    ):
        found.require_writable()


@pytest.mark.parametrize("name", ["my%20data", "[old]", "day=1", "all*"])
def test_a_data_folder_that_the_engines_would_misread_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"has a name that Delta or Polars take for something else"):
        load_settings({"PLATFORM_DATA": f"/data/{name}/lake"})


def test_a_data_folder_may_have_spaces_and_umlauts() -> None:
    assert load_settings({"PLATFORM_DATA": "/My Documents/Müll, 100%"}).data == Path("/My Documents/Müll, 100%")
