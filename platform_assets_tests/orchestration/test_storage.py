"""The pooled SQLite storage against the stock one, its naive twin, and against crashes."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as db
from dagster import AssetKey, DagsterEventType
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.event_api import EventRecordsFilter
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from platform_assets.orchestration import storage as pooled
from platform_assets.orchestration.storage import MAX_OPEN_RUN_SHARDS, PooledSqliteStorage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagster._core.storage.base_storage import DagsterStorage

PROJECT = Path(__file__).parents[2]
DAYS = [f"2013-01-{day:02}" for day in range(1, 29)]
DATA_VERSION = "dagster/data_version"
MATERIALIZED = DagsterEventType.ASSET_MATERIALIZATION


@pytest.fixture(autouse=True)
def _batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases as the stock storage makes them, which takes a while."""
    home = tmp_path_factory.mktemp("empty")
    DagsterSqliteStorage(str(home)).dispose()
    return home


@pytest.fixture
def ours(tmp_path: Path, empty_home: Path) -> Iterator[PooledSqliteStorage]:
    shutil.copytree(empty_home, tmp_path / "ours")
    storage = PooledSqliteStorage(str(tmp_path / "ours"))
    yield storage
    storage.dispose()


def entry(run_id: str, event: DagsterEvent | None = None, *, at: float = 1e9, message: str = "") -> EventLogEntry:
    return EventLogEntry(
        error_info=None,
        level=10,
        user_message=message,
        run_id=run_id,
        timestamp=at,
        step_key=event.step_key if event else None,
        job_name="job",
        dagster_event=event,
    )


def dagster_event(kind: DagsterEventType, data: Any = None) -> DagsterEvent:
    return DagsterEvent(kind.value, "job", step_key="step", event_specific_data=data)


def materialization(run_id: str, asset: str, day: str | None, version: str = "v", at: float = 1e9) -> EventLogEntry:
    made = dg.AssetMaterialization(asset, partition=day, metadata={"rows": 1}, tags={DATA_VERSION: version})
    return entry(run_id, dagster_event(MATERIALIZED, StepMaterializationData(made)), at=at)


def any_event(draw: random.Random, at: float) -> EventLogEntry:
    """An event of any kind that a run may store."""
    run_id, asset, day = draw.choice(["run_a", "run_b", ""]), draw.choice("xyz"), draw.choice([*DAYS, None])
    kind = draw.randrange(8)
    if kind <= 1:
        return materialization(run_id, asset, day, version=str(at), at=at)
    if kind == 2:
        return entry(run_id, at=at, message="a line logged by the user")
    if kind == 3:
        data: Any = AssetMaterializationPlannedData(AssetKey(asset), partition=day)
        return entry(run_id, dagster_event(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, data), at=at)
    if kind == 4:
        data = AssetObservationData(dg.AssetObservation(asset, partition=day, tags={DATA_VERSION: str(at)}))
        return entry(run_id, dagster_event(DagsterEventType.ASSET_OBSERVATION, data), at=at)
    if kind == 5:
        data = AssetCheckEvaluationPlanned(asset_key=AssetKey(asset), check_name=f"check {at}")
        return entry(run_id, dagster_event(DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, data), at=at)
    if kind == 6:
        change = FreshnessStateChange(
            key=AssetKey(asset),
            new_state=FreshnessState.FAIL,
            previous_state=FreshnessState.PASS,
            state_change_timestamp=at,
        )
        return entry(run_id, dagster_event(DagsterEventType.FRESHNESS_STATE_CHANGE, change), at=at)
    return entry(run_id, dagster_event(draw.choice([DagsterEventType.RUN_START, DagsterEventType.STEP_START])), at=at)


def evaluation_of(planned: EventLogEntry) -> EventLogEntry:
    check = planned.get_dagster_event().event_specific_data
    data = dg.AssetCheckEvaluation(asset_key=check.asset_key, check_name=check.check_name, passed=True, metadata={})
    return entry(planned.run_id, dagster_event(DagsterEventType.ASSET_CHECK_EVALUATION, data), at=planned.timestamp)


def story(seed: int, length: int) -> list[EventLogEntry]:
    """A run of events of all kinds; most of the planned checks are evaluated later."""
    draw, events = random.Random(seed), []
    for second in range(length):
        events.append(any_event(draw, 1e9 + second))
        planned = [e for e in events if e.dagster_event_type == DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED]
        if planned and draw.random() < 0.15:
            events.append(evaluation_of(planned[-1]))
    return events


