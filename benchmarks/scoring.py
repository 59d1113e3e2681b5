"""Scoring through the platform beside LightGBM's own predict and MLflow's pyfunc, with the same trees, in one run.

Rows lie as a feature view holds them, with text and nulls. LightGBM is handed the right matrix, ready made, and
pyfunc the same matrix as a pandas frame: what it takes to make them counts for the platform alone. *Wrong* counts
probabilities that differ from LightGBM's in any bit.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.contest import Contender, Contest, Work, main
from platform_assets.compute.classifier import Classifier
from platform_assets.compute.preparation import Preparation
from platform_assets.registry.evidence import Evidence
from platform_assets.registry.models import LoadedModel, Registry

NUMBERS, CATEGORIES, LEVELS, LEARNED = 26, 4, 30, 50_000
ONE_ROW = 200
"""So often is a single row scored in one process."""
ONE = "LightGBM's predict, one row"


def make(root: Path, *, rows: int, trees: int) -> None:
    """Write the rows and register a model that was fitted on others like them."""
    import lightgbm

    dice = np.random.default_rng(7)
    count = rows + LEARNED
    numbers = dice.normal(size=(count, NUMBERS))
    numbers[dice.random(numbers.shape) < 0.05] = np.nan
    codes = dice.integers(0, LEVELS, (count, CATEGORIES))
    frame = pl.DataFrame(
        {f"n{n}": numbers[:, n] for n in range(NUMBERS)}
        | {f"c{n}": pl.Series(codes[:, n]).cast(pl.String) for n in range(CATEGORIES)}
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    odds = np.nan_to_num(numbers[:, :8]).sum(axis=1) / 2 + codes[:, 0] / LEVELS
    truth = (dice.random(count) < 1 / (1 + np.exp(-odds))).astype(float)[:LEARNED]
    learned, categories = frame.head(LEARNED), [f"c{n}" for n in range(CATEGORIES)]
    preparation = Preparation.fit(learned, inputs=frame.columns, categories=categories)
    settings = {"objective": "binary", "num_leaves": 63, "verbosity": -1, "seed": 7, "learning_rate": 0.05}
    matrix = preparation.encode(learned)
    dataset = lightgbm.Dataset(matrix, truth, feature_name=frame.columns, categorical_feature=categories)
    booster = lightgbm.train(settings, dataset, num_boost_round=trees)
    frame.tail(rows).write_parquet(root / "rows.parquet")
    registry = Registry(root / "mlflow")
    with registry.run("scoring", name="model", tags={}, description="Scored.") as run_id:
        registry.log(
            run_id,
            catalogue="scoring",
            name="model",
            classifier=Classifier(booster=booster, preparation=preparation),
            example=learned.head(3),
            evidence=Evidence(logged_at=datetime.now(UTC)),
            tags={},
        )


def given(root: Path, count: int | None) -> tuple[LoadedModel, pl.DataFrame]:
    """The model, and all rows or the first ones."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    rows = pl.read_parquet(root / "rows.parquet")
    return Registry(root / "mlflow").load("scoring", "model", 1), rows if count is None else rows.head(count)


def ours(root: Path, count: int | None = None) -> Work:
    model, rows = given(root, count)
    model.score(rows.head(1))
    return lambda: model.score(rows)


def lightgbm_predict(root: Path, count: int | None = None) -> Work:
    model, rows = given(root, count)
    matrix, booster = np.ascontiguousarray(model.classifier.preparation.encode(rows)), model.classifier.booster
    booster.predict(matrix[:1])
    return lambda: np.asarray(booster.predict(matrix, num_threads=os.cpu_count() or 1))


def pyfunc(root: Path, count: int | None = None) -> Work:
    import mlflow.pyfunc
    import pandas as pd

    model, rows = given(root, count)
    preparation = model.classifier.preparation
    frame = pd.DataFrame(preparation.encode(rows), columns=list(preparation.inputs))
    mlflow.set_tracking_uri(Registry(root / "mlflow").tracking_uri)
    loaded = mlflow.pyfunc.load_model("models:/scoring.model/1")
    loaded.predict(frame.head(1))
    return lambda: np.asarray(loaded.predict(frame))


def keep(root: Path, scores: Any) -> None:
    np.save(root / "truth.npy", scores)


def wrong(root: Path, scores: Any) -> int:
    return int((scores != np.load(root / "truth.npy")[: len(scores)]).sum())


CONTEST = Contest(
    module="benchmarks.scoring",
    work="Scoring {rows} rows of 30 columns by {trees} trees of 63 leaves",
    sizes={
        "small": {"rows": 2_000, "trees": 20, "repeat": 1},
        "default": {"rows": 200_000, "trees": 500, "repeat": 3},
        "large": {"rows": 1_000_000, "trees": 500, "repeat": 3},
    },
    make=make,
    contenders={
        "LightGBM's predict of a matrix (the floor)": Contender(ready=lightgbm_predict),
        "LoadedModel.score of rows": Contender(ready=ours),
        "MLflow's pyfunc of a frame": Contender(ready=pyfunc),
        ONE: Contender(ready=lambda root: lightgbm_predict(root, 1), times=ONE_ROW, base=ONE),
        "LoadedModel.score, one row": Contender(ready=lambda root: ours(root, 1), times=ONE_ROW, base=ONE),
        "MLflow's pyfunc, one row": Contender(ready=lambda root: pyfunc(root, 1), times=ONE_ROW, base=ONE),
    },
    base="LightGBM's predict of a matrix (the floor)",
    truth="LightGBM's predict of a matrix (the floor)",
    keep=keep,
    wrong=wrong,
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
