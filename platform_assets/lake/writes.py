"""Writing a table: first a plan that can be printed and tested, then one commit that carries it out.

A write replaces exactly the days it names, in one commit that readers see whole or not at all. Days
whose content is equal to what is there are left alone, and when all are, there is no new version.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import polars as pl
from deltalake import CommitProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError

from platform_assets.compute.content_hash import content_hash, content_hashes
from platform_assets.declarations.declaration import Column
from platform_assets.declarations.names import DAY
from platform_assets.declarations.times import Days, day_ranges
from platform_assets.errors import SchemaChanged, TableError, WriteConflict, WriteRefused
from platform_assets.lake.tables import (
    AFTER_COMMIT,
    ATTEMPTS,
    ENGINE_ERRORS,
    NEW_TABLE,
    PARTITIONS_KEY,
    Lake,
    explained,
)

EMPTY, _UNREADABLE = "empty", "unreadable"
"""In place of a content hash: of a day without rows, and of one that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a commit records of where its rows came from."""

    asset: str
    fingerprint: str
    run_id: str
    inputs: Mapping[str, int]

    def metadata(self, ranges: Sequence[Days], digest: str) -> dict[str, str]:
        """The commit's metadata: strings, as Delta stores them; without a content hash where nothing was compared."""
        return {
            "platform.asset": self.asset,
            "platform.fingerprint": self.fingerprint,
            "platform.run": self.run_id,
            "platform.inputs": json.dumps(dict(self.inputs), sort_keys=True),
            **({"platform.content_hash": digest} if digest else {}),
            PARTITIONS_KEY: json.dumps([[str(r.first), str(r.last)] for r in ranges]),
        }


