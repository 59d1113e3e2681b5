"""Where a thing is shown in the two UIs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

_DAGSTER_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the UIs are served, such as `http://127.0.0.1:3000`."""

    dagster: str
    mlflow: str

    def run(self, run_id: str) -> str | None:
        """A Dagster run; None for a run that was none of Dagster's."""
        return f"{self.dagster}/runs/{run_id}" if _DAGSTER_RUN.fullmatch(run_id) else None

    def asset(self, asset: str, day: date | None = None) -> str:
        """An asset, or one day of it."""
        return f"{self.dagster}/assets/{asset}" + ("" if day is None else f"?partition={day}")

    def model_run(self, experiment_id: str, run_id: str) -> str:
        """An MLflow run."""
        return f"{self.mlflow}/#/experiments/{experiment_id}/runs/{run_id}"

    def model_version(self, full_name: str, version: int) -> str:
        """A version in MLflow's registry."""
        return f"{self.mlflow}/#/models/{full_name}/versions/{version}"
