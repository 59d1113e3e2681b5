"""Where a training dataset's parts lie: as declared, or resolved when it was built and kept in its ledger entry."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import asset_name, table_folder
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import RollingSplit, TimeSplit, TrainingDataset
from platform_assets.errors import TableMissing
from platform_assets.lake import ledger
from platform_assets.lake.tables import Lake

_DAYS = ("select_from", "report_from", "report_until")
_GAP = "gap"
_NEWEST = "newest"
FEWEST_DAYS = 3
"""Fewer labelled days than parts leave one of them empty."""


@dataclass(frozen=True, kw_only=True)
class ResolvedSplit:
    """A split with its days, and the newest day whose labels were there when it was resolved, matured or not."""

    split: TimeSplit
    newest: date


def resolve_split(
    lake: Lake, catalogue: Catalogue, dataset: TrainingDataset, versions: Mapping[str, int], *, now: datetime
) -> ResolvedSplit:
    """The split of a dataset that is built now, from its inputs at these versions.

    Of a split that rolls, report ends on the last day of which a label was known at `now` (UTC).

    Raises:
        TableMissing: when a rolling split has no three labelled days to divide.
    """
    if isinstance(dataset.split, TimeSplit):
        return ResolvedSplit(split=dataset.split, newest=dataset.split.report_until)
    assets = {name: asset_name(catalogue.name, name) for name in dataset.input_names}
    book = ledger.read(lake, list(assets.values()))
    there = [
        {day for day in book.latest(asset, until=versions[name]) if day is not None} for name, asset in assets.items()
    ]
    both = sorted(set.intersection(*there))
    matured = _matured(lake, catalogue, dataset, both, versions, now=now)
    labelled = labelled_days(dataset, matured, matured)
    if labelled is None:
        msg = (
            f"{asset_name(catalogue.name, dataset.name)} divides the labelled days of {' and '.join(assets.values())} "
            f"into three parts, and there are fewer than {FEWEST_DAYS}; materialize more of them first"
        )
        raise TableMissing(msg)
    return ResolvedSplit(split=dataset.split.resolve(labelled.first, labelled.last), newest=both[-1])


def _matured(
    lake: Lake,
    catalogue: Catalogue,
    dataset: TrainingDataset,
    days: Sequence[date],
    versions: Mapping[str, int],
    *,
    now: datetime,
) -> Sequence[date]:
    """The days up to the last one of which a label was known at `now`: of most labels, all but the newest few."""
    label, folder = dataset.label, table_folder(catalogue.name, dataset.label.name)
    for at in range(len(days), 0, -1):
        rows = lake.scan(folder, version=versions[label.name], days=Days(days[at - 1], days[at - 1]))
        known = rows.filter(label.known_at.expr() <= now).select(pl.len())
        if known.collect().item():
            return days[:at]
    return ()


def labelled_days(dataset: TrainingDataset, view: Collection[date], label: Collection[date]) -> Days | None:
    """From the first day of the view to the newest one that it and the label have; None where those are too few."""
    both = set(view) & set(label)
    found = Days(dataset.view.partitions.first, max(both)) if both else None
    return found if found is not None and len(both) >= FEWEST_DAYS else None


def kept_split(dataset: TrainingDataset, entry: ledger.Entry | None) -> TimeSplit | None:
    """The split that a dataset was built with; None of a rolling one that was not built, or by another kind of split."""
    if isinstance(dataset.split, TimeSplit):
        return dataset.split
    if entry is None or not all(name in entry.stamps for name in (*_DAYS, _GAP)):
        return None
    days = {name: date.fromisoformat(entry.stamps[name]) for name in _DAYS}
    return TimeSplit(**days, gap=timedelta(seconds=float(entry.stamps[_GAP])))


def kept_days(dataset: TrainingDataset, entry: ledger.Entry | None) -> Days | None:
    """The days that a dataset was built of, likewise."""
    split = kept_split(dataset, entry)
    return None if split is None else dataset.days_of(split)


def newest_day(dataset: TrainingDataset, entry: ledger.Entry) -> date | None:
    """The newest day whose labels were there when a dataset was built; None where its entry does not tell."""
    if isinstance(dataset.split, TimeSplit):
        return dataset.split.report_until
    return date.fromisoformat(entry.stamps[_NEWEST]) if _NEWEST in entry.stamps else None


def stamps_of(dataset: TrainingDataset, resolved: ResolvedSplit) -> dict[str, str]:
    """What the ledger entry of a dataset keeps of a split that was resolved; nothing of one that is declared."""
    if not isinstance(dataset.split, RollingSplit):
        return {}
    split = resolved.split
    told = {name: str(getattr(split, name)) for name in _DAYS}
    return told | {_GAP: str(split.gap.total_seconds()), _NEWEST: str(resolved.newest)}


def facts_of(dataset: TrainingDataset, split: TimeSplit) -> dict[str, str]:
    """What the page of a dataset tells of a split that was resolved."""
    if not isinstance(dataset.split, RollingSplit):
        return {}
    one = timedelta(days=1)
    return {
        "days of fit": f"{dataset.view.partitions.first} to {split.select_from - one}",
        "days of select": str(Days(split.select_from, split.report_from - one)),
        "days of report": str(Days(split.report_from, split.report_until)),
    }
