"""Whether predictions are what the training path would have said: a sample is joined and scored again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl

from platform_assets.declarations.catalogue import Catalogue, days_read
from platform_assets.declarations.models import DECISION, INTERVAL, Predictions
from platform_assets.declarations.names import DAY, asset_name, table_folder
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import PREDICTION_TIME, FeatureView
from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.pipelines.checks import AS_TRAINED
from platform_assets.pipelines.feature import join_selections, slices_of_groups
from platform_assets.pipelines.plan import changed_since
from platform_assets.pipelines.run import CheckResult, Inputs, Platform
from platform_assets.pipelines.scoring import said_of
from platform_assets.registry.models import LoadedModel

_SAMPLE = 100
_SAID = "__said_"


def as_trained(
    platform: Platform,
    catalogue: Catalogue,
    predictions: Predictions,
    scored: pl.DataFrame,
    inputs: Inputs,
    model: LoadedModel,
) -> CheckResult:
    """Join a sample of the newest day that has rows again, at the versions that the view recorded, and score it.

    Where there are no rows, or what was joined has been cleaned away since, nothing can be examined: the check
    fails, as a warning.

    Args:
        platform: where the tables are.
        catalogue: where the predictions are declared.
        predictions: whose rows they are.
        scored: the rows with their `day` and what is said of them, as they are about to be published.
        inputs: what the predictions are made of, pinned.
        model: the version that scored.
    """
    if scored.is_empty():
        return _not_examined("There are no rows: nothing could be examined.")
    view, day = predictions.view, scored.select(pl.col(DAY).max()).item()
    rows = scored.filter(pl.col(DAY) == day)
    sample = rows.sample(min(_SAMPLE, len(rows)), seed=len(rows))
    try:
        behind = _behind(platform, catalogue, view, inputs, day)
    except TableError as error:
        return _not_examined(f"Nothing of {day} could be examined: {error}.")
    spine = inputs.scan(view.name, days=Days(day, day)).select(*view.schema.columns(), PREDICTION_TIME).collect()
    known = {column.name for column in predictions.columns}
    names = [name for name in ("probability", *INTERVAL, DECISION) if name in known]
    said = sample.select(*predictions.keys, pl.col(names).name.prefix(_SAID))
    spine = spine.join(said, on=list(predictions.keys), how="inner", maintain_order="left")
    again = join_selections(spine, slices_of_groups(view, behind, Days(day, day)), view.features, known=view.known)
    # As training does it: not through what scored the rows.
    both = again.hstack(said_of(predictions, model.classifier.predict(again), model.classifier))
    other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{_SAID}{name}")) for name in names)
    differing = both.select(other.sum()).item() + len(sample) - len(again)
    description = f"{len(sample):,} rows of {day}, joined and scored again as in training, agree exactly."
    if differing:
        held = sample.join(again, on=list(predictions.keys), how="inner", suffix="__again")
        moved = [
            c for c in view.feature_columns if held.select(pl.col(c).ne_missing(pl.col(f"{c}__again")).any()).item()
        ]
        why = f"its inputs {', '.join(moved)} differ" if moved else "the same inputs were scored otherwise"
        description = (
            f"{differing:,} of {len(sample):,} rows of {day} have another probability than in training: {why}."
        )
    return CheckResult(
        name=AS_TRAINED,
        passed=not differing,
        blocking=True,
        description=description,
        facts={"rows examined": len(sample), "rows that differ": differing},
    )


def _behind(platform: Platform, catalogue: Catalogue, view: FeatureView, inputs: Inputs, day: date) -> Inputs:
    """What the view was joined from on a day, or versions that hold the same rows of the days it reads.

    Raises:
        TableError: naming a version that is gone, and whose days have changed since.
    """
    asset = asset_name(catalogue.name, view.name)
    entry = ledger.latest(platform.lake, asset, until=inputs.versions[view.name]).get(day)
    versions = dict(entry.inputs) if entry is not None else {}
    for group in view.groups:
        if group.name not in versions:
            msg = f"{asset} does not say which version of {asset_name(catalogue.name, group.name)} it was joined from"
            raise TableError(msg)
        folder, version = table_folder(catalogue.name, group.name), versions[group.name]
        try:
            platform.lake.open(folder, version=version)
        except TableError:
            changed = changed_since(platform, catalogue, group, version)
            read = days_read(view, group, Days(day, day))
            if changed is None or read is None or any(part.clip(read) for part in changed):
                raise
            versions[group.name] = platform.lake.open(folder).version()
    return replace(inputs, versions=versions)


def _not_examined(why: str) -> CheckResult:
    return CheckResult(
        name=AS_TRAINED,
        passed=False,
        blocking=False,
        description=why,
        facts={"rows examined": 0, "rows that differ": 0},
    )
