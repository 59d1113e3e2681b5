"""The platform as a Dagster resource."""

# No `from __future__ import annotations`: Dagster recognizes a ResourceDependency by its type, not its text.
from functools import cache
from pathlib import Path
from typing import TypedDict

import dagster as dg
from dagster_duckdb import DuckDBResource

from platform_assets.lake.landing import Landing
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.run import Platform
from platform_assets.registry.models import Registry
from platform_assets.settings import Settings


class PlatformResource(dg.ConfigurableResource[Platform]):
    """Where files land, tables lie and models are registered; DuckDB comes from its own resource."""

    landing: str
    lake: str
    mlflow: str
    memory: int | None = None
    duckdb: dg.ResourceDependency[DuckDBResource]

    def open(self) -> Platform:
        """The platform that the pipelines take."""
        return Platform(
            landing=Landing(Path(self.landing)),
            lake=Lake(Path(self.lake)),
            registry=Registry(Path(self.mlflow)),
            connect=self.duckdb.get_connection,
            memory=self.memory,
        )


class Resources(TypedDict):
    """The resources of a code location by the names that assets ask for."""

    duckdb: DuckDBResource
    platform: PlatformResource


@cache
def resources(settings: Settings) -> Resources:
    """The resources of a code location; the same ones for every project of it, or Dagster refuses to merge them."""
    duckdb = DuckDBResource(database=":memory:", connection_config={"threads": 2})
    return {
        "duckdb": duckdb,
        "platform": PlatformResource(
            landing=str(settings.landing),
            lake=str(settings.lake),
            mlflow=str(settings.mlflow),
            memory=settings.memory,
            duckdb=duckdb,
        ),
    }
