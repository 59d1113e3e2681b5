"""A study in a Dagster run: it says how far it is, is called off and goes on, and comes to what a direct call does."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from platform_assets.pipelines.training import tuning as module
from platform_assets.registry.studies import study_folder
from platform_assets_tests import shop
from platform_assets_tests.orchestration.conftest import Deployment, deployed


def trials_kept(there: Deployment) -> int:
    (path,) = study_folder(there.platform.registry.root, "shop", "return_model").glob("*.journal")
    return len(path.read_text().splitlines()) - 1


def said(there: Deployment, result: dg.ExecuteInProcessResult) -> list[str]:
    records = there.instance.all_logs(result.run_id)
    return [record.user_message for record in records if record.user_message.startswith("trial ")]


def test_called_off_it_goes_on_where_it_was_and_comes_to_what_a_direct_call_does(
    full_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data", "direct"):
        shutil.copytree(full_data, tmp_path / name)
    expected = shop.make(shop.platform(tmp_path / "direct"), "return_model", catalogue=shop.TUNED)[0]
    real_fit, grown = module.fit_lightgbm, 0

    def called_off(*arguments: Any, **named: Any) -> Any:
        nonlocal grown
        grown += 1
        if grown == 5:
            raise DagsterExecutionInterruptedError
        return real_fit(*arguments, **named)

    monkeypatch.setattr(module, "fit_lightgbm", called_off)
    with deployed(tmp_path / "data", shop.TUNED) as there:
        with contextlib.suppress(DagsterExecutionInterruptedError):
            assert not there.execute("return_model").success
        assert trials_kept(there) == 4
        assert there.platform.registry.newest("shop", "return_model") == 1, "nothing was registered"

        result = there.execute("return_model")

        assert result.success
        assert trials_kept(there) == 12
        told = said(there, result)
        assert [line.partition(":")[0] for line in told] == [f"trial {n} of 12" for n in range(5, 13)]
        shown = there.instance.get_latest_materialization_event(there.key("return_model"))
        assert shown is not None
        metadata = {name: value.value for name, value in shown.asset_materialization.metadata.items()}
        assert metadata["content hash"] == expected.digest
        assert metadata["chosen settings"] == expected.facts["chosen settings"]
        assert metadata["tuning"].startswith("![tuning](data:image/png;base64,")
