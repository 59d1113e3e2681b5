"""The monitoring pipeline: predictions beside what came of them."""

from __future__ import annotations

import numpy as np
import polars as pl

from platform_assets.compute.costs import costs_of
from platform_assets.compute.metrics import Performance, performance, performance_by
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import DECISION, Outcomes
from platform_assets.declarations.names import DAY
from platform_assets.declarations.times import Days
from platform_assets.pipelines.checks import LABELS_IN
from platform_assets.pipelines.plots import picture_of_days
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run


def judge_predictions(
    platform: Platform, catalogue: Catalogue, outcomes: Outcomes, days: Days, run: Run
) -> Materialization:
    """Put the outcome beside each prediction of `days`, and measure those that came to a yes or no."""
    inputs = Inputs.pin(platform, catalogue, outcomes, days)
    label = outcomes.label
    predicted = inputs.scan(outcomes.predictions.name, days=days).drop(DAY)
    known = {column.name for column in outcomes.predictions.columns} - set(label.keys)
    came = inputs.scan(label.name, days=days).drop(DAY).filter(label.known_at.expr() <= run.now)
    came = came.select(name for name in came.collect_schema().names() if name not in known)
    rows = predicted.join(came, on=list(label.keys), how="left", maintain_order="left").collect()
    decided = rows.filter(pl.col(label.value).is_not_null())
    fair = decided.filter(~pl.col("in_sample"))
    facts: dict[str, object] = {
        "predictions": len(rows),
        "with a yes or no": len(decided),
        "out of sample": len(fair),
        "neither, or not in yet": len(rows) - len(decided),
    }
    pictures = {}
    if len(fair):
        found = performance(
            fair.get_column(label.value).cast(pl.Float64).to_numpy(), fair.get_column("probability").to_numpy()
        )
        facts |= {f"{name} (out of sample)": value for name, value in found.to_dict().items() if name != "rows"}
        facts |= _costs(outcomes, fair)
        by_day = daily_performance(outcomes, fair) if run.draws else {}
        if len(by_day) > 1:
            pictures["performance by day"] = picture_of_days(by_day)
    check = CheckResult(
        name=LABELS_IN,
        passed=len(decided) > 0,
        blocking=False,
        description=f"{len(decided):,} of {len(rows):,} predictions have come to a yes or no.",
        facts={"predictions": len(rows), "with a yes or no": len(decided)},
    )
    return publish(
        platform, catalogue, outcomes, rows, days, run, inputs, checks=[check], facts=facts, pictures=pictures
    )


def _costs(outcomes: Outcomes, rows: pl.DataFrame) -> dict[str, object]:
    """What a row cost so far in the mean, by the decisions and by acting never or always; of those that have one."""
    costs = outcomes.predictions.model.costs
    if costs is None:
        return {}
    acted = rows.filter(pl.col(DECISION).is_not_null())
    if acted.is_empty():
        return {"with a decision (out of sample)": 0}
    truth = acted.get_column(outcomes.label.value).cast(pl.Float64).to_numpy()
    decision = acted.get_column(DECISION).to_numpy()
    ways = {"as decided": decision, "acting never": np.zeros_like(decision), "acting always": np.ones_like(decision)}
    return {"with a decision (out of sample)": len(acted)} | {
        f"{costs.unit} a row, {name} (out of sample)": float(
            costs_of(truth, acts, false_alarm=costs.false_alarm, miss=costs.miss).mean()
        )
        for name, acts in ways.items()
    }


def daily_performance(outcomes: Outcomes, rows: pl.DataFrame) -> dict[object, Performance]:
    """The performance of each day's rows that came to a yes or no."""
    label = outcomes.label.value
    dated = rows.filter(pl.col(label).is_not_null()).with_columns(
        outcomes.partitions.day_of(pl.col(outcomes.event_time)).alias(DAY)
    )
    return dict(performance_by(dated, by=DAY, label=label, probability="probability"))
