"""From one prediction back to its model, to every table behind both, and to the feature rows it was made from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import polars as pl

from platform_assets.compute.point_in_time import Features, point_in_time_joins
from platform_assets.declarations.catalogue import Catalogue, calendar, days_read
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model, Predictions
from platform_assets.declarations.names import DAY, asset_name, registered_model, table_folder
from platform_assets.declarations.tables import Selection
from platform_assets.declarations.times import Days, day_ranges
from platform_assets.declarations.views import PREDICTION_TIME, FeatureView, TrainingDataset
from platform_assets.errors import NotFound, TableError
from platform_assets.lake import ledger
from platform_assets.lake.lookup import days_that_may_hold, why_unreadable
from platform_assets.pipelines.addresses import Addresses
from platform_assets.pipelines.feature import join_selections, slices_of_groups
from platform_assets.pipelines.run import Inputs, Platform
from platform_assets.pipelines.splits import kept_days
from platform_assets.registry.versions import ModelName, RegisteredVersion, find_version

ID = "prediction_id"
_WRITTEN = re.compile(r"(?P<model>[a-z0-9_]+)-v(?P<version>\d+):(?P<keys>.+)")
_EVENT, _KNOWN, _KNOWN_COPY, _AGE = "__event", "__known", "__known_at", "__age"


@dataclass(frozen=True, kw_only=True)
class TableUsed:
    """A table that something was made of.

    Attributes:
        asset: the table.
        versions: the Delta versions that were read, oldest first.
        days: the days that were read, as ranges; none for a table without partitions.
        fingerprints: of the code that made them.
        code_is_current: whether the code as it stands is that code.
        runs: that made them.
        gone: why the newest of these versions cannot be read any more; None when it can.
    """

    asset: str
    versions: tuple[int, ...]
    days: tuple[Days, ...]
    fingerprints: tuple[str, ...]
    code_is_current: bool
    runs: tuple[str, ...]
    gone: str | None


@dataclass(frozen=True, kw_only=True)
class FeatureRow:
    """The row of a feature group that a prediction was made from.

    Attributes:
        group: the feature group's asset.
        version: its Delta version.
        keys: of the row.
        event_time: when it was true; None where nothing was visible.
        known_at: when it could be known; None where it was too old to count.
        values: what the feature view took of it.
        state: whether it was used, too old (expired), not there (none), or its version can be read no more (gone).
        agrees: whether the join, made again, gives the same values; None where it cannot be made again.
    """

    group: str
    version: int
    keys: Mapping[str, Any]
    event_time: datetime | None
    known_at: datetime | None
    values: Mapping[str, Any]
    state: Literal["used", "expired", "none", "gone"]
    agrees: bool | None


@dataclass(frozen=True, kw_only=True)
class ModelUsed:
    """The model version that made a prediction, and what it was trained on."""

    name: str
    version: int
    aliases: tuple[str, ...]
    learned_until: str
    fingerprint: str
    code_is_current: bool
    run: str
    mlflow_run: str
    training_dataset: str
    training_dataset_version: int
    content_hash: str | None


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Everything behind one prediction.

    Attributes:
        prediction_id: which.
        asset: the table it is in.
        day: the day it is of.
        version: the Delta version it was read from.
        is_newest: whether readers see it; else a later run replaced it.
        row: the prediction.
        made_at: when it was recorded (UTC).
        run: that made it.
        model: that made it; None when the registry does not have it any more.
        behind: the tables behind the prediction, the feature view first.
        trained_on: the tables behind the model, its training dataset first.
        features: the feature rows it was made from.
        links: pages in the two UIs, by what they show.
        problems: what is gone or does not agree.
    """

    prediction_id: str
    asset: str
    day: date
    version: int
    is_newest: bool
    row: Mapping[str, Any]
    made_at: datetime
    run: str
    model: ModelUsed | None
    behind: tuple[TableUsed, ...]
    trained_on: tuple[TableUsed, ...]
    features: tuple[FeatureRow, ...]
    links: Mapping[str, str]
    problems: tuple[str, ...]


