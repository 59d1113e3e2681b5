"""How a model is fitted: on *fit*, stopped on *select*, the same bits for the same rows, settings and machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from platform_assets.compute.band import Band
from platform_assets.compute.calibration import fit_calibration
from platform_assets.compute.classifier import Classifier
from platform_assets.compute.metrics import Performance, performance
from platform_assets.compute.preparation import Preparation
from platform_assets.declarations.models import LightGBM, Model
from platform_assets.declarations.views import PREDICTION_TIME, SPLIT
from platform_assets.errors import ModelError
from platform_assets.pipelines.run import Run

if TYPE_CHECKING:
    import lightgbm
    import numpy.typing as npt

FIT_EVERY = 10
"""Trees between two looks at the log loss of *fit*, which passes over all rows that are learned from."""

_DRAWS = 400


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """A model before it is registered.

    Attributes:
        classifier: what was fitted.
        parts: the rows of the training dataset by part.
        truth: their outcomes, 0 or 1.
        learned: how many rows it has learned from.
        held: what the one that stopped on *select* said of each row there, before calibration.
        chosen: how good that was.
        learning: the log loss (nats) of the one that stopped on *select*, by part and by how many trees it had; of
            *fit* after the first, every `FIT_EVERY` and the last that were declared.
        kept_trees: how many trees of it were kept.
    """

    classifier: Classifier
    parts: Mapping[str, pl.DataFrame]
    truth: Mapping[str, npt.NDArray[np.float64]]
    learned: int
    held: npt.NDArray[np.float64]
    chosen: Performance
    learning: Mapping[str, Mapping[int, float]]
    kept_trees: int


def fit(
    model: Model, dataset: pl.LazyFrame, *, run: Run, threads: int | None = None, beside: Sequence[str] = ()
) -> FittedModel:
    """Fit on *fit*, stop early and calibrate on *select*; it registers nothing.

    Calibration and band are fitted to what the trees of *fit* alone say of *select*. Where they are then fitted
    anew on both, these are put on the new trees, which have seen what they were fitted to.

    Args:
        model: what is declared.
        dataset: the rows of its training dataset.
        run: where progress is said.
        threads: how many LightGBM uses; None for as many as the machine has.
        beside: columns that the parts carry too; nothing is learned from them.

    Raises:
        ModelError: when the training dataset has no rows to learn from or to be judged by.
    """
    label = model.training.label.value
    spine = [c for columns in model.averages.values() for c in columns]
    wanted = list(dict.fromkeys([*model.inputs, *spine, *beside, label, SPLIT, PREDICTION_TIME]))
    rows = dataset.select(wanted).collect()
    parts = {str(key[0]): part for key, part in rows.group_by(SPLIT, maintain_order=True)}
    for part in ("fit", "select", "report"):
        if part not in parts:
            msg = (
                f"model {model.name}: its training dataset has no {part} rows; materialize more days or move the split"
            )
            raise ModelError(msg)
    truth = {part: frame.get_column(label).cast(pl.Float64).to_numpy() for part, frame in parts.items()}
    preparation = Preparation.fit(parts["fit"], inputs=model.inputs, categories=model.categories)
    run.say(f"fitting on {len(parts['fit']):,} rows of {len(model.inputs)} inputs")
    losses: dict[str, dict[int, float]] = {"fit": {}, "select": {}}
    booster = fit_lightgbm(
        model.learner,
        preparation,
        parts["fit"],
        truth["fit"],
        (parts["select"], truth["select"]),
        run=run,
        threads=threads,
        losses=losses,
    )
    trees = booster.best_iteration if booster.best_iteration > 0 else booster.num_trees()
    held = np.asarray(booster.predict(preparation.encode(parts["select"])))
    chosen = performance(truth["select"], held)
    calibration = None if model.calibration is None else fit_calibration(model.calibration, held, truth["select"])
    band = None
    if model.interval is not None:
        days = days_of(model, parts["select"])
        band = Band.fit(held, truth["select"], days, confidence=model.interval, draws=_DRAWS, seed=model.learner.seed)
    learned = parts["fit"]
    if model.learner.refit:
        learned = pl.concat([parts["fit"], parts["select"]])
        run.say(f"fitting {trees} trees anew on {len(learned):,} rows")
        preparation = Preparation.fit(learned, inputs=model.inputs, categories=model.categories)
        booster = fit_lightgbm(
            replace(model.learner, rounds=trees),
            preparation,
            learned,
            np.concatenate([truth["fit"], truth["select"]]),
            None,
            run=run,
            threads=threads,
        )
    return FittedModel(
        classifier=Classifier(
            preparation=preparation,
            booster=booster,
            calibration=calibration,
            band=band,
            threshold=None if model.costs is None else model.costs.threshold,
        ),
        parts=parts,
        truth=truth,
        learned=len(learned),
        held=held,
        chosen=chosen,
        learning=losses,
        kept_trees=trees,
    )


def days_of(model: Model, rows: pl.DataFrame) -> npt.NDArray[np.int32]:
    """The day on which each row's prediction was asked for, as a number."""
    day = model.training.view.partitions.day_of(pl.col(PREDICTION_TIME))
    return rows.select(day.to_physical()).to_series().to_numpy()


