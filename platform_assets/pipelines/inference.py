"""The inference pipeline: the feature view's rows, scored by the champion or a named version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

import polars as pl

from platform_assets.compute.expected import expected
from platform_assets.compute.reasons import strongest
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import DECISION, INTERVAL, Predictions
from platform_assets.declarations.names import DAY, asset_name, registered_model, table_folder
from platform_assets.declarations.times import Days, day_ranges
from platform_assets.declarations.views import PREDICTION_TIME
from platform_assets.errors import ModelError
from platform_assets.lake import ledger
from platform_assets.pipelines.checks import EVERY_ROW_SCORED
from platform_assets.pipelines.decisions import champions_of
from platform_assets.pipelines.parity import as_trained
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run
from platform_assets.pipelines.scoring import said_of
from platform_assets.registry.models import LoadedModel

_AT_ONCE = 10_000
_TO_ACT_ON = "to act on"


def predict(
    platform: Platform,
    catalogue: Catalogue,
    predictions: Predictions,
    days: Days,
    run: Run,
) -> Materialization:
    """Score every row of the view on `days`; rows that the model may have learned from are marked.

    The version is the one that the declaration names, else the champion that each day had, else the champion.
    Days that had different champions are written one after the other, in a commit for each champion.

    Raises:
        TableMissing: when there is no champion yet, or no feature view.
        ModelError: when the version is not there, or the view lacks a column that it needs.
    """
    made = [
        _predict(platform, catalogue, predictions, part, version, run)
        for version, part in _by_champion(platform, catalogue, predictions, days)
    ]
    return made[0] if len(made) == 1 else _together(predictions, made, days)


def _by_champion(
    platform: Platform, catalogue: Catalogue, predictions: Predictions, days: Days
) -> Iterator[tuple[int | None, Days]]:
    """The days in order, divided where the version changes that predicts them; None for the champion there is."""
    if not predictions.is_by_day:
        yield predictions.version, days
        return
    found = champions_of(platform, catalogue, predictions, days)
    name = predictions.model.name
    gone = {v for v in found.values() if v is not None and not platform.registry.is_there(catalogue.name, name, v)}
    lost = day_ranges({day for day, version in found.items() if version in gone})
    if lost:
        versions = ", ".join(f"version {version}" for version in sorted(filter(None, gone)))
        msg = (
            f"{asset_name(catalogue.name, predictions.name)} of {', '.join(map(str, lost))}: their champion was "
            f"{versions} of {registered_model(catalogue.name, name)}, which is no longer in MLflow; predict by the one "
            f"that there is now with champion='newest', or begin later than {lost[0].first} with first=..."
        )
        raise ModelError(msg)
    for version, part in groupby(days, key=found.__getitem__):
        held = list(part)
        yield version, Days(held[0], held[-1])


def _together(predictions: Predictions, made: Sequence[Materialization], days: Days) -> Materialization:
    """What several champions made, as one materialization of all the days."""
    last, names = made[-1], [check.name for check in made[0].checks]
    by_name = {name: [check for m in made for check in m.checks if check.name == name] for name in names}
    digests = ",".join(m.digest for m in made)
    rows = sum(m.row_count for m in made)
    mean = sum(m.facts["mean probability"] * m.row_count for m in made if m.row_count) / rows if rows else None
    return replace(
        last,
        days=days,
        rows={day: count for m in made for day, count in m.rows.items()},
        hashes={day: found for m in made for day, found in m.hashes.items()},
        digest=hashlib.blake2b(digests.encode(), digest_size=16).hexdigest(),
        is_new=any(m.is_new for m in made),
        changed=[part for m in made for part in m.changed or ()],
        checks=[
            replace(
                checks[0],
                passed=all(check.passed for check in checks),
                blocking=any(check.blocking for check in checks if not check.passed) or checks[0].blocking,
                description=" ".join(dict.fromkeys(check.description for check in checks)),
                facts={title: sum(check.facts[title] for check in checks) for title in checks[0].facts},
            )
            for checks in by_name.values()
        ],
        facts={
            "in sample": sum(m.facts["in sample"] for m in made),
            "mean probability": mean,
            **{title: sum(m.facts[title] for m in made) for title in (_TO_ACT_ON,) if title in last.facts},
            "champions": ", ".join(f"version {m.inputs[predictions.model.name]} of {m.days}" for m in made),
        },
    )


def _predict(
    platform: Platform, catalogue: Catalogue, predictions: Predictions, days: Days, version: int | None, run: Run
) -> Materialization:
    given = {} if version is None else {predictions.model.name: version}
    inputs = Inputs.pin(platform, catalogue, predictions, days, given=given)
    version = inputs.versions[predictions.model.name]
    model = platform.registry.load(catalogue.name, predictions.model.name, version)
    rows = inputs.scan(predictions.view.name, days=days).collect()
    said = said_of(predictions, model.predict(rows), model.classifier)
    scored = rows.with_columns(
        pl.concat_str(pl.lit(f"{predictions.model.name}-v{version}"), *predictions.keys, separator=":").alias(
            "prediction_id"
        ),
        *said.get_columns(),
        pl.lit(version, dtype=pl.Int64).alias("model_version"),
        _view_version(platform, catalogue, predictions, inputs, days).alias("view_version"),
        (pl.col(PREDICTION_TIME) <= datetime.fromisoformat(model.tags["learned_until"])).alias("in_sample"),
    )
    parity = as_trained(platform, catalogue, predictions, scored, inputs, model)
    scored = scored.drop(DAY)
    if predictions.reasons:
        scored = _with_reasons(scored, predictions, model)
    check = _every_row_scored(scored, rows=len(rows))
    facts: dict[str, object] = {
        "in sample": int(scored.get_column("in_sample").sum()),
        "mean probability": scored.get_column("probability").mean(),
    }
    facts |= _if_calibrated(scored)
    if DECISION in said.columns:
        facts[_TO_ACT_ON] = int(scored.get_column(DECISION).sum())
    return publish(platform, catalogue, predictions, scored, days, run, inputs, checks=[check, parity], facts=facts)


def _if_calibrated(scored: pl.DataFrame) -> dict[str, object]:
    """What to expect of the rows out of sample before any label is in, if the probabilities are calibrated."""
    fair = scored.filter(~pl.col("in_sample")).get_column("probability").drop_nulls()
    if fair.is_empty() or not fair.is_between(0, 1).all():
        return {}
    due = expected(fair.to_numpy())
    told = {"AUC": due.auc, "log loss": due.log_loss, "Brier score": due.brier}
    return {f"expected {name} (if calibrated)": value for name, value in told.items()}


def _every_row_scored(scored: pl.DataFrame, *, rows: int) -> CheckResult:
    """Whether each row has a probability, and within its interval where it has one."""
    probability = pl.col("probability")
    without = len(scored.filter(~probability.is_between(0, 1) | probability.is_nan()))
    astray, within = 0, ""
    low, high = INTERVAL
    if low in scored.columns:
        held = pl.col(low).is_not_null() & pl.col(high).is_not_null()
        astray = len(scored.filter(held & ~((pl.col(low) <= probability) & (probability <= pl.col(high)))))
        count = scored.select(held.sum()).item() - astray
        within = f", {count:,} of them within an interval"
    return CheckResult(
        name=EVERY_ROW_SCORED,
        passed=not without and not astray and len(scored) == rows,
        blocking=True,
        description=f"{len(scored) - without:,} of {rows:,} rows have a probability{within}.",
        facts={"rows": rows, "without a probability": without}
        | ({"outside of their interval": astray} if within else {}),
    )


def _view_version(
    platform: Platform, catalogue: Catalogue, predictions: Predictions, inputs: Inputs, days: Days
) -> pl.Expr:
    """Per row the version of the view that last changed its day, which is the same however late one looks."""
    view, pinned = predictions.view.name, inputs.versions[predictions.view.name]
    asset = asset_name(catalogue.name, view)
    table_id = platform.lake.table_id(table_folder(catalogue.name, view))
    last = ledger.last_changes(platform.lake, asset, table_id)
    by_day = {
        day: version
        for day in days
        if (changed := last.by_day.get(day)) is not None and (version := max(changed, last.unsaid)) <= pinned
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
    schema = {"__row": pl.UInt32(), "reasons": pl.List(pl.String), "contributions": pl.List(pl.Float64)}
    found = pl.concat([pl.DataFrame(schema=schema), *parts])
    return scored.with_row_index("__row").join(found, on="__row", how="left", maintain_order="left").drop("__row")