@dataclass(frozen=True, kw_only=True)
class WritePlan:
    """What a write will do to a table.

    Attributes:
        table: the table's folder.
        base: the version the plan was made against; None when the table is to be created.
        days: the days the write speaks for; None for a table without partitions.
        replace: the days whose content differs, as ranges; empty when there is nothing to do.
        hashes: the content hash of every day (under None for a table without partitions); none where nothing was
            compared.
        rows: the number of rows of every day, likewise.
        writes: whether carrying it out makes a new version.
        new_columns: columns that the table does not have yet.
        rewrite_schema: whether a column's type changes or a column goes, which only a write of the
            whole table may do.
    """

    table: str
    base: int | None
    days: Days | None
    replace: tuple[Days, ...]
    hashes: Mapping[date | None, str]
    rows: Mapping[date | None, int]
    writes: bool = True
    new_columns: tuple[str, ...] = ()
    rewrite_schema: bool = False

    @cached_property
    def digest(self) -> str:
        """One hash over all days, the data version of the whole write; "" where nothing was compared."""
        return digest_of(self.hashes) if self.hashes else ""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a write did."""

    version: int
    plan: WritePlan


def plan_write(
    lake: Lake, table: str, frame: pl.DataFrame, *, columns: Sequence[Column], days: Days | None, compare: bool = True
) -> WritePlan:
    """Compare rows with what a table holds and decide what to replace.

    Args:
        lake: the lake.
        table: the table's folder.
        frame: the rows, with the partition column `day` when `days` is given.
        columns: the declared columns without `day`.
        days: the days that `frame` speaks for, also those in which it has no rows.
        compare: whether equal content is looked for. Whoever knows that all of it is new says no: nothing is read
            and nothing hashed.

    Raises:
        WriteRefused: when rows lie outside `days`.
        SchemaChanged: when the write would change a type or drop a column under rows it does not rewrite.
    """
    rows = _count_days(table, frame, days)
    base = lake.version(table)
    fresh = _hash_days(frame, days) if compare else {}
    whole = () if days is None else (days,)
    if base is None:
        return WritePlan(table=table, base=None, days=days, replace=whole, hashes=fresh, rows=rows)
    there = lake.schema(table, version=base)
    _refuse_other_cut(lake, table, there, days)
    added, removed, retyped = _schema_changes(there, columns)
    if (removed or retyped) and days is not None and not lake.days(table, version=base) <= set(days):
        changes = [
            *(f"{name} is {old} there and {new} now" for name, old, new in retyped),
            *(f"{name} is gone" for name in removed),
        ]
        msg = (
            f"table {table}: {'; '.join(changes)}; a write of {days} would leave the other days in the old shape. "
            "Materialize all of its days at once, or declare the new meaning under a new name"
        )
        raise SchemaChanged(msg)
    if removed or retyped or added or not compare:
        return WritePlan(
            table=table,
            base=base,
            days=days,
            replace=whole,
            hashes=fresh,
            rows=rows,
            new_columns=tuple(added),
            rewrite_schema=bool(removed or retyped),
        )
    held = _hash_held(lake, table, base, frame.columns, days)
    differing = {day for day in days or () if held[day] != fresh[day]}
    return WritePlan(
        table=table,
        base=base,
        days=days,
        replace=tuple(day_ranges(differing)),
        hashes=fresh,
        rows=rows,
        writes=held != fresh,
    )


def write(
    lake: Lake,
    table: str,
    frame: pl.DataFrame,
    *,
    columns: Sequence[Column],
    days: Days | None,
    provenance: Provenance,
    description: str = "",
    compare: bool = True,
) -> Written:
    """Replace exactly `days` of a table (all of it when None) by the rows of `frame`; see `plan_write`.

    Retried a bounded number of times when another writer commits in between; a retry or a repetition
    leaves the same table as one write.

    Raises:
        TableError: naming the table, when it cannot be written; the table then is as it was.
    """
    for attempt in range(ATTEMPTS):
        plan = plan_write(lake, table, frame, columns=columns, days=days, compare=compare)
        if not plan.writes:
            return Written(version=plan.base or 0, plan=plan)
        try:
            with explained(lake.path(table), "write"):
                try:
                    return Written(version=_commit(lake, plan, frame, provenance, description), plan=plan)
                except SchemaMismatchError as error:
                    msg = f"table {table}: {error}"
                    raise SchemaChanged(msg) from error
                except CommitFailedError:
                    # Another writer was faster: look again at what is there, and decide anew.
                    time.sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 - jitter, not a secret
        except TableError as error:
            if _was_created_meanwhile(lake, plan, error):
                continue
            raise
    msg = f"table {table}: other writers won {ATTEMPTS} times in a row; run it again when they are done"
    raise WriteConflict(msg)


def _commit(
    lake: Lake,
    plan: WritePlan,
    frame: pl.DataFrame,
    provenance: Provenance,
    description: str,
) -> int:
    path = lake.path(plan.table)
    partitioned = plan.days is not None
    ranges = plan.replace if partitioned else ()
    metadata = provenance.metadata(ranges, plan.digest)
    commit = CommitProperties(custom_metadata=metadata)
    # Without a predicate the engine sees no conflict with files that came since, and would leave or swallow them.
    exact = CommitProperties(custom_metadata=metadata, max_commit_retries=0)
    if plan.base is None:
        path.mkdir(parents=True, exist_ok=True)
        write_deltalake(
            path,
            frame,
            mode="error",
            partition_by=[DAY] if partitioned else None,
            description=description or None,
            commit_properties=commit,
            configuration=NEW_TABLE,
        )
        return 0
    with lake.writing(plan.table, version=plan.base) as table:
        if plan.rewrite_schema:
            write_deltalake(
                table,
                frame,
                mode="overwrite",
                schema_mode="overwrite",
                commit_properties=exact,
                post_commithook_properties=AFTER_COMMIT,
                partition_by=[DAY] if partitioned else None,
            )
        else:
            predicate = " OR ".join(_between(days) for days in ranges) if partitioned else None
            rows = frame if not partitioned else frame.filter(_in_ranges(ranges))
            write_deltalake(
                table,
                rows,
                mode="overwrite",
                predicate=predicate,
                commit_properties=commit if partitioned else exact,
                post_commithook_properties=AFTER_COMMIT,
                schema_mode="merge" if plan.new_columns else None,
            )
        return table.version()


def _between(days: Days) -> str:
    return f"({DAY} >= '{days.first}' AND {DAY} <= '{days.last}')"


def _in_ranges(ranges: Sequence[Days]) -> pl.Expr:
    return pl.any_horizontal(pl.col(DAY).is_between(days.first, days.last) for days in ranges)


def _was_created_meanwhile(lake: Lake, plan: WritePlan, error: TableError) -> bool:
    """Whether a creation failed only because another writer created the table first."""
    return plan.base is None and isinstance(error.__cause__, DeltaError) and lake.version(plan.table) is not None


def _refuse_other_cut(lake: Lake, table: str, schema: pl.Schema, days: Days | None) -> None:
    is_daily = DAY in schema
    if is_daily != (days is not None):
        there, now = ("cut into days", "one piece") if is_daily else ("one piece", "cut into days")
        msg = (
            f"table {table}: it is {there} there and {now} now; declare it under a new name, or remove "
            f"{lake.path(table)} and materialize it again"
        )
        raise SchemaChanged(msg)


def digest_of(hashes: Mapping[date | None, str]) -> str:
    """One hash over the content hashes of all days, or that of a table without partitions."""
    if set(hashes) == {None}:
        return hashes[None]
    return content_hash(pl.DataFrame({"day": [str(day) for day in hashes], "hash": list(hashes.values())}))


def _hash_days(frame: pl.DataFrame, days: Days | None) -> dict[date | None, str]:
    if days is None:
        return {None: content_hash(frame)}
    held = content_hashes(frame, by=DAY)
    return {day: held.get(day, EMPTY) for day in days}


def _count_days(table: str, frame: pl.DataFrame, days: Days | None) -> dict[date | None, int]:
    if days is None:
        return {None: len(frame)}
    counted = dict(frame.group_by(DAY).len().iter_rows())
    strangers = {day: count for day, count in counted.items() if day not in days}
    if strangers:
        found = sorted(strangers, key=lambda day: (day is not None, day))
        msg = (
            f"table {table}: {sum(strangers.values())} rows lie on {', '.join(map(str, found[:5]))}, outside {days}, "
            "which is all this write may replace"
        )
        raise WriteRefused(msg)
    return {day: counted.get(day, 0) for day in days}


def _hash_held(lake: Lake, table: str, version: int, names: Sequence[str], days: Days | None) -> dict[date | None, str]:
    """What is there. A day whose files cannot be read differs from whatever replaces it, which mends the table."""
    rows = lake.scan(table, version=version, days=days).select(names)
    try:
        return _hash_days(rows.collect(), days)
    except ENGINE_ERRORS as error:
        damaged = {file.day for file in lake.damaged_files(table, version=version)}
        if not damaged:
            with explained(lake.path(table), "read"):
                raise error  # noqa: TRY201 - the name keeps mypy and the reader sure of which
        if days is None:
            return {None: _UNREADABLE}
        readable = _hash_days(rows.filter(~pl.col(DAY).is_in(list(damaged))).collect(), days)
        return {day: _UNREADABLE if day in damaged else digest for day, digest in readable.items()}


def _schema_changes(
    there: pl.Schema, columns: Sequence[Column]
) -> tuple[list[str], list[str], list[tuple[str, pl.DataType, pl.DataType]]]:
    declared = {column.name: column.dtype for column in columns}
    added = [name for name in declared if name not in there]
    removed = [name for name in there.names() if name not in declared and name != DAY]
    retyped = [(n, there[n], dtype) for n, dtype in declared.items() if n in there and there[n] != dtype]
    return added, removed, retyped
