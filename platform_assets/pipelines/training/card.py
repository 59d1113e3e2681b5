"""The model card: what a model predicts, how well, where it is weak, and how to trace and make it again."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from platform_assets.compute.metrics import Performance
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import asset_name, registered_model
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import PREDICTION_TIME
from platform_assets.pipelines.run import Run
from platform_assets.pipelines.training.evidence import Measured, gains
from platform_assets.pipelines.training.fitting import FittedModel
from platform_assets.pipelines.training.logged import weakest_slices

_INPUTS_TOLD = 5
_A_YEAR = 365


def model_card(catalogue: Catalogue, model: Model, fitted: FittedModel, measured: Measured, *, run: Run) -> str:
    """The card without pictures and tables of origin, short enough for a description."""
    version = f"models:/{registered_model(catalogue.name, model.name)}/VERSION"
    parts = [
        model.description,
        _facts(catalogue, model, fitted, run),
        "### How good",
        _performance(measured),
        *_slices(measured),
        "### What it looks at",
        _inputs(fitted),
        "### Limits",
        "\n".join(f"- {limit}" for limit in limits(model, fitted, measured)),
        "### Make it again",
        f"`platform-assets reproduce {version}`, with its own number; `platform-assets trace PREDICTION` leads back.",
    ]
    return "\n\n".join(parts) + "\n"


def with_origin_and_picture(card: str, name: str, manifest: Mapping[str, Any], picture: bytes | None) -> str:
    """The card as a document of its own: with the tables that the model was made of, and a picture."""
    dataset = manifest["training_dataset"]
    rows = [
        [dataset["table"], f"{dataset['version']}", dataset["content_hash"]],
        *([table, f"{made['version']}", ""] for table, made in manifest["behind_it"].items()),
    ]
    made_of = _table(["table", "Delta version", "content hash"], rows)
    shown = ""
    if picture is not None:
        shown = f"\n![calibration on report](data:image/png;base64,{base64.b64encode(picture).decode()})\n"
    return f"# {name}\n\n{card}{shown}\n### Made of\n\n{made_of}\n"


def limits(model: Model, fitted: FittedModel, measured: Measured) -> list[str]:
    """What the figures do not say, one sentence each."""
    label = model.training.label.value
    days = len(_days(model, fitted))
    found = [
        f"It learned nothing after {_learned_until(model, fitted):%Y-%m-%d}; what changed since, it does not know.",
        f"Rows whose {label} is neither true nor false were left out; of those it says nothing.",
    ]
    if days < _A_YEAR:
        found.append(f"It was judged on {days} days; of other times of the year the figures say nothing.")
    if not measured.bounds:
        found.append("It was judged on a single day, from which no interval can be told.")
    if measured.report.auc is None:
        found.append("On report only one outcome occurs, so that no AUC can be told.")
    if not measured.slices:
        found.append("No slices are declared, so where it is weak is not known.")
    else:
        small = sum(int((found["rows"] < measured.slice_rows).sum()) for found in measured.slices.values())
        if small:
            found.append(f"{small} slices have fewer than {measured.slice_rows:,} rows and were not judged.")
    if measured.confusion is None:
        found.append("No costs are declared, so no threshold was chosen: it gives probabilities, not decisions.")
    if fitted.classifier.preparation.levels:
        found.append("A category that it has not learned from counts as missing.")
    return found


def _facts(catalogue: Catalogue, model: Model, fitted: FittedModel, run: Run) -> str:
    view, label = model.training.view, model.training.label.value
    rows = fitted.parts["report"]
    told = {
        "predicts": f"the probability that `{label}` is true, for each row of `{asset_name(catalogue.name, view.name)}`",
        "asked at": str(view.prediction_time),
        "from": f"{len(model.inputs)} inputs, features as known {view.known}",
        "learned from": f"{fitted.learned:,} rows until {_learned_until(model, fitted):%Y-%m-%d %H:%M} UTC",
        "judged on": f"{len(rows):,} rows of {_days(model, fitted)}",
        "is": f"{fitted.classifier.booster.num_trees()} trees of LightGBM, content hash `{fitted.classifier.digest}`",
        "made by": f"run `{run.run_id}` of `{asset_name(catalogue.name, model.name)}`, {run.now:%Y-%m-%d %H:%M} UTC",
        "owned by": ", ".join(model.owners) or "nobody",
    }
    return "\n".join(f"- **{title}** {value}" for title, value in told.items())


def _performance(measured: Measured) -> str:
    said = {
        "fit": "fit (learned from)",
        "select": "select (stopped on)",
        "report": "**report**",
    }
    lines = [_line(said[part], found) for part, found in measured.parts.items()]
    lines += [_line(name, found) for name, found in measured.baselines.items()]
    table = _table(["rows of", "rows", "positives", "AUC", "log loss", "Brier"], lines)
    told = [
        f"{title} {value:.4f}, 95% interval {bounds.low:.4f} to {bounds.high:.4f}"
        for title, name, value in (
            ("AUC", "auc", measured.report.auc),
            ("log loss", "log_loss", measured.report.log_loss),
        )
        if value is not None and (bounds := measured.bounds.get(name)) is not None
    ]
    told.append(f"calibration error {measured.calibration_error:.4f}")
    if measured.average_precision is not None:
        told.append(f"average precision {measured.average_precision:.4f}")
    if measured.confusion is not None:
        rates = [
            f"{name} {rate:.1%}"
            for name, rate in (("precision", measured.confusion.precision), ("recall", measured.confusion.recall))
            if rate is not None
        ]
        told.append(" and ".join(rates) + f" at the threshold {measured.confusion.threshold:.3g}")
    return f"On *report*: {'; '.join(told)}. Averages below it are what it has to beat there.\n\n{table}"


def _slices(measured: Measured) -> list[str]:
    weakest = weakest_slices(measured)
    if not len(weakest):
        return []
    lines = [
        [f"{row['column']} {row['slice']}", f"{row['rows']:,}", f"{row['auc']:.4f}", f"{row['log_loss']:.4f}"]
        for row in weakest.iter_rows(named=True)
    ]
    return ["### Weakest slices", _table(["slice", "rows", "AUC", "log loss"], lines)]


def _inputs(fitted: FittedModel) -> str:
    told = [
        f"`{row['input']}` ({row['share of gain']:.0%})"
        for row in gains(fitted.classifier).head(_INPUTS_TOLD).iter_rows(named=True)
    ]
    return f"Most gain: {', '.join(told)}."


def _line(title: str, found: Performance) -> list[str]:
    auc = "" if found.auc is None else f"{found.auc:.4f}"
    return [title, f"{found.rows:,}", f"{found.base_rate:.1%}", auc, f"{found.log_loss:.4f}", f"{found.brier:.4f}"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _learned_until(model: Model, fitted: FittedModel) -> datetime:
    found = fitted.parts["select" if model.learner.refit else "fit"].get_column(PREDICTION_TIME).max()
    assert isinstance(found, datetime)  # noqa: S101 - a part has rows
    return found


def _days(model: Model, fitted: FittedModel) -> Days:
    """The local days of *report*, the first and the last that have rows."""
    day = model.training.view.partitions.day_of(pl.col(PREDICTION_TIME))
    found = fitted.parts["report"].select(first=day.min(), last=day.max()).row(0)
    return Days(*found)
