"""One process at a time at what several could write."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE = 0.2


@contextmanager
def locked(path: Path, *, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of this name; the kernel lets it go when its holder dies, however it dies.

    Args:
        path: an empty file that stays.
        wait: called once when somebody else holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    told = False
    with path.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    wait()
                told = True
                time.sleep(_PAUSE)
            else:
                break
        yield
