"""The flights from landed files to predictions, by the platform and by a script of Polars, Feast, LightGBM, MLflow and Evidently.

Both read the same landed files of the same year, make the same features, grow the same trees, and predict from October
on; nothing is warm, as on a first day. *The demo* is what `make demo` does once the files have landed, with all that the
script has no step for: a backtest, outcomes, drift and performance day by day, retraining. *As far as the script goes*
it ends with the predictions and the drift of what they were asked with, each with its contracts, checks and origin.

*Wrong* counts the cells of the training dataset that differ from the platform's. *Lines* are those with code on them
(no comments, no docstrings): the declarations of `defs/flights` and the script, without the simulated airline.
"""

from __future__ import annotations

import ast
import io
import tempfile
import tokenize
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.contest import Contender, Contest, Work, main
from benchmarks.peers import ROOT

FLIGHTS, SCRIPT = ROOT / "platform_assets" / "defs" / "flights", ROOT / "benchmarks" / "flights_script"
AIRLINE = "upstream.py"
"""Simulates who lands the files: no part of either."""
NOTE = (
    "What the script lacks, and its lines do not pay for: contracts that keep bad rows and say why; a day computed alone "
    "(each new day costs the whole year); corrections that land later; checks for leaks; which rows a prediction came "
    "from; promotion, reasons, intervals and costs; drift and performance day by day; schedules, sensors and alerts. The "
    "demo also backtests, and watches what it predicts from October on; *as far as the script goes* leaves that out."
)
BEYOND = (
    "late_arrival_backtest",
    "late_arrival_outcomes",
    "late_arrival_prediction_drift",
    "late_arrival_performance",
    "late_arrival_retraining",
)
"""What the script has no step for."""
PREDICTED = ["flight_id", "probability"]
NEAR = 1e-9
"""How far two numbers may be apart and be the same, relative to their size."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of it.

    Attributes:
        dataset: the labelled rows, with their split.
        predictions: `flight_id` and `probability` from October on.
        code: the files that a user wrote for it.
    """

    dataset: pl.DataFrame
    predictions: pl.DataFrame
    code: Sequence[Path]


def make(root: Path, *, days: int) -> None:
    """Let the year land."""
    from datetime import timedelta

    from platform_assets.defs.flights.upstream import FIRST_DAY, land

    land(root / "landing", last=FIRST_DAY + timedelta(days=days - 1))


def ours(root: Path, *, without: Collection[str] = ()) -> Work:
    def work() -> Answer:
        from platform_assets.cli import bring_up_to_date
        from platform_assets.declarations.names import table_folder
        from platform_assets.defs.flights.catalogue import CATALOGUE
        from platform_assets.lake.tables import Lake
        from platform_assets.settings import load_settings

        settings = load_settings({"PLATFORM_DATA": str(_own(root))})
        settings.require_writable()
        kept = [d for d in CATALOGUE.declarations if d.name not in without]
        bring_up_to_date(settings, replace(CATALOGUE, declarations=kept))
        lake = Lake(settings.lake)
        return Answer(
            dataset=lake.scan(table_folder("flights", "late_arrivals")).collect(),
            predictions=lake.scan(table_folder("flights", "late_arrival_predictions")).select(PREDICTED).collect(),
            code=[path for path in sorted(FLIGHTS.rglob("*.py")) if path.name != AIRLINE],
        )

    return work


def _own(root: Path) -> Path:
    """A data folder of its own, where the files have landed."""
    own = Path(tempfile.mkdtemp(dir=root))
    (own / "landing").symlink_to(root / "landing")
    return own


def by_hand(root: Path) -> Work:
    def work() -> Answer:
        from benchmarks.flights_script.pipeline import main as run

        run(root / "landing", root / "script")
        return Answer(
            dataset=pl.read_parquet(root / "script" / "late_arrivals.parquet"),
            predictions=pl.read_parquet(root / "script" / "predictions.parquet").select(PREDICTED),
            code=sorted(SCRIPT.glob("*.py")),
        )

    return work


def lines_of_code(path: Path) -> int:
    """Lines that hold code: not blank, not comment alone, not docstring."""
    text, silent = path.read_text(), set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for said in body if isinstance(body, list) else []:
            if (
                isinstance(said, ast.Expr)
                and isinstance(said.value, ast.Constant)
                and isinstance(said.value.value, str)
            ):
                silent |= set(range(said.lineno, (said.end_lineno or said.lineno) + 1))
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    held = {n for t in tokens if t.type not in layout for n in range(t.start[0], t.end[0] + 1)}
    return len(held - silent)


def cells_apart(right: pl.DataFrame, found: pl.DataFrame) -> int:
    """Cells in which two tables of flights differ, numbers but for rounding; a row of one alone differs in all."""
    names = [name for name in right.columns if name not in ("flight_id", "day")]
    both = right.join(found, on="flight_id", suffix="_found")
    there = [name for name in names if name in found.columns]
    alone = sum(len(one.join(other, on="flight_id", how="anti")) for one, other in ((right, found), (found, right)))
    absent = (len(names) - len(there)) * len(both)
    return sum(_apart(both[name], both[f"{name}_found"]) for name in there) + absent + alone * len(names)


def _apart(right: pl.Series, found: pl.Series) -> int:
    if not right.dtype.is_numeric():
        return int(right.ne_missing(found).sum())
    x, y = (side.cast(pl.Float64).fill_nan(None) for side in (right, found))
    same = (x.is_null() & y.is_null()) | ((x - y).abs() <= NEAR * x.abs().clip(1)).fill_null(value=False)
    return int((~same).sum())


def keep(root: Path, answer: Any) -> None:
    answer.dataset.write_parquet(root / "truth.parquet")


def wrong(root: Path, answer: Any) -> int:
    return cells_apart(pl.read_parquet(root / "truth.parquet"), answer.dataset)


def tell(_: Path, answer: Any) -> dict[str, float]:
    from platform_assets.compute.metrics import performance

    judged = answer.dataset.filter(split="report").join(answer.predictions, on="flight_id")
    good = performance(judged["late"].cast(pl.Float64).to_numpy(), judged["probability"].to_numpy())
    return {
        "training rows": len(answer.dataset),
        "predictions": len(answer.predictions),
        "AUC": float(good.auc or 0),
        "log loss": good.log_loss,
        "lines": sum(lines_of_code(path) for path in answer.code),
    }


CONTEST = Contest(
    module="benchmarks.by_hand",
    work="The flights of {days} days, from landed files to predictions",
    # The split of the model takes a whole year: there is no smaller one.
    sizes={size: {"days": 366, "repeat": 1} for size in ("small", "default", "large")},
    make=make,
    contenders={
        "the demo": Contender(ready=ours),
        "the demo as far as the script goes": Contender(ready=lambda root: ours(root, without=BEYOND)),
        "a script with Feast, MLflow and Evidently": Contender(ready=by_hand, peer=True),
    },
    base="the demo",
    truth="the demo",
    keep=keep,
    wrong=wrong,
    wrong_is="wrong cells",
    tell=tell,
    note=NOTE,
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
