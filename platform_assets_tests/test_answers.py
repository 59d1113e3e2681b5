"""The commands that answer a question, as people and scripts run them: 80 columns, JSON, exit codes, nothing written."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from platform_assets.cli import main
from platform_assets_tests import shop

MODEL = "models:/shop.return_model@champion"
FEATURE = "customer_history.spent_3d"


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished_shop: Path) -> None:
    """The finished shop as the data folder, and no settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("PLATFORM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PLATFORM_DATA", str(finished_shop))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr("platform_assets.orchestration.projects.find_catalogues", lambda: [shop.CATALOGUE])


@pytest.fixture
def prediction(finished_shop: Path) -> str:
    rows = pl.scan_delta(str(finished_shop / "lake" / "shop" / "return_predictions")).select("prediction_id")
    return str(rows.collect().item(100, 0))


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code, and what was said on standard output and on standard error."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    return code, *capsys.readouterr()


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code, out, err = asked(capsys, *arguments, "--json")
    assert err == ""
    return code, json.loads(out)


def without_links(out: str) -> list[str]:
    return [line for line in out.splitlines() if "http://" not in line]


def test_each_answer_reads_at_80_columns(capsys: pytest.CaptureFixture[str], prediction: str) -> None:
    for arguments in (["trace", prediction], ["reproduce", MODEL], ["usage", FEATURE], ["plan", "--allow"]):
        _, out, err = asked(capsys, *arguments)
        assert err == "", arguments
        assert len(out.splitlines()) > 3, arguments
        assert max(map(len, without_links(out))) <= 80, arguments


def test_a_trace(capsys: pytest.CaptureFixture[str], prediction: str) -> None:
    code, out, _ = asked(capsys, "trace", prediction)
    assert code == 0
    for wanted in (
        prediction,
        "shop.return_model version 1 (champion)",
        "shop/customer_history version 0: used, joined again: the same",
        "known at",
        "behind the prediction",
        "http://127.0.0.1:3000/assets/shop/return_predictions?partition=",
        "http://127.0.0.1:5000/#/models/shop.return_model/versions/1",
    ):
        assert wanted in out
    code, found = answered(capsys, "trace", prediction)
    assert (code, found["prediction_id"], found["model"]["version"]) == (0, prediction, 1)
    assert {feature["agrees"] for feature in found["features"]} == {True}
    assert found["problems"] == []


def test_a_trace_of_what_is_broken(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    finished_shop: Path,
    prediction: str,
) -> None:
    shutil.copytree(finished_shop, tmp_path / "data")
    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path / "data"))
    next((tmp_path / "data" / "lake" / "shop" / "product_sales").rglob("*.parquet")).unlink()
    code, out, _ = asked(capsys, "trace", prediction)
    assert code == 1
    assert "✗ shop/product_sales: 1 of the 35 files of version 0 are missing" in out
    assert "shop/product_sales version 0: its version is gone" in out


