"""The first half of the training pipeline: matured labels joined to the view, divided by time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from platform_assets.compute.splits import split_by_time
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import DAY
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import PREDICTION_TIME, SPLIT, TimeSplit, TrainingDataset
from platform_assets.pipelines.checks import SPLITS_FILLED
from platform_assets.pipelines.leaks import not_too_good, splits_apart
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run
from platform_assets.pipelines.splits import facts_of, resolve_split, stamps_of

MATURED = "__matured"
"""When the label of a row was known, while the rows are divided."""


@dataclass(frozen=True, kw_only=True)
class DividedRows:
    """The rows of a training dataset before they are published, with what was found on the way."""

    rows: pl.DataFrame
    checks: tuple[CheckResult, ...]
    facts: dict[str, Any]


def build_training_dataset(
    platform: Platform, catalogue: Catalogue, dataset: TrainingDataset, run: Run
) -> Materialization:
    """Join matured labels to the feature view and divide the rows by time.

    Rows whose label is neither positive nor negative, or has not come yet, are left out and counted.
    """
    inputs = Inputs.pin(platform, catalogue, dataset, None)
    resolved = resolve_split(platform.lake, catalogue, dataset, inputs.versions, now=run.now)
    found = divide_labelled(dataset, resolved.split, inputs, now=run.now)
    return publish(
        platform,
        catalogue,
        dataset,
        found.rows,
        None,
        run,
        inputs,
        checks=found.checks,
        facts=found.facts | facts_of(dataset, resolved.split),
        stamps=stamps_of(dataset, resolved),
    )


def divide_labelled(dataset: TrainingDataset, split: TimeSplit, inputs: Inputs, *, now: datetime) -> DividedRows:
    """Compute the rows of a training dataset from the pinned versions of its inputs; it writes nothing.

    Args:
        dataset: what is declared.
        split: where its parts lie, as declared or as resolved.
        inputs: the versions of its view and label.
        now: labels that were not known at this instant (UTC) have not come yet.
    """
    calendar, label = dataset.view.partitions, dataset.label
    labelled = label_rows(dataset, inputs, dataset.days_of(split), now=now)
    divided = (
        split_by_time(
            labelled.lazy().filter(pl.col(label.value).is_not_null()),
            at=PREDICTION_TIME,
            matured=MATURED,
            select_from=calendar.start_of(split.select_from),
            report_from=calendar.start_of(split.report_from),
            report_until=calendar.start_of(split.report_until + timedelta(days=1)),
            gap=split.gap,
            split=SPLIT,
        )
        .sort(PREDICTION_TIME, *label.keys)
        .collect()
    )
    leaks = [splits_apart(dataset, divided, MATURED), not_too_good(dataset, divided)]
    rows = divided.drop(MATURED)
    counts = dict(rows.group_by(SPLIT).len().iter_rows())
    positives = dict(rows.group_by(SPLIT).agg(pl.col(label.value).mean()).iter_rows())
    undecided = labelled.select((pl.col(label.value).is_null() & pl.col(MATURED).is_not_null()).sum()).item()
    immature = labelled.get_column(MATURED).is_null().sum()
    empty = [part for part in ("fit", "select", "report") if not counts.get(part)]
    check = CheckResult(
        name=SPLITS_FILLED,
        passed=not empty,
        blocking=True,
        description=f"{', '.join(empty)} hold no rows; are the days of the split materialized?"
        if empty
        else ", ".join(f"{part} {counts[part]:,}" for part in ("fit", "select", "report")) + " rows.",
        facts={f"{part} rows": counts.get(part, 0) for part in ("fit", "select", "report")},
    )
    facts = {
        "features as known": dataset.view.known,
        **{f"{part} rows": counts.get(part, 0) for part in ("fit", "select", "report")},
        **{f"{part} positives": positives.get(part, 0.0) for part in ("fit", "select", "report")},
        "left out: neither positive nor negative": undecided,
        "left out: label not in yet": immature,
        "left out: gap between the parts": len(labelled) - len(rows) - undecided - immature,
    }
    return DividedRows(rows=rows, checks=(check, *leaks), facts=facts)


def label_rows(dataset: TrainingDataset, inputs: Inputs, days: Days, *, now: datetime) -> pl.DataFrame:
    """The rows of the view on `days`, with their label and when it was known (`MATURED`); null where it has not come.

    Args:
        dataset: whose view and label.
        inputs: their versions.
        days: which.
        now: labels that were not known at this instant (UTC) have not come yet.
    """
    label = dataset.label
    labels = (
        inputs.scan(label.name, days=days)
        .select(*label.keys, label.value, label.known_at.expr().alias(MATURED))
        .filter(pl.col(MATURED) <= now)
    )
    asked = inputs.scan(dataset.view.name, days=days).drop(DAY)
    return asked.join(labels, on=list(label.keys), how="left", maintain_order="left").collect()
