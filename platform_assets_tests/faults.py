"""Killing a materialization: at named steps, in the middle of a file, as soon as a file appears, at any time.

Children come from a fork server that has imported everything, so that hundreds of them take a minute. A child is
told where to stop; what kills it there is SIGKILL, or the kernel at the limit of a file's size: nothing that
Python, Rust or the product could catch.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import polars as pl

from platform_assets.compute.content_hash import content_hash
from platform_assets.declarations.names import DAY, LEDGER, profile_folder, quarantine_folder, table_folder
from platform_assets.declarations.times import Days
from platform_assets.lake import ledger
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Platform, Run
from platform_assets_tests import shop

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["platform_assets_tests.faults"])

_LONG = "r" * 40_000
"""A run's name that makes its commit larger than its data, so that a limit can cut the one and not the other."""
_PATIENCE = 120
_WITHIN_DATA, _WITHIN_COMMIT = 200, 30_000


@dataclass(frozen=True)
class Stop:
    """Where a child is killed: around or within the n-th call of a function, as its caller knows it."""

    when: Literal["before", "within data of", "within commit of", "after"]
    function: str
    call: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.function.split('.')[-1]} {self.call}"

    def arm(self) -> None:
        """In the child: have it killed there."""
        module_name, name = self.function.split(":")
        module = importlib.import_module(module_name)
        kept, calls = getattr(module, name), iter(range(1, 1_000))

        def stopping(*arguments: Any, **named: Any) -> Any:
            here = next(calls) == self.call
            if here and self.when == "before":
                die()
            if here and self.when.startswith("within"):
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                limit = _WITHIN_DATA if self.when == "within data of" else _WITHIN_COMMIT
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            found = kept(*arguments, **named)
            if here and self.when == "after":
                die()
            return found

        setattr(module, name, stopping)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(number: int, *, long: bool = False) -> Run:
    """A run with a name of its own; later numbers are later."""
    return Run(run_id=f"run-{number}{_LONG if long else ''}", now=shop.NOW + timedelta(seconds=number), draws=False)


def child(root: str, name: str, days: Days | None, stop: Stop | None, gate: Any, catalogue: str) -> None:
    """In a process of its own: materialize, and be killed at `stop`; `gate` is set when it begins."""
    if stop is not None:
        stop.arm()
    gate.set()
    module, _, held = catalogue.rpartition(":")
    declared = getattr(importlib.import_module(module) if module else shop, held)
    materialize(shop.platform(Path(root)), declared, name, run(1_000, long=stop is not None), days=days)


def start(
    there: Platform, name: str, days: Days | None, stop: Stop | None = None, *, catalogue: str = "CATALOGUE"
) -> BaseProcess:
    """Begin a materialization in a child and give it back once it has begun; `catalogue` is of the shop, or `module:NAME`."""
    gate = FORKS.Event()
    process = FORKS.Process(target=child, args=(str(there.lake.root.parent), name, days, stop, gate, catalogue))
    process.start()
    assert gate.wait(_PATIENCE), "it has not begun"
    return process


def kill_at_stop(there: Platform, name: str, days: Days | None, stop: Stop, *, catalogue: str = "CATALOGUE") -> None:
    process = start(there, name, days, stop, catalogue=catalogue)
    process.join(_PATIENCE)
    assert process.exitcode in (-signal.SIGKILL, -signal.SIGXFSZ), f"{stop}: it ended with {process.exitcode}"


def kill_when(process: BaseProcess, ripe: Callable[[], bool]) -> bool:
    """Kill a child as soon as `ripe`; whether it was still at work."""
    while process.is_alive() and not ripe():
        pass
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def after_files(folders: Iterable[Path], count: int) -> Callable[[], bool]:
    """Ripe when `count` names have appeared in folders that are there already (half-written ones have their own)."""
    watched = list(folders)
    before, seen = {path for folder in watched for path in folder.iterdir()}, set()

    def ripe() -> bool:
        seen.update(path for folder in watched for path in folder.iterdir())
        return len(seen - before) >= count

    return ripe


def after_seconds(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def copy(there: Platform, root: Path) -> Platform:
    """The same platform in another folder."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(there.lake.root.parent, root)
    return shop.platform(root)


def meaning(there: Platform, name: str) -> dict[str, Any]:
    """What is there, as people and plans see it: contents by hash, and what the ledger says last of every day."""
    found: dict[str, Any] = {}
    for folder in (table_folder("shop", name), quarantine_folder("shop", name), profile_folder("shop", name)):
        if there.lake.version(folder) is not None:
            rows = there.lake.scan(folder).collect()
            rows = rows.drop("table_id", strict=False)  # each copy that makes its tables has others
            found[folder] = content_hash(rows.select(sorted(rows.columns)))
    for day, entry in ledger.latest(there.lake, f"shop/{name}").items():
        found[f"{LEDGER} {day}"] = (
            entry.days,
            entry.fingerprint,
            dict(entry.inputs),
            dict(entry.stamps),
            entry.version,
            entry.content_hash,
            entry.rows,
        )
    return found


def files_of_other_days(lake: Lake, folder: str, days: Days) -> dict[str, bytes]:
    """The live files of the days that a materialization was not to touch, and what is in them."""
    files = pl.DataFrame(lake.open(folder).get_add_actions(flatten=True))
    others = files.filter(~pl.col(f"partition.{DAY}").is_between(days.first, days.last))["path"].to_list()
    return {name: (lake.path(folder) / name).read_bytes() for name in others}


def folders(root: Path) -> list[Path]:
    return [root, *(path for path in root.rglob("*") if path.is_dir())]
