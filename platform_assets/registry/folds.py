"""A backtest in MLflow: one run for each of its declarations, and below it one for each month as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from platform_assets.registry.locks import locked
from platform_assets.registry.models import Registry

_PARENT, _MONTH, _DIGEST, _OF = "mlflow.parentRunId", "backtest.month", "backtest.digest", "backtest"


@dataclass(frozen=True, kw_only=True)
class FoldRun:
    """What is logged of one month.

    Attributes:
        month: its first day.
        description: of the backtest.
        digest: a hash of the fold's model.
        metrics: figures on *report*.
        parameters: how it was fitted, and on how many rows.
        tags: what it was made of; under `fingerprint` that of the backtest.
    """

    month: date
    description: str
    digest: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]


def keep_fold(registry: Registry, catalogue: str, name: str, fold: FoldRun) -> str:
    """Log a month below its backtest's run and give back the id of that child; the one it replaces goes to MLflow's bin.

    Whoever is killed between the two leaves both, and the next time the older goes. A fold with equal figures of
    an equal model is not logged again.
    """
    with locked(registry.root / "folds.lock"):
        return _keep(registry, catalogue, name, fold)


def _keep(registry: Registry, catalogue: str, name: str, fold: FoldRun) -> str:
    from mlflow.entities import Metric, Param, RunTag

    client = registry.client
    experiment = registry.experiment(catalogue)
    parent = _parent(registry, experiment, name, fold)
    children = client.search_runs(
        [experiment],
        f"tags.`{_PARENT}` = '{parent}' and tags.`{_MONTH}` = '{fold.month}'",
        order_by=["start_time DESC"],
    )
    finished = [run for run in children if run.info.status == "FINISHED"]
    if finished and _says_the_same(finished[0], fold):
        child = str(finished[0].info.run_id)
    else:
        tags = {**fold.tags, _PARENT: parent, _MONTH: str(fold.month), _DIGEST: fold.digest}
        made = client.create_run(experiment, run_name=f"{name} {fold.month:%Y-%m}", tags=tags)
        child = str(made.info.run_id)
        client.log_batch(
            child,
            metrics=[Metric(key, value, 0, 0) for key, value in fold.metrics.items()],
            params=[Param(key, str(value)) for key, value in fold.parameters.items()],
        )
        client.set_terminated(child, "FINISHED")
    for old in children:
        if old.info.run_id != child:
            client.delete_run(old.info.run_id)
    step = fold.month.year * 12 + fold.month.month
    client.log_batch(
        parent,
        metrics=[Metric(key, value, 0, step) for key, value in fold.metrics.items() if not key.startswith("baseline")],
        tags=[RunTag("newest_month", str(fold.month))],
    )
    return child


def _says_the_same(run: Any, fold: FoldRun) -> bool:
    return run.data.tags.get(_DIGEST) == fold.digest and dict(run.data.metrics) == dict(fold.metrics)


def _parent(registry: Registry, experiment: str, name: str, fold: FoldRun) -> str:
    client, fingerprint = registry.client, fold.tags["fingerprint"]
    found = client.search_runs(
        [experiment], f"tags.`{_OF}` = '{name}' and tags.fingerprint = '{fingerprint}'", max_results=1
    )
    if found:
        return str(found[0].info.run_id)
    tags = {
        _OF: name,
        "fingerprint": fingerprint,
        "dagster.asset": fold.tags["dagster.asset"],
        "mlflow.note.content": fold.description,
    }
    made = client.create_run(experiment, run_name=name, tags=tags)
    client.set_terminated(made.info.run_id, "FINISHED")
    return str(made.info.run_id)
