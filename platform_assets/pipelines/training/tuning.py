"""Choosing a learner's settings on *select*: a study whose every trial follows from those before it, and from nothing else.

Optuna's samplers keep a random state that no storage holds, so that a study which was resumed would be another one.
Here each trial has a sampler of its own, seeded by the learner's seed and the trial's number: killed anywhere and run
again, a study is the one that was never killed, to the bit. *report* is not even read.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from platform_assets.compute.content_hash import content_hash
from platform_assets.compute.preparation import Preparation
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.fingerprint import fingerprint
from platform_assets.declarations.models import LightGBM, Model
from platform_assets.declarations.names import asset_name
from platform_assets.declarations.tuning import Range, Tuning
from platform_assets.declarations.views import SPLIT
from platform_assets.errors import ModelError
from platform_assets.pipelines.environment import THREADS, environment
from platform_assets.pipelines.plots import picture_of_study
from platform_assets.pipelines.run import Platform, Run
from platform_assets.pipelines.training.fitting import fit_lightgbm
from platform_assets.registry.studies import StudyFile, open_study, quiet, study_folder

if TYPE_CHECKING:
    import lightgbm
    import optuna

    Booster = lightgbm.Booster
    Grow = Callable[[LightGBM, Callable[[lightgbm.callback.CallbackEnv], None]], Booster]

LEARNING_STEP = 0.5
"""How much is learned, in trees times learning rate, between two looks at whether a trial is worth going on with.

