"""Models in MLflow: one run per training, registered versions, and the alias that says who is champion."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.calibration import Probabilities
from platform_assets.compute.classifier import Classifier
from platform_assets.compute.preparation import Preparation
from platform_assets.declarations.names import registered_model
from platform_assets.errors import ModelError
from platform_assets.registry.evidence import Evidence, log_evidence

if TYPE_CHECKING:
    import lightgbm
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import ModelInfo

CHAMPION = "champion"
_PREPARATION = "preparation"
_AFTER = "after_the_trees"
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_LONGEST_DESCRIPTION = 5_000


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A model as it was logged and registered."""

    version: int
    run_id: str
    uri: str


@dataclass(frozen=True, kw_only=True)
class Aliased:
    """A registered version that has an alias.

    Attributes:
        name: the declared model's name.
        version: in the registry.
        aliases: in order.
        tags: of the version: what it was made of.
    """

    name: str
    version: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A registered version, ready to score.

    Attributes:
        version: in the registry.
        classifier: what was fitted.
        tags: of the version: what it was made of.
    """

    version: int
    classifier: Classifier
    tags: Mapping[str, str]

    def predict(self, rows: pl.DataFrame) -> Probabilities:
        """The probability of the positive outcome for each row, with its interval where the model tells one."""
        return self.classifier.predict(rows)

    def score(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """The probability of the positive outcome for each row; columns are matched by name."""
        return self.predict(rows).probability

    def contributions(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """What each input adds to the log odds of each row before calibration, in the order of the inputs."""
        return self.classifier.contributions(rows)


@dataclass(frozen=True)
class Registry:
    """MLflow with its metadata in one SQLite file and its artifacts beside it."""

    root: Path
    _cache: dict[tuple[str, int], LoadedModel] = field(default_factory=dict, repr=False, compare=False)

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client; the first use makes the database."""
        self.root.mkdir(parents=True, exist_ok=True)
        # MLflow's first-use migrations log every step at INFO.
        import logging

        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)
        import mlflow

        mlflow.set_tracking_uri(self.tracking_uri)
        return mlflow.MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    def champion(self, catalogue: str, name: str) -> int | None:
        """The version that the alias `champion` names, or None when there is none."""
        if not (self.root / "mlflow.db").is_file():
            return None
        from mlflow.exceptions import MlflowException

        try:
            return int(self.client.get_model_version_by_alias(registered_model(catalogue, name), CHAMPION).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def aliased(self, catalogue: str) -> list[Aliased]:
        """Every version of a catalogue's models that an alias names, also of models that are no longer declared."""
        if not (self.root / "mlflow.db").is_file():
            return []
        found, prefix, page = [], registered_model(catalogue, ""), None
        while page != "":
            models = self.client.search_registered_models(page_token=page)
            for model in (model for model in models if model.name.startswith(prefix)):
                by_version: dict[int, list[str]] = {}
                for alias, version in sorted(model.aliases.items()):
                    by_version.setdefault(int(version), []).append(alias)
                for number, aliases in sorted(by_version.items()):
                    tags = dict(self.client.get_model_version(model.name, str(number)).tags)
                    name = model.name.removeprefix(prefix)
                    found.append(Aliased(name=name, version=number, aliases=tuple(aliases), tags=tags))
            page = models.token or ""
        return found

    def metrics(self, catalogue: str, name: str, version: int) -> dict[str, float]:
        """The figures logged with a version.

        Raises:
            ModelError: when no run made it.
        """
        found = self.client.get_model_version(registered_model(catalogue, name), str(version))
        return dict(self.client.get_run(run_of(found)).data.metrics)

    def newest(self, catalogue: str, name: str) -> int | None:
        """The newest registered version, or None when there is none."""
        if not (self.root / "mlflow.db").is_file():
            return None
        full = registered_model(catalogue, name)
        found = self.client.search_model_versions(f"name='{full}'", max_results=1, order_by=["version_number DESC"])
        return int(found[0].version) if found else None

    def tags(self, catalogue: str, name: str, version: int) -> dict[str, str]:
        """The tags of a registered version; none where somebody deleted it."""
        found = self._version(catalogue, name, version)
        return {} if found is None else dict(found.tags)

    def is_there(self, catalogue: str, name: str, version: int) -> bool:
        """Whether a version is registered; somebody may have deleted it."""
        return self._version(catalogue, name, version) is not None

    def _version(self, catalogue: str, name: str, version: int) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version(registered_model(catalogue, name), str(version))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def tag(self, catalogue: str, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Put tags on a registered version; those of the same name are replaced."""
        full = registered_model(catalogue, name)
        for key, value in tags.items():
            _set_at_once(partial(self.client.set_model_version_tag, full, str(version), key, value))

    def size(self, catalogue: str, name: str, version: int) -> int:
        """The bytes of a version's files."""
        from urllib.parse import unquote, urlparse

        found = self.client.get_model_version(registered_model(catalogue, name), str(version))
        # A version that was looked up names its model only in its source, `models:/m-…`.
        location = self.client.get_logged_model(str(found.source).removeprefix("models:/")).artifact_location
        files = Path(unquote(urlparse(location).path)).rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def crown(self, catalogue: str, name: str, version: int) -> None:
        """Let the alias `champion` name this version from now on."""
        full = registered_model(catalogue, name)
        _set_at_once(partial(self.client.set_registered_model_alias, full, CHAMPION, str(version)))

    def load(self, catalogue: str, name: str, version: int) -> LoadedModel:
        """Load a registered version.

        Raises:
            ModelError: naming the model and version, when it cannot be loaded.
        """
        full = registered_model(catalogue, name)
        if (full, version) not in self._cache:
            import mlflow.lightgbm
            from mlflow.exceptions import MlflowException

            try:
                found = self.client.get_model_version(full, str(version))
                mlflow.set_tracking_uri(self.tracking_uri)  # another registry of this process may have moved it
                info = mlflow.models.get_model_info(f"models:/{full}/{version}")
                booster = mlflow.lightgbm.load_model(f"models:/{full}/{version}")
            except (MlflowException, OSError) as error:
                msg = f"model {full} version {version} cannot be loaded from {self.root}: {error}"
                raise ModelError(msg) from error
            self._cache[full, version] = LoadedModel(
                version=version, classifier=_classifier(info.metadata or {}, booster), tags=dict(found.tags)
            )
        return self._cache[full, version]

    def experiment(self, catalogue: str) -> str:
        """The id of the catalogue's experiment in MLflow, which is made where there is none."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(catalogue)
        if found:
            return str(found.experiment_id)
        try:
            where = self.artifacts.absolute().as_uri()
            return str(self.client.create_experiment(catalogue, artifact_location=where))
        except MlflowException as error:
            made = self.client.get_experiment_by_name(catalogue)
            if error.error_code != _EXISTS or made is None:
                raise
            return str(made.experiment_id)  # another process was faster

    @contextmanager
    def run(self, catalogue: str, *, name: str, tags: Mapping[str, str], description: str) -> Iterator[str]:
        """One MLflow run in the catalogue's experiment; FAILED when the body raises."""
        client = self.client
        run = client.create_run(
            self.experiment(catalogue), run_name=name, tags={**tags, "mlflow.note.content": description}
        )
        try:
            yield run.info.run_id
        except BaseException:
            client.set_terminated(run.info.run_id, "FAILED")
            raise
        client.set_terminated(run.info.run_id, "FINISHED")

    def log(
        self,
        run_id: str,
        *,
        catalogue: str,
        name: str,
        classifier: Classifier,
        example: pl.DataFrame,
        evidence: Evidence,
        tags: Mapping[str, str],
    ) -> Logged:
        """Log everything about a model to its run, and only then register it as a new version.

        So a version is never there without its evidence, wherever it is interrupted.

        Args:
            run_id: the run, still open.
            catalogue: the project.
            name: the declared model's name.
            classifier: what was fitted; what stands before and after the trees is stored in the model's own metadata.
            example: a few input rows as the feature view holds them.
            evidence: what speaks for it.
            tags: put on the registered version.
        """
        import lightgbm
        import mlflow.lightgbm
        import pandas as pd  # type: ignore[import-untyped]
        from mlflow.models import infer_signature

        log_evidence(self.client, run_id, evidence)
        full = registered_model(catalogue, name)
        encoded = pd.DataFrame(classifier.preparation.encode(example), columns=list(classifier.preparation.inputs))
        mlflow.set_tracking_uri(self.tracking_uri)  # another registry of this process may have moved it
        # Told the run by its id: MLflow's own `start_run` would call it finished before there is a version.
        made = self.client.create_logged_model(
            self.client.get_run(run_id).info.experiment_id,
            name=name,
            source_run_id=run_id,
            params={key: str(value) for key, value in evidence.parameters.items()},
        )
        with _quiet():
            info = mlflow.lightgbm.log_model(
                classifier.booster,
                name=name,
                run_id=run_id,
                model_id=made.model_id,
                signature=infer_signature(encoded, np.zeros(len(encoded))),
                input_example=encoded,
                pip_requirements=[f"lightgbm=={lightgbm.__version__}", f"mlflow=={mlflow.__version__}"],
                metadata={
                    _PREPARATION: json.dumps(classifier.preparation.to_dict()),
                    _AFTER: json.dumps(classifier.after_the_trees()),
                },
            )
        version = register(self.client, full, info, run_id=run_id, tags=tags, description=evidence.card)
        return Logged(version=version, run_id=run_id, uri=f"models:/{full}/{version}")


def _set_at_once(what: Callable[[], None]) -> None:
    """Set something in MLflow; once more where another was faster.

    MLflow looks whether a row is there and then inserts it: of two who are first, the later one's insert fails.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import IntegrityError

    try:
        what()
    except MlflowException as error:
        if not isinstance(error.__cause__, IntegrityError):
            raise
        what()


def register(
    client: MlflowClient, full: str, logged: ModelInfo, *, run_id: str, tags: Mapping[str, str], description: str
) -> int:
    """Make a logged model the next version of its name, with its tags and description in one step."""
    from mlflow.exceptions import MlflowException

    if not client.search_registered_models(f"name = '{full}'"):
        try:
            client.create_registered_model(full)
        except MlflowException as error:
            if error.error_code != _EXISTS:  # another process was faster
                raise
    made = client.create_model_version(
        full,
        source=logged.model_uri,
        run_id=run_id,
        model_id=logged.model_id,
        tags=dict(tags),
        description=description[:_LONGEST_DESCRIPTION],  # Postgres refuses more
        await_creation_for=0,
    )
    return int(made.version)


def run_of(version: ModelVersion) -> str:
    """The id of the MLflow run that a version came of.

    Raises:
        ModelError: when there is none: MLflow lets people register files of any origin.
    """
    if version.run_id is None:
        msg = (
            f"model {version.name} version {version.version} was registered by hand, without a run: nothing says what "
            "it was made of; let a version that was trained here have its alias, and delete this one"
        )
        raise ModelError(msg)
    return version.run_id


def _classifier(stored: Mapping[str, Any], booster: lightgbm.Booster) -> Classifier:
    """What was stored around the trees; versions from before calibration have nothing after them."""
    preparation = Preparation.from_dict(json.loads(stored[_PREPARATION]))
    return Classifier.restore(preparation, booster, json.loads(stored.get(_AFTER, "{}")))


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow reports each registration at INFO; the materialization's metadata says the same, better."""
    import logging

    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