def read_prediction_id(text: str) -> str:
    """See that a text has the form of a `prediction_id`.

    Raises:
        ValueError: when it has not.
    """
    if _WRITTEN.fullmatch(text) is None:
        msg = (
            f"{text!r} is no prediction_id; one reads MODEL-vVERSION:KEYS, such as return_model-v1:20240401-000, and "
            "stands in the column prediction_id of a predictions table"
        )
        raise ValueError(msg)
    return text


def trace(platform: Platform, catalogues: Sequence[Catalogue], prediction_id: str, *, addresses: Addresses) -> Trace:
    """Follow a prediction back.

    Args:
        platform: where everything lives.
        catalogues: the projects to look in.
        prediction_id: a value of the column `prediction_id`; of one that was replaced, the older version is read.
        addresses: where the UIs are served.

    Raises:
        NotFound: saying how ids look, and where they are.
    """
    written = _WRITTEN.fullmatch(read_prediction_id(prediction_id))
    assert written is not None  # noqa: S101 - it was just read
    model_version, lost = int(written["version"]), list[str]()
    for catalogue in catalogues:
        for predictions in (p for p in catalogue.of_kind(Predictions) if p.model.name == written["model"]):
            found = _find(platform, catalogue, predictions, prediction_id, model_version, lost)
            if found is not None:
                return _traced(platform, catalogue, predictions, found, model_version, addresses)
    raise NotFound(_explain_not_found(platform, catalogues, prediction_id, lost))


@dataclass(frozen=True, kw_only=True)
class _Found:
    row: pl.DataFrame
    day: date
    version: int
    is_newest: bool
    entry: ledger.Entry


def _find(
    platform: Platform,
    catalogue: Catalogue,
    predictions: Predictions,
    prediction_id: str,
    model_version: int,
    lost: list[str],
) -> _Found | None:
    """Look where the ledger says that this model version predicted, newest first, and there only into likely files."""
    lake, folder = platform.lake, table_folder(catalogue.name, predictions.name)
    asset = asset_name(catalogue.name, predictions.name)
    by_it = [e for e in ledger.entries(lake, asset) if e.inputs.get(predictions.model.name) == model_version]
    newest = lake.version(folder)
    if newest is None or not by_it:
        return None
    for version in sorted({newest, *(entry.version for entry in by_it)}, reverse=True):
        entries = {
            day: e for day, e in ledger.latest(lake, asset, until=version).items() if day is not None and e in by_it
        }
        try:
            likely = days_that_may_hold(lake, folder, version=version, column=ID, value=prediction_id) & set(entries)
            if not likely:
                continue
            rows = lake.scan(folder, version=version).filter(pl.col(DAY).is_in(sorted(likely)))
            with lake.reading(folder):
                row = rows.filter(pl.col(ID) == prediction_id).collect()
        except (TableError, OSError, pl.exceptions.ComputeError) as error:
            lost.append(f"{asset} version {version} cannot be read: {str(error).splitlines()[0]}")
            continue
        if len(row):
            day = row.item(0, DAY)
            return _Found(row=row.head(1), day=day, version=version, is_newest=version == newest, entry=entries[day])
    return None


def _traced(
    platform: Platform,
    catalogue: Catalogue,
    predictions: Predictions,
    found: _Found,
    model_version: int,
    addresses: Addresses,
) -> Trace:
    asset = asset_name(catalogue.name, predictions.name)
    view, model, day, entry = predictions.view, predictions.model, found.day, found.entry
    problems = list[str]()
    row = found.row.drop(DAY).row(0, named=True)
    name = ModelName(catalogue=catalogue.name, model=model.name, which=model_version)
    try:
        registered = find_version(platform.registry, name)
    except NotFound as error:
        registered = None
        problems.append(str(error))
    behind = tables_behind(platform, catalogue, view, entry.inputs[view.name], [day])
    trained_on: tuple[TableUsed, ...] = ()
    model_used = None
    if registered is not None:
        model_used = _model_used(platform, catalogue, model, registered)
        dataset = model.training
        trained_on = tables_behind(platform, catalogue, dataset, model_used.training_dataset_version, [None])
    features = _feature_rows(platform, catalogue, view, entry.inputs[view.name], day, row, predictions.keys)
    problems += [f"{t.asset}: {t.gone}" for t in dict.fromkeys((*behind, *trained_on)) if t.gone is not None]
    problems += [f"{f.group}: the join, made again, gives other values" for f in features if f.agrees is False]
    links = {"this day in Dagster": addresses.asset(asset, day), "the Dagster run": addresses.run(entry.run_id)}
    if registered is not None and model_used is not None:
        links |= {
            "the model version in MLflow": addresses.model_version(
                registered_model(catalogue.name, model.name), model_version
            ),
            "the training in MLflow": addresses.model_run(registered.experiment_id, registered.run_id),
            "the training's Dagster run": addresses.run(model_used.run),
            "the training dataset in Dagster": addresses.asset(model_used.training_dataset),
            "the features in Dagster": addresses.asset(asset_name(catalogue.name, view.name), day),
        }
    return Trace(
        prediction_id=row[ID],
        asset=asset,
        day=day,
        version=found.version,
        is_newest=found.is_newest,
        row=row,
        made_at=entry.recorded_at,
        run=entry.run_id,
        model=model_used,
        behind=behind,
        trained_on=trained_on,
        features=features,
        links={what: link for what, link in links.items() if link is not None},
        problems=tuple(dict.fromkeys(problems)),
    )


