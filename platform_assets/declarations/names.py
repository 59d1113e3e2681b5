"""The one place where names are derived: asset keys, table paths, columns, checks and registered models."""

from __future__ import annotations

DAY = "day"
"""The partition column of every daily table."""

QUARANTINE = "quarantine"
LEDGER = "ledger"
PROFILES = "profiles"
MAINTENANCE = "maintenance"
"""The asset of every catalogue that keeps its tables in order."""


def asset_path(catalogue: str, name: str) -> tuple[str, str]:
    """The two levels of an asset key."""
    return (catalogue, name)


def asset_name(catalogue: str, name: str) -> str:
    """An asset key as people write it: `flights/departures`."""
    return "/".join(asset_path(catalogue, name))


def table_folder(catalogue: str, name: str) -> str:
    """Where a table lies below the lake's root."""
    return f"{catalogue}/{name}"


def quarantine_folder(catalogue: str, name: str) -> str:
    """Where the rows that a table refused lie below the lake's root."""
    return f"{QUARANTINE}/{catalogue}/{name}"


def profile_folder(catalogue: str, name: str) -> str:
    """Where the profiles of a table's days lie below the lake's root."""
    return f"{PROFILES}/{catalogue}/{name}"


def feature_column(prefix: str, feature: str) -> str:
    """A feature's column in a feature view: `origin_weather__wind_speed_mph`."""
    return f"{prefix}__{feature}"


def registered_model(catalogue: str, name: str) -> str:
    """A model's name in MLflow's registry: `flights.late_arrival_model`."""
    return f"{catalogue}.{name}"


def group_name(kind: str) -> str:
    """The Dagster group that gathers assets of one kind: `feature_groups`."""
    return kind.replace(" ", "_") + ("" if kind.endswith("s") else "s")
