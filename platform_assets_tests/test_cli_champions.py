"""The commands promote, rollback and champions, as people and scripts type them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from platform_assets.cli import main
from platform_assets.orchestration import projects
from platform_assets_tests import shop

MODEL = "models:/shop.return_model"


@pytest.fixture
def data(finished_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of the shop, champion version 1, with an equal version 2."""
    for name in [name for name in os.environ if name.startswith("PLATFORM_")]:
        monkeypatch.delenv(name)
    root = tmp_path / "data"
    shutil.copytree(finished_shop, root)
    there = shop.platform(root)
    shop.make(there, "return_model", "return_promotion", catalogue=shop.PROMOTING)
    monkeypatch.setenv("PLATFORM_DATA", str(root))
    monkeypatch.setattr(projects, "find_catalogues", lambda: [shop.PROMOTING])
    return root


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(arguments) == status
    out, err = capsys.readouterr()
    return err if status else out


def test_promote_roll_back_and_look_back(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "promote", f"{MODEL}/2", "--reason", "holiday traffic")
    assert out.startswith("shop.return_model: version 2 is champion, version 1 was (by hand, decision 3)\n")
    assert shop.platform(data).registry.champion("shop", "return_model") == 2

    told = json.loads(said(capsys, "rollback", MODEL, "--reason", "too many complaints", "--json"))
    assert (told["champion"], told["champion_before"], told["verdict"]) == (1, 2, "rolled back")
    assert told["reason"].endswith(": too many complaints")
    assert shop.platform(data).registry.champion("shop", "return_model") == 1

    lines = said(capsys, "champions", MODEL).splitlines()
    assert [line.split()[0] for line in lines] == ["version", "1", "2", "1"]
    assert all(len(line) <= 80 for line in lines)
    listed = json.loads(said(capsys, "champions", MODEL, "--json"))
    assert [one["until"] for one in listed] == [*(one["from"] for one in listed[1:]), None]
    then = json.loads(said(capsys, "champions", MODEL, "--json", "--at", "2024-04-25"))
    assert [one["version"] for one in then] == [1]
    exactly = json.loads(said(capsys, "champions", MODEL, "--json", "--at", listed[1]["from"]))
    assert [one["version"] for one in exactly] == [2]


def test_what_is_refused_is_one_sentence_and_a_status_of_one(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no version was champion before 1" in said(capsys, "rollback", MODEL, "--reason", "x", status=1)
    assert "version 1 is champion already" in said(capsys, "promote", f"{MODEL}/1", "--reason", "x", status=1)
    assert "shop.other is not declared" in said(capsys, "champions", "models:/shop.other", status=1)
    assert "fleet.model is of no project; there are shop" in said(capsys, "champions", "models:/fleet.model", status=1)
    assert "nobody is known to have been champion then" in said(
        capsys, "champions", MODEL, "--at", "2001-01-01", status=1
    )
    shutil.rmtree(data)
    assert "there is no data folder" in said(capsys, "champions", MODEL, status=1)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["promote", MODEL, "--reason", "x"], "names no version; add it, for example models:/shop.return_model/3"),
        (["promote", f"{MODEL}/2"], "the following arguments are required: --reason"),
        (["promote", f"{MODEL}/2", "--reason", " "], "it is empty; say why"),
        (["rollback", "return_model", "--reason", "x"], "'return_model' names no model; write it as MLflow does"),
        (["champions", MODEL, "--at", "June"], "'June' is neither a day nor an instant"),
        (["champions", MODEL, "--at", "2013-06-14T12:00:00"], "is neither a day nor an instant"),
    ],
)
def test_wrong_usage_is_a_status_of_two(capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("command", ["promote", "rollback", "champions"])
def test_help_shows_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"example: platform-assets {command} models:/flights.late_arrival_model" in out
    assert "--json" in out