def fit_lightgbm(
    learner: LightGBM,
    preparation: Preparation,
    rows: pl.DataFrame,
    truth: npt.NDArray[np.float64],
    held: tuple[pl.DataFrame, npt.NDArray[np.float64]] | None,
    *,
    run: Run,
    threads: int | None = None,
    watch: Sequence[Callable[[lightgbm.callback.CallbackEnv], None]] = (),
    losses: dict[str, dict[int, float]] | None = None,
) -> lightgbm.Booster:
    """Grow the trees: the same bits for the same rows, settings and machine.

    Args:
        learner: the declared settings.
        preparation: fitted on `rows`.
        rows: what to learn from.
        truth: its outcomes, 0 or 1.
        held: rows and outcomes that decide when to stop; None to grow `learner.rounds` trees.
        run: where progress is said.
        threads: how many are used; None for as many as the machine has.
        watch: called after every tree.
        losses: where the log loss of *fit* and *select* is put down by how many trees there are; None for nowhere.

    Raises:
        ModelError: when settings are still to be tuned.
    """
    import lightgbm

    if learner.tuning is not None:
        msg = f"LightGBM: {', '.join(learner.tuning.space)} are still to be tuned; fit what `tune` gives back"
        raise ModelError(msg)
    settings = {
        **learner.parameters,
        "objective": "binary",
        "metric": "binary_logloss",
        "verbosity": -1,
        "seed": learner.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads or os.cpu_count() or 1,
    }
    names = list(preparation.inputs)
    categories = [name for name in names if name in preparation.levels]
    learned = lightgbm.Dataset(
        preparation.encode(rows), truth, feature_name=names, categorical_feature=categories, params=settings
    )
    callbacks = [*watch]
    if losses is not None:
        callbacks.append(_put_down(losses))
    callbacks.append(_progress(run, learner.rounds, losses or {}))
    judged: dict[str, lightgbm.Dataset] = {}
    if held is not None:
        judged["select"] = lightgbm.Dataset(preparation.encode(held[0]), held[1], reference=learned)
        if learner.early_stopping is not None:
            callbacks.append(lightgbm.early_stopping(learner.early_stopping, verbose=False))
    return lightgbm.train(
        settings,
        learned,
        num_boost_round=learner.rounds,
        valid_sets=list(judged.values()),
        valid_names=list(judged),
        callbacks=callbacks,
    )


def _put_down(losses: dict[str, dict[int, float]]) -> Callable[[lightgbm.callback.CallbackEnv], None]:
    def note(env: lightgbm.callback.CallbackEnv) -> None:
        done = env.iteration + 1
        for part, _, value, *_ in env.evaluation_result_list or []:
            losses[part][done] = value
        if done in (1, env.end_iteration) or done % FIT_EVERY == 0:
            [(_, _, losses["fit"][done], *_)] = cast("lightgbm.Booster", env.model).eval_train()

    return note


def _progress(
    run: Run, rounds: int, losses: Mapping[str, Mapping[int, float]]
) -> Callable[[lightgbm.callback.CallbackEnv], None]:
    def say(env: lightgbm.callback.CallbackEnv) -> None:
        done = env.iteration + 1
        if done % (2 * FIT_EVERY) == 0:
            told = [f", log loss {seen[done]:.4f} on {part}" for part, seen in losses.items() if done in seen]
            run.say(f"tree {done} of at most {rounds}{''.join(told)}")

    return say
