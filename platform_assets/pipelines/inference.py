"""The inference pipeline: the feature view's rows, scored by the champion."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Predictions
from platform_assets.declarations.names import DAY
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import PREDICTION_TIME
from platform_assets.pipelines.checks import EVERY_ROW_SCORED
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run


def predict(
    platform: Platform, catalogue: Catalogue, predictions: Predictions, days: Days, run: Run
) -> Materialization:
    """Score every row of the view on `days` with the champion; rows it may have learned from are marked.

    Raises:
        TableMissing: when there is no champion yet, or no feature view.
        ModelError: when the view lacks a column that the champion needs.
    """
    inputs = Inputs.pin(platform, catalogue, predictions, days)
    version = inputs.versions[predictions.model.name]
    champion = platform.registry.load(catalogue.name, predictions.model.name, version)
    rows = inputs.scan(predictions.view.name, days=days).drop(DAY).collect()
    scored = rows.with_columns(
        pl.concat_str(pl.lit(f"{predictions.model.name}-v{version}"), *predictions.keys, separator=":").alias(
            "prediction_id"
        ),
        pl.Series("probability", champion.score(rows), dtype=pl.Float64),
        pl.lit(version, dtype=pl.Int64).alias("model_version"),
        (pl.col(PREDICTION_TIME) <= datetime.fromisoformat(champion.tags["learned_until"])).alias("in_sample"),
    )
    outside = scored.filter(~pl.col("probability").is_between(0, 1) | pl.col("probability").is_nan())
    check = CheckResult(
        name=EVERY_ROW_SCORED,
        passed=outside.is_empty() and len(scored) == len(rows),
        blocking=True,
        description=f"{len(scored) - len(outside):,} of {len(rows):,} rows have a probability.",
        facts={"rows": len(rows), "without a probability": len(outside)},
    )
    facts = {
        "in sample": int(scored.get_column("in_sample").sum()),
        "mean probability": scored.get_column("probability").mean(),
    }
    return publish(platform, catalogue, predictions, scored, days, run, inputs, checks=[check], facts=facts)
