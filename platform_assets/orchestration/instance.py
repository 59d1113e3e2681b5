"""The Dagster instance below the data folder."""

from __future__ import annotations

import os
from importlib.resources import files

import dagster as dg

from platform_assets.settings import Settings

_CONFIG = "dagster.yaml"


def prepare_instance(settings: Settings) -> None:
    """Make the data folder and the instance's configuration where they are missing, and point Dagster there.

    Raises:
        SettingsError: when the data folder cannot be written to.
    """
    settings.require_writable()
    home = settings.dagster_home
    if not (home / _CONFIG).is_file():
        (home / _CONFIG).write_text((files("platform_assets.orchestration") / _CONFIG).read_text())
    os.environ["DAGSTER_HOME"] = str(home)


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the instance; use it as a context manager."""
    prepare_instance(settings)
    return dg.DagsterInstance.get()
