"""What a pipeline is given (the platform, the run) and what it gives back (a materialization)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from platform_assets.declarations.catalogue import Catalogue, days_always_read, days_read
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import asset_name, table_folder
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.times import Days, day_ranges
from platform_assets.errors import TableMissing
from platform_assets.lake import ledger
from platform_assets.lake.landing import Landing
from platform_assets.lake.tables import Lake
from platform_assets.lake.writes import Provenance
from platform_assets.registry.models import Registry

if TYPE_CHECKING:
    import duckdb

Connect = Callable[[], "AbstractContextManager[duckdb.DuckDBPyConnection]"]


@contextmanager
def one_database(connect: Connect) -> Iterator[Connect]:
    """A DuckDB that is opened once, and a session of its own for whoever asks: what one registers no other one sees.

    To open a database takes ten times as long as what a day of most tables asks of it.
    """
    with connect() as database:

        @contextmanager
        def session() -> Iterator[duckdb.DuckDBPyConnection]:
            with database.cursor() as own:
                yield own

        yield session


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Where everything lives: files delivered, tables, models, and a way to open DuckDB.

    `memory` is how many bytes a computation of many days may take; None for half of what the machine has.
    """

    landing: Landing
    lake: Lake
    registry: Registry
    connect: Connect
    memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: its id, the instant it counts as now (UTC), where it says what it does, and whether anybody will look.

    Pictures are drawn for people: a run whose results nobody sees one by one leaves them out (`draws`). That changes
    nothing else.
    """

    run_id: str
    now: datetime
    draws: bool = True
    say: Callable[[str], None] = field(default=lambda _: None, compare=False)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The outcome of one check: `blocking` ones stop what is downstream."""

    name: str
    passed: bool
    description: str
    blocking: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Materialization:
    """What a pipeline made.

    Attributes:
        declaration: what was materialized.
        days: the days it speaks for; None without partitions.
        version: the version of the table or model that holds it.
        uri: where it lies.
        rows: the rows of every day (under None without partitions).
        hashes: the content hash of every day, likewise.
        digest: one hash over all of it.
        changed: the days whose content is new; None without partitions.
        is_new: whether a new version was made.
        inputs: the version of every input.
        preview: a few rows.
        checks: the checks that were made on the way.
        facts: further figures worth showing, by name.
        pictures: plots as PNG, by name.
        tables: small tables worth showing, by name.
        card: what it is, in a few lines of Markdown; "" where the figures say it all.
    """

    declaration: Declaration
    days: Days | None
    version: int
    uri: str
    rows: Mapping[date | None, int]
    hashes: Mapping[date | None, str]
    digest: str
    is_new: bool
    inputs: Mapping[str, int]
    preview: pl.DataFrame
    checks: Sequence[CheckResult] = ()
    changed: Sequence[Days] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    card: str = ""

    @property
    def row_count(self) -> int:
        return sum(self.rows.values())


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of one materialization, each pinned to the version it had at the start."""

    platform: Platform
    catalogue: Catalogue
    versions: Mapping[str, int]

    @staticmethod
    def pin(
        platform: Platform,
        catalogue: Catalogue,
        declaration: Declaration,
        days: Days | None,
        *,
        given: Mapping[str, int] | None = None,
    ) -> Inputs:
        """Look up the version of every input that is not `given`, and see that the days which will be read are there.

        Raises:
            TableMissing: naming the input, or its days, that have not been materialized.
        """
        versions = {}
        wanted = asset_name(catalogue.name, declaration.name)
        for read in catalogue.inputs(declaration):
            version = version_for(platform, catalogue, declaration, read)
            if given and read.name in given:
                version = given[read.name]
            if version is None:
                needed = asset_name(catalogue.name, read.name)
                msg = f"{wanted} reads {needed}, which has not been materialized yet; materialize {needed} first"
                raise TableMissing(msg)
            versions[read.name] = version
        if days is not None:
            _require_days(platform, catalogue, declaration, days)
        return Inputs(platform=platform, catalogue=catalogue, versions=versions)

    def scan(self, name: str, *, days: Days | None = None) -> pl.LazyFrame:
        """Read an input at its pinned version."""
        folder = table_folder(self.catalogue.name, name)
        return self.platform.lake.scan(folder, version=self.versions[name], days=days)


def _require_days(platform: Platform, catalogue: Catalogue, declaration: Declaration, days: Days) -> None:
    """Refuse to compute from a part of what the windows reach: a day that is missing would pass for a quiet one."""
    touched = {read.name: days_read(declaration, read, days) for read in catalogue.inputs(declaration)}
    for name, wanted in touched.items():
        always = () if wanted is None else days_always_read(declaration) or ()
        there = ledger.made(platform.lake, asset_name(catalogue.name, name))
        missing = {day for day in (*(wanted or ()), *always) if day not in there}
        if missing:
            shown = ", ".join(map(str, day_ranges(missing)))
            msg = (
                f"{asset_name(catalogue.name, declaration.name)} of {days} reads {asset_name(catalogue.name, name)} "
                f"of {wanted}, of which {shown} are not materialized; materialize those first"
            )
            raise TableMissing(msg)


def version_of(platform: Platform, catalogue: Catalogue, declaration: Declaration) -> int | None:
    """The version that counts: of a table the newest, of a model the champion; None when there is none."""
    if isinstance(declaration, Model):
        return platform.registry.champion(catalogue.name, declaration.name)
    return platform.lake.version(table_folder(catalogue.name, declaration.name))


def version_for(platform: Platform, catalogue: Catalogue, reader: Declaration, read: Declaration) -> int | None:
    """The version of an input that a reader takes: of a model the champion, but a promotion takes the newest."""
    if isinstance(reader, Promotion):
        return platform.registry.newest(catalogue.name, read.name)
    return version_of(platform, catalogue, read)


def provenance(catalogue: Catalogue, declaration: Declaration, inputs: Mapping[str, int], run: Run) -> Provenance:
    """What the commit will record."""
    return Provenance(
        asset=asset_name(catalogue.name, declaration.name),
        fingerprint=catalogue.fingerprints[declaration.name],
        run_id=run.run_id,
        inputs=inputs,
    )


def enter(
    platform: Platform,
    catalogue: Catalogue,
    made: Materialization,
    run: Run,
    *,
    stamps: Mapping[str, str] | None = None,
) -> Materialization:
    """Record a materialization in the ledger, the last step of every pipeline."""
    entry = ledger.Entry(
        asset=asset_name(catalogue.name, made.declaration.name),
        days=made.days,
        fingerprint=catalogue.fingerprints[made.declaration.name],
        inputs=made.inputs,
        version=made.version,
        content_hash=made.digest,
        rows=made.row_count,
        run_id=run.run_id,
        recorded_at=run.now,
        stamps=stamps or {},
    )
    if not isinstance(made.declaration, Model):
        folder = table_folder(catalogue.name, made.declaration.name)
        entry = ledger.with_changes(platform.lake, entry, folder=folder)
    ledger.record(platform.lake, entry)
    return made
