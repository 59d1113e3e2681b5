"""Pictures of drift for the pages of monitors, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from platform_assets.compute.profiles import Profile, each
from platform_assets.pipelines.plots import _ACCENT, _INK, _PALE, _figure, _png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_COLUMNS, _BARS, _TEXTS = 24, 24, 8


def picture_of_drift(times: pl.DataFrame) -> bytes:
    """A square for each column and day: how many times its threshold the furthest measure is.

    Args:
        times: day, column, times (null where nothing could be measured).
    """
    ranked = times.group_by("column").agg(pl.col("times").max()).sort("times", "column", descending=[True, False])
    names = ranked.get_column("column").head(_MOST_COLUMNS).to_list()
    days = times.get_column("day").unique().sort().to_list()
    cells = np.full((len(names), len(days)), np.nan)
    down, across = {name: n for n, name in enumerate(names)}, {day: n for n, day in enumerate(days)}
    for day, column, value in times.select("day", "column", "times").iter_rows():
        if column in down and value is not None:
            cells[down[column], across[day]] = value
    figure = _figure(11, 1.4 + 0.2 * max(len(names), 4))
    axes = figure.subplots()
    shown = axes.imshow(cells, aspect="auto", cmap="RdBu_r", vmin=0, vmax=2, interpolation="nearest")
    step = max(len(days) // 8, 1)
    axes.set_xticks(range(0, len(days), step), [str(day) for day in days[::step]], fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    left_out = times.get_column("column").n_unique() - len(names)
    axes.set(
        title="Drift as a multiple of its threshold" + (f" ({left_out} quieter columns left out)" if left_out else "")
    )
    figure.colorbar(shown, ax=axes, shrink=0.8, label="red is above")
    return _png(figure)


def picture_of_columns(
    reference: pl.DataFrame, current: pl.DataFrame, shown: Sequence[tuple[str, str, int, float]]
) -> bytes:
    """The distributions of some columns, in the reference and in the newest window.

    Args:
        reference: merged profiles.
        current: merged profiles of the same columns, each over its window.
        shown: the columns, each with measure, window and how many times the threshold that is.
    """
    then, now = ({found.column: found for found in each(profiles)} for profiles in (reference, current))
    figure = _figure(11, 3.2)
    for axes, (column, measure, window, times) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        draw = _texts if then[column].kind == "text" else _numbers
        draw(axes, then[column], now.get(column))
        sides = (("in the reference", then[column]), ("now", now.get(column)))
        gone = [f"{1 - side.known / side.rows:.1%} {title}" for title, side in sides if side and side.rows]
        axes.set_xlabel("missing: " + ", ".join(gone), fontsize=7)
        axes.set_title(f"{column}\n{measure} over {window} d, {times:.1f} times its threshold", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.axes[0].legend(frameon=False, fontsize=7)
    return _png(figure)


def _numbers(axes: Axes, then: Profile, now: Profile | None) -> None:
    """Shares of rows between equal steps; what lies outside of nearly all rows of both is in the outermost steps."""
    both = [found for found in (then, now) if found is not None and found.values]
    if not both:
        axes.text(0.5, 0.5, "no values", ha="center")
        return
    low = min(found.quantile(0.005) or 0.0 for found in both)
    high = max(found.quantile(0.995) or 0.0 for found in both)
    edges = np.linspace(low, high if high > low else low + 1, _BARS + 1)
    for found, color, title in ((then, _PALE, "reference"), (now, _ACCENT, "newest window")):
        if found is None or not found.values:
            continue
        upto = np.array([found.cdf(edge) for edge in edges], dtype=np.float64)
        upto[0], upto[-1] = 0.0, 1.0
        heights = np.diff(upto)
        if found is then:
            axes.stairs(heights, edges, fill=True, color=color, label=title)
        else:
            axes.stairs(heights, edges, color=color, lw=1.5, label=title)
    axes.set_ylabel("share of values", fontsize=7)


def _texts(axes: Axes, then: Profile, now: Profile | None) -> None:
    shares = [_shares(then), {} if now is None else _shares(now)]
    names = sorted({*shares[0], *shares[1]}, key=lambda text: (-max(s.get(text, 0.0) for s in shares), text))[:_TEXTS]
    places = np.arange(len(names))
    axes.bar(places - 0.2, [shares[0].get(name, 0.0) for name in names], 0.4, color=_PALE, label="reference")
    axes.bar(places + 0.2, [shares[1].get(name, 0.0) for name in names], 0.4, color=_ACCENT, label="newest window")
    axes.set_xticks(places, [name[:12] for name in names], rotation=30)
    axes.set_ylabel("share of values", fontsize=7, color=_INK)


def _shares(found: Profile) -> dict[str, float]:
    return {text: count / found.known for text, count in zip(found.texts, found.counts, strict=True)}
