"""Training through the platform beside a bare LightGBM script: the same rows, settings and trees, in one run.

The script reads the training dataset, encodes the texts, grows trees on *fit* until *select* has had enough, grows as
many anew on both, scores *report*, measures it and saves the trees. `fit` of the platform does the same; `train` also
measures by day and slice, explains, draws, and registers the model in MLflow with its evidence. *Wrong* counts
probabilities on *report* that differ from the script's in any bit.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from benchmarks import visits
from benchmarks.contest import Contender, Contest, Work, main
from platform_assets.compute.metrics import performance

if TYPE_CHECKING:
    from platform_assets.declarations.models import Model
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Run
from platform_assets.pipelines.training.fitting import fit

DAYS = visits.LEARNED


def make(root: Path, *, rows: int) -> None:
    """Everything up to the training dataset."""
    days = Days(visits.FIRST, visits.FIRST + (DAYS - 1) * ONE_DAY)
    visits.land(root, days, per_day=rows // DAYS)
    catalogue = visits.project(DAYS)
    visits.make(root, catalogue, "visits", "visitor_habits", "visit_ordered", "visits_asked", days=days)
    visits.make(root, catalogue, "visit_orders")


def bare_script(root: Path) -> Work:
    import lightgbm

    inputs = [*visits.NUMBERS, *visits.TEXTS, "visitor_habits__visits_7d", "visitor_habits__spent_7d"]
    settings = {
        **visits.SETTINGS,
        "objective": "binary",
        "metric": "binary_logloss",
        "verbosity": -1,
        "seed": 20130101,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": os.cpu_count(),
    }

    def encoded(frame: pl.DataFrame, levels: dict[str, list[str]]) -> np.ndarray:
        codes = [
            pl.col(name).replace_strict({level: n for n, level in enumerate(levels[name])}, default=None)
            if name in levels
            else pl.col(name)
            for name in inputs
        ]
        return frame.select(column.cast(pl.Float64) for column in codes).to_numpy()

    def grow(
        learned: pl.DataFrame, rounds: int, held: pl.DataFrame | None
    ) -> tuple[lightgbm.Booster, dict[str, list[str]]]:
        levels = {name: learned[name].unique().drop_nulls().sort().to_list() for name in visits.TEXTS}
        names = {"feature_name": inputs, "categorical_feature": list(visits.TEXTS)}
        rows = lightgbm.Dataset(encoded(learned, levels), learned["ordered"].cast(pl.Float64).to_numpy(), **names)
        judged, callbacks = [], []
        if held is not None:
            truth = held["ordered"].cast(pl.Float64).to_numpy()
            judged = [lightgbm.Dataset(encoded(held, levels), truth, reference=rows)]
            callbacks = [lightgbm.early_stopping(visits.PATIENCE, verbose=False)]
        return lightgbm.train(settings, rows, rounds, valid_sets=judged, callbacks=callbacks), levels

    def work() -> np.ndarray:
        table = pl.read_delta(str(root / "lake" / table_folder("visits", "visit_orders")))
        parts = {part: table.filter(pl.col("split") == part) for part in ("fit", "select", "report")}
        first, _ = grow(parts["fit"], visits.ROUNDS, parts["select"])
        model, levels = grow(pl.concat([parts["fit"], parts["select"]]), first.best_iteration, None)
        said = model.predict(encoded(parts["report"], levels))
        performance(parts["report"]["ordered"].cast(pl.Float64).to_numpy(), said)
        model.save_model(root / "bare.txt")
        return said

    return work


def fit_alone(root: Path) -> Work:
    import lightgbm  # noqa: F401 - what is loaded on first use does not count

    catalogue, there = visits.project(DAYS), visits.platform(root)
    model = cast("Model", catalogue["order_model"])

    def work() -> np.ndarray:
        rows = there.lake.scan(table_folder("visits", "visit_orders"))
        fitted = fit(model, rows, run=Run(run_id="fit", now=datetime.now(UTC)))
        said = fitted.classifier.predict(fitted.parts["report"]).probability
        performance(fitted.truth["report"], said)
        return said

    return work


def train_whole(root: Path) -> Work:
    import matplotlib.pyplot  # noqa: F401, ICN001
    import mlflow.lightgbm
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import shap  # noqa: F401 - what is loaded on first use does not count

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    catalogue, there = visits.project(DAYS), visits.platform(root)

    def work() -> np.ndarray:
        run = Run(run_id="train", now=datetime.now(UTC))
        made = materialize(there, catalogue, "order_model", run)
        model = there.registry.load("visits", "order_model", made.version)
        rows = there.lake.scan(table_folder("visits", "visit_orders")).filter(pl.col("split") == "report").collect()
        return model.score(rows)

    return work


def keep(root: Path, scores: Any) -> None:
    np.save(root / "truth.npy", scores)


def wrong(root: Path, scores: Any) -> int:
    return int((scores != np.load(root / "truth.npy")).sum())


CONTEST = Contest(
    module="benchmarks.training",
    work="Training on {rows} rows of 30 columns, at most 300 trees of 31 leaves, twice (stopped early, then refitted)",
    sizes={
        "small": {"rows": 30_000, "repeat": 1},
        "default": {"rows": 150_000, "repeat": 3},
        "large": {"rows": 2_000_000, "repeat": 3},
    },
    make=make,
    contenders={
        "a bare LightGBM script (the floor)": Contender(ready=bare_script),
        "fit": Contender(ready=fit_alone),
        "train, with its evidence in MLflow": Contender(ready=train_whole),
    },
    base="a bare LightGBM script (the floor)",
    truth="a bare LightGBM script (the floor)",
    keep=keep,
    wrong=wrong,
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
