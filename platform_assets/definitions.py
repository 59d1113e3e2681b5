"""The code location that `workspace.yaml` and `[tool.dg.project]` name: every project below `defs/`."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load whatever is declared below `defs/`."""
    with _kept():
        return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)


@contextmanager
def _kept() -> Iterator[None]:
    """What is loaded stays for good: to go through it again and again for garbage takes a tenth of loading it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
