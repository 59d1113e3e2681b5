"""Pictures for the pages of assets and runs, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.curves import Confusion
from platform_assets.compute.metrics import Performance
from platform_assets.compute.uncertainty import Bounds
from platform_assets.declarations.tuning import Choice, Range, Tuning

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _ACCENT, _PALE = "#1b2a41", "#2f6fde", "#b8c4d6"
_SQUARE, _WIDE = (5.6, 4.2), (8.0, 4.2)
_INPUTS_SHOWN = 12
_DARK = 0.55
_COLOURS = 128
_FEWEST_TRIALS = 4
_SLICES = 2
_SLICES_SHOWN = 60
"""A picture with a bar for each of thousands cannot be read, nor drawn."""


def picture_of_roc(curve: pl.DataFrame, auc: float, bounds: Bounds | None) -> bytes:
    """The ROC curve, with the area under it and its interval."""
    figure = _figure(*_SQUARE)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_PALE, lw=1, ls="--")
    axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], color=_ACCENT, lw=2)
    told = f"AUC {auc:.3f}" + ("" if bounds is None else f" ({bounds.low:.3f} to {bounds.high:.3f})")
    axes.set(title=told, xlabel="share of the negatives taken", ylabel="share of the positives found")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _png(figure)


def picture_of_precision_recall(curve: pl.DataFrame, average: float, base_rate: float) -> bytes:
    """Precision over recall beside the base rate, which is what chance would reach."""
    figure = _figure(*_SQUARE)
    axes = figure.subplots()
    axes.axhline(base_rate, color=_INK, lw=0.8, ls=":")
    axes.text(0.01, base_rate - 0.015, f"base rate {base_rate:.3f}", va="top", color=_INK, fontsize=8)
    axes.plot(curve["recall"], curve["precision"], color=_ACCENT, lw=2)
    times = f", {average / base_rate:.1f} times the base rate" if base_rate else ""
    axes.set(title=f"Average precision {average:.3f}{times}", xlim=(0, 1), ylim=(0, 1.02))
    axes.set(xlabel="recall (share of the positives found)", ylabel="precision (share of the found that were)")
    return _png(figure)


def picture_of_calibration(table: pl.DataFrame, probability: npt.NDArray[np.float64], error: float) -> bytes:
    """What came of what was said, by tenths of the rows, and below it how often each probability was said."""
    figure = _figure(_SQUARE[0], _SQUARE[1] + 0.8)
    said, counted = figure.subplots(2, 1, height_ratios=[3, 1])
    top = min(1.0, table.select(pl.max_horizontal(pl.max("probability", "share_positive"), 0.01)).item() * 1.08)
    said.plot([0, top], [0, top], color=_PALE, lw=1, ls="--")
    said.plot(table["probability"], table["share_positive"], color=_ACCENT, marker="o", lw=1.5)
    said.set(title=f"Calibration error {error:.4f}", xlim=(0, top), ylim=(0, top))
    said.set(xlabel="mean probability of a tenth of the rows", ylabel="share that came true")
    counted.hist(probability, bins=np.linspace(0, 1, 41), color=_PALE)
    counted.set(yscale="log", ylim=(0.8, None), xlim=(0, 1), xlabel="probability", ylabel="rows")
    return _png(figure)


def picture_of_learning(losses: Mapping[str, Mapping[int, float]], kept: int, *, stops_early: bool) -> bytes:
    """The log loss of each part by how many trees there were, and where it stopped."""
    figure = _figure(*_SQUARE)
    axes = figure.subplots()
    for part, color in (("fit", _PALE), ("select", _ACCENT)):
        axes.plot(list(losses[part]), list(losses[part].values()), color=color, lw=1.8, label=part)
    axes.axvline(kept, color=_INK, lw=0.8, ls=":")
    best = losses["select"][kept]
    least = "Least" if stops_early else "At the end"
    axes.set(title=f"{least} on select: {best:.4f} nats at tree {kept}", xlabel="trees", ylabel="log loss (nats)")
    axes.legend(frameon=False, loc="upper right")
    return _png(figure)


def picture_of_gains(gains: pl.DataFrame) -> bytes:
    """The twelve inputs with the most gain."""
    figure = _figure(*_WIDE)
    axes = figure.subplots()
    best = gains.head(_INPUTS_SHOWN)
    axes.barh(_plain(best["input"].reverse()), best["share of gain"].reverse().to_list(), color=_ACCENT)
    axes.set(
        title=f"{_plain(best['input'])[0]} brings {best['share of gain'][0]:.0%} of the gain", xlabel="share of gain"
    )
    axes.tick_params(axis="y", labelsize=8)
    return _png(figure)


def picture_of_contributions(
    contributions: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    inputs: Sequence[str],
    categories: Container[str],
) -> bytes:
    """What each input adds to the log odds, a dot per row, by SHAP's own hand; categories are grey.

    Args:
        contributions: of each row and input.
        values: of the inputs, as the trees see them.
        inputs: their names.
        categories: those of them whose values have no order.
    """
    import warnings

    import pandas as pd  # type: ignore[import-untyped]
    import shap  # type: ignore[import-untyped]

    kinds = {name: object if name in categories else float for name in inputs}
    told = shap.Explanation(contributions, data=pd.DataFrame(values, columns=list(inputs)).astype(kinds))
    told.feature_names = _plain(inputs)
    figure = _figure(_WIDE[0], _WIDE[1] + 1)
    axes = figure.subplots()
    before = np.random.get_state()  # noqa: NPY002 - SHAP draws from NumPy's global state
    np.random.seed(0)  # noqa: NPY002 - so that the same rows give the same picture
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of inputs without a value
            shap.plots.beeswarm(
                told,
                max_display=_INPUTS_SHOWN,
                group_remaining_features=False,
                ax=axes,
                plot_size=None,
                show=False,
                s=7,
                color_bar_label="value of the input",
            )
    finally:
        np.random.set_state(before)  # noqa: NPY002 - as whoever called had it
    first = _plain(inputs)[int(np.abs(contributions).mean(axis=0).argmax())]
    axes.set_title(f"{first} moves a probability most ({len(contributions):,} rows)")
    axes.set_xlabel("added to the log odds (SHAP value)", fontsize=9)
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.tick_params(axis="x", labelsize=8)
    for bar in figure.axes[1:]:
        bar.tick_params(labelsize=8)
        bar.yaxis.label.set_fontsize(9)
    return _png(figure)


def picture_of_slices(slices: Mapping[str, pl.DataFrame], auc: float) -> bytes:
    """The AUC of the weakest sixty slices beside that of all rows; a slice with a single outcome has none."""
    parts = [
        (f"{column} {part['slice']} ({part['rows']:,})", part["auc"])
        for column, found in slices.items()
        for part in found.filter(pl.col("auc").is_not_null()).sort("auc").iter_rows(named=True)
    ]
    parts = _first(parts, _SLICES_SHOWN, by=lambda part: part[1])
    figure = _figure(_WIDE[0], max(2.2, 1.2 + 0.19 * len(parts)))
    axes = figure.subplots()
    axes.barh(_plain([name for name, _ in reversed(parts)]), [value for _, value in reversed(parts)], color=_ACCENT)
    axes.axvline(auc, color=_INK, lw=0.8, ls=":")
    name, worst = min(parts, key=lambda part: part[1])
    lowest = min(0.5, worst)
    axes.set(title=f"Weakest slice: {_plain([name])[0].rpartition(' (')[0]}, AUC {worst:.3f} (all rows {auc:.3f})")
    axes.set(xlim=(lowest, 1), xlabel="AUC (rows in brackets)")
    axes.tick_params(axis="y", labelsize=8)
    return _png(figure)


def picture_of_confusion(found: Confusion) -> bytes:
    """What was decided against what came, at the chosen threshold."""
    figure = _figure(*_SQUARE)
    axes = figure.subplots()
    counts = np.array(
        [[found.true_negatives, found.false_positives], [found.false_negatives, found.true_positives]], dtype=float
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            said = f"{int(counts[row, column]):,}\n{shares[row, column]:.1%} of the row"
            dark = shares[row, column] > _DARK
            axes.text(column, row, said, ha="center", va="center", color="white" if dark else _INK)
    axes.set_xticks([0, 1], ["decided no", "decided yes"])
    axes.set_yticks([0, 1], ["came no", "came yes"])
    rates = [
        f"{name} {'none' if rate is None else f'{rate:.1%}'}"
        for name, rate in (("precision", found.precision), ("recall", found.recall))
    ]
    axes.set(title=f"At {found.threshold:.3g}: {', '.join(rates)}")
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
    parts = _first(parts, _SLICES_SHOWN, by=lambda part: -part[1])
    names, worse_by = _plain([name for name, _ in reversed(parts)]), [value for _, value in reversed(parts)]
    differences.barh(names, worse_by, color=_ACCENT)
    differences.axvline(0, color=_INK, lw=0.7)
    differences.set(title="Log loss above the champion's", xlabel="below zero the challenger is better")
    differences.tick_params(axis="y", labelsize=7)
    return _png(figure)


def picture_of_folds(table: pl.DataFrame, model: str) -> bytes:
    """AUC and log loss of a model and its baselines, month by month, with the intervals of the model."""
    figure = _figure(11, 3.8)
    names = [model, *(name for name in table["predictor"].unique(maintain_order=True) if name != model)]
    for axes, figure_name, title in zip(
        figure.subplots(1, 2), ("auc", "log_loss"), ("AUC on the month", "Log loss on the month"), strict=True
    ):
        for number, name in enumerate(names):
            color = _ACCENT if name == model else (_INK, _PALE)[number % 2]
            line = {"ls": ("-", "--", ":")[(number - 1) // 2 % 3]} if number else {}
            own = table.filter(pl.col("predictor") == name, pl.col(figure_name).is_not_null()).sort("cutoff")
            # A cutoff in UTC is less than a day away from its own zone's.
            months = own["cutoff"].dt.offset_by("1d").dt.strftime("%Y-%m").to_list()
            values = own[figure_name].to_numpy()
            width = 2 if name == model else 1.2
            axes.plot(months, values, color=color, marker="o", lw=width, label=_plain([name])[0], **line)
            low, high = own[f"{figure_name}_low"], own[f"{figure_name}_high"]
            if name == model and own.height and not low.null_count():
                axes.vlines(months, low.to_numpy(), high.to_numpy(), color=color, lw=1)
        axes.set(title=title)
    figure.axes[1].legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.97))
    return _png(figure)


def picture_of_study(study: optuna.Study, best: optuna.trial.FrozenTrial, tuning: Tuning, *, seed: int) -> bytes:
    """The log loss on *select* of every trial, the share of its variance that each setting explains, and two slices.

    Args:
        study: its finished trials and those that were given up.
        best: the trial that was chosen.
        tuning: what was searched.
        seed: of the forest that tells what mattered.
    """
    import optuna

    finished = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    pruned = study.get_trials(states=[optuna.trial.TrialState.PRUNED])
    figure = _figure(14, 3.8)
    history, importance, *slices = figure.subplots(1, 2 + _SLICES)
    _history(history, finished, pruned, best)
    shares = _importances(study, finished, seed)
    names = sorted(tuning.space, key=lambda name: -shares.get(name, 0.0))
    importance.barh(names[::-1], [shares.get(name, 0.0) for name in names[::-1]], color=_ACCENT)
    importance.set(title="Share of the variance explained", xlim=(0, 1))
    importance.tick_params(axis="y", labelsize=7)
    for axes, name in zip(slices, [*names, *[None] * _SLICES], strict=False):
        if name is None:
            axes.set_visible(False)
        else:
            _slice(axes, name, tuning.space[name], finished, best)
    return _png(figure)


def _history(
    axes: Axes,
    finished: Sequence[optuna.trial.FrozenTrial],
    pruned: Sequence[optuna.trial.FrozenTrial],
    best: optuna.trial.FrozenTrial,
) -> None:
    axes.scatter([t.number + 1 for t in pruned], [t.value or 0.0 for t in pruned], color=_PALE, s=14, label="given up")
    numbers, values = [t.number + 1 for t in finished], [t.value or 0.0 for t in finished]
    axes.scatter(numbers, values, color=_ACCENT, s=18, label="finished")
    so_far = [min(values[: place + 1]) for place in range(len(values))]
    axes.step(numbers, so_far, where="post", color=_INK, lw=1, label="best so far")
    axes.scatter([best.number + 1], [best.value or 0.0], facecolors="none", edgecolors=_INK, s=70)
    # A trial that was given up early lies far above; the eye needs those that were not.
    spread = max(values) - min(values) or 1e-6
    axes.set(title="Log loss on select", xlabel="trial", ylim=(min(values) - spread * 0.1, max(values) + spread * 0.3))
    axes.legend(frameon=False, fontsize=7)


def _slice(
    axes: Axes,
    name: str,
    bounds: Range | Choice,
    finished: Sequence[optuna.trial.FrozenTrial],
    best: optuna.trial.FrozenTrial,
) -> None:
    def shown(trial: optuna.trial.FrozenTrial) -> float | str:
        value = trial.params[name]
        return _plain([str(value)])[0] if isinstance(bounds, Choice) else float(value)

    axes.scatter([shown(t) for t in finished], [t.value or 0.0 for t in finished], color=_ACCENT, s=18)
    axes.scatter([shown(best)], [best.value or 0.0], facecolors="none", edgecolors=_INK, s=70)
    if isinstance(bounds, Range) and bounds.log:
        axes.set_xscale("log")
    axes.set(title=name)
    axes.tick_params(axis="y", labelsize=7)


def _importances(study: optuna.Study, finished: Sequence[optuna.trial.FrozenTrial], seed: int) -> dict[str, float]:
    """By setting its share, from a forest over the finished trials (fANOVA, Hutter et al., 2014); none of too few."""
    import optuna

    if len(finished) < _FEWEST_TRIALS or len({trial.value for trial in finished}) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _first(
    parts: list[tuple[str, float]], count: int, *, by: Callable[[tuple[str, float]], float]
) -> list[tuple[str, float]]:
    """The `count` parts that come first when sorted, in the order in which they stand."""
    kept = set(sorted(range(len(parts)), key=lambda place: by(parts[place]))[:count])
    return [part for place, part in enumerate(parts) if place in kept]


def _plain(texts: Iterable[str]) -> list[str]:
    """Texts that people wrote, so that matplotlib does not read a dollar as the beginning of a formula."""
    return [text.replace("$", r"\$") for text in texts]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.set_dpi(110)
    # `savefig` would draw all of it twice, once for the layout alone, and compress what is decoded again here.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    held = io.BytesIO()
    # A palette makes a third of the bytes, and every event of Dagster carries its pictures whole.
    drawn.convert("RGB").quantize(_COLOURS).save(held, format="png", optimize=True)
    return held.getvalue()
