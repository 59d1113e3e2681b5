"""The model: grown, measured, kept in MLflow, and asked about every flight from October on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import lightgbm
import mlflow
import numpy as np
import polars as pl
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.flights_script.clean import NEW_YORK
from benchmarks.flights_script.dataset import REPORT_FROM

NAME = "late_arrivals"
REQUEST = [
    "carrier", "origin", "destination", "scheduled_hour", "minute_of_day", "weekday", "distance_miles",
    "scheduled_block_minutes", "origin_flights_in_hour", "origin_flights_in_day",
]  # fmt: skip
CATEGORIES = ["carrier", "origin", "destination", "aircraft_rotation__last_leg_destination"]
# In this order, since LightGBM draws features by their number.
VIEWS = [
    "origin_traffic", "origin_carrier_traffic", "destination_traffic", "carrier_today", "aircraft_rotation",
    "flight_number_history", "route_history", "origin_weather",
]  # fmt: skip
ROUNDS, PATIENCE = 400, 40
PARAMETERS = {
    "learning_rate": 0.06, "num_leaves": 31, "min_data_in_leaf": 200, "feature_fraction": 0.4, "bagging_fraction": 0.8,
    "bagging_freq": 1, "lambda_l2": 10.0, "max_bin": 127, "cat_smooth": 50.0, "min_data_per_group": 200,
    "objective": "binary", "metric": "binary_logloss", "verbosity": -1, "seed": 20130101, "deterministic": True,
    "force_row_wise": True, "num_threads": os.cpu_count() or 1,
}  # fmt: skip
Levels = dict[str, list[str]]


def train(out: Path, tracking: str) -> None:
    """Grow trees until *select* has had enough, grow as many anew on both, measure on *report*, and register."""
    rows = pl.read_parquet(out / "late_arrivals.parquet")
    fit, select, report = (rows.filter(split=part) for part in ("fit", "select", "report"))
    inputs = inputs_of(rows)
    first, _ = grow(fit, inputs, ROUNDS, select)
    model, levels = grow(pl.concat([fit, select]), inputs, first.best_iteration, None)
    said = model.predict(encoded(report, inputs, levels))
    mlflow.set_tracking_uri(tracking)
    if mlflow.get_experiment_by_name(NAME) is None:
        mlflow.create_experiment(NAME, artifact_location=str(out / "artifacts"))
    mlflow.set_experiment(NAME)
    with mlflow.start_run():
        mlflow.log_params(PARAMETERS | {"trees": first.best_iteration, "fit_rows": len(fit) + len(select)})
        mlflow.log_metrics(
            {"auc": float(roc_auc_score(report["late"], said)), "log_loss": float(log_loss(report["late"], said))}
        )
        mlflow.log_dict({"inputs": inputs, "levels": levels}, "preparation.json")
        example = encoded(report.head(5), inputs, levels)
        kept = mlflow.lightgbm.log_model(
            model,
            name="model",
            signature=mlflow.models.infer_signature(example, said[:5]),
            input_example=example,
            registered_model_name=NAME,
            pip_requirements=[f"lightgbm=={lightgbm.__version__}"],
        )
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", kept.registered_model_version)


def predict(out: Path, tracking: str) -> None:
    """The champion's probability for every flight from October on."""
    mlflow.set_tracking_uri(tracking)
    champion = mlflow.MlflowClient().get_model_version_by_alias(NAME, "champion")
    model = mlflow.lightgbm.load_model(f"models:/{NAME}@champion")
    told = json.loads(mlflow.artifacts.load_text(f"runs:/{champion.run_id}/preparation.json"))
    day = pl.col("scheduled_departure").dt.convert_time_zone(NEW_YORK).dt.date()
    rows = pl.read_parquet(out / "asked.parquet").filter(day >= REPORT_FROM)
    probability = model.predict(encoded(rows, told["inputs"], told["levels"]))
    predictions = rows.select("flight_id", "prediction_time", probability=pl.Series(probability))
    predictions.write_parquet(out / "predictions.parquet")


def grow(
    rows: pl.DataFrame, inputs: list[str], rounds: int, held: pl.DataFrame | None
) -> tuple[lightgbm.Booster, Levels]:
    """Trees, and the levels of the categories that they know."""
    levels = {name: rows[name].unique().drop_nulls().sort().to_list() for name in CATEGORIES}
    told = {"feature_name": inputs, "categorical_feature": CATEGORIES}
    learned = lightgbm.Dataset(encoded(rows, inputs, levels), truth(rows), **told)
    judged, callbacks = [], []
    if held is not None:
        judged = [lightgbm.Dataset(encoded(held, inputs, levels), truth(held), reference=learned)]
        callbacks = [lightgbm.early_stopping(PATIENCE, verbose=False)]
    return lightgbm.train(PARAMETERS, learned, rounds, valid_sets=judged, callbacks=callbacks), levels


def inputs_of(rows: pl.DataFrame) -> list[str]:
    return REQUEST + [column for view in VIEWS for column in rows.columns if column.startswith(f"{view}__")]


def encoded(rows: pl.DataFrame, inputs: list[str], levels: Levels) -> np.ndarray:
    """Numbers, with categories as their place among the levels; what is null or unseen as NaN."""
    codes = [
        pl.col(name).replace_strict(levels[name], range(len(levels[name])), default=None)
        if name in levels
        else pl.col(name)
        for name in inputs
    ]
    return rows.select(code.cast(pl.Float64).fill_null(float("nan")) for code in codes).to_numpy()


def truth(rows: pl.DataFrame) -> np.ndarray:
    return rows["late"].cast(pl.Float64).to_numpy()
