"""One turn of the platform by direct calls: what was delivered, and everything that follows from it.

It does what the automation does in Dagster, and by the same rules: a daily table is made on each day that an input
of it was made for, once all that the day reads is there; what failed a blocking check, or could not be made, stops
what follows from it. Training is left to whoever decides about that. A turn costs what was delivered, not what is
there.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import Catalogue, calendar, days_affected
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Outcomes, Predictions
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import Days, day_ranges
from platform_assets.errors import PlatformError
from platform_assets.pipelines.incidents import PAST, SINCE, incidents_told
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.readiness import can_run
from platform_assets.pipelines.run import Materialization, Platform, Run, version_of

There = dict[str, set[date | None]]
"""By declaration the days that are there; `{None}` for one without partitions."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One materialization of a turn, or why there is none.

    Attributes:
        name: the declaration.
        days: the days it speaks for; None without partitions.
        first: those of them that were made for the first time.
        rows: how many it has.
        failed: the checks that failed, by name, with what they say.
        begun: by failed check what moved most in the incidents that last, each `since` its first day.
        past: the same of incidents of days long past that do not last.
        stopped: whether what follows from it was left alone.
        error: why it could not be made; "" where it could.
        wall_seconds: how long it took.
        cpu_seconds: of all threads of this process.
        materialization: what came of it; None where nothing did.
    """

    name: str
    days: Days | None
    first: tuple[date, ...] = ()
    rows: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    begun: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    past: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stopped: bool = False
    error: str = ""
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    materialization: Materialization | None = field(default=None, repr=False, compare=False)


def advance(
    platform: Platform,
    catalogue: Catalogue,
    arrived: Mapping[str, Collection[date | None]],
    there: There,
    run: Run,
    *,
    matured: Mapping[str, Collection[date]] | None = None,
) -> list[Made]:
    """Ingest what was delivered and make what follows from it, in the order of the graph.

    Args:
        platform: where everything lives.
        catalogue: what is declared.
        arrived: by source the days for which something was delivered (None for a snapshot).
        there: what was there before; what is made is added.
        run: the run, and the instant at which all of it happens.
        matured: by label the days of which more rows may be known by now than when they were made: what came of
            predictions is told anew.
    """
    fresh: dict[str, set[date]] = {}
    turn: list[Made] = []
    for declaration in catalogue.declarations:
        if isinstance(declaration, Source):
            wanted: set[date | None] = set(arrived.get(declaration.name, ()))
        elif calendar(declaration) is None or isinstance(declaration, Backtest):
            continue
        else:
            wanted = _that_follow(platform, catalogue, declaration, fresh, there, run)
        if isinstance(declaration, Outcomes):
            wanted |= there[declaration.name].intersection((matured or {}).get(declaration.label.name, ()))
        for days in _parts(wanted):
            made = make(platform, catalogue, declaration.name, run, days=days)
            if made.materialization is None:
                turn.append(made)
                continue
            known = there[declaration.name]
            turn.append(replace(made, first=tuple(day for day in days or () if day not in known)))
            known.update(days or (None,))
            if not made.stopped:
                fresh.setdefault(declaration.name, set()).update(days or ())
    return turn


def make(platform: Platform, catalogue: Catalogue, name: str, run: Run, *, days: Days | None = None) -> Made:
    """Materialize a declaration and say what came of it, also where nothing did."""
    wall, cpu = time.perf_counter(), time.process_time()
    found: Materialization | None = None
    error = ""
    try:
        found = materialize(platform, catalogue, name, run, days=days)
    except PlatformError as refused:
        error = str(refused)
    failed = [check for check in (() if found is None else found.checks) if not check.passed]
    return Made(
        name=name,
        days=days,
        rows=0 if found is None else found.row_count,
        failed={check.name: check.description for check in failed},
        begun={check.name: incidents_told(check.facts, SINCE) for check in failed},
        past={check.name: incidents_told(check.facts, PAST) for check in failed},
        stopped=found is None or any(check.blocking for check in failed),
        error=error,
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        materialization=found,
    )


def _that_follow(
    platform: Platform,
    catalogue: Catalogue,
    declaration: Declaration,
    fresh: Mapping[str, set[date]],
    there: There,
    run: Run,
) -> set[date | None]:
    """The days of a daily table that what was just made reaches, are over, and have all that they read."""
    own = calendar(declaration)
    closed = None if own is None else own.closed_until(run.now)
    if own is None or closed is None:
        return set()
    reached: set[date] = set()
    for read in catalogue.inputs(declaration):
        for part in day_ranges(fresh.get(read.name, set())):
            affected = days_affected(declaration, read, part)
            reached.update((affected and affected.clip(closed)) or ())
    if isinstance(declaration, Predictions):
        # Nobody could have predicted a day before there was a model; later ones follow as they come.
        reached = set() if version_of(platform, catalogue, declaration.model) is None else reached
    return {day for day in reached if can_run(catalogue, declaration, day, there)}


def _parts(wanted: Collection[date | None]) -> list[Days | None]:
    whole: list[Days | None] = [None] if None in wanted else []
    return [*whole, *day_ranges({day for day in wanted if day is not None})]
