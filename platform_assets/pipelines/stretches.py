"""Many days in stretches that fit into memory, each whole once it is written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl

from platform_assets.declarations.catalogue import Catalogue, days_read
from platform_assets.declarations.declaration import Declaration, Table
from platform_assets.declarations.models import Outcomes, Predictions
from platform_assets.declarations.names import asset_name, table_folder
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.tables import FeatureGroup, Label
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.declarations.views import FeatureView
from platform_assets.lake.writes import digest_of
from platform_assets.pipelines.run import CheckResult, Materialization, Platform, Run

IN_STRETCHES = (FeatureGroup, Label, FeatureView, Predictions, Outcomes)
"""The kinds whose days depend on nothing but the slices that each reads."""

_COPIES = 6
"""So many times what is read and made lies in memory at the worst: 2 to 6 were measured on the flights."""

_SHARE = 0.5
_WIDTHS: Mapping[type[pl.DataType], int] = {pl.String: 24, pl.List: 48, pl.Boolean: 1}
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def in_stretches(
    platform: Platform,
    catalogue: Catalogue,
    declaration: Declaration,
    days: Days,
    run: Run,
    make: Callable[[Days], Materialization],
) -> Materialization:
    """Make `days` one stretch after the other, in as few as the platform's memory allows.

    What a stretch has made stays when a later one fails. The figures and pictures told are those of the last stretch;
    rows, hashes, changed days and checks are those of all.
    """
    parts = stretches(platform, catalogue, declaration, days)
    if len(parts) == 1:
        return make(days)
    asset, started, made, rows = asset_name(catalogue.name, declaration.name), time.monotonic(), [], 0
    for part in parts:
        made.append(make(part))
        rows, done = rows + made[-1].row_count, (part.last - days.first).days + 1
        spent = time.monotonic() - started
        left = spent / done * (len(days) - done)
        run.say(f"{asset}: {done} of {len(days)} days, {rows / spent:,.0f} rows a second, {left:,.0f} s left")
    return _joined(made, days)


def stretches(platform: Platform, catalogue: Catalogue, declaration: Declaration, days: Days) -> list[Days]:
    """Cut days in halves until what each part reads and makes fits into memory, or is one day."""
    if len(days) == 1 or not isinstance(declaration, IN_STRETCHES):
        return [days]
    inputs = catalogue.inputs(declaration)
    tables = [read for read in inputs if isinstance(read, Table) and not isinstance(read, Promotion)]
    sizes = [(read, _sizes(platform, catalogue, read)) for read in tables]
    own = _sizes(platform, catalogue, declaration)
    guess = max((max(found.values(), default=0) for _, found in sizes), default=0)
    memory = platform.memory or int(machine_memory() * _SHARE)

    def bytes_of(part: Days) -> int:
        read = 0
        for table, found in sizes:
            wanted = days_read(declaration, table, part)
            read += sum(found.values()) if wanted is None else sum(found.get(day, 0) for day in wanted)
        return (read + sum(own.get(day, guess) for day in part)) * _COPIES

    def cut(part: Days) -> list[Days]:
        if len(part) == 1 or bytes_of(part) <= memory:
            return [part]
        middle = part.first + (len(part) // 2) * ONE_DAY
        return [*cut(Days(part.first, middle - ONE_DAY)), *cut(Days(middle, part.last))]

    return cut(days)


def machine_memory() -> int:
    """The bytes that this machine has, or that its container allows."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        allowed = _CGROUP.read_text().strip()
    except OSError:
        return there
    return min(there, int(allowed)) if allowed.isdecimal() else there


def _sizes(platform: Platform, catalogue: Catalogue, table: Table) -> Mapping[date | None, int]:
    """About how many bytes each day of a table takes in memory, from the log alone."""
    width = sum(_WIDTHS.get(type(column.dtype), 8) for column in table.columns)
    counted = platform.lake.rows_by_day(table_folder(catalogue.name, table.name))
    return {day: rows * width for day, rows in counted.items()}


def _joined(parts: list[Materialization], days: Days) -> Materialization:
    last = parts[-1]
    hashes = {day: digest for part in parts for day, digest in part.hashes.items()}
    return replace(
        last,
        days=days,
        rows={day: rows for part in parts for day, rows in part.rows.items()},
        hashes=hashes,
        digest=digest_of(hashes),
        changed=[found for part in parts for found in part.changed or ()],
        is_new=any(part.is_new for part in parts),
        checks=[_check_of_all([part.checks[at] for part in parts]) for at in range(len(last.checks))],
        facts={**last.facts, "computed in stretches": len(parts), "figures of": str(last.days)},
    )


def _check_of_all(found: list[CheckResult]) -> CheckResult:
    """The first that failed, or the last."""
    return next((check for check in found if not check.passed), found[-1])
