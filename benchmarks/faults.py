"""Faults through the pipelines of the flights: who notices what goes wrong upstream, after how long, and who cries wolf.

A fault is landed in a copy of a demo that is done, what follows from it is made, and its monitors watch. What lasts in
the untouched copy too is no catch. Before a fault there is nothing to be caught: what begins on untouched days is a
false alarm, though some tell of something real (a holiday, a storm); nobody sorted them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from graphlib import TopologicalSorter
from pathlib import Path

import duckdb
import polars as pl

from benchmarks.spoilt import FAULTS, Fault, spoil
from platform_assets.compute.incidents import Spell, alarms_of, begun, spells
from platform_assets.declarations.catalogue import Catalogue, calendar, days_affected
from platform_assets.declarations.monitor import Monitor
from platform_assets.declarations.names import DAY, table_folder
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.lake.landing import Landing
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Platform, Run
from platform_assets.registry.models import Registry

DAYS_A_MONTH = 365.25 / 12
NOW = datetime(2014, 2, 1, tzinfo=UTC)
COPIED = ("landing", "lake", "mlflow")


@dataclass(frozen=True, kw_only=True)
class Caught:
    """What a monitor says of a fault.

    Attributes:
        fault: which; `untouched` without one.
        monitor: who watched.
        after: on which day of the fault it was told, the first being 1; None where it never was.
        columns: those that began on that day.
        others: the columns that began to drift later, while the fault lasted.
        runs: incidents if every unbroken run of days above a threshold were one, on the untouched days; None of a fault.
        incidents: incidents on the untouched days; None of a fault.
        began: the days on which those began.
        days: how many days were watched.
    """

    fault: str
    monitor: str
    after: int | None = None
    columns: tuple[str, ...] = ()
    others: int = 0
    runs: int | None = None
    incidents: int | None = None
    began: tuple[str, ...] = ()
    days: int


def followers(catalogue: Catalogue, fault: Fault, days: Days) -> dict[str, Days]:
    """By declaration that follows from a fault the days that do, in the order in which they are made.

    Monitors and what they watch, and nothing that only others read; of days that `days` and the one before hold.
    """
    wanted: set[str] = set()
    todo = [one.name for kind in (Monitor, PerformanceMonitor) for one in catalogue.of_kind(kind)]
    while todo:
        name = todo.pop()
        if name not in wanted and name not in fault.not_through:
            wanted.add(name)
            todo += catalogue[name].input_names
    reached: dict[str, Days] = {}
    graph = {name: sorted(wanted.intersection(catalogue[name].input_names)) for name in sorted(wanted)}
    for name in TopologicalSorter(graph).static_order():
        reader = catalogue[name]
        if name in fault.sources:
            reached[name] = days
            continue
        read = [days_affected(reader, catalogue[one], reached[one]) for one in graph[name] if one in reached]
        parts = [part for one in read if one is not None and (part := one.clip(days.grow(back=1))) is not None]
        if parts and calendar(reader) is not None:
            reached[name] = Days(min(part.first for part in parts), max(part.last for part in parts))
    return reached


def noticed(fault: str, monitor: str, days: Days, untouched: Sequence[Spell], found: Sequence[Spell]) -> Caught:
    """What began in the days of a fault, of columns that did not drift then anyway."""
    new = [
        spell
        for spell in found
        if spell.first in days and not any(s.column == spell.column and s.drifts(spell.first) for s in untouched)
    ]
    if not new:
        return Caught(fault=fault, monitor=monitor, days=len(days))
    first = new[0].first
    columns = tuple(spell.column for spell in new if spell.first == first)
    others = {spell.column for spell in new} - set(columns)
    return Caught(
        fault=fault,
        monitor=monitor,
        after=(first - days.first).days + 1,
        columns=columns,
        others=len(others),
        days=len(days),
    )


def every_run(alarmed: pl.DataFrame) -> int:
    """On how many days a column began to be above a threshold that was not the day before, as incidents once were."""
    each = set(alarmed.select(DAY, "column").iter_rows())
    return len({day for day, column in each if (day - ONE_DAY, column) not in each})


def alarmed_rows(platform: Platform, catalogue: Catalogue, monitor: Monitor | PerformanceMonitor) -> pl.DataFrame:
    """Day and column of what is above a threshold in a monitor's table; a slice counts as a column."""
    rows = platform.lake.scan(table_folder(catalogue.name, monitor.name)).filter("alarmed")
    of_slice = pl.concat_str("sliced_by", pl.lit(" "), "slice", ignore_nulls=True).alias("column")
    column = of_slice if isinstance(monitor, PerformanceMonitor) else pl.col("column")
    return rows.select(DAY, column).collect()


