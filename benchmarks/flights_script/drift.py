"""One report of drift: what is asked from October on beside what the model learned from."""

from __future__ import annotations

from pathlib import Path

import mlflow
import polars as pl
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from benchmarks.flights_script.model import CATEGORIES, NAME, inputs_of

# Evidently sorts and draws in pandas; more rows than these change its findings little and its cost a lot.
SAMPLE = 20_000


def drift(out: Path, tracking: str) -> None:
    """Write the report, and put it beside the champion in MLflow."""
    rows = pl.read_parquet(out / "late_arrivals.parquet")
    inputs = inputs_of(rows)
    learned, asked = (rows.filter(split=part).select(inputs) for part in ("fit", "report"))
    numbers = [name for name in inputs if name not in CATEGORIES]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=CATEGORIES)
    reference, current = (
        Dataset.from_pandas(
            part.sample(min(SAMPLE, len(part)), seed=1).with_columns(pl.col(numbers).cast(pl.Float64)).to_pandas(),
            data_definition=definition,
        )
        for part in (learned, asked)
    )
    Report([DataDriftPreset()]).run(current, reference).save_html(str(out / "drift.html"))
    mlflow.set_tracking_uri(tracking)
    champion = mlflow.MlflowClient().get_model_version_by_alias(NAME, "champion")
    mlflow.MlflowClient().log_artifact(champion.run_id, str(out / "drift.html"))
