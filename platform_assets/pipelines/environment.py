"""What besides data and code decides what a model becomes: the libraries, the machine, and how many threads."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

PREFIX = "environment."
THREADS = f"{PREFIX}threads"
LIBRARIES = ("lightgbm", "numpy", "polars")
"""The libraries that decide the bits of a model."""


def environment() -> dict[str, str]:
    """The libraries with their versions, the machine and its threads, as tags of a model version."""
    return {
        **{f"{PREFIX}{library}": version(library) for library in LIBRARIES},
        f"{PREFIX}python": platform.python_version(),
        f"{PREFIX}machine": f"{platform.system()} {platform.machine()}",
        THREADS: str(os.cpu_count() or 1),
    }
