"""What is dear to make, made once: an empty registry, and the shop with everything in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from platform_assets.pipelines.run import Platform
from platform_assets.registry.models import Registry
from platform_assets_tests import shop

# Generated examples take as long as they take on a busy machine, and the same ones every time.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a registry without models: MLflow takes seconds to make its database."""
    folder = tmp_path_factory.mktemp("registry") / "mlflow"
    assert Registry(folder).client.search_registered_models() == []
    return folder


@pytest.fixture(scope="session")
def finished_shop(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Path:
    """The root of a shop in which everything was made; tests leave it as it is, or take `shop_copy`."""
    root = tmp_path_factory.mktemp("shop")
    shutil.copytree(empty_registry, root / "mlflow")
    shop.land(root / "landing")
    shop.refresh(shop.platform(root))
    return root


@pytest.fixture
def shop_copy(finished_shop: Path, tmp_path: Path) -> Platform:
    """The finished shop, to be spoilt (its models' files stay where they were)."""
    shutil.copytree(finished_shop, tmp_path / "shop", copy_function=shutil.copy2)
    return shop.platform(tmp_path / "shop")


@pytest.fixture
def empty_shop(tmp_path: Path, empty_registry: Path) -> Callable[..., Platform]:
    """Makes a shop in which files have landed and nothing was made."""

    def make(name: str = "shop", **landed: object) -> Platform:
        root = tmp_path / name
        shutil.copytree(empty_registry, root / "mlflow")
        shop.land(root / "landing", **landed)
        return shop.platform(root)

    return make