def test_a_reproduction(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = asked(capsys, "reproduce", MODEL)
    assert code == 0
    assert "made again: the same rows, the same trees, the same predictions" in out
    code, found = answered(capsys, "reproduce", "models:/shop.return_model/1")
    assert (code, found["is_reproduced"], found["broken"]) == (0, True, 0)
    changed = shop.with_changed("customer_history", max_age=timedelta(days=4))
    monkeypatch.setattr("platform_assets.orchestration.projects.find_catalogues", lambda: [changed])
    code, out, _ = asked(capsys, "reproduce", MODEL)
    assert code == 1
    assert "✗ code shop/customer_history: differs: its code or declaration changed" in " ".join(out.split())


def test_a_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = asked(capsys, "usage", FEATURE)
    assert code == 1
    assert "✗ not safe to drop: shop.return_model version 1 (champion) was fitted on" in " ".join(out.split())
    code, found = answered(capsys, "usage", FEATURE)
    assert (code, found["is_safe_to_drop"], found["training_datasets"]) == (1, False, ["shop/returns_dataset"])


def test_a_plan_that_reaches_the_champion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster has no record of the finished shop, which was made by direct calls: a refresh makes it all again."""
    code, out, _ = asked(capsys, "plan")
    assert code == 1
    assert "reaches the model shop.return_model (champion is version 1)" in out
    assert "unknown for 12 that never ran" in out
    assert "✗ a champion would be fitted anew; say --allow where that is meant" in out
    assert asked(capsys, "plan", "--allow")[0] == 0
    assert asked(capsys, "refresh", "--plan")[:2] == asked(capsys, "plan", "--allow")[:2]
    code, found = answered(capsys, "plan")
    assert (code, found["reaches_production"]) == (1, True)
    steps = {step["asset"]: step for step in found["projects"][0]["steps"]}
    assert steps["shop/orders"]["days"] == [{"first": "2024-03-11", "last": "2024-04-14"}]
    assert steps["shop/orders"]["rows"] == 35 * 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trace", "return_model-v1:none"], "there is no prediction 'return_model-v1:none'; copy one from"),
        (["reproduce", "models:/shop.return_model/9"], "there is no models:/shop.return_model/9; it has version 1"),
        (["plan", "--change", "shop/products=2024-04-10"], "shop/products is not cut into days; write --change shop/p"),
        (
            ["plan", "--change", "shop/orders=2042-04-10"],
            "no such partition: 2042-04-10; the days run from 2024-03-11 to 2024-04-14",
        ),
        (["plan", "--change", "shop/order"], "shop/order is not declared; did you mean shop/orders?"),
        (["usage", "customer_history.x"], "there is no feature 'customer_history.x'; customer_history has"),
    ],
)
def test_what_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    code, out, err = asked(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"platform-assets: {said}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trace"], "the following arguments are required: PREDICTION"),
        (["trace", "something"], "'something' is no prediction_id; one reads MODEL-vVERSION:KEYS, such as"),
        (
            ["reproduce", "return_model"],
            "'return_model' names no model; write it as MLflow does: models:/shop.return_model@",
        ),
        (["usage"], "the following arguments are required: FEATURE"),
        (
            ["plan", "--change", "orders"],
            "'orders' names nothing that could change; write shop/orders, shop/orders=2024",
        ),
        (["plan", "--change", "shop/orders=2024-04-31"], "'shop/orders=2024-04-31': day is out of range for month"),
        (["plan", "--change", "shop/orders=2024-04-14:2024-04-10"], "the days 2024-04-14 to 2024-04-10 run backwards"),
    ],
)
def test_wrong_usage_is_told_how_it_is_meant(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, _, err = asked(capsys, *arguments)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("command", ["plan", "trace", "reproduce", "usage"])
def test_help_shows_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = asked(capsys, command, "--help")
    assert code == 0
    assert f"example: platform-assets {command}" in out
    assert "exit code: 0" in out
    assert "--json" in out


@pytest.mark.parametrize("command", [["plan"], ["trace", "m-v1:x"], ["reproduce", MODEL], ["usage", FEATURE]])
def test_without_a_data_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    monkeypatch.setenv("PLATFORM_DATA", str(tmp_path / "data"))
    code, _, err = asked(capsys, *command)
    assert code == 1
    assert f"there is no data folder {tmp_path / 'data'}; correct PLATFORM_DATA" in err
    assert not (tmp_path / "data").exists()


def test_no_answer_writes_anything(capsys: pytest.CaptureFixture[str], finished_shop: Path, prediction: str) -> None:
    def held() -> dict[Path, tuple[int, bytes]]:
        """Everything there; of one file only the bytes, since MLflow writes it again, the same, with each load."""
        files = (path for path in finished_shop.rglob("*") if path.is_file())
        return {p: (0 if p.name == "registered_model_meta" else p.stat().st_mtime_ns, p.read_bytes()) for p in files}

    before = held()
    for arguments in (["trace", prediction], ["reproduce", MODEL], ["usage", FEATURE], ["plan", "--allow"]):
        asked(capsys, *arguments)
        assert held().keys() == before.keys(), arguments
        assert [path for path, state in held().items() if state != before[path]] == [], arguments