Trials are compared where they have learned as much, not where they have as many trees: a slow learner is behind a
fast one for long before it is ahead, and would never be let go so far.
"""
_UNPRUNED_TRIALS, _UNPRUNED_STEPS = 5, 2
_LEARNING_RATE = 0.1
"""LightGBM's own, where none is declared."""
_TREES = "trees"


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a study came to.

    Attributes:
        learner: with the chosen settings, and nothing left to tune.
        trials: one row for each trial: its number, state, log loss on *select*, trees, and settings.
        documents: what is logged of it, by file name.
        pictures: likewise, as PNG by name.
        metrics: figures by name.
        facts: what the asset's page says of it.
    """

    learner: LightGBM
    trials: pl.DataFrame = field(default_factory=pl.DataFrame)
    documents: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def tune(
    platform: Platform,
    catalogue: Catalogue,
    model: Model,
    dataset: pl.LazyFrame,
    *,
    run: Run,
    threads: int | None = None,
) -> Tuned:
    """Choose the settings that a learner leaves open; one that leaves none open is given back as it is.

    A study is kept below the registry's root under a hash of what it follows from: the rows of *fit* and *select*,
    the declaration, and what decides the bits of a model. A finished one is not run again.

    Args:
        platform: where everything lives.
        catalogue: the project.
        model: what is declared.
        dataset: the rows of its training dataset.
        run: where progress is said.
        threads: how many LightGBM uses; None for as many as the machine has.

    Raises:
        ModelError: when a part has no rows, when LightGBM refuses the settings of a trial, or when the file of the
            study is damaged.
    """
    tuning = model.learner.tuning
    if tuning is None:
        return Tuned(learner=model.learner)
    label = model.training.label.value
    rows = dataset.filter(pl.col(SPLIT).is_in(["fit", "select"])).select(*model.inputs, label, SPLIT).collect()
    folder = study_folder(platform.registry.root, catalogue.name, model.name)
    name = asset_name(catalogue.name, model.name)

    def wait() -> None:
        run.say(f"another run tunes {name}; waiting for it")

    with open_study(folder, _key(model, rows, threads), wait=wait) as file:
        before = len(file.study.trials)
        study = _carry_on(model, tuning, file, _grower(model, rows, run, threads), run)
        file.remove_others()
    return _tuned(model.learner, study, tuning, before=min(before, tuning.trials), draws=run.draws)


def _key(model: Model, rows: pl.DataFrame, threads: int | None) -> str:
    """A hash of what the trials follow from; how many are wanted, and what comes after the trees, is not."""
    tuning = model.learner.tuning
    assert tuning is not None  # noqa: S101 - asked by the caller
    learner = replace(model.learner, tuning=replace(tuning, trials=1))
    alike = replace(model, learner=learner, calibration=None, interval=None, costs=None)
    made_by = environment(alike) | {"optuna": version("optuna")} | ({} if threads is None else {THREADS: str(threads)})
    told = json.dumps([content_hash(rows), fingerprint(alike), sorted(made_by.items())])
    return hashlib.blake2b(told.encode(), digest_size=12).hexdigest()


def _grower(model: Model, rows: pl.DataFrame, run: Run, threads: int | None) -> Grow:
    """How a trial grows its trees: as `fit` does before it fits anew."""
    label = model.training.label.value
    fit, select = (rows.filter(pl.col(SPLIT) == part) for part in ("fit", "select"))
    for part, held in (("fit", fit), ("select", select)):
        if held.is_empty():
            msg = (
                f"model {model.name}: its training dataset has no {part} rows; materialize more days or move the split"
            )
            raise ModelError(msg)
    truth = [part.get_column(label).cast(pl.Float64).to_numpy() for part in (fit, select)]
    preparation = Preparation.fit(fit, inputs=model.inputs, categories=model.categories)
    silent = replace(run, say=lambda _: None)

    def grow(learner: LightGBM, watch: Callable[[lightgbm.callback.CallbackEnv], None]) -> Booster:
        held = (select, truth[1])
        return fit_lightgbm(learner, preparation, fit, truth[0], held, run=silent, threads=threads, watch=[watch])

    return grow


def _carry_on(model: Model, tuning: Tuning, file: StudyFile, grow: Grow, run: Run) -> optuna.Study:
    """Make the trials that are still missing, one after the other, each written when it has finished."""
    import optuna

    with quiet():
        study = optuna.create_study(
            direction="minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS, n_warmup_steps=_UNPRUNED_STEPS),
        )
        study.add_trials(file.study.trials[: tuning.trials])
        made = len(study.trials)
        if made:
            run.say(f"{made} of {tuning.trials} trials were made before, in {file.path}")
        started = time.monotonic()
        for number in range(made, tuning.trials):
            found = _one_trial(model, tuning, study, number, grow)
            file.add(found)
            each = (time.monotonic() - started) / (number + 1 - made)
            run.say(_progress(study, found, tuning, each))
    return study


def _one_trial(model: Model, tuning: Tuning, study: optuna.Study, number: int, grow: Grow) -> optuna.trial.FrozenTrial:
    """One trial, from the trials before it and a seed of its own."""
    import lightgbm
    import optuna

    seed = int(np.random.SeedSequence([model.learner.seed, number]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    if not number and tuning.start:
        study.enqueue_trial(tuning.start)
    trial = study.ask({name: _distribution(bounds) for name, bounds in tuning.space.items()})
    learner = model.learner.with_settings(trial.params)
    try:
        booster = grow(learner, _pruning(trial, float(learner.parameters.get("learning_rate", _LEARNING_RATE))))
    except optuna.TrialPruned:
        return study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except lightgbm.basic.LightGBMError as error:
        why = " ".join(str(error).split())
        msg = f"model {model.name}: LightGBM refuses trial {number + 1}, {_say(trial.params)}: {why}; narrow the space"
        raise ModelError(msg) from error
    loss = booster.best_score["select"]["binary_logloss"]
    if not math.isfinite(loss):
        msg = (
            f"model {model.name}: trial {number + 1}, {_say(trial.params)}, has a log loss of {loss}; narrow the space"
        )
        raise ModelError(msg)
    trial.set_user_attr(_TREES, booster.best_iteration if booster.best_iteration > 0 else booster.num_trees())
    return study.tell(trial, loss)


def _distribution(bounds: Any) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(bounds, Range):
        return CategoricalDistribution(bounds.values)
    if bounds.whole:
        return IntDistribution(int(bounds.low), int(bounds.high), log=bounds.log)
    return FloatDistribution(bounds.low, bounds.high, log=bounds.log)


def _pruning(trial: optuna.Trial, learning_rate: float) -> Callable[[lightgbm.callback.CallbackEnv], None]:
    """Give a trial up that is behind the median of those before it where they had learned as much."""
    import optuna

    told = 0

    def watch(env: lightgbm.callback.CallbackEnv) -> None:
        nonlocal told
        loss = next(value for part, _, value, *_ in env.evaluation_result_list or [] if part == "select")
        reached = math.floor((env.iteration + 1) * learning_rate / LEARNING_STEP + 1e-9)
        for step in range(told + 1, reached + 1):
            trial.report(loss, step)
        if reached > told and trial.should_prune():
            raise optuna.TrialPruned
        told = max(told, reached)

    return watch


def best_of(study: optuna.Study) -> optuna.trial.FrozenTrial:
    """The finished trial with the least log loss, of equal ones the first; the first trials are never given up."""
    import optuna

    finished = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    return min(finished, key=lambda trial: (trial.value, trial.number))


def _progress(study: optuna.Study, found: optuna.trial.FrozenTrial, tuning: Tuning, each: float) -> str:
    best, done = best_of(study), found.number + 1
    came = f"log loss {found.value:.5f} on select"
    came = f"given up at {came}" if found.state.name == "PRUNED" else f"{came} with {found.user_attrs[_TREES]} trees"
    left = f"{each:.1f} s a trial, {each * (tuning.trials - done):.0f} s left"
    return f"trial {done} of {tuning.trials}: {came}; best {best.value:.5f} of trial {best.number + 1}; {left}"


def _tuned(learner: LightGBM, study: optuna.Study, tuning: Tuning, *, before: int, draws: bool) -> Tuned:
    best, trials = best_of(study), _as_table(study, tuning)
    pruned = trials.filter(pl.col("state") == "given up").height
    first = study.trials[0].value
    return Tuned(
        learner=learner.with_settings({name: best.params[name] for name in tuning.space}),
        trials=trials,
        documents={"trials.csv": trials.write_csv()},
        pictures={"tuning": picture_of_study(study, best, tuning, seed=learner.seed)} if draws else {},
        metrics={
            "tuning_trials": len(study.trials),
            "tuning_given_up": pruned,
            "tuning_best_trial": best.number + 1,
            "tuning_best_log_loss": best.value or 0.0,
            "tuning_first_log_loss": first or 0.0,
        },
        facts={
            "trials": f"{len(study.trials)}, {pruned} given up early, {before} made by runs before",
            "chosen settings": f"{_say(best.params)} (trial {best.number + 1})",
            "log loss on select of the first and the best trial": f"{first:.5f} and {best.value:.5f}",
        },
    )


def _as_table(study: optuna.Study, tuning: Tuning) -> pl.DataFrame:
    rows = [
        {
            "trial": trial.number + 1,
            "state": "given up" if trial.state.name == "PRUNED" else "finished",
            "log_loss_on_select": trial.value,
            "trees": trial.user_attrs.get(_TREES),
            "learned": max(trial.intermediate_values, default=0) * LEARNING_STEP,
            **{name: trial.params[name] for name in tuning.space},
        }
        for trial in study.trials
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _say(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in settings.items()
    )
