"""Going back: a table whose newest log entry is damaged becomes what its last readable version was.

The number of the damaged version is not given to anything else: whoever read it recorded it. An entry that
changes nothing takes its place, and a further version says which days went back, so that plans see it.
Killed at any step, it is finished by running it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from platform_assets.declarations.names import LEDGER, QUARANTINE
from platform_assets.declarations.times import Days, day_ranges
from platform_assets.errors import TableError
from platform_assets.lake import ledger
from platform_assets.lake.damage import LOG, SET_BACK, damage_of_log
from platform_assets.lake.tables import PARTITIONS_KEY, Lake

LOST = "set back"
"""The fingerprint of a ledger entry that says that a materialization was lost."""
_REPLACES = "platform.replaces"


@dataclass(frozen=True, kw_only=True)
class GoneBack:
    """What going back did.

    Attributes:
        lost: the version that was damaged.
        is_now: the version that counts now; it holds what the one before the lost one held.
        days: the days that the lost version had rewritten; None when it is not known, or there are no days.
        kept: where the damaged entry lies now.
    """

    lost: int
    is_now: int
    days: tuple[Days, ...] | None
    kept: Path


def set_back(lake: Lake, table: str, *, run_id: str, now: datetime) -> GoneBack:
    """Go back to the last version that can be read.

    Args:
        lake: the lake.
        table: the table's folder.
        run_id: who does it, for the ledger.
        now: when, UTC.

    Raises:
        TableError: when nothing is damaged, or it is not the newest entry; then nothing is changed.
    """
    lost = _lost_version(lake, table)
    entry = lake.path(table) / LOG / f"{lost:020}.json"
    kept = lake.path(table) / "_damaged" / entry.name
    asset = table.removeprefix(f"{QUARANTINE}/")
    days, is_recorded = _lost_days(lake, table, asset, lost, kept if kept.exists() else entry)
    if is_recorded and table != LEDGER:
        for part in days or (None,):
            ledger.record(lake, _loss(asset, part, lost, run_id, now))
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        _write(kept, entry.read_bytes())
    _write(entry, _blank({PARTITIONS_KEY: "[]", _REPLACES: str(lost)}, now))
    said = {} if days is None else {PARTITIONS_KEY: json.dumps([[str(d.first), str(d.last)] for d in days])}
    after = entry.with_name(f"{lost + 1:020}.json")
    if not after.exists():
        _write(after, _blank(said, now), is_new=True)
    return GoneBack(lost=lost, is_now=lost + 1, days=days, kept=kept)


def _lost_version(lake: Lake, table: str) -> int:
    damage = damage_of_log(lake.path(table))
    if damage is None:
        version = lake.version(table)
        unfinished = [] if version is None else lake.open(table).history(limit=1)
        if version is None or not unfinished or unfinished[0].get(_REPLACES) != str(version):
            msg = f"table {table}: its log can be read, so there is nothing to go back from"
            raise TableError(msg)
        return version
    if damage.entry is None or damage.readable is None or not damage.is_newest:
        msg = f"cannot set back the table at {lake.path(table)}: {damage.explain(table)}"
        raise TableError(msg)
    return damage.entry


def _lost_days(lake: Lake, table: str, asset: str, lost: int, entry: Path) -> tuple[tuple[Days, ...] | None, bool]:
    """The days that the lost version rewrote, and whether the ledger knows of any materialization to make again."""
    if table == LEDGER:
        return None, False
    recorded = [e for e in ledger.entries(lake, asset) if e.fingerprint != LOST]
    said = _said_days(entry)
    if table == asset:
        recorded = [e for e in recorded if e.version >= lost]
        days = (said or set()) | {day for e in recorded for day in e.days or ()}
    else:
        # The ledger does not count the versions of a quarantine: unless the entry says it, any day may be lost.
        days = said if said is not None else {day for e in recorded for day in e.days or ()}
    return (tuple(day_ranges(days)) if days else None), bool(recorded)


def _said_days(entry: Path) -> set[date] | None:
    """The days that a damaged entry says it rewrote, when its first line can still be read."""
    try:
        said = json.loads(entry.read_bytes().split(b"\n")[0])["commitInfo"][PARTITIONS_KEY]
        ranges = [Days(date.fromisoformat(first), date.fromisoformat(last)) for first, last in json.loads(said)]
    except (ValueError, KeyError, TypeError):
        return None
    return {day for days in ranges for day in days}


def _loss(asset: str, days: Days | None, lost: int, run_id: str, now: datetime) -> ledger.Entry:
    return ledger.Entry(
        asset=asset,
        days=days,
        fingerprint=LOST,
        inputs={},
        version=lost,
        content_hash="",
        rows=0,
        run_id=run_id,
        recorded_at=now,
    )


def _blank(said: Mapping[str, str], now: datetime) -> bytes:
    """A log entry that changes nothing."""
    commit = {"timestamp": int(now.timestamp() * 1000), "operation": SET_BACK, "operationParameters": {}, **said}
    return json.dumps({"commitInfo": commit}, separators=(",", ":")).encode()


def _write(path: Path, content: bytes, *, is_new: bool = False) -> None:
    """Make a file whole or not at all, and wait until the disk has it."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    with half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        path.hardlink_to(half)
        half.unlink()
    else:
        half.replace(path)
