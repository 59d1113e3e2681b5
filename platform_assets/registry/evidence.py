"""What is known of a model beside itself, and how it is put into an MLflow run."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

_UNNAMEABLE = re.compile(r"[^\w-]")
_LONGEST_NAME, _LONGEST_DIGEST, _LONGEST_TAG, _MOST_METRICS = 60, 36, 500, 1000


@dataclass(frozen=True, kw_only=True)
class TableUsed:
    """A table that a model was made of.

    Attributes:
        name: the asset's name.
        version: of the Delta table.
        digest: what tells its content from another; at most 36 characters.
        uri: where it lies.
        role: `training` for the rows that were learned from, `behind it` for what those were made of.
        columns: its columns with their types; none where they are not told.
        rows: how many it has; None where it is not told.
        tags: what else is known of it.
    """

    name: str
    version: int
    digest: str
    uri: str
    role: str
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What speaks for a model, as it is logged.

    Attributes:
        logged_at: the instant that its figures carry (UTC).
        parameters: how it was fitted.
        metrics: figures by name.
        curves: figures that change step by step: pairs of step and value by name.
        pictures: PNG files by title.
        documents: text files by name.
        tables: what it was made of.
        card: what it is, in a few lines of Markdown.
    """

    logged_at: datetime
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[TableUsed] = ()
    card: str = ""


def metric_names(parts: Iterable[str]) -> dict[str, str]:
    """Each text as MLflow lets it stand in a metric's name; what would be told apart no more is numbered."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for part in parts:
        short = _UNNAMEABLE.sub("_", part)[:_LONGEST_NAME] or "_"
        name, number = short, 1
        while name in taken:
            number += 1
            name = f"{short}_{number}"
        taken.add(name)
        found[part] = name
    return found


def log_evidence(client: MlflowClient, run_id: str, evidence: Evidence) -> None:
    """Put everything into a run that is still open."""
    from mlflow.entities import Metric, Param

    at = int(evidence.logged_at.timestamp() * 1000)
    metrics = [Metric(name, value, at, 0) for name, value in evidence.metrics.items()]
    metrics += [Metric(name, value, at, step) for name, curve in evidence.curves.items() for step, value in curve]
    params = [Param(name, str(value)) for name, value in evidence.parameters.items()]
    client.log_batch(run_id, metrics=metrics[:_MOST_METRICS], params=params)
    for start in range(_MOST_METRICS, len(metrics), _MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _MOST_METRICS])
    if evidence.tables:
        client.log_inputs(run_id, datasets=[_dataset(table) for table in evidence.tables])
    _log_files(client, run_id, evidence)


def _log_files(client: MlflowClient, run_id: str, evidence: Evidence) -> None:
    with tempfile.TemporaryDirectory(prefix="platform-evidence-") as folder:
        root = Path(folder)
        for name, text in evidence.documents.items():
            (root / name).write_text(text)
        if evidence.pictures:
            (root / "plots").mkdir()
        for title, png in evidence.pictures.items():
            (root / picture_path(title)).write_bytes(png)
        client.log_artifacts(run_id, folder)


def picture_path(title: str) -> str:
    """Where a picture lies among the artifacts of a run."""
    return f"plots/{title.replace(' ', '_')}.png"


def _dataset(table: TableUsed) -> Any:
    """A table as MLflow lists it; its own Delta source drops version 0 and would have Spark read it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"type": kind, "name": name, "required": False} for name, kind in table.columns.items()]
    tags = {"mlflow.data.context": table.role, "delta_version": str(table.version), **table.tags}
    return DatasetInput(
        dataset=Dataset(
            name=table.name,
            digest=table.digest[:_LONGEST_DIGEST],
            source_type="delta_table",
            source=json.dumps({"path": table.uri, "delta_table_version": table.version}),
            schema=json.dumps({"mlflow_colspec": columns}) if columns else None,
            profile=None if table.rows is None else json.dumps({"num_rows": table.rows}),
        ),
        tags=[InputTag(key, value[:_LONGEST_TAG]) for key, value in tags.items()],
    )
