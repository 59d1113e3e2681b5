"""The inference pipeline: the feature view's rows, scored by the champion or a named version."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import polars as pl

from platform_assets.compute.reasons import strongest
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Predictions
from platform_assets.declarations.names import DAY, asset_name, registered_model, table_folder
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import PREDICTION_TIME
from platform_assets.errors import ModelError
from platform_assets.lake import ledger
from platform_assets.pipelines.checks import EVERY_ROW_SCORED
from platform_assets.pipelines.parity import as_trained
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run
from platform_assets.registry.models import LoadedModel

ChampionAt = Callable[[date], "int | None"]
"""The version that was champion on a day; None when there was none."""

_AT_ONCE = 10_000


def predict(
    platform: Platform,
    catalogue: Catalogue,
    predictions: Predictions,
    days: Days,
    run: Run,
    *,
    champion_at: ChampionAt | None = None,
) -> Materialization:
    """Score every row of the view on `days`; rows that the model may have learned from are marked.

    The version is the one that the declaration names, else the champion of those days where `champion_at`
    tells it, else the champion.

    Raises:
        TableMissing: when there is no champion yet, or no feature view.
        ModelError: when the version is not there, the view lacks a column that it needs, or the days had
            several champions.
    """
    version = predictions.version
    if version is None and champion_at is not None:
        version = _champion_of(catalogue, predictions, days, champion_at)
    given = {} if version is None else {predictions.model.name: version}
    inputs = Inputs.pin(platform, catalogue, predictions, days, given=given)
    version = inputs.versions[predictions.model.name]
    model = platform.registry.load(catalogue.name, predictions.model.name, version)
    rows = inputs.scan(predictions.view.name, days=days).collect()
    scored = rows.with_columns(
        pl.concat_str(pl.lit(f"{predictions.model.name}-v{version}"), *predictions.keys, separator=":").alias(
            "prediction_id"
        ),
        pl.Series("probability", model.score(rows), dtype=pl.Float64),
        pl.lit(version, dtype=pl.Int64).alias("model_version"),
        _view_version(platform, catalogue, predictions, inputs).alias("view_version"),
        (pl.col(PREDICTION_TIME) <= datetime.fromisoformat(model.tags["learned_until"])).alias("in_sample"),
    )
    parity = as_trained(platform, catalogue, predictions, scored, inputs, model)
    scored = scored.drop(DAY)
    if predictions.reasons:
        scored = _with_reasons(scored, predictions, model)
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
    return publish(platform, catalogue, predictions, scored, days, run, inputs, checks=[check, parity], facts=facts)


def _champion_of(catalogue: Catalogue, predictions: Predictions, days: Days, champion_at: ChampionAt) -> int:
    name = registered_model(catalogue.name, predictions.model.name)
    by_day = {day: champion_at(day) for day in days}
    without = [str(day) for day, version in by_day.items() if version is None]
    if without:
        msg = f"model {name} had no champion on {', '.join(without[:3])}; leave those days out"
        raise ModelError(msg)
    found = {version for version in by_day.values() if version is not None}
    if len(found) > 1:
        msg = (
            f"model {name} had several champions on {days}: versions {', '.join(map(str, sorted(found)))}; "
            "predict the days of each by themselves"
        )
        raise ModelError(msg)
    return found.pop()


def _view_version(platform: Platform, catalogue: Catalogue, predictions: Predictions, inputs: Inputs) -> pl.Expr:
    """Per row the version of the view that last changed its day, which is the same however late one looks."""
    view, pinned = predictions.view.name, inputs.versions[predictions.view.name]
    asset = asset_name(catalogue.name, view)
    table_id = platform.lake.table_id(table_folder(catalogue.name, view))
    last = ledger.read(platform.lake, [asset]).last_changes(asset, table_id)
    by_day = {
        day: version
        for day, changed in last.by_day.items()
        if day is not None and (version := max(changed, last.unsaid)) <= pinned
    }
    return pl.col(DAY).replace_strict(
        pl.Series(list(by_day), dtype=pl.Date),
        pl.Series(list(by_day.values()), dtype=pl.Int64),
        default=pl.lit(pinned, dtype=pl.Int64),
        return_dtype=pl.Int64,
    )


def _with_reasons(scored: pl.DataFrame, predictions: Predictions, model: LoadedModel) -> pl.DataFrame:
    """Add the strongest inputs of each row with a probability of `reasons_from` or more."""
    asked = scored.with_row_index("__row").filter(pl.col("probability") >= predictions.reasons_from)
    parts = []
    for part in asked.iter_slices(_AT_ONCE):
        names, values = strongest(model.contributions(part), model.classifier.preparation.inputs, predictions.reasons)
        parts.append(pl.DataFrame({"__row": part["__row"], "reasons": names, "contributions": values}))
    schema = {"__row": pl.UInt32, "reasons": pl.List(pl.String), "contributions": pl.List(pl.Float64)}
    found = pl.concat([pl.DataFrame(schema=schema), *parts])
    return scored.with_row_index("__row").join(found, on="__row", how="left", maintain_order="left").drop("__row")
