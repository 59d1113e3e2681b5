"""The point-in-time join with memory for a fifth of its data, beside itself without a limit and DuckDB with both.

The platform makes a feature view of many days, in stretches that fit into `Platform.memory`, each written with its hashes,
checks and profiles; DuckDB makes the same rows in one query, which spills to disk, and writes one Parquet file. Late rows
would make its ASOF join wrong, so rows that a newer event was known before are dropped first. A run of the platform that
takes more than its limit, beyond what lies in memory once its libraries are loaded, fails; DuckDB has its `memory_limit`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl
from deltalake import DeltaTable

from benchmarks import visits
from benchmarks.contest import Contender, Contest, Work, main
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import feature_column, table_folder
from platform_assets.declarations.tables import FeatureGroup, source
from platform_assets.declarations.times import ONE_DAY, Daily, Days, Window, after
from platform_assets.declarations.views import FeatureView
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Run

GROUPS, VALUES, ENTITIES = 3, 3, 100_000
FIRST, MAX_AGE = date(2021, 1, 1), timedelta(days=2)
SHARE = 5
"""`Platform.memory` and DuckDB's limit are the bytes of the data in memory divided by this."""
OWNERS = ["team:bench"]
LEAST = 128 * 2**20
"""No process is limited to less: writing a table takes about that, however few its rows."""
_CELL = 8
_SECOND = 1_000_000

_INSTANT = {"time_zone": "UTC", "time_unit": "us"}


def days_of(days: int) -> Days:
    return Days(FIRST, FIRST + (days - 1) * ONE_DAY)


def data_bytes(*, spine: int, group: int, days: int) -> int:
    """What the spine and the groups would take, all in memory at once."""
    del days
    return _CELL * (spine * 3 + GROUPS * group * (3 + VALUES))


def values_of(number: int) -> list[str]:
    return [f"v{number}_{n}" for n in range(VALUES)]


def facts(number: int, per_day: int, window: Window) -> pl.DataFrame:
    """The rows of a group in a window, the same for a day whatever the window: two in a hundred are known days late."""
    parts = []
    for day in range((window.end - window.start).days):
        begins = window.start + day * ONE_DAY
        dice = np.random.default_rng([number, begins.toordinal()])
        event = np.sort(dice.integers(0, 86_400 * _SECOND, per_day)) + int(begins.timestamp()) * _SECOND
        late = np.where(dice.random(per_day) < 0.02, dice.integers(0, 86_400 * _SECOND, per_day), 0)
        columns = {
            "entity": dice.integers(0, ENTITIES, per_day),
            "event_time": event,
            "known_at": event + 900 * _SECOND + late,
        }
        parts.append(pl.DataFrame({**columns, **{name: dice.normal(size=per_day) for name in values_of(number)}}))
    return pl.concat(parts).with_columns(
        pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") for name in ("event_time", "known_at")
    )


