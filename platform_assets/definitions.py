"""The code location that `workspace.yaml` and `[tool.dg.project]` name: every project below `defs/`."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load whatever is declared below `defs/`."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
