"""Pictures for the pages of assets and runs, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from platform_assets.compute.metrics import Performance
from platform_assets.declarations.tuning import Choice, Range, Tuning

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _ACCENT, _PALE = "#1b2a41", "#2f6fde", "#b8c4d6"
_FEWEST_TRIALS = 4
_SLICES = 2


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
        return str(value) if isinstance(bounds, Choice) else float(value)

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


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    return held.getvalue()
