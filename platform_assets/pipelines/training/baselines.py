"""What is held against a model: the base rate, averages by group and linear models, each measured as the model is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

import polars as pl

from platform_assets.compute.comparison import calibration_error, losses
from platform_assets.compute.linear import Linear
from platform_assets.compute.metrics import Averages, Performance, performance
from platform_assets.compute.uncertainty import Bounds, bounds_of_mean, uncertainty
from platform_assets.declarations.models import Logistic, Model
from platform_assets.pipelines.run import Run
from platform_assets.pipelines.training.fitting import FittedModel, days_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CANDIDATES = "candidates.csv"
"""The name of `Compared.table` among the files of a model's run."""
CONFIDENCE = 0.95
DRAWS = 400
_BASE_RATE = "the base rate"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The baselines beside the model.

    Attributes:
        on_report: how good each baseline is there.
        table: a row for the model and each baseline, on *select* and on *report*: rows, AUC, log loss and their
            intervals, calibration error, and by how much log loss it is worse than the model, with the interval.
    """

    on_report: Mapping[str, Performance]
    table: pl.DataFrame


def compare_baselines(model: Model, fitted: FittedModel, on_report: npt.NDArray[np.float64], *, run: Run) -> Compared:
    """Fit each baseline and measure it beside the model, on the same rows, with intervals over days.

    On *select* everything has learned from *fit* alone, on *report* from *fit* and *select*. There the
    model is calibrated, on *select* it is not.

    Args:
        model: what is declared.
        fitted: the model, and the rows.
        on_report: its probability of each row there.
        run: where progress is said.
    """
    parts = fitted.parts
    learned = {"select": parts["fit"], "report": pl.concat([parts["fit"], parts["select"]])}
    found, rows = dict[str, Performance](), []
    for part, own in (("select", fitted.held), ("report", on_report)):
        truth, days = fitted.truth[part], days_of(model, parts[part])
        said = {model.name: own, **said_by_baselines(model, learned[part], parts[part], run=run)}
        for name, probability in said.items():
            rows.append({"candidate": name, "part": part} | _row(model, truth, days, probability, own))
            if part == "report" and name != model.name:
                found[name] = performance(truth, probability)
    return Compared(on_report=found, table=pl.DataFrame(rows))


def read_candidates(text: str, model: Model) -> pl.DataFrame | None:
    """The figures of each baseline on *report* from a `Compared.table` that was kept as text; None where they are not all there.

    Returns:
        A row for each: candidate, rows, auc (null where there was one outcome only) and log_loss.
    """
    schema = {"candidate": pl.String, "part": pl.String, "rows": pl.Int64, "auc": pl.Float64, "log_loss": pl.Float64}
    if not text.endswith("\n"):  # cut off, perhaps within a figure
        return None
    try:
        kept = pl.read_csv(StringIO(text), columns=list(schema), schema_overrides=schema)
    except pl.exceptions.PolarsError:
        return None
    found = kept.filter((pl.col("part") == "report") & (pl.col("candidate") != model.name)).drop("part")
    is_whole = pl.col("rows").is_not_null() & pl.col("log_loss").is_finite() & pl.col("auc").fill_null(0.0).is_finite()
    told = found.filter(is_whole)["candidate"].to_list()
    return found if len(found) == len(told) and sorted(told) == sorted({_BASE_RATE, *model.baselines}) else None


def said_by_baselines(
    model: Model, learned: pl.DataFrame, asked: pl.DataFrame, *, run: Run
) -> dict[str, npt.NDArray[np.float64]]:
    """The probability of each row by the base rate and each declared baseline.

    Args:
        model: what is declared.
        learned: the labelled rows that they learn from.
        asked: the rows.
        run: where progress is said.
    """
    label = model.training.label.value
    found = {_BASE_RATE: Averages.fit(learned, by=(), label=label).predict(asked)}
    for name, declared in model.baselines.items():
        if not isinstance(declared, Logistic):
            found[name] = Averages.fit(learned, by=tuple(declared), label=label).predict(asked)
            continue
        run.say(f"fitting {name} on {len(learned):,} rows")
        truth = learned.get_column(label).cast(pl.Float64).to_numpy()
        line = Linear.fit(learned, truth, inputs=model.inputs, categories=model.categories, penalty=declared.penalty)
        found[name] = line.score(asked)
    return found


def _row(
    model: Model,
    truth: npt.NDArray[np.float64],
    days: npt.NDArray[np.int32],
    probability: npt.NDArray[np.float64],
    own: npt.NDArray[np.float64],
) -> dict[str, float | int | None]:
    figures = performance(truth, probability)
    seed = model.learner.seed
    bounds = uncertainty(truth, probability, days, confidence=CONFIDENCE, draws=DRAWS, seed=seed)
    worse = losses(truth, probability) - losses(truth, own)
    apart = bounds_of_mean(worse, days, confidence=CONFIDENCE, draws=DRAWS, seed=seed)
    return {
        "rows": figures.rows,
        "auc": figures.auc,
        **_ends("auc", None if bounds is None else bounds.auc),
        "log_loss": figures.log_loss,
        **_ends("log_loss", None if bounds is None else bounds.log_loss),
        "calibration_error": calibration_error(truth, probability),
        "worse_by": float(worse.mean()),
        **_ends("worse_by", apart),
    }


def _ends(name: str, bounds: Bounds | None) -> dict[str, float | None]:
    return {
        f"{name}_low": None if bounds is None else bounds.low,
        f"{name}_high": None if bounds is None else bounds.high,
    }
