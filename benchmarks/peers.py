"""Libraries that the benchmarks are run beside, in an environment of their own beside the project's.

They pin what the project needs newer (NannyML an older LightGBM), so `make bench` installs them from `peers.lock` into
`.venv-peers`. Modules of benchmarks that they run in may import nothing of the platform until a contender gets ready.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SILENT = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
"""NannyML and Evidently report their use to their makers unless told not to: no business of a benchmark, and it would count as work."""
LIBRARIES = ("feast", "evidently", "nannyml", "dagster-polars", "dagster-deltalake-polars")


def python() -> Path:
    """Its interpreter; the variable PEERS names another environment."""
    return Path(os.environ.get("PEERS", ROOT / ".venv-peers")) / "bin" / "python"


def are_installed() -> bool:
    return python().exists()


def versions() -> dict[str, str]:
    """By library; none where the environment is missing."""
    if not are_installed():
        return {}
    asked = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {LIBRARIES}}}))"
    said = subprocess.run([python(), "-c", asked], capture_output=True, text=True, check=True)
    return dict(json.loads(said.stdout))