def _model_used(platform: Platform, catalogue: Catalogue, model: Model, found: RegisteredVersion) -> ModelUsed:
    dataset, version = asset_name(catalogue.name, model.training.name), int(found.tags["training_dataset_version"])
    made = ledger.latest(platform.lake, dataset, until=version).get(None)
    return ModelUsed(
        name=registered_model(catalogue.name, model.name),
        version=found.version,
        aliases=found.aliases,
        learned_until=found.tags["learned_until"],
        fingerprint=found.tags["fingerprint"],
        code_is_current=found.tags["fingerprint"] == catalogue.fingerprints[model.name],
        run=found.tags["dagster.run_id"],
        mlflow_run=found.run_id,
        training_dataset=dataset,
        training_dataset_version=version,
        content_hash=None if made is None or made.version != version else made.content_hash,
    )


def tables_behind(
    platform: Platform, catalogue: Catalogue, declaration: Declaration, version: int, days: Iterable[date | None]
) -> tuple[TableUsed, ...]:
    """Every table behind some days of a table, with the versions and days of each that were read; itself first.

    Where `manifest` tells of whole tables, this follows the windows of each reader, from the ledger alike.
    """
    versions: dict[str, set[int]] = {declaration.name: {version}}
    wanted: dict[str, set[date | None]] = {declaration.name: set(days)}
    entries = ledger.read(platform.lake)
    found = []
    for reader in (d for d in reversed(catalogue.declarations) if d.name in versions):
        asset = asset_name(catalogue.name, reader.name)
        latest = entries.latest(asset, until=max(versions[reader.name]))
        made = {day: latest[day] for day in wanted[reader.name] if day in latest}
        for day, entry in made.items():
            for read in (r for r in catalogue.inputs(reader) if r.name in entry.inputs and not isinstance(r, Model)):
                versions.setdefault(read.name, set()).add(entry.inputs[read.name])
                wanted.setdefault(read.name, set()).update(_days_of(reader, read, day, entry))
        newest = max(versions[reader.name])
        fingerprints = tuple(sorted({entry.fingerprint for entry in made.values()}))
        found.append(
            TableUsed(
                asset=asset,
                versions=tuple(sorted(versions[reader.name])),
                days=tuple(day_ranges({day for day in made if day is not None})),
                fingerprints=fingerprints,
                code_is_current=set(fingerprints) <= {catalogue.fingerprints[reader.name]},
                runs=tuple(dict.fromkeys(entry.run_id for entry in made.values())),
                gone=why_unreadable(platform.lake, table_folder(catalogue.name, reader.name), newest),
            )
        )
    return tuple(found)


def _days_of(reader: Declaration, read: Declaration, day: date | None, entry: ledger.Entry) -> Iterable[date | None]:
    """The days of an input that one day of its reader reads."""
    if calendar(read) is None:
        return (None,)
    if isinstance(reader, TrainingDataset):
        return kept_days(reader, entry) or ()
    return () if day is None else days_read(reader, read, Days(day, day)) or ()


