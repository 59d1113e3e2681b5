"""The steps in order: `python -m benchmarks.flights_script.pipeline LANDING OUT`."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from benchmarks.flights_script.clean import clean
from benchmarks.flights_script.dataset import asked, training
from benchmarks.flights_script.drift import drift
from benchmarks.flights_script.features import features
from benchmarks.flights_script.model import predict, train

log = logging.getLogger(__name__)


def main(landing: Path, out: Path) -> None:
    """Run every step; a failure stops what follows."""
    tables, views = out / "clean", out / "features"
    for folder in (tables, views):
        folder.mkdir(parents=True, exist_ok=True)
    tracking = f"sqlite:///{out}/mlflow.db"
    steps = {
        "clean": lambda: clean(landing, tables),
        "features": lambda: features(tables, views),
        "asked": lambda: asked(tables, views, out),
        "training": lambda: training(tables, out),
        "train": lambda: train(out, tracking),
        "predict": lambda: predict(out, tracking),
        "drift": lambda: drift(out, tracking),
    }
    for name, step in steps.items():
        began = time.monotonic()
        step()
        log.info("%s: %.1f s", name, time.monotonic() - began)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
