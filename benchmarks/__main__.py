"""Every benchmark in turn; at the default size what was measured is kept, and told in the README."""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks import results

WORKS = ("point_in_time", "scoring", "profiles", "training", "upserts", "days", "orchestration")
LONG = ("by_hand", "memory")
"""Done only where they are named."""


def run() -> None:
    """Measure, and keep the results of the default size only: figures of unlike sizes say nothing side by side."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").strip())
    parser.add_argument("--size", choices=("small", "default", "large"), default="default", help="how much, how often")
    parser.add_argument(
        "works",
        nargs="*",
        metavar="WORK",
        help=f"some of {', '.join(WORKS)}; all of these when left out; and {', '.join(LONG)}",
    )
    chosen = parser.parse_args()
    if strange := set(chosen.works) - {*WORKS, *LONG}:
        parser.error(f"no such work: {', '.join(sorted(strange))}; there are {', '.join([*WORKS, *LONG])}")
    kept = chosen.size == "default"
    results.FOLDER.mkdir(exist_ok=True)
    for work in chosen.works or WORKS:
        to = ["--json", str(results.FOLDER / f"{work}.json")] if kept else []
        command = [sys.executable, "-m", f"benchmarks.{work}", "--size", chosen.size, *to]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)
        print(flush=True)
    if kept:
        results.tell()


if __name__ == "__main__":
    run()
