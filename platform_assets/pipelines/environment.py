"""What besides data and code decides what a model becomes: the libraries, the machine, and how many threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions, version
from types import MappingProxyType

from platform_assets.declarations.models import Model

PREFIX = "environment."
THREADS = f"{PREFIX}threads"
LIBRARIES = ("lightgbm", "numpy", "polars")
"""The libraries that decide the bits of a model."""
CALIBRATING = ("scikit-learn", "scipy")
"""Those that decide the bits of an isotonic or straight line besides; Venn-Abers needs neither."""


def environment(model: Model | None = None) -> dict[str, str]:
    """The libraries with their versions, the machine and its threads, as tags of a model version.

    Args:
        model: whose libraries; None for what its trees alone need.
    """
    lines = model is not None and (model.calibration in ("isotonic", "platt") or model.interval is not None)
    calibrating = CALIBRATING if lines else ()
    return {
        **{f"{PREFIX}{library}": version(library) for library in (*LIBRARIES, *calibrating)},
        f"{PREFIX}python": platform.python_version(),
        f"{PREFIX}machine": f"{platform.system()} {platform.machine()}",
        THREADS: str(os.cpu_count() or 1),
    }


@cache
def installed() -> Mapping[str, str]:
    """Every library that is installed, with its version, in order of the names: as of the process's first question."""
    # `name` and `version` of a distribution would each read its metadata file anew.
    told = (distribution.metadata for distribution in distributions())
    found = {metadata["Name"].lower(): metadata["Version"] for metadata in told if metadata["Name"]}
    return MappingProxyType(dict(sorted(found.items())))
