"""A Dagster instance of the project's own kind around the small shop, and the shop once materialized by it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from alembic.script import ScriptDirectory

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days
from platform_assets.orchestration.definitions import build_definitions
from platform_assets.orchestration.instance import open_instance
from platform_assets.orchestration.metadata import key_of
from platform_assets.orchestration.refresh import carry_out, divide, look_again
from platform_assets.pipelines import drift_plots, plots
from platform_assets.pipelines.performance import plots as performance_plots
from platform_assets.pipelines.plan import plan
from platform_assets.pipelines.plots import _figure, _png
from platform_assets.pipelines.run import Platform
from platform_assets.settings import Settings, load_settings
from platform_assets_tests import shop

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
BLANK = _png(_figure(1, 1))
_revisions = cache(ScriptDirectory.from_config)
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A catalogue with a data folder of its own and an open instance."""

    settings: Settings
    catalogue: Catalogue
    definitions: dg.Definitions
    instance: dg.DagsterInstance

    @property
    def platform(self) -> Platform:
        return shop.platform(self.settings.data)

    def key(self, name: str) -> dg.AssetKey:
        return key_of(self.catalogue, name)

    @cached_property
    def job(self) -> dg.JobDefinition:
        """Any of the assets, with the checks that are part of materializing them."""
        alone = dg.Definitions(assets=self.definitions.assets, resources=self.definitions.resources)
        return alone.resolve_implicit_global_asset_job_def()

    def execute(self, *names: str, days: Days | None = None) -> dg.ExecuteInProcessResult:
        """One run of these assets: over a day, a range of days, or without any."""
        tags = (
            {} if days is None or len(days) == 1 else dict(zip(RANGE, map(str, (days.first, days.last)), strict=True))
        )
        return self.job.execute_in_process(
            instance=self.instance,
            run_config=QUIET,
            tags=tags,
            raise_on_error=False,
            asset_selection=[self.key(name) for name in names],
            partition_key=str(days.first) if days is not None and len(days) == 1 else None,
        )

    def refresh(self) -> None:
        runs = divide(self.catalogue, plan(self.platform, self.catalogue, now=datetime.now(UTC)))
        carry_out(self.definitions, self.instance, self.catalogue, runs, report=lambda _: None)
        look_again(self.definitions, self.instance, self.catalogue)

    def refresh_by_hand(self) -> None:
        """Bring everything up to date by direct calls, as from a notebook; Dagster hears nothing of it."""
        shop.refresh(self.platform, catalogue=self.catalogue, now=datetime.now(UTC))

    def rows(self, name: str, *, days: Days | None = None) -> Any:
        return self.platform.lake.scan(table_folder(self.catalogue.name, name), days=days).collect()

    def version(self, name: str) -> int | None:
        return self.platform.lake.version(table_folder(self.catalogue.name, name))

    def check(self, name: str, check: str) -> Any:
        """The newest evaluation of a check."""
        key = dg.AssetCheckKey(self.key(name), check)
        record = self.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        return record.event.get_dagster_event().asset_check_evaluation_data

    def materialized(self, name: str) -> set[str]:
        return set(self.instance.get_materialized_partitions(self.key(name)))


@contextmanager
def deployed(data: Path, catalogue: Catalogue = shop.CATALOGUE, **environ: str) -> Iterator[Deployment]:
    """The deployment over a data folder.

    Its pictures are blank, for drawing takes longer than all else of a run, and the revisions of Dagster's databases,
    which are files of its own, are read once and not for each instance.
    """
    settings = load_settings({"PLATFORM_DATA": str(data), **environ})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", _revisions)
        for module in (plots, drift_plots, performance_plots):
            patch.setattr(module, "_png", lambda _: BLANK)
        with open_instance(settings) as instance:
            yield Deployment(
                settings=settings,
                catalogue=catalogue,
                instance=instance,
                definitions=build_definitions(catalogue, settings=settings),
            )


@pytest.fixture(autouse=True)
def _dagster_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Opening an instance points the process at it; give that back."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


@pytest.fixture(scope="session")
def empty_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an instance whose databases are made, which takes a while."""
    data = tmp_path_factory.mktemp("empty-shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(data))
        with deployed(data):
            pass
    return data


@pytest.fixture(scope="session")
def full_data(tmp_path_factory: pytest.TempPathFactory, empty_data: Path, empty_registry: Path) -> Path:
    """The shop with everything landed and refreshed through Dagster; copy it to change it."""
    data = tmp_path_factory.mktemp("full-shop") / "data"
    shutil.copytree(empty_data, data)
    shutil.copytree(empty_registry, data / "mlflow", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(data))
        with deployed(data) as there:
            shop.land(there.settings.landing)
            there.refresh()
    return data


@pytest.fixture
def there(empty_data: Path, tmp_path: Path) -> Iterator[Deployment]:
    """The shop before anything landed."""
    shutil.copytree(empty_data, tmp_path / "data")
    with deployed(tmp_path / "data") as found:
        yield found


@pytest.fixture
def full(full_data: Path, tmp_path: Path) -> Iterator[Deployment]:
    """The shop up to date, in a copy of its own."""
    shutil.copytree(full_data, tmp_path / "data")
    with deployed(tmp_path / "data") as found:
        yield found
