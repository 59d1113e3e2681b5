"""The journal of a replay: a line for each day that is over, so that it goes on where it was stopped.

A day without a line is made again. Tables do not mind: equal content writes nothing. Models do, since every training
is a version more; so what the registry and the decisions about champions were before a training is laid aside, and
put back when the day is made again.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from platform_assets.errors import TableError

_JOURNAL = "journal.jsonl"
_DATABASE = "mlflow.db"
_BEFORE, _OF = "before", "day"


@dataclass(frozen=True, kw_only=True)
class PolicyDay:
    """What a day brought under one policy.

    Attributes:
        champion: the version that predicts from now on; None while there is none.
        asked: whether a training was asked for.
        why: why, or why not.
        trained: the versions that were trained.
        promoted: the versions that became champion.
        said: what came of it, in words.
        alerts: what began to be wrong.
        rows: predictions made.
        seconds: of work for the policy alone, without training.
        training_seconds: of training and promotion.
        cpu_seconds: the same without training, of the processor.
        training_cpu_seconds: of training and promotion, of the processor.
    """

    champion: int | None = None
    asked: bool = False
    why: str = ""
    trained: Sequence[int] = ()
    promoted: Sequence[int] = ()
    said: str = ""
    alerts: Sequence[str] = ()
    rows: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    cpu_seconds: float = 0.0
    training_cpu_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a policy has to remember from one day to the next.

    Attributes:
        last_trained: the newest day that was in when the model was trained last.
        tried: the newest day that was in when a first training was tried last.
        fresh_rows: rows whose label came in since.
        alarmed: by monitor, on how many days in a row up to its newest it alarmed.
    """

    last_trained: date | None = None
    tried: date | None = None
    fresh_rows: int = 0
    alarmed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day of a replay, or all that came before its first.

    Attributes:
        day: the newest day that is in.
        is_backfill: whether it stands for all days before the first.
        rows: by table the rows that were made, but for those of a policy.
        alerts: what began to be wrong, but for what is a policy's own.
        open: everything that is wrong at its end.
        immature: by label the days of which some rows were not known yet.
        policies: what it brought under each.
        memory: what each remembers.
        seconds: of work for all policies alike.
        cpu_seconds: the same, of the processor.
        moved: by alert of a monitor what moved most; journals of before have none.
    """

    day: date
    is_backfill: bool
    rows: Mapping[str, int]
    alerts: Sequence[str]
    open: Sequence[str]
    immature: Mapping[str, Sequence[date]]
    policies: Mapping[str, PolicyDay]
    memory: Mapping[str, Memory]
    seconds: float
    cpu_seconds: float
    moved: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_alerts(self) -> list[str]:
        """What began to be wrong, of what all policies share and then of each policy's own."""
        return [*self.alerts, *(alert for one in self.policies.values() for alert in one.alerts)]

    @property
    def seconds_without_training(self) -> float:
        """What the day took, without the trainings."""
        return self.seconds + sum(one.seconds for one in self.policies.values())

    @property
    def cpu_seconds_without_training(self) -> float:
        """The same, of the processor."""
        return self.cpu_seconds + sum(one.cpu_seconds for one in self.policies.values())


@dataclass(frozen=True)
class Journal:
    """The journal in a replay's folder."""

    folder: Path

    @property
    def _path(self) -> Path:
        return self.folder / _JOURNAL

    def read(self) -> list[Day]:
        """The days that are over; a last line that was cut off is taken away.

        Raises:
            TableError: when another line cannot be read.
        """
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        whole, cut = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
        if cut:
            os.truncate(self._path, len(whole))
        days = list[Day]()
        for line in whole.splitlines():
            try:
                days.append(_day(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                msg = f"line {len(days) + 1} of the journal {self._path} cannot be read ({error}); "
                msg += "remove its folder to replay from the beginning"
                raise TableError(msg) from error
        return days

    def write(self, day: Day) -> None:
        """Add a day, and only then forget what the registry was before it."""
        line = json.dumps(asdict(day), default=str) + "\n"
        with self._path.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._forget()

    def lay_aside(self, day: date, mlflow: Path, tables: Sequence[Path]) -> None:
        """Before the first training of a day: keep what the registry and these tables are."""
        kept, made = self.folder / _BEFORE, self.folder / f"{_BEFORE}.part"
        if kept.exists():
            return
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        (made / _OF).write_text(str(day))
        if (mlflow / _DATABASE).exists():
            _copy_database(mlflow / _DATABASE, made / _DATABASE)
        for table in tables:
            if table.exists():
                shutil.copytree(table, made / "tables" / table.name)
        made.rename(kept)

    def put_back(self, last: date | None, mlflow: Path, tables: Sequence[Path]) -> None:
        """Where the day after the `last` that is over was cut off: let these be what they were before it."""
        kept = self.folder / _BEFORE
        if not kept.exists():
            return
        if last is not None and date.fromisoformat((kept / _OF).read_text()) <= last:
            self._forget()
            return
        if (kept / _DATABASE).exists():
            _copy_database(kept / _DATABASE, mlflow / _DATABASE)
        else:
            for leftover in mlflow.glob(f"{_DATABASE}*"):
                leftover.unlink()
        for table in tables:
            shutil.rmtree(table, ignore_errors=True)
            if (kept / "tables" / table.name).exists():
                shutil.copytree(kept / "tables" / table.name, table)

    def _forget(self) -> None:
        kept, gone = self.folder / _BEFORE, self.folder / f"{_BEFORE}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        if kept.exists():
            kept.rename(gone)
            shutil.rmtree(gone)


def _copy_database(source: Path, target: Path) -> None:
    """Copy by SQLite, which minds what a kill left beside the file and who has it open."""
    with closing(sqlite3.connect(source)) as held, closing(sqlite3.connect(target)) as filled:
        held.backup(filled)


def _day(told: dict[str, Any]) -> Day:
    def memory(one: dict[str, Any]) -> Memory:
        dates = {name: one[name] and date.fromisoformat(one[name]) for name in ("last_trained", "tried")}
        return Memory(**{**one, **dates})

    def of_policy(one: dict[str, Any]) -> PolicyDay:
        held: dict[str, Any] = {name: tuple(of) if isinstance(of, list) else of for name, of in one.items()}
        return PolicyDay(**held)

    return Day(
        **{
            **told,
            "day": date.fromisoformat(told["day"]),
            "immature": {name: [date.fromisoformat(day) for day in days] for name, days in told["immature"].items()},
            "policies": {name: of_policy(one) for name, one in told["policies"].items()},
            "memory": {name: memory(one) for name, one in told["memory"].items()},
        }
    )