def measure(data: Path, catalogue: Catalogue, faults: Iterable[Fault], days: Days) -> Iterator[Caught]:
    """Watch the untouched days, and then every fault, each in a copy of its own of a demo's data."""
    monitors = [*catalogue.of_kind(Monitor), *catalogue.of_kind(PerformanceMonitor)]
    with _copy_of(data) as clean:
        quiet: dict[str, list[Spell]] = {}
        for monitor in monitors:
            watched = _whole(clean, catalogue, monitor, days)
            _make(clean, catalogue, monitor.name, watched)
            alarmed = alarmed_rows(clean, catalogue, monitor)
            quiet[monitor.name] = spells(alarms_of(alarmed))
            yield Caught(
                fault="untouched",
                monitor=monitor.name,
                runs=every_run(alarmed),
                incidents=len(begun(quiet[monitor.name])),
                began=tuple(map(str, begun(quiet[monitor.name]))),
                days=len(watched),
            )
        for fault in faults:
            # From here on, the days before the fault are watched and thresholds learned: only its own days are made.
            with _copy_of(clean.lake.root.parent) as there:
                spoil(there.landing, fault, days)
                reached = followers(catalogue, fault, days)
                for name, part in reached.items():
                    _make(there, catalogue, name, part)
                for monitor in monitors:
                    if monitor.name in reached:
                        found = spells(alarms_of(alarmed_rows(there, catalogue, monitor)))
                        yield noticed(fault.name, monitor.name, days, quiet[monitor.name], found)


def as_markdown(found: Sequence[Caught], days: Days) -> str:
    """Two tables: what was noticed of faults, and what began on untouched days."""
    lines = [
        f"Faults from {days.first} to {days.last}; the day is that of the fault on which it is told, its first being 1.",
        "",
        "| fault | monitor | day | columns that tell | and later |",
        "|---|---|---:|---|---:|",
    ]
    for one in found:
        if one.incidents is None:
            shown = ", ".join(one.columns[:3]) + (f" and {len(one.columns) - 3} more" if len(one.columns) > 3 else "")
            lines.append(f"| {one.fault} | {one.monitor} | {one.after or 'never'} | {shown} | {one.others} |")
    lines += [
        "",
        "| untouched | days | runs of days | a month | incidents | a month | they began on |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for one in found:
        if one.incidents is not None and one.runs is not None:
            months = one.days / DAYS_A_MONTH
            runs, incidents = f"{one.runs / months:.2f}", f"{one.incidents / months:.2f}"
            cells = (one.days, one.runs, runs, one.incidents, incidents, ", ".join(one.began))
            lines.append(f"| {one.monitor} | {' | '.join(map(str, cells))} |")
    rates = [one.incidents / one.days * DAYS_A_MONTH for one in found if one.incidents is not None]
    lines.append(f"| all together | | | | | {sum(rates):.2f} | |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    from platform_assets.defs.flights.catalogue import CATALOGUE

    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--faults", default=",".join(FAULTS), help=f"which, of {','.join(FAULTS)}")
    parser.add_argument("--data", type=Path, default=Path("data"), help="a demo that is done; it is only read")
    parser.add_argument("--first", type=date.fromisoformat, default=date(2013, 11, 16), help="the first day of a fault")
    parser.add_argument("--last", type=date.fromisoformat, default=date(2013, 12, 15), help="its last day")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures there")
    given = parser.parse_args(arguments)
    names = [name for name in given.faults.split(",") if name]
    if strangers := [name for name in names if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(strangers)}; there are {', '.join(FAULTS)}")
    if missing := [folder for folder in COPIED if not (given.data / folder).is_dir()]:
        parser.error(
            f"{given.data} has no {', '.join(missing)}; run the demo to its end, or name its folder with --data"
        )
    if given.first > given.last:
        parser.error(f"faults from {given.first} to {given.last} run backwards")
    days = Days(given.first, given.last)
    found = []
    for one in measure(given.data, CATALOGUE, [FAULTS[name] for name in names], days):
        told = f"{one.incidents} incidents" if one.incidents is not None else f"day {one.after or 'never'}"
        print(f"{one.fault} by {one.monitor}: {told}", file=sys.stderr, flush=True)
        found.append(one)
    print(as_markdown(found, days))
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


def _whole(there: Platform, catalogue: Catalogue, monitor: Monitor | PerformanceMonitor, days: Days) -> Days:
    """All days that a monitor can watch up to the last of a fault: what it watches may end before."""
    held = there.lake.scan(table_folder(catalogue.name, monitor.of.name)).select(pl.col(DAY).max()).collect().item()
    return Days(monitor.partitions.first, max(min(held, monitor.partitions.last or held), days.first))


def _make(there: Platform, catalogue: Catalogue, name: str, days: Days) -> None:
    started = time.perf_counter()
    materialize(there, catalogue, name, Run(run_id=f"{name}-{days.first}", now=NOW, draws=False), days=days)
    print(f"  {name}, {days}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _copy_of(data: Path) -> Iterator[Platform]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in COPIED:
            shutil.copytree(data / name, root / name)
        yield Platform(
            landing=Landing(root / "landing"),
            lake=Lake(root / "lake"),
            registry=Registry(root / "mlflow"),
            connect=_connect,
        )


@contextmanager
def _connect() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    try:
        yield connection
    finally:
        connection.close()


if __name__ == "__main__":
    main()
