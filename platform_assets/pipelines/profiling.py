"""The profiles of a table's days, kept beside it, so that windows of days are compared without reading their rows.

Whoever writes a day stores its profile right after, and only then records the materialization: a run that was killed in
between is made again, and the profile with it. A profile says of which version of which table it is. It is current
while no later version changed its day; whoever reads one that is not, profiles the day anew and stores that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date

import polars as pl

from platform_assets.compute.content_hash import content_hashes
from platform_assets.compute.profiles import PROFILES, kind_of, profile
from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Column, Declaration, Table
from platform_assets.declarations.models import Predictions
from platform_assets.declarations.names import DAY, asset_name, profile_folder, table_folder
from platform_assets.declarations.tables import FeatureGroup, Source
from platform_assets.declarations.times import Days, day_ranges
from platform_assets.declarations.views import FeatureView
from platform_assets.errors import TableMissing
from platform_assets.lake import ledger
from platform_assets.lake.tables import Lake
from platform_assets.lake.writes import EMPTY, Provenance, Written, write

TABLE_ID, TABLE_VERSION, CONTENT_HASH = "table_id", "table_version", "content_hash"

_OF_ROWS = {TABLE_ID: pl.String(), TABLE_VERSION: pl.Int64(), CONTENT_HASH: pl.String()}
_SCHEMA = pl.Schema({**PROFILES, **_OF_ROWS})
_COLUMNS = tuple(Column(name=name, dtype=dtype) for name, dtype in _SCHEMA.items() if name != DAY)

Stamp = tuple[str, int, str]
"""Of which rows a profile is: the table's id and version, and the content hash of the day."""


def is_profiled(declaration: Declaration) -> bool:
    """Whether its days are profiled when they are written: sources, feature groups, feature views and predictions.

    Without a column that a profile tells anything of, nothing is stored.
    """
    if not isinstance(declaration, Source | FeatureGroup | FeatureView | Predictions):
        return False
    return calendar(declaration) is not None and bool(profiled_columns(declaration))


def profiled_columns(declaration: Table) -> tuple[str, ...]:
    """The columns of which a profile tells anything.

    Left out are keys of which every row has its own, and instants and lists that are never null: of these nothing
    but nulls is compared.
    """
    view = declaration.view if isinstance(declaration, Predictions) else declaration
    schema = getattr(view, "schema", None)
    primary = () if schema is None else tuple(schema.primary_key())
    unique = {"prediction_id", *(primary if len(primary) == 1 else ())}
    return tuple(
        column.name
        for column in declaration.columns
        if column.name not in unique and (column.nullable or kind_of(column.dtype) not in {"instant", "other"})
    )


def store_profiles(
    lake: Lake, catalogue: Catalogue, declaration: Table, rows: pl.DataFrame, written: Written, provenance: Provenance
) -> None:
    """Store the profiles of the days that were just written, but for those whose profile is there already.

    Args:
        lake: the lake.
        catalogue: what is declared.
        declaration: whose table was written.
        rows: all rows of the days that the write spoke for, with their `day`.
        written: what it did.
        provenance: what the commit records.
    """
    plan = written.plan
    if plan.days is None or not is_profiled(declaration):
        return
    table_id = lake.table_id(plan.table)
    replaced = {day for days in plan.replace for day in days} if plan.writes else set()
    kept = set(plan.days) - replaced
    there = _stamps(lake, catalogue, declaration, plan.days) if kept else {}
    current = {day for day in kept & there.keys() if (there[day][0], there[day][2]) == (table_id, plan.hashes[day])}
    stamps = {day: (table_id, written.version, plan.hashes[day]) for day in plan.days if day not in current}
    _store(lake, catalogue, declaration, _profiles_of(declaration, rows, stamps), provenance)


def held_profiles(lake: Lake, catalogue: Catalogue, declaration: Declaration, days: Days) -> pl.DataFrame:
    """The profiles that are there of some days, current or not, for showing: nothing is made anew or stored."""
    folder = profile_folder(catalogue.name, declaration.name)
    if not is_profiled(declaration) or lake.version(folder) is None:
        return PROFILES.to_frame()
    with lake.reading(folder):
        return lake.scan(folder, days=days).select(PROFILES.names()).sort(DAY, "column").collect()


