"""Dagster's SQLite storage with connections kept open and event batches written in one transaction.

The stock storage makes a new SQLAlchemy engine and syncs to disk for every statement, and stores the events
of a partition range one by one. Files, tables and rows are the stock ones: either reads what the other wrote.
A killed process loses nothing committed; a power cut may lose the newest transactions (`synchronous=NORMAL`).

In `dagster.yaml` (the batch size is optional; 0 stores one by one):

    storage:
      custom:
        module: platform_assets.orchestration.storage
        class: PooledSqliteStorage
        config: {base_dir: {env: DAGSTER_HOME}, event_batch_size: 1000}

Private hooks of Dagster this leans on, each pinned by `test_storage.py`:

- `connect` and `_conn_string` of `SqliteRunStorage` and `SqliteScheduleStorage`.
- `SqliteEventLogStorage._connect`, behind its two connections; `_initdb`, `_initialized_dbs`.
- `SqliteEventLogStorage.store_event`, which `store_event_batch` repeats for many events by means of
  `_event_to_row`, `_store_asset_event_tags`, `_store_asset_event` and `store_asset_check_event`; and
  `_get_asset_entry_values`, which decides what the row of an asset keeps.
- `_runs_directory`, `_event_logs_directory` and `_schedule_directory`, beside `DagsterSqliteStorage`.
- `DAGSTER_EVENT_BATCH_SIZE`, which an instance reads from the environment at every event.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as db
from dagster import Field, IntSource, StringSource
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import SqliteEventLogStorage, SqlPollingEventWatcher
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import _event_logs_directory, _runs_directory, _schedule_directory
from dagster._serdes import ConfigurableClass
from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagster._config.config_schema import UserConfigSchema
    from dagster._core.event_api import EventHandlerFn
    from dagster._core.events.log import EventLogEntry
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy.engine import Connection, Engine

MAX_OPEN_RUN_SHARDS = 8
DEFAULT_EVENT_BATCH_SIZE = 1000


class EnginePool:
    """One engine per SQLite file, opened on first use; of the evictable ones the latest used stay open."""

    def __init__(self, *, max_evictable: int = MAX_OPEN_RUN_SHARDS) -> None:
        self._max_evictable = max_evictable
        self._inherited: list[dict[str, Engine]] = []
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._engines: dict[str, Engine] = {}
        self._evictable: dict[str, None] = {}  # oldest use first

    def _leave_parent_engines(self) -> None:
        # A forked child must neither use nor close its parent's SQLite handles: hold them and begin anew.
        if os.getpid() != self._pid:
            self._inherited.append(self._engines)
            self._start()

    def engine(self, url: str, *, evictable: bool = False) -> Engine:
        """The open engine of a database; an evictable one may close the one unused for longest."""
        self._leave_parent_engines()
        with self._lock:
            if url not in self._engines:
                self._engines[url] = _open_engine(url)
            if evictable:
                self._evictable.pop(url, None)
                self._evictable[url] = None
                if len(self._evictable) > self._max_evictable:
                    self.discard(next(iter(self._evictable)))
            return self._engines[url]

    def discard(self, url: str) -> None:
        """Close the engine of a database, if open."""
        self._leave_parent_engines()
        with self._lock:
            self._evictable.pop(url, None)
            engine = self._engines.pop(url, None)
            if engine is not None:
                engine.dispose()

    def dispose(self) -> None:
        """Close everything; a later use opens again."""
        for url in list(self._engines):
            self.discard(url)


def _open_engine(url: str) -> Engine:
    # One handle stays open; threads that ask at the same time get handles that close after use.
    engine = db.create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
    )

    @db.event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


class _PooledConnect:
    """Run and schedule storage reach their one database through `connect` alone."""

    _conn_string: str

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self.pool = EnginePool()
        super().__init__(conn_string, inst_data)  # type: ignore[call-arg]

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection within a transaction."""
        with self.pool.engine(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the kept connections."""
        self.pool.dispose()


class PooledSqliteRunStorage(_PooledConnect, SqliteRunStorage):
    """Run storage on a kept connection."""


class PooledSqliteScheduleStorage(_PooledConnect, SqliteScheduleStorage):
    """Schedule storage on a kept connection."""


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Event log on kept connections, the run shards bounded in number, with true batch writes."""

    def __init__(self, base_dir: str, *, pool: EnginePool, inst_data: ConfigurableClassData | None = None) -> None:
        self._pool = pool
        # As upstream, one thread at a time; reentrant, so that a batch and what it calls share a transaction.
        self._shard_lock = threading.RLock()
        self._open_transactions: dict[str, Connection] = {}
        self._existing_tables: set[str] = set()
        self._empty_shard: str | None = None
        self._poller: SqlPollingEventWatcher | None = None
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._shard_lock:
            if shard in self._open_transactions:
                yield self._open_transactions[shard]
                return
            url = self.conn_string_for_shard(shard)
            if not os.path.exists(self.path_for_shard(shard)):
                # New, or wiped by any process: a kept handle would write to the unlinked file.
                self._pool.discard(url)
                self._initialized_dbs.discard(shard)
            engine = self._pool.engine(url, evictable=shard != INDEX_SHARD_NAME)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                self._open_transactions[shard] = connection
                try:
                    yield connection
                finally:
                    del self._open_transactions[shard]

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        # Upstream loads all migration scripts for each run it opens; a stamped database needs nothing, and
        # that of a new run can repeat the schema of the one before.
        with engine.connect() as connection:
            sqlite: Any = connection.connection.driver_connection
            if self._empty_shard and not for_index_shard and not _alembic_version(sqlite):
                with suppress(sqlite3.OperationalError):  # another process was first
                    sqlite.executescript(self._empty_shard)
            if _alembic_version(sqlite):
                return
        super()._initdb(engine, for_index_shard)
        if not for_index_shard:
            with engine.connect() as connection:
                sqlite = connection.connection.driver_connection
                self._empty_shard = _creation_script(sqlite)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table; upstream asks for every tagged event."""
        if table_name not in self._existing_tables:
            with self.index_connection() as connection:
                if not db.inspect(connection).has_table(table_name):
                    return False
            self._existing_tables.add(table_name)
        return True

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events as `store_event` one by one would, in one transaction per database.

        Run shards commit before the index, as upstream: a crash between leaves events that the run shows and
        the asset does not, never the reverse. An error leaves nothing, so that single events may be tried.
        """
        if not events:
            return
        rows = [self._event_to_row(event) for event in events]
        with self.index_connection() as index, ExitStack() as shards:
            for run_id in dict.fromkeys(event.run_id for event in events):
                shard = shards.enter_context(self.run_connection(run_id))
                of_run = [row for row in rows if row["run_id"] == run_id]
                shard.execute(SqlEventLogStorageTable.insert(), of_run)
            self._mirror_to_index(index, events, rows)

    def _mirror_to_index(
        self, index: Connection, events: Sequence[EventLogEntry], rows: Sequence[dict[str, Any]]
    ) -> None:
        mirrored = [(event, row) for event, row in zip(events, rows, strict=True) if _is_mirrored(event)]
        if not mirrored:
            return
        insert = SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
        event_ids = index.execute(insert, [row for _, row in mirrored]).scalars()
        stored = [(event, event_id) for (event, _), event_id in zip(mirrored, event_ids, strict=True)]
        asset_events = [pair for pair in stored if pair[0].dagster_event_type in ASSET_EVENTS]
        if asset_events:
            self._store_asset_event_tags(index, *zip(*asset_events, strict=True))
        for event, event_id in _last_of_each_kind(asset_events):
            self._store_asset_event(index, event, event_id)
        for event, event_id in stored:
            if event.dagster_event_type in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, event_id)

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Follow a run by polling: upstream waits for the file to change, now only at WAL checkpoints."""
        if self._poller is None:
            self._poller = SqlPollingEventWatcher(self)
        self._poller.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: EventHandlerFn) -> None:
        """Stop following."""
        if self._poller is not None:
            self._poller.unwatch_run(run_id, handler)

    def dispose(self) -> None:
        """Stop following runs and close the kept connections."""
        if self._poller is not None:
            self._poller.close()
            self._poller = None
        self._pool.dispose()


@contextmanager
def _alone_in(base_dir: str) -> Iterator[None]:
    """One process at a time: two that create stock databases at once stamp them twice, for good."""
    os.makedirs(base_dir, exist_ok=True)
    lock = sqlite3.connect(
        os.path.join(base_dir, "storage.lock"), timeout=SQLITE_BUSY_TIMEOUT_SECONDS, isolation_level=None
    )
    try:
        lock.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        lock.close()


def _alembic_version(sqlite: sqlite3.Connection) -> str | None:
    if not sqlite.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    row = sqlite.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


def _creation_script(sqlite: sqlite3.Connection) -> str:
    made = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    stamp = f"INSERT INTO alembic_version VALUES ('{_alembic_version(sqlite)}')"
    return ";\n".join(["BEGIN", *(sql for (sql,) in sqlite.execute(made)), stamp, "COMMIT;"])


def _is_mirrored(event: EventLogEntry) -> bool:
    kind = event.dagster_event_type if event.is_dagster_event else None
    return kind in ASSET_EVENTS or kind in ASSET_CHECK_EVENTS or kind in EVENT_TYPE_TO_PIPELINE_RUN_STATUS


def _last_of_each_kind(stored: Sequence[tuple[EventLogEntry, int]]) -> list[tuple[EventLogEntry, int]]:
    """The last event of each (asset, event type), in order: all that the row of an asset keeps of them.

    Each type always sets the same columns of the row, so that an earlier event of the type leaves no trace.
    """
    last = {(event.get_dagster_event().asset_key, event.dagster_event_type): at for at, (event, _) in enumerate(stored)}
    return [stored[at] for at in sorted(last.values())]


class PooledSqliteStorage(DagsterStorage, ConfigurableClass):
    """The storages of a Dagster instance, on SQLite files laid out as `DagsterSqliteStorage` lays them out.

    Args:
        base_dir: Directory of the instance, usually `DAGSTER_HOME`.
        event_batch_size: Most events in one transaction, 0 for one by one. Dagster reads it only from the
            environment: the constructor sets `DAGSTER_EVENT_BATCH_SIZE` unless it is set already.
        inst_data: Where the configuration came from.
    """

    def __init__(
        self,
        base_dir: str,
        *,
        event_batch_size: int = DEFAULT_EVENT_BATCH_SIZE,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(event_batch_size))
        self._inst_data = inst_data
        pool = EnginePool()
        with _alone_in(base_dir):
            self._runs = PooledSqliteRunStorage.from_local(_runs_directory(base_dir))
            self._events = PooledSqliteEventLogStorage(_event_logs_directory(base_dir), pool=pool)
            schedules = PooledSqliteScheduleStorage.from_local(_schedule_directory(base_dir))
        self._schedules = cast("PooledSqliteScheduleStorage", schedules)
        for storage in (self._runs, self._schedules):
            # One pool for all: an instance disposes of run and event storage, never of schedule storage.
            storage.pool.dispose()
            storage.pool = pool
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Where the configuration came from."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Configuration in `dagster.yaml`."""
        return {
            "base_dir": StringSource,
            "event_batch_size": Field(IntSource, default_value=DEFAULT_EVENT_BATCH_SIZE, is_required=False),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledSqliteStorage:
        """The storage that `dagster.yaml` names."""
        return cls(inst_data=inst_data, **config_value)

    @property
    def run_storage(self) -> PooledSqliteRunStorage:
        """Runs and backfills."""
        return self._runs

    @property
    def event_log_storage(self) -> PooledSqliteEventLogStorage:
        """Events, assets, checks and partitions."""
        return self._events

    @property
    def schedule_storage(self) -> PooledSqliteScheduleStorage:
        """Ticks and the state of schedules and sensors."""
        return self._schedules

    def dispose(self) -> None:
        """Close every kept connection."""
        self._events.dispose()
