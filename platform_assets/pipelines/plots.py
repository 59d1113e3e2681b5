"""Pictures for the pages of assets and runs, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.metrics import Performance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _ACCENT, _PALE = "#1b2a41", "#2f6fde", "#b8c4d6"


def picture_of_model(
    truth: npt.NDArray[np.float64], probability: npt.NDArray[np.float64], gains: pl.DataFrame
) -> bytes:
    """ROC curve, calibration by tenths of the rows, and the twelve inputs with the most gain."""
    figure = _figure(11, 3.8)
    roc, calibration, importance = figure.subplots(1, 3)
    order = np.argsort(-probability, kind="stable")
    hits = np.concatenate([[0], np.cumsum(truth[order])])
    misses = np.concatenate([[0], np.cumsum(1 - truth[order])])
    roc.plot(misses / max(misses[-1], 1), hits / max(hits[-1], 1), color=_ACCENT, lw=2)
    roc.plot([0, 1], [0, 1], color=_PALE, lw=1, ls="--")
    roc.set(title="ROC on report", xlabel="false positive rate", ylabel="true positive rate")

    tenths = np.array_split(np.argsort(probability, kind="stable"), 10)
    said, was = [probability[t].mean() for t in tenths if len(t)], [truth[t].mean() for t in tenths if len(t)]
    top = max(*said, *was) * 1.08
    calibration.plot([0, top], [0, top], color=_PALE, lw=1, ls="--")
    calibration.plot(said, was, color=_ACCENT, marker="o", lw=1.5)
    calibration.set(title="Calibration on report", xlabel="mean probability", ylabel="share that came true")

    best = gains.head(12).reverse()
    importance.barh(best["input"].to_list(), best["share of gain"].to_list(), color=_ACCENT)
    importance.set(title="Share of gain", xlabel="")
    importance.tick_params(axis="y", labelsize=7)
    return _png(figure)


def picture_of_days(by_day: Mapping[object, Performance]) -> bytes:
    """AUC and share of positives, day by day."""
    figure = _figure(11, 3.6)
    axes = figure.subplots()
    days = [np.datetime64(str(day)) for day in by_day]
    axes.bar(days, [found.base_rate for found in by_day.values()], color=_PALE, width=0.9, label="share of positives")
    scored = [(day, found.auc) for day, found in zip(days, by_day.values(), strict=True) if found.auc is not None]
    axes.plot([day for day, _ in scored], [auc for _, auc in scored], color=_ACCENT, marker=".", lw=1.2, label="AUC")
    axes.axhline(0.5, color=_INK, lw=0.7, ls=":")
    axes.set(ylim=(0, 1), title="Performance by day, out of sample")
    axes.legend(loc="upper right", frameon=False, ncols=2)
    return _png(figure)


def picture_of_comparison(
    truth: npt.NDArray[np.float64],
    challenger: npt.NDArray[np.float64],
    champion: npt.NDArray[np.float64] | None,
    slices: Mapping[str, pl.DataFrame],
) -> bytes:
    """Calibration of both by tenths of the rows, and by how much the challenger's log loss is above by slice."""
    figure = _figure(11, 3.8)
    calibration, differences = figure.subplots(1, 2)
    top = 0.0
    for title, probability, color in (("champion", champion, _PALE), ("challenger", challenger, _ACCENT)):
        if probability is None:
            continue
        tenths = [t for t in np.array_split(np.argsort(probability, kind="stable"), 10) if len(t)]
        said, was = [probability[t].mean() for t in tenths], [truth[t].mean() for t in tenths]
        top = max(top, *said, *was)
        calibration.plot(said, was, color=color, marker="o", lw=1.5, label=title)
    calibration.plot([0, top], [0, top], color=_INK, lw=0.7, ls=":")
    calibration.set(title="Calibration", xlabel="mean probability", ylabel="share that came true")
    calibration.legend(frameon=False)
    parts = [
        (f"{column} {part['slice']}", part["worse_by"])
        for column, found in slices.items()
        for part in found.iter_rows(named=True)
        if part["worse_by"] is not None
    ]
    names, worse_by = [name for name, _ in reversed(parts)], [value for _, value in reversed(parts)]
    differences.barh(names, worse_by, color=_ACCENT)
    differences.axvline(0, color=_INK, lw=0.7)
    differences.set(title="Log loss above the champion's", xlabel="below zero the challenger is better")
    differences.tick_params(axis="y", labelsize=7)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    return held.getvalue()
