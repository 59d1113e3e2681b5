"""Registered versions by the name people write: `models:/shop.return_model@champion` or `models:/shop.return_model/3`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from platform_assets.errors import NotFound
from platform_assets.registry.models import Registry, run_of

_WRITTEN = re.compile(
    r"models:/(?P<catalogue>[a-z0-9_]+)\.(?P<model>[a-z0-9_]+)(?:@(?P<alias>[^/@\s]+)|/(?P<version>[1-9]\d*))?"
)


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """A model, or a version of it, as MLflow writes it.

    Attributes:
        catalogue: the project.
        model: the declared model's name.
        which: a version, or an alias; None where the model as a whole is meant.
    """

    catalogue: str
    model: str
    which: int | str | None

    @property
    def full(self) -> str:
        """The model's name in the registry."""
        return f"{self.catalogue}.{self.model}"

    def __str__(self) -> str:
        if self.which is None:
            return f"models:/{self.full}"
        return f"models:/{self.full}{'/' if isinstance(self.which, int) else '@'}{self.which}"


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """What the registry and the run behind it say of a version.

    Attributes:
        version: in the registry.
        aliases: in order.
        tags: of the version: what it was made of.
        run_id: the MLflow run.
        experiment_id: the experiment that the run is in.
        parameters: how it was fitted, as text.
    """

    version: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run_id: str
    experiment_id: str
    parameters: Mapping[str, str]


def read_model_name(text: str) -> ModelName:
    """Read `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or `models:/NAME` where the model as a whole is meant.

    Raises:
        ValueError: when it is none of these.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        msg = (
            f"{text!r} names no model; write it as MLflow does: models:/shop.return_model@champion, "
            "models:/shop.return_model/3 or models:/shop.return_model"
        )
        raise ValueError(msg)
    which = found["alias"] or (int(found["version"]) if found["version"] else None)
    return ModelName(catalogue=found["catalogue"], model=found["model"], which=which)


def find_version(registry: Registry, name: ModelName) -> RegisteredVersion:
    """Look a version up.

    Raises:
        NotFound: when there is none of that name.
        ModelError: when no run made it.
    """
    if not (registry.root / "mlflow.db").is_file():
        msg = f"{name}: nothing was ever registered in {registry.root}; run refresh first"
        raise NotFound(msg)
    from mlflow.exceptions import MlflowException

    client = registry.client
    try:
        if isinstance(name.which, str):
            found = client.get_model_version_by_alias(name.full, name.which)
        else:
            found = client.get_model_version(name.full, str(name.which))
        aliases = client.get_registered_model(name.full).aliases
        run = client.get_run(run_of(found))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        known = sorted(int(v.version) for v in client.search_model_versions(f"name = '{name.full}'"))
        there = f"it has version {', '.join(map(str, known))}" if known else f"no version of {name.full} is registered"
        msg = f"there is no {name}; {there} in {registry.root}"
        raise NotFound(msg) from error
    return RegisteredVersion(
        version=int(found.version),
        aliases=tuple(sorted(alias for alias, version in aliases.items() if str(version) == str(found.version))),
        tags=dict(found.tags),
        run_id=run_of(found),
        experiment_id=run.info.experiment_id,
        parameters=dict(run.data.params),
    )


def document(registry: Registry, run_id: str, title: str) -> str | None:
    """A text file that was logged with a run; None when it is gone, or no longer text."""
    address = urlparse(registry.client.get_run(run_id).info.artifact_uri)
    try:
        return (Path(unquote(address.path)) / title).read_text()
    except (OSError, UnicodeDecodeError):
        return None