def _feature_rows(
    platform: Platform,
    catalogue: Catalogue,
    view: FeatureView,
    version: int,
    day: date,
    row: Mapping[str, Any],
    keys: Sequence[str],
) -> tuple[FeatureRow, ...]:
    """Join again what the view joined for one spine row, at the versions that it recorded."""
    lake, folder = platform.lake, table_folder(catalogue.name, view.name)
    entry = ledger.latest(lake, asset_name(catalogue.name, view.name), until=version).get(day)
    if entry is None or why_unreadable(lake, folder, version) is not None:
        return ()
    ours = [pl.col(key) == row[key] for key in keys]
    asked = lake.scan(folder, version=version, days=Days(day, day)).filter(*ours).drop(DAY).head(1).collect()
    if asked.is_empty():
        return ()
    spine = asked.select(*(c for c in view.schema.columns() if c in asked.columns), PREDICTION_TIME)
    inputs = Inputs(platform=platform, catalogue=catalogue, versions=entry.inputs)
    gone = {
        group.name: why_unreadable(lake, table_folder(catalogue.name, group.name), entry.inputs[group.name])
        for group in view.groups
    }
    readable = tuple(selection for selection in view.features if gone[selection.group.name] is None)
    some = {s.group.name for s in readable}
    facts = slices_of_groups(view, inputs, Days(day, day), names=some)
    again = join_selections(spine, facts, readable, known=view.known)
    found = []
    for selection in view.features:
        columns = [c for c in selection.column_sources if c in asked.columns]
        said = asked.select(columns)
        times: tuple[datetime | None, datetime | None] = (None, None)
        state: Literal["used", "expired", "none", "gone"] = "gone"
        agrees = None
        if selection.group.name in some:
            times = _times(spine, facts[selection.group.name], selection, view)
            state = "none" if times[0] is None else "expired" if times[1] is None else "used"
            agrees = again.select(columns).equals(said, null_equal=True)
        found.append(
            FeatureRow(
                group=asset_name(catalogue.name, selection.group.name),
                version=entry.inputs[selection.group.name],
                keys={
                    k: spine.item(0, held) for k, held in zip(selection.group.keys, selection.spine_keys, strict=True)
                },
                event_time=times[0],
                known_at=times[1],
                values=said.row(0, named=True),
                state=state,
                agrees=agrees,
            )
        )
    return tuple(found)


def _times(
    spine: pl.DataFrame, facts: pl.LazyFrame, selection: Selection, view: FeatureView
) -> tuple[datetime | None, datetime | None]:
    """The two times of the newest row that was visible; no known time for one that is too old to count."""
    group = selection.group
    known_at = group.known_at.expr() if group.known_at.is_known else pl.col(group.event_time)
    rows = facts.select(
        *(pl.col(key).alias(held) for key, held in zip(group.keys, selection.spine_keys, strict=True)),
        pl.col(group.event_time).alias(_EVENT),
        known_at.alias(_KNOWN),
        known_at.alias(_KNOWN_COPY),
    )
    features = Features(
        rows=rows,
        on=selection.spine_keys,
        event_time=_EVENT,
        known_at=_KNOWN,
        max_age=group.max_age,
        age_column=_AGE,
    )
    joined = point_in_time_joins(spine, [features], prediction_time=PREDICTION_TIME, known=view.known)
    age: timedelta | None = joined.item(0, _AGE)
    return (None if age is None else joined.item(0, PREDICTION_TIME) - age), joined.item(0, _KNOWN_COPY)


def _explain_not_found(
    platform: Platform, catalogues: Sequence[Catalogue], prediction_id: str, lost: Sequence[str]
) -> str:
    tables = [(catalogue, p) for catalogue in catalogues for p in catalogue.of_kind(Predictions)]
    if not tables:
        return f"there is no prediction {prediction_id!r}: no project declares predictions"
    said = []
    for catalogue, predictions in tables:
        asset, model = asset_name(catalogue.name, predictions.name), predictions.model.name
        by = sorted({e.inputs[model] for e in ledger.entries(platform.lake, asset) if model in e.inputs})
        made = f"made by version {', '.join(map(str, by))}" if by else "none made yet"
        said.append(f"those of {asset} read {model}-vVERSION:{':'.join(predictions.keys)} ({made})")
    gone = f". Not looked at: {'; '.join(lost)}" if lost else ""
    return f"there is no prediction {prediction_id!r}; copy one from the column prediction_id: {'; '.join(said)}{gone}"