def read_profiles(
    lake: Lake,
    catalogue: Catalogue,
    declaration: Table,
    days: Collection[date],
    *,
    version: int,
    provenance: Provenance,
) -> pl.DataFrame:
    """The profiles of some days of a table as they are at a version; those that lag are made anew, and stored.

    Args:
        lake: the lake.
        catalogue: what is declared.
        declaration: whose table is meant.
        days: the days, all of them materialized.
        version: of the table. Profiles of days that changed since are made from its rows, and not stored.
        provenance: what the commit records of profiles that are made anew.

    Returns:
        A frame of `PROFILES`, in order of day and column.
    """
    if not days:
        return PROFILES.to_frame()
    span = Days(min(days), max(days))
    current = _are_current(lake, catalogue, declaration, days, _stamps(lake, catalogue, declaration, span), version)
    held = _read(lake, catalogue, declaration, current)
    lagging = set(days) - current
    fresh = PROFILES.to_frame()
    if lagging:
        folder = table_folder(catalogue.name, declaration.name)
        names = [*(column.name for column in declaration.columns), DAY]
        with lake.reading(folder):
            rows = _of_days(lake.scan(folder, version=version), lagging).select(names).collect()
        hashes = content_hashes(rows, by=DAY)
        table_id = lake.table_id(folder)
        stamps = {day: (table_id, version, hashes.get(day, EMPTY)) for day in lagging}
        made = _profiles_of(declaration, rows, stamps)
        if version == lake.version(folder):
            _store(lake, catalogue, declaration, made, provenance)
        fresh = made.select(PROFILES.names())
    return pl.concat([held, fresh]).sort(DAY, "column")


def changed_at(lake: Lake, catalogue: Catalogue, name: str, days: Iterable[date], *, version: int) -> dict[date, int]:
    """The version of a table that last changed each day, as of a version; one that nobody can tell of changed all."""
    asset, folder = asset_name(catalogue.name, name), table_folder(catalogue.name, name)
    told = ledger.last_changes(lake, asset, lake.table_id(folder))
    if told.until < version:
        told = told.with_changes(lake.changes(folder, since=told.until, until=version), until=version)
    return {day: max(told.by_day.get(day, -1), told.unsaid) for day in days}


def _are_current(
    lake: Lake,
    catalogue: Catalogue,
    declaration: Table,
    days: Collection[date],
    stamps: Mapping[date, Stamp],
    version: int,
) -> set[date]:
    if not stamps:
        return set()
    table_id = lake.table_id(table_folder(catalogue.name, declaration.name))
    changed = changed_at(lake, catalogue, declaration.name, days, version=version)
    return {
        day
        for day, (of_table, of_version, _) in stamps.items()
        if day in changed and of_table == table_id and changed[day] <= of_version <= version
    }


def _profiles_of(declaration: Table, rows: pl.DataFrame, stamps: Mapping[date, Stamp]) -> pl.DataFrame:
    """The profiles of these days, also of those without a row, each with its stamp."""
    columns = profiled_columns(declaration)
    found = profile(rows.filter(pl.col(DAY).is_in(list(stamps))), day=DAY, columns=columns)
    empty = sorted(stamps.keys() - set(found.get_column(DAY)))
    if empty:
        nothing = profile(rows.clear(), columns=columns).drop(DAY)
        nobody = pl.DataFrame({DAY: empty}, schema={DAY: pl.Date()}).join(nothing, how="cross")
        found = pl.concat([found, nobody.select(PROFILES.names())])
    told = pl.DataFrame(
        [(day, *stamp) for day, stamp in stamps.items()], schema={DAY: pl.Date(), **_OF_ROWS}, orient="row"
    )
    return found.lazy().join(told.lazy(), on=DAY).select(_SCHEMA.names()).sort(DAY, "column").collect()


def _store(lake: Lake, catalogue: Catalogue, declaration: Table, made: pl.DataFrame, provenance: Provenance) -> None:
    """Replace the profiles of the days of `made`, in one commit; the days between them stay as they are."""
    if made.is_empty():
        return
    fresh = set(made.get_column(DAY))
    span = Days(min(fresh), max(fresh))
    folder = profile_folder(catalogue.name, declaration.name)
    between = set(span) - fresh
    if between and lake.version(folder) is not None:
        held = _of_days(lake.scan(folder), between).select(_SCHEMA.names()).collect()
        made = pl.concat([made, held]).sort(DAY, "column")
    write(
        lake,
        folder,
        made,
        columns=_COLUMNS,
        days=span,
        provenance=provenance,
        description=f"What the columns of {asset_name(catalogue.name, declaration.name)} were like, day by day",
        compare=bool(between),  # else all is new: no profile was of this version
    )


def _stamps(lake: Lake, catalogue: Catalogue, declaration: Declaration, days: Days) -> dict[date, Stamp]:
    """Of which rows the stored profiles of some days are."""
    folder = profile_folder(catalogue.name, declaration.name)
    try:
        profiles = lake.scan(folder, days=days)
    except TableMissing:
        return {}
    with lake.reading(folder):
        found = profiles.select(DAY, *_OF_ROWS).unique().collect()
    return {day: (table_id, version, digest) for day, table_id, version, digest in found.iter_rows()}


def _read(lake: Lake, catalogue: Catalogue, declaration: Declaration, days: Collection[date]) -> pl.DataFrame:
    if not days:
        return PROFILES.to_frame()
    folder = profile_folder(catalogue.name, declaration.name)
    with lake.reading(folder):
        return _of_days(lake.scan(folder), days).select(PROFILES.names()).collect()


def _of_days(rows: pl.LazyFrame, days: Collection[date]) -> pl.LazyFrame:
    return rows.filter(pl.any_horizontal(pl.col(DAY).is_between(d.first, d.last) for d in day_ranges(set(days))))
