"""Studies on disk: one file for each model and what its study follows from, one line for each finished trial.

The file is Optuna's journal, so that its dashboard opens it, also while a study runs. A trial is added to it whole
when it has finished; one that was killed left nothing, and is made again as it would have been.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from platform_assets.declarations.names import registered_model
from platform_assets.errors import ModelError
from platform_assets.registry.locks import locked

if TYPE_CHECKING:
    import optuna
    from optuna.storages.journal._file import BaseJournalFileLock

_SUFFIX = ".journal"


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """One study on disk, held by nobody else for as long as it is open.

    Attributes:
        path: the journal.
        study: what is in it.
    """

    path: Path
    study: optuna.Study

    def add(self, trial: optuna.trial.FrozenTrial) -> None:
        """Write a finished trial: one line, on the disk when this returns."""
        self.study.add_trial(trial)

    def remove_others(self) -> int:
        """Remove the model's other studies, which this one has taken the place of; how many there were."""
        others = [path for path in self.path.parent.glob(f"*{_SUFFIX}") if path != self.path]
        for path in others:
            path.unlink()
        return len(others)


def study_folder(root: Path, catalogue: str, model: str) -> Path:
    """Where the studies of a model lie below the registry's root."""
    return root / "studies" / registered_model(catalogue, model)


@contextmanager
def open_study(folder: Path, key: str, *, wait: Callable[[], None]) -> Iterator[StudyFile]:
    """Open the study of `key` in a model's folder, or begin it; of one model, one process at a time.

    Args:
        folder: of the model's studies.
        key: what the study follows from, as a hash.
        wait: called once when another process works on a study of this model.

    Raises:
        ModelError: when the file is no study of ours.
    """
    path = folder / f"{key}{_SUFFIX}"
    with locked(folder / "lock", wait=wait):
        _drop_what_is_torn(path)
        yield StudyFile(path=path, study=_load(path, key))


def _load(path: Path, key: str) -> optuna.Study:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    try:
        with quiet():
            lock = cast("BaseJournalFileLock", _HeldAlready())  # its base takes an import of Optuna
            storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
            begun = key in optuna.get_all_study_names(storage)
            named = optuna.load_study if begun else optuna.create_study
            study = named(storage=storage, study_name=key)
            unfinished = [trial.number for trial in study.trials if not trial.state.is_finished()]
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        msg = f"the study {path} cannot be read ({error!r}); remove it, and it begins anew"
        raise ModelError(msg) from error
    if unfinished:
        msg = f"the study {path} has a trial {unfinished[0]} that somebody else began; remove it, and it begins anew"
        raise ModelError(msg)
    return study


def _drop_what_is_torn(path: Path) -> None:
    """Cut the file off before the first line that a kill, a full disk or a power cut tore; its trials are made again."""
    if not path.exists():
        return
    held, whole = path.read_bytes(), 0
    for line in held.splitlines(keepends=True):
        if not _is_entry(line):
            break
        whole += len(line)
    if whole < len(held):
        with path.open("r+b") as file:
            file.truncate(whole)


def _is_entry(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False


class _HeldAlready:
    """Optuna's lock is a link that a kill leaves behind for half a minute; ours is held around it."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says every trial at INFO; the run says it, better."""
    import optuna

    level: Any = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