def rows_of(base_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every event database below the directory, but for the insertion times."""
    found = {}
    for path in sorted((base_dir / "history" / "runs").glob("*.db")) + [base_dir / "history/runs/.db"]:
        with sqlite3.connect(path) as connection:
            for table in ("event_logs", "asset_keys", "asset_event_tags", "asset_check_executions"):
                columns = [c[1] for c in connection.execute(f"PRAGMA table_info({table})")]
                kept = ", ".join(c for c in columns if c != "create_timestamp")
                found[f"{path.name}:{table}"] = connection.execute(f"SELECT {kept} FROM {table}").fetchall()
        connection.close()
    return found


def count(base_dir: Path, shard: str) -> int:
    connection = sqlite3.connect(base_dir / "history" / "runs" / f"{shard}.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (number,) = connection.execute("SELECT count(*) FROM event_logs").fetchone()
    connection.close()
    return int(number)


def answers(storage: DagsterStorage, stored: Sequence[EventLogEntry]) -> dict[str, Any]:
    """What the storage tells the rest of Dagster about the events stored."""
    events, told = storage.event_log_storage, {}
    for asset in (AssetKey("x"), AssetKey("y"), AssetKey("z")):
        told[asset.to_user_string()] = (
            [record.asset_entry for record in events.get_asset_records([asset])],
            events.get_materialized_partitions(asset),
            events.get_latest_storage_id_by_partition(asset, MATERIALIZED),
            events.get_latest_tags_by_partition(asset, MATERIALIZED, [DATA_VERSION]),
            events.get_event_records(EventRecordsFilter(MATERIALIZED, asset_key=asset), limit=1000),
        )
    told["changes"] = events.fetch_run_status_changes(DagsterEventType.RUN_START, limit=1000)
    for run_id in ("run_a", "run_b", ""):
        told[f"run {run_id}"] = events.get_records_for_run(run_id).records
    for event in stored:
        if event.dagster_event_type == DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            check = event.get_dagster_event().event_specific_data.asset_check_key  # type: ignore[union-attr]
            told[str(check)] = [
                (record.status, record.run_id, record.event)
                for record in events.get_asset_check_execution_history(check, limit=10)
            ]
    return told


def in_batches(storage: DagsterStorage, events: Sequence[EventLogEntry], seed: int) -> None:
    draw, at = random.Random(seed), 0
    while at < len(events):
        size = draw.choice([1, 2, 17, 90])
        storage.event_log_storage.store_event_batch(events[at : at + size])
        at += size


# --- the same as the stock storage ---


def test_batches_store_what_the_stock_storage_stores_one_by_one(
    tmp_path: Path, empty_home: Path, ours: PooledSqliteStorage
) -> None:
    shutil.copytree(empty_home, tmp_path / "stock")
    stock, events = DagsterSqliteStorage(str(tmp_path / "stock")), story(seed=1, length=80)
    for event in events:
        stock.event_log_storage.store_event(event)
    in_batches(ours, events, seed=2)
    expected = rows_of(tmp_path / "stock")
    assert expected["index.db:asset_check_executions"]
    assert expected["index.db:asset_event_tags"]
    assert rows_of(tmp_path / "ours") == expected
    assert answers(ours, events) == answers(stock, events)


def test_either_storage_goes_on_where_the_other_stopped(tmp_path: Path) -> None:
    events = story(seed=3, length=24)
    for first, second in (
        (PooledSqliteStorage, DagsterSqliteStorage),
        (DagsterSqliteStorage, PooledSqliteStorage),
    ):
        home = tmp_path / first.__name__
        before = first(str(home))
        in_batches(before, events[:14], seed=4)
        told = answers(before, events)
        before.dispose()
        after = second(str(home))
        assert answers(after, events) == told
        in_batches(after, events[14:], seed=5)
        after.dispose()
    assert rows_of(tmp_path / "PooledSqliteStorage") == rows_of(tmp_path / "DagsterSqliteStorage")


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_a_range_run_is_stored_in_few_batches_and_read_by_the_stock_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    stored = pooled.PooledSqliteEventLogStorage.store_event_batch

    def spy(self: Any, events: Sequence[EventLogEntry]) -> None:
        sizes.append(len(events))
        stored(self, events)

    monkeypatch.setattr(pooled.PooledSqliteEventLogStorage, "store_event_batch", spy)
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    config = tmp_path / "dagster.yaml"
    module = "{custom: {module: platform_assets.orchestration.storage, class: PooledSqliteStorage, config: %s}}"
    config.write_text(f"telemetry: {{enabled: false}}\nstorage: {module % '{base_dir: {env: DAGSTER_HOME}}'}\n")

    days = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-29")

    @dg.asset(
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("rows", asset="x")],
    )
    def x(context) -> dg.MaterializeResult:  # type: ignore[no-untyped-def]  # no string annotation
        for day in context.partition_keys:
            context.add_asset_metadata({"day": day}, partition_key=day)
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, check_name="rows")])

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run(), deps=[x])
    def y() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("one"))

    tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        result = dg.materialize([x, y], instance=instance, tags=tags)
        assert result.success
    assert sizes == [2 * 28 + 1, 28, 28]  # all that is planned, then each step

    config.write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.event_log_storage, SqliteEventLogStorage)
        assert instance.get_run_by_id(result.run_id).status.value == "SUCCESS"  # type: ignore[union-attr]
        assert instance.get_materialized_partitions(AssetKey("y")) == set(DAYS)
        records = instance.fetch_materializations(AssetKey("x"), limit=100).records
        made = [record.asset_materialization for record in records]
        assert {one.metadata["day"].value for one in made if one} == set(DAYS)


def test_the_batch_size_of_the_environment_wins(
    tmp_path: Path, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(empty_home, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "7")
    PooledSqliteStorage(str(tmp_path), event_batch_size=50).dispose()
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "7"
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    PooledSqliteStorage(str(tmp_path), event_batch_size=50).dispose()
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "50"


# --- one transaction, whole or not at all ---


def engine_of(storage: PooledSqliteStorage, shard: str) -> db.Engine:
    events = storage.event_log_storage
    return events._pool.engine(events.conn_string_for_shard(shard))


def test_a_batch_is_one_transaction_per_database_in_wal_mode(ours: PooledSqliteStorage) -> None:
    batch = [materialization("run_a", "x", day) for day in DAYS]
    ours.event_log_storage.store_event_batch(batch)  # opens the databases
    commits: list[str] = []
    for shard in ("run_a", "index"):
        db.event.listen(engine_of(ours, shard), "commit", lambda _, shard=shard: commits.append(shard))
        with engine_of(ours, shard).connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    ours.event_log_storage.store_event_batch(batch)
    assert commits == ["run_a", "index"]


def test_a_failing_batch_leaves_nothing(
    tmp_path: Path, ours: PooledSqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = ours.event_log_storage
    events.store_event(materialization("run_a", "x", DAYS[0]))

    def fail(*_: object) -> None:
        raise RuntimeError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(events, "_store_asset_event", fail)
        with pytest.raises(RuntimeError, match="disk full"):
            events.store_event_batch([materialization("run_a", "x", day) for day in DAYS])
    assert (count(tmp_path / "ours", "run_a"), count(tmp_path / "ours", "index")) == (1, 1)
    events.store_event_batch([materialization("run_a", "x", day) for day in DAYS])
    assert events.get_materialized_partitions(AssetKey("x")) == set(DAYS)


def test_an_interruption_between_the_databases_leaves_the_run_ahead_of_the_index(
    tmp_path: Path, ours: PooledSqliteStorage
) -> None:
    ours.event_log_storage.store_event(materialization("run_a", "x", DAYS[0]))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    index = engine_of(ours, "index")
    db.event.listen(index, "commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ours.event_log_storage.store_event_batch([materialization("run_a", "x", day) for day in DAYS])
    db.event.remove(index, "commit", interrupt)
    assert (count(tmp_path / "ours", "run_a"), count(tmp_path / "ours", "index")) == (1 + 28, 1)
    ours.event_log_storage.store_event_batch([materialization("run_b", "x", day) for day in DAYS])
    assert ours.event_log_storage.get_materialized_partitions(AssetKey("x")) == set(DAYS)


# --- processes, threads, handles ---


def write_batches(home: str, run_id: str, number: int) -> None:
    """Body of the writing processes below: says after each batch that it is stored."""
    storage = PooledSqliteStorage(home)
    for batch in range(number):
        events = [materialization(run_id, run_id, day, at=1e9 + batch) for day in DAYS]
        storage.event_log_storage.store_event_batch(events)
        shared = [materialization("shared", "shared", day, at=1e9 + batch) for day in DAYS]
        storage.event_log_storage.store_event_batch(shared)
        print(batch, flush=True)


def writer(home: Path, run_id: str, number: int) -> subprocess.Popen[str]:
    call = f"import {__name__} as t; t.write_batches({str(home)!r}, {run_id!r}, {number})"
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", call],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_two_processes_write_at_once_and_one_is_killed(tmp_path: Path) -> None:
    steady, victim = writer(tmp_path, "steady", 15), writer(tmp_path, "victim", 100_000)
    assert victim.stdout is not None
    acknowledged = [victim.stdout.readline() for _ in range(10)]
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    said = len(acknowledged) + len(victim.stdout.readlines())
    victim.stdout.close()
    with steady:
        assert steady.wait(timeout=60) == 0

    in_run, in_index = count(tmp_path, "victim"), count(tmp_path, "index")
    assert in_run % 28 == 0
    assert said <= in_run / 28 <= said + 1
    assert in_index % 28 == 0
    assert in_index <= in_run + count(tmp_path, "steady") + count(tmp_path, "shared") <= in_index + 28
    assert count(tmp_path, "steady") == 15 * 28

    storage = PooledSqliteStorage(str(tmp_path))
    storage.event_log_storage.store_event_batch([materialization("victim", "victim", day, "after") for day in DAYS])
    versions = storage.event_log_storage.get_latest_tags_by_partition(AssetKey("victim"), MATERIALIZED, [DATA_VERSION])
    assert versions == {day: {DATA_VERSION: "after"} for day in DAYS}
    storage.dispose()


def test_every_database_has_the_schema_that_upstream_makes(tmp_path: Path, empty_home: Path) -> None:
    shutil.copytree(empty_home, tmp_path / "stock")
    stock, ours = DagsterSqliteStorage(str(tmp_path / "stock")), PooledSqliteStorage(str(tmp_path / "ours"))
    for run_id in ("run_a", "run_b", "run_c"):
        stock.event_log_storage.store_event(entry(run_id))
        ours.event_log_storage.store_event(entry(run_id))
    found = {}
    for path in tmp_path.glob("*/history/runs/*.db"):
        connection = sqlite3.connect(path)
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        version = connection.execute("SELECT * FROM alembic_version").fetchall()
        mode = connection.execute("PRAGMA journal_mode").fetchone()
        found[str(path.relative_to(tmp_path))] = (schema, version, mode)
        connection.close()
    ours.dispose()
    assert len(found) == 8
    assert len({str(made) for made in found.values()}) == 1


def test_threads_share_a_storage(tmp_path: Path, ours: PooledSqliteStorage) -> None:
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for day in DAYS[:10]:
                ours.event_log_storage.store_event(materialization(name, "x", day))
                ours.event_log_storage.store_event_batch([materialization("all", "y", day) for day in DAYS[:3]])
                ours.run_storage.set_cursor_values({name: day})
                assert ours.event_log_storage.get_asset_records([AssetKey("x")])
        except BaseException as error:  # handed to the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert count(tmp_path / "ours", "index") == 8 * (10 + 30)


def test_a_forked_child_opens_handles_of_its_own(tmp_path: Path, ours: PooledSqliteStorage) -> None:
    ours.event_log_storage.store_event(materialization("run_a", "x", DAYS[0]))
    inherited = engine_of(ours, "index")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ours.event_log_storage.store_event_batch([materialization("run_a", "x", day) for day in DAYS])
            status = 2 if engine_of(ours, "index") is inherited else 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ours.event_log_storage.store_event(materialization("run_a", "x", DAYS[1]))
    assert (count(tmp_path / "ours", "run_a"), count(tmp_path / "ours", "index")) == (30, 30)


def open_files(below: Path) -> list[str]:
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return [link for link in links if link.startswith(str(below))]


def test_handles_stay_bounded_over_a_hundred_runs_and_go_with_dispose(
    tmp_path: Path, ours: PooledSqliteStorage
) -> None:
    for number in range(100):
        ours.event_log_storage.store_event(materialization(f"run_{number}", "x", DAYS[0]))
    ours.run_storage.set_cursor_values({"a": "b"})
    ours.schedule_storage.all_instigator_state()
    files_of_a_database = 3  # itself, -wal and -shm
    assert 0 < len(open_files(tmp_path)) <= files_of_a_database * (MAX_OPEN_RUN_SHARDS + 3)
    assert len(ours.event_log_storage.get_records_for_run("run_0").records) == 1
    # An instance disposes of these two alone.
    ours.run_storage.dispose()
    ours.event_log_storage.dispose()
    assert open_files(tmp_path) == []
    assert len(ours.event_log_storage.get_records_for_run("run_0").records) == 1


def test_a_run_wiped_by_another_process_is_begun_anew(tmp_path: Path, ours: PooledSqliteStorage) -> None:
    ours.event_log_storage.store_event(materialization("run_a", "x", DAYS[0]))
    other = DagsterSqliteStorage(str(tmp_path / "ours"))
    other.event_log_storage.wipe()
    ours.event_log_storage.store_event(materialization("run_a", "x", DAYS[1]))
    assert count(tmp_path / "ours", "run_a") == 1
    assert other.event_log_storage.get_materialized_partitions(AssetKey("x")) == {DAYS[1]}


def test_a_watcher_sees_events_while_the_writer_keeps_its_handle(tmp_path: Path, ours: PooledSqliteStorage) -> None:
    seen: list[str] = []
    watching = PooledSqliteStorage(str(tmp_path / "ours"))
    events = watching.event_log_storage

    def callback(event: EventLogEntry, _cursor: str) -> None:
        seen.append(event.run_id)

    events.watch("run_a", None, callback)
    ours.event_log_storage.store_event_batch([materialization("run_a", "x", day) for day in DAYS])
    deadline = time.monotonic() + 5
    while len(seen) < len(DAYS) and time.monotonic() < deadline:
        time.sleep(0.05)
    events.end_watch("run_a", callback)
    watching.dispose()
    assert seen == ["run_a"] * len(DAYS)


# --- what is assumed of Dagster: a new version that differs must be read before the pin moves ---

SOURCES_READ = {
    SqliteRunStorage.connect: "d343abae6e9b",
    SqliteScheduleStorage.connect: "d343abae6e9b",
    SqliteEventLogStorage._connect: "b8435f266568",
    SqliteEventLogStorage._initdb: "7a302d98eb61",
    SqliteEventLogStorage.run_connection: "54e64bd6f8b7",
    SqliteEventLogStorage.index_connection: "8caf95ebe806",
    SqliteEventLogStorage.store_event: "f89aed406024",
    SqliteEventLogStorage.dispose: "df16dafbfa84",
    SqlEventLogStorage.index_transaction: "00b2488c8cdf",
    SqlEventLogStorage._event_to_row: "93d47fbe7edc",
    SqlEventLogStorage._store_asset_event_tags: "85d6f17ef04b",
    SqlEventLogStorage._store_asset_event: "fdb9340b9eef",
    SqlEventLogStorage._get_asset_entry_values: "bb3b9df2c6c3",
    SqlEventLogStorage.store_asset_check_event: "6d148295fa69",
    DagsterSqliteStorage.__init__: "bcf5aa27a5dd",
}


@pytest.mark.parametrize("function", SOURCES_READ, ids=lambda function: function.__qualname__)
def test_upstream_source_is_the_one_that_was_read(function: Any) -> None:
    found = hashlib.sha256(inspect.getsource(inspect.unwrap(function)).encode()).hexdigest()[:12]
    assert found == SOURCES_READ[function], (
        f"{function.__qualname__} changed in dagster {dg.__version__}: compare platform_assets/orchestration/"
        f"storage.py, then record {found!r} here"
    )


@pytest.mark.parametrize(
    ("upstream", "engines"), [(SqliteRunStorage, 2), (SqliteScheduleStorage, 2), (SqliteEventLogStorage, 3)]
)
def test_upstream_opens_databases_only_where_it_did(upstream: type, engines: int) -> None:
    assert inspect.getsource(upstream).count("create_engine(") == engines


def test_upstream_reads_the_batch_size_at_every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for size in (0, 5):
            monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(size))
            assert instance._get_event_batch_size() == size
