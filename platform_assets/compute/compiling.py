"""Loops that are compiled where there are many rows; beside each lies the same in plain NumPy, for few.

Starting the compiler takes about a second of every process, and it is never loaded before it is needed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

MANY = 100_000
"""Rows from which on it pays to start the compiler."""


def steps(plain: ModuleType, rows: int) -> ModuleType:
    """The functions of a module, or of its compiled form for many rows, or where that has been loaded already.

    Args:
        plain: the module; the compiled form is called as it is, with `_compiled` behind.
        rows: how many there are.
    """
    compiled = f"{plain.__name__}_compiled"
    if rows < MANY and compiled not in sys.modules:
        return plain
    try:
        return importlib.import_module(compiled)
    except ImportError:  # no compiler for this Python: the same answers, later
        return plain


def compiled(function: F) -> F:
    """The function, compiled when it is first called, and kept on disk for the processes that follow."""
    import numba

    try:
        return numba.njit(nogil=True, cache=True)(function)  # type: ignore[return-value]
    except RuntimeError:  # nowhere to keep the compiled code, neither beside its file nor in the user's cache
        return numba.njit(nogil=True)(function)  # type: ignore[return-value]