def project(view: str, *, group: int, days: int, **_: int) -> Catalogue:
    """Questions, three groups that make their own rows, and a view of all of them under a name of choice."""
    calendar = Daily(first=FIRST, last=days_of(days).last, zone="UTC")
    asks = {
        "row": dy.Int64(description="Its number.", primary_key=True),
        "entity": dy.Int64(description="About whom it asks."),
        "asked_at": dy.Datetime(description="When it asks (UTC).", **_INSTANT),
    }
    schema = type("Questions", (dy.Schema,), asks)

    @source(
        keys=["row"],
        event_time="asked_at",
        known_at=after("asked_at"),
        partitions=calendar,
        schema=schema,
        raw={"row": pl.Int64, "entity": pl.Int64, "asked_at": pl.Int64},
        owners=OWNERS,
    )
    def questions(raw: pl.LazyFrame) -> pl.LazyFrame:
        """What is asked."""
        return raw.with_columns(pl.col("asked_at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))

    groups = [_group(number, group // days, calendar) for number in range(GROUPS)]
    asked = FeatureView(
        name=view,
        description="Every question.",
        transform=lambda questions: questions,
        keys=["row"],
        event_time="asked_at",
        prediction_time=after("asked_at"),
        partitions=calendar,
        schema=schema,
        features=[group.select(prefix=group.name) for group in groups],
        owners=OWNERS,
    )
    return Catalogue(name="memory", declarations=(questions, *groups, asked))


def _group(number: int, per_day: int, calendar: Daily) -> FeatureGroup:
    columns = {
        "entity": dy.Int64(description="Whom it is about.", primary_key=True),
        "event_time": dy.Datetime(description="When it was true (UTC).", primary_key=True, **_INSTANT),
        "known_at": dy.Datetime(description="When it could be known (UTC).", **_INSTANT),
        **{name: dy.Float64(description="A figure.") for name in values_of(number)},
    }

    return FeatureGroup(
        name=f"g{number}",
        description="Facts as they were drawn.",
        transform=lambda window: facts(number, per_day, window).lazy(),
        keys=["entity"],
        event_time="event_time",
        known_at=after("known_at"),
        partitions=calendar,
        schema=type(f"Facts{number}", (dy.Schema,), columns),
        max_age=MAX_AGE,
        owners=OWNERS,
    )


def make(root: Path, *, spine: int, group: int, days: int) -> None:
    """Let the questions land, and make the source and the groups."""
    folder = root / "landing" / "questions"
    folder.mkdir(parents=True)
    per_day = spine // days
    for number, day in enumerate(days_of(days)):
        dice = np.random.default_rng(day.toordinal())
        begins = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) * _SECOND
        at = np.sort(dice.integers(0, 86_400 * _SECOND, per_day)) + begins
        rows = {"row": np.arange(per_day) + number * per_day, "entity": dice.integers(0, ENTITIES, per_day)}
        pl.DataFrame({**rows, "asked_at": at}).write_csv(folder / f"{day}.csv")
    catalogue = project("asked", group=group, days=days)
    visits.make(root, catalogue, "questions", *(f"g{n}" for n in range(GROUPS)), days=days_of(days))
    (root / "sizes").write_text(json.dumps({"spine": spine, "group": group, "days": days}))


def sizes(root: Path) -> dict[str, int]:
    return json.loads((root / "sizes").read_text())


def allowance(root: Path, share: int | None) -> int | None:
    """The bytes that a process may take; None for as many as it wants."""
    return None if share is None else max(data_bytes(**sizes(root)) // share, LEAST)


@contextmanager
def limited(allowed: int | None) -> Iterator[None]:
    """At most so many bytes more in memory than are there; None for no limit.

    Judged afterwards by the kernel's own peak: a limit on what is mapped (`RLIMIT_DATA`) counts what allocators keep mapped
    after they gave it back, and one on a control group takes rights that few have.

    Raises:
        MemoryError: when it took more.
    """
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew from what lies there now
    before = in_memory("VmRSS")
    yield
    took = in_memory("VmHWM") - before
    if allowed is not None and took > allowed:
        msg = f"took {took / 1e6:,.0f} MB of the {allowed / 1e6:,.0f} MB that it was allowed"
        raise MemoryError(msg)


def in_memory(what: str) -> int:
    """The bytes of this process that lie in memory now (`VmRSS`), or lay there at most (`VmHWM`)."""
    told = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in told if line.startswith(f"{what}:"))


def files(root: Path, name: str) -> list[str]:
    return DeltaTable(root / "lake" / table_folder("memory", name)).file_uris()


def through_the_platform(*, share: int | None) -> Contender:
    def ready(root: Path) -> Work:
        from platform_assets.compute import sight_compiled  # noqa: F401 - what is loaded on first use does not count

        view, told = f"asked_{os.getpid()}", sizes(root)
        allowed = allowance(root, share)
        there = replace(visits.platform(root), memory=allowed)
        visits.make(root, project(f"{view}_first", **told), f"{view}_first", days=Days(FIRST, FIRST))
        catalogue, run = project(view, **told), Run(run_id=view, now=datetime(2040, 1, 1, tzinfo=UTC))

        def work() -> pl.LazyFrame:
            with limited(allowed):
                materialize(there, catalogue, view, run, days=days_of(told["days"]))
            return pl.scan_delta(str(root / "lake" / table_folder("memory", view)))

        return work

    return Contender(ready=ready)


def in_duckdb(*, share: int | None) -> Contender:
    def ready(root: Path) -> Work:
        import duckdb

        folder = root / f"duckdb-{os.getpid()}"
        folder.mkdir()
        connection = duckdb.connect()
        connection.execute(
            f"SET TimeZone = 'UTC'; SET temp_directory = '{folder}'; SET preserve_insertion_order = false"
        )
        if share is not None:
            connection.execute(f"SET memory_limit = '{allowance(root, share)}B'")
        connection.sql(f"SELECT count(*) FROM read_parquet({files(root, 'questions')})").fetchall()
        query, into = sql(root), folder / "answer.parquet"

        def work() -> pl.LazyFrame:
            connection.execute(f"COPY ({query}) TO '{into}'")
            return pl.scan_parquet(into)

        return work

    return Contender(ready=ready)


def sql(root: Path) -> str:
    """The same rows: per group those that no newer event was known before, the newest of them by known time."""
    hours = MAX_AGE // timedelta(hours=1)
    joins = "\n".join(
        f"ASOF LEFT JOIN (SELECT * FROM read_parquet({files(root, f'g{n}')}) "
        "QUALIFY event_time >= max(event_time) OVER (PARTITION BY entity ORDER BY known_at)) "
        f"g{n} ON q.entity = g{n}.entity AND g{n}.known_at <= q.asked_at"
        for n in range(GROUPS)
    )
    values = ", ".join(
        f"CASE WHEN g{n}.event_time >= q.asked_at - INTERVAL {hours} HOURS THEN {name} END AS {feature_column(f'g{n}', name)}"
        for n in range(GROUPS)
        for name in values_of(n)
    )
    return f"SELECT q.row, q.entity, q.asked_at, {values} FROM read_parquet({files(root, 'questions')}) q {joins}"


def only_the_disk(root: Path) -> Work:
    """Read the columns in portions, and write an answer that is there already."""

    def work() -> pl.LazyFrame:
        for name in ("questions", *(f"g{n}" for n in range(GROUPS))):
            for _ in pl.scan_delta(str(root / "lake" / table_folder("memory", name))).collect_batches():
                pass
        into = root / f"copy-{os.getpid()}.parquet"
        pl.scan_parquet(root / "truth.parquet").sink_parquet(into)
        return pl.scan_parquet(into)

    return work


def in_order(answer: pl.LazyFrame) -> pl.DataFrame:
    names = [feature_column(f"g{n}", name) for n in range(GROUPS) for name in values_of(n)]
    return answer.select("row", *names).sort("row").collect()


def keep(root: Path, answer: Any) -> None:
    in_order(answer).write_parquet(root / "truth.parquet")


def wrong(root: Path, answer: Any) -> int:
    """The rows in which any value differs, at most over the columns; all when rows are missing."""
    held, found = pl.read_parquet(root / "truth.parquet"), in_order(answer)
    if not held["row"].equals(found["row"]):
        return max(len(held), len(found))
    return max(int(found[name].ne_missing(held[name]).sum()) for name in held.columns)


PLATFORM, DUCKDB = "materialize the view", "DuckDB, ASOF of undominated rows"
CONTEST = Contest(
    module="benchmarks.memory",
    work=f"A view of {{spine}} questions in {{days}} days and {GROUPS} groups of {{group}} rows, without a limit and with memory "
    f"for a {SHARE}th of the data",
    sizes={
        "small": {"spine": 20_000, "group": 100_000, "days": 20, "repeat": 1},
        "default": {"spine": 1_000_000, "group": 5_000_000, "days": 365, "repeat": 3},
        "large": {"spine": 2_000_000, "group": 20_000_000, "days": 365, "repeat": 3},
    },
    make=make,
    contenders={
        "disk: the columns read, the answer written (the floor)": Contender(ready=only_the_disk),
        PLATFORM: through_the_platform(share=None),
        f"{PLATFORM}, limited": through_the_platform(share=SHARE),
        DUCKDB: in_duckdb(share=None),
        f"{DUCKDB}, limited": replace(in_duckdb(share=SHARE), base=DUCKDB),
    },
    base=PLATFORM,
    truth=PLATFORM,
    keep=keep,
    wrong=wrong,
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
