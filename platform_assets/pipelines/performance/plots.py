"""The picture of performance over time for the page of a performance monitor, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from platform_assets.declarations.names import DAY
from platform_assets.pipelines.plots import _ACCENT, _INK, _PALE, _figure, _png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ALARM = "#c0392b"
_PANELS = {
    "auc": "AUC",
    "log_loss": "log loss (nats)",
    "calibration_error": "calibration error",
    "base_rate": "base rate",
}


def picture_of_performance(rows: pl.DataFrame) -> bytes:
    """Each measure by day with its interval, what was expected, from where it alarms, and where the champion changed.

    Args:
        rows: day, measure, value, low, high, expected, threshold, alarmed and model_versions of one window, in order
            of day; nulls where nothing was measured.
    """
    figure = _figure(11, 7.6)
    panels = figure.subplots(len(_PANELS), 1, sharex=True)
    changes = _changes(rows)
    for axes, (measure, title) in zip(panels, _PANELS.items(), strict=True):
        _panel(axes, rows.filter(pl.col("measure") == measure), higher_is_better=measure == "auc")
        axes.set_ylabel(title, fontsize=8)
        axes.tick_params(labelsize=8)
        for day, _ in changes:
            axes.axvline(day, color=_INK, lw=0.9, ls=(0, (1, 2)))
    for day, version in changes:
        panels[0].annotate(
            f"version {version}",
            (day, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=8,
            color=_INK,
        )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=8)
    return _png(figure)


def _panel(axes: Axes, own: pl.DataFrame, *, higher_is_better: bool) -> None:
    days = own.get_column(DAY).to_numpy().astype("datetime64[D]")
    value, low, high, due, threshold = (
        own.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("value", "low", "high", "expected", "threshold")
    )
    if not np.isnan(low).all():
        axes.vlines(days, low, high, color=_PALE, lw=3, label="interval")
    axes.plot(days, due, color=_INK, lw=1, ls="--", label="expected by the probabilities")
    if not np.isnan(threshold).all():
        limit = due - threshold if higher_is_better else due + threshold
        axes.plot(days, limit, color=_ALARM, lw=0.9, ls=":", label="alarms beyond")
    axes.plot(days, value, color=_ACCENT, lw=1.1, marker=".", ms=4, label="what came")
    alarmed = own.get_column("alarmed").to_numpy().astype(bool)
    axes.plot(days[alarmed], value[alarmed], color=_ALARM, ls="", marker="o", ms=5, label="alarm")


def _changes(rows: pl.DataFrame) -> list[tuple[np.datetime64, int]]:
    """The days on which another version speaks than the day before, and the first."""
    told = rows.filter(pl.col("model_versions").list.len() > 0).unique(DAY, keep="first", maintain_order=True)
    newest = told.select(DAY, pl.col("model_versions").list.last().alias("version"))
    changed = newest.filter(pl.col("version").ne_missing(pl.col("version").shift()))
    return [(np.datetime64(str(day)), version) for day, version in changed.iter_rows()]
