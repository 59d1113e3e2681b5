"""Settings chosen on *select*: the same study for the same data and seed, whoever interrupts it, and *report* unseen."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import polars as pl
import pytest

from platform_assets.compute.metrics import performance
from platform_assets.declarations.models import Model
from platform_assets.declarations.tuning import Tuning, real, whole
from platform_assets.errors import ModelError
from platform_assets.pipelines.reproduce import Link, reproduce
from platform_assets.pipelines.run import Materialization, Platform
from platform_assets.pipelines.training import tuning as module
from platform_assets.pipelines.training.fitting import fit
from platform_assets.pipelines.training.tuning import Tuned, tune
from platform_assets.registry.studies import study_folder
from platform_assets.registry.versions import document, find_version, read_model_name
from platform_assets_tests import shop

MODEL: Any = shop.TUNED["return_model"]
TUNING: Tuning = MODEL.learner.tuning
NEWEST = read_model_name("models:/shop.return_model/2")


@pytest.fixture(scope="module")
def rows(finished_shop: Path) -> pl.LazyFrame:
    return shop.platform(finished_shop).lake.scan("shop/returns_dataset").collect().lazy()


@pytest.fixture(scope="module")
def undisturbed(rows: pl.LazyFrame, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return search(shop.platform(tmp_path_factory.mktemp("undisturbed")), rows)


def search(
    there: Platform, rows: pl.LazyFrame, model: Model = MODEL, *, said: list[str] | None = None, threads: int = 1
) -> Tuned:
    run = replace(shop.run(), say=(said if said is not None else []).append)
    return tune(there, shop.TUNED, model, rows, run=run, threads=threads)


def with_tuning(**changes: Any) -> Model:
    return replace(MODEL, learner=replace(MODEL.learner, tuning=replace(TUNING, **changes)))


def files(there: Platform) -> list[str]:
    return sorted(path.name for path in study_folder(there.registry.root, "shop", "return_model").glob("*.journal"))


def held(there: Platform) -> Sequence[optuna.trial.FrozenTrial]:
    """What is on the disk, by Optuna's own reader."""
    (name,) = files(there)
    path = study_folder(there.registry.root, "shop", "return_model") / name
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    key = name.removesuffix(".journal")
    return optuna.load_study(study_name=key, storage=optuna.storages.JournalStorage(backend)).trials


def same(one: Tuned, other: Tuned) -> bool:
    return one.trials.equals(other.trials) and one.learner == other.learner


def test_what_is_chosen_is_what_had_the_least_log_loss(undisturbed: Tuned) -> None:
    trials = undisturbed.trials
    assert len(trials) == TUNING.trials
    assert undisturbed.pictures == {}, "nobody looks"
    finished = trials.filter(pl.col("state") == "finished")
    best = finished.sort("log_loss_on_select", "trial").row(0, named=True)
    assert undisturbed.learner.tuning is None
    assert undisturbed.learner.parameters == {"min_data_in_leaf": 10} | {name: best[name] for name in TUNING.space}
    assert undisturbed.metrics["tuning_best_trial"] == best["trial"]
    assert all(row[name] in bounds for row in trials.iter_rows(named=True) for name, bounds in TUNING.space.items())
    assert trials.select(*TUNING.space).n_unique() > TUNING.trials // 2


def test_it_begins_with_what_is_declared_so_that_it_is_never_worse(undisturbed: Tuned) -> None:
    first = undisturbed.trials.row(0, named=True)
    assert {name: first[name] for name in TUNING.space} == TUNING.start
    assert undisturbed.metrics["tuning_best_log_loss"] <= first["log_loss_on_select"]
    assert undisturbed.metrics["tuning_best_trial"] > 1, "here it found better"


def test_a_trial_is_worth_what_fitting_with_its_settings_is_worth(undisturbed: Tuned, rows: pl.LazyFrame) -> None:
    fitted = fit(replace(MODEL, learner=undisturbed.learner), rows, run=shop.run(), threads=1)
    assert fitted.chosen.log_loss == pytest.approx(undisturbed.metrics["tuning_best_log_loss"], abs=1e-12)
    best = undisturbed.trials.row(int(undisturbed.metrics["tuning_best_trial"]) - 1, named=True)
    assert fitted.classifier.booster.num_trees() == best["trees"]


def test_report_is_not_even_read(undisturbed: Tuned, rows: pl.LazyFrame, tmp_path: Path) -> None:
    """Garbage there changes neither the study nor the file it is kept in; in *select* it changes both."""
    dice = np.random.default_rng(0)
    there = shop.platform(tmp_path)
    search(there, rows)
    kept = files(there)

    def spoilt(part: str) -> pl.LazyFrame:
        frame = rows.collect()
        noise = pl.Series(dice.integers(1, 9_999, len(frame)), dtype=pl.Int32)
        here = pl.col("split") == part
        return frame.with_columns(
            amount_cents=pl.when(here).then(noise).otherwise("amount_cents"),
            returned=pl.when(here).then(~pl.col("returned")).otherwise("returned"),
            product=pl.when(here).then(pl.lit("nothing")).otherwise("product"),
        ).lazy()

    assert not spoilt("report").collect().equals(rows.collect())
    said: list[str] = []
    assert same(search(there, spoilt("report"), said=said), undisturbed)
    assert files(there) == kept
    assert said[0].startswith("12 of 12 trials were made before")
    other = search(there, spoilt("select"))
    assert not other.trials["log_loss_on_select"].equals(undisturbed.trials["log_loss_on_select"])
    assert files(there) != kept


def test_stopped_after_any_trial_it_goes_on_as_if_it_had_not_been(
    undisturbed: Tuned, rows: pl.LazyFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a trial too: what had not finished left nothing."""
    there, real_fit = shop.platform(tmp_path), module.fit_lightgbm
    grown = 0

    def interrupted(*arguments: Any, watch: Sequence[Callable[[Any], None]], **named: Any) -> Any:
        nonlocal grown
        grown += 1
        trees = 0

        def stop(env: Any) -> None:
            nonlocal trees
            trees += 1
            if grown % 2 and trees == 2 + grown % 5:
                raise KeyboardInterrupt

        return real_fit(*arguments, watch=[*watch, stop], **named)

    monkeypatch.setattr(module, "fit_lightgbm", interrupted)
    lives, seen = 0, list[int]()
    while True:
        lives += 1
        try:
            found = search(there, rows)
            break
        except KeyboardInterrupt:
            seen.append(len(held(there)) if held_anything(there) else 0)
    assert lives == TUNING.trials + 1
    assert seen == list(range(TUNING.trials)), "each life added the one trial that it finished"
    assert same(found, undisturbed)
    assert found.facts["trials"].endswith(f"{TUNING.trials - 1} made by runs before")


def held_anything(there: Platform) -> bool:
    return bool(files(there))


def test_a_finished_study_is_not_run_again(
    undisturbed: Tuned, rows: pl.LazyFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = shop.platform(tmp_path)
    search(there, rows)
    monkeypatch.setattr(module, "fit_lightgbm", lambda *_, **__: pytest.fail("nothing is left to try"))
    said: list[str] = []
    assert same(search(there, rows, said=said), undisturbed)
    assert [line.partition(", in ")[0] for line in said] == ["12 of 12 trials were made before"]


def test_more_trials_go_on_where_fewer_ended(undisturbed: Tuned, rows: pl.LazyFrame, tmp_path: Path) -> None:
    there = shop.platform(tmp_path)
    fewer = search(there, rows, with_tuning(trials=7))
    assert fewer.trials.equals(undisturbed.trials.head(7))
    said: list[str] = []
    assert same(search(there, rows, said=said), undisturbed)
    assert said[0].startswith("7 of 12 trials were made before")
    assert len(said) == 1 + 5
    assert same(search(there, rows, with_tuning(trials=7)), fewer), "of a longer study the first count"


@pytest.mark.parametrize(
    "model",
    [
        replace(MODEL, learner=replace(MODEL.learner, seed=1)),
        with_tuning(space=TUNING.space | {"num_leaves": whole(3, 25, log=True, start=3)}),
        replace(MODEL, request=["product", "amount_cents"], categories=["product"]),
    ],
)
def test_whatever_a_trial_follows_from_makes_another_study_in_place_of_the_old(
    rows: pl.LazyFrame, tmp_path: Path, model: Model
) -> None:
    there = shop.platform(tmp_path)
    search(there, rows, with_tuning(trials=2))
    before = files(there)
    other = replace(model, learner=replace(model.learner, tuning=replace(model.learner.tuning, trials=2)))
    said: list[str] = []
    search(there, rows, other, said=said)
    assert not any("were made before" in line for line in said)
    assert len(files(there)) == 1
    assert files(there) != before


def test_another_machine_or_number_of_threads_has_another_study(
    rows: pl.LazyFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = rows.collect()
    keys = [module._key(MODEL, frame, threads) for threads in (1, 2)]
    for name, value in (("environment", lambda _: {"environment.lightgbm": "9"}), ("version", lambda _: "9")):
        monkeypatch.setattr(module, name, value)
        keys.append(module._key(MODEL, frame, 1))
    assert len(set(keys)) == 4
    assert module._key(with_tuning(trials=99), frame, 1) == keys[-1]


def test_prose_begins_no_study_anew(rows: pl.LazyFrame, tmp_path: Path) -> None:
    there = shop.platform(tmp_path)
    search(there, rows, with_tuning(trials=2))
    said: list[str] = []
    search(there, rows, replace(with_tuning(trials=2), description="Other words."), said=said)
    assert said[0].startswith("2 of 2 trials were made before")


def test_trials_are_given_up_by_the_median_of_those_that_had_learned_as_much(
    rows: pl.LazyFrame, tmp_path: Path
) -> None:
    """The twin: a trial ends at the first step where its best so far lies above the median of those that finished."""
    there = shop.platform(tmp_path)
    space = TUNING.space | {"learning_rate": real(0.3, 1.5, start=0.4)}
    found = search(there, rows, with_tuning(trials=24, space=space))
    trials, finished = held(there), list[optuna.trial.FrozenTrial]()
    for trial in trials:
        steps = sorted(trial.intermediate_values)
        assert steps == list(range(1, len(steps) + 1)), "every step of learning is told, none twice"
        ends = None
        # Steps that one tree passes at once are judged at the last of them.
        rate = trial.params["learning_rate"]
        judged = {int((tree + 1) * rate / module.LEARNING_STEP + 1e-9) for tree in range(25)} & set(steps)
        for step in sorted(judged):
            others = [t.intermediate_values[step] for t in finished if step in t.intermediate_values]
            best = min(trial.intermediate_values[s] for s in steps if s <= step)
            if len(finished) >= 5 and step >= 2 and others and best > statistics.median(others):
                ends = step
                break
        pruned = trial.state.name == "PRUNED"
        assert pruned == (ends is not None), f"trial {trial.number}"
        if pruned:
            assert max(steps) == ends
        else:
            finished.append(trial)
    counted = len(trials) - len(finished)
    assert counted == found.metrics["tuning_given_up"] > 0
    assert found.facts["trials"].startswith(f"24, {counted} given up early")


def test_a_slow_learner_is_not_given_up_for_being_slow() -> None:
    """Its losses are those of a fast one that has learned as much; beside equal numbers of trees it is far behind."""
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0))

    def learn(rate: float, trees: int, *, told_as: float) -> None:
        trial = study.ask()
        watch = module._pruning(trial, told_as)
        loss = 1.0
        for tree in range(trees):
            loss = 1 / (1 + (tree + 1) * rate)
            watch(SimpleNamespace(iteration=tree, evaluation_result_list=[("select", "loss", loss, False)]))
        study.tell(trial, loss)

    for _ in range(3):
        learn(0.5, 40, told_as=0.5)
    learn(0.05, 400, told_as=0.05)
    with pytest.raises(optuna.TrialPruned):
        learn(0.05, 400, told_as=0.5)


def test_two_at_once_make_each_trial_once(undisturbed: Tuned, rows: pl.LazyFrame, tmp_path: Path) -> None:
    there, said, found = shop.platform(tmp_path), list[str](), list[Tuned]()
    threads = [threading.Thread(target=lambda: found.append(search(there, rows, said=said))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(found) == 2
    assert all(same(one, undisturbed) for one in found)
    assert sum(line.startswith("trial ") for line in said) == TUNING.trials == len(held(there))
    assert sum("were made before" in line for line in said) == 1


def test_progress_tells_trial_best_rate_and_time_left(rows: pl.LazyFrame, tmp_path: Path) -> None:
    said: list[str] = []
    search(shop.platform(tmp_path), rows, with_tuning(trials=3), said=said)
    assert len(said) == 3
    assert said[0].startswith("trial 1 of 3: log loss 0.")
    assert " on select with " in said[0]
    assert " trees; best 0." in said[0]
    assert " of trial 1; " in said[0]
    assert said[2].endswith(" s a trial, 0 s left")


def test_what_lightgbm_refuses_is_told_with_its_settings(rows: pl.LazyFrame, tmp_path: Path) -> None:
    broken = with_tuning(space={"num_leaves": whole(1, 9, start=1)})
    with pytest.raises(ModelError, match=r"refuses trial 1, num_leaves=1: .*num_leaves.*; narrow the space"):
        search(shop.platform(tmp_path), rows, broken)


@pytest.mark.parametrize("part", ["fit", "select"])
def test_a_part_without_rows_is_refused(rows: pl.LazyFrame, tmp_path: Path, part: str) -> None:
    with pytest.raises(ModelError, match=f"its training dataset has no {part} rows; materialize more days"):
        search(shop.platform(tmp_path), rows.filter(pl.col("split") != part))


def test_a_learner_that_leaves_nothing_open_is_given_back(rows: pl.LazyFrame, tmp_path: Path) -> None:
    there = shop.platform(tmp_path)
    found = search(there, rows, shop.return_model)
    assert found.learner is shop.return_model.learner
    assert {*found.documents, *found.pictures, *found.metrics, *found.facts} == set()
    assert not (there.registry.root / "studies").exists()


def test_what_is_still_open_is_not_fitted(rows: pl.LazyFrame) -> None:
    with pytest.raises(ModelError, match="num_leaves, learning_rate, extra_trees are still to be tuned"):
        fit(MODEL, rows, run=shop.run())


@pytest.fixture(scope="module")
def trained(finished_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Platform, Materialization]:
    """A copy of the shop with a second version of the model, whose settings were searched."""
    root = tmp_path_factory.mktemp("trained") / "shop"
    shutil.copytree(finished_shop, root)
    there = shop.platform(root)
    return there, shop.make(there, "return_model", catalogue=shop.TUNED, draws=True)[0]


def test_the_model_is_fitted_with_what_was_chosen_and_says_so(trained: tuple[Platform, Materialization]) -> None:
    there, made = trained
    version = find_version(there.registry, NEWEST)
    text = document(there.registry, version.run_id, "trials.csv")
    trials = list(csv.DictReader(io.StringIO(str(text))))
    best = min((row for row in trials if row["state"] == "finished"), key=lambda row: float(row["log_loss_on_select"]))
    assert len(trials) == TUNING.trials
    assert version.parameters["num_leaves"] == best["num_leaves"]
    assert float(version.parameters["learning_rate"]) == float(best["learning_rate"])
    metrics = there.registry.metrics("shop", "return_model", 2)
    assert metrics["tuning_best_log_loss"] == pytest.approx(metrics["select_log_loss"], abs=1e-9)
    assert (metrics["tuning_trials"], metrics["tuning_best_trial"]) == (TUNING.trials, int(best["trial"]))
    assert made.facts["chosen settings"].startswith(f"num_leaves={best['num_leaves']}, learning_rate=")
    assert set(made.pictures) >= {"ROC", "tuning"}
    assert made.pictures["tuning"].startswith(b"\x89PNG")
    plots = there.registry.client.list_artifacts(version.run_id, "plots")
    assert {Path(found.path).name for found in plots} >= {"ROC.png", "tuning.png"}


def test_it_is_made_again_with_what_was_recorded_and_without_a_study(
    trained: tuple[Platform, Materialization], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, _ = trained
    monkeypatch.setattr(module, "tune", lambda *_, **__: pytest.fail("the settings are recorded"))
    before = files(there)
    found = reproduce(there, [shop.TUNED], NEWEST, run=shop.run())
    assert found.broken == ()
    assert found.is_reproduced
    assert files(there) == before


def test_a_space_that_no_longer_holds_what_was_chosen_is_named(trained: tuple[Platform, Materialization]) -> None:
    there, _ = trained
    chosen = find_version(there.registry, NEWEST).parameters["num_leaves"]
    space = TUNING.space | {"num_leaves": whole(100, 200)}
    narrowed = shop.with_changed("return_model", learner=with_tuning(space=space).learner, catalogue=shop.TUNED)
    found = reproduce(there, [narrowed], NEWEST, run=shop.run())
    setting = setting_of(found.links)
    assert (setting.state, setting.recorded, setting.found) == (
        "differs",
        f"num_leaves={chosen}",
        "num_leaves=whole(100, 200)",
    )
    assert found.is_reproduced


def setting_of(links: Sequence[Link]) -> Link:
    return next(link for link in links if link.kind == "settings")


def test_trained_anew_it_is_the_same_model_and_tries_nothing(trained: tuple[Platform, Materialization]) -> None:
    there, made = trained
    again = shop.make(there, "return_model", catalogue=shop.TUNED)[0]
    assert again.digest == made.digest
    assert again.facts["trials"].endswith("12 made by runs before")


def test_the_best_of_equal_ones_is_the_first() -> None:
    study = optuna.create_study()
    for value in (0.5, 0.25, 0.25):
        study.add_trial(optuna.trial.create_trial(value=value))
    assert module.best_of(study).number == 1


def test_the_figures_on_report_are_those_of_the_tuned_model(trained: tuple[Platform, Materialization]) -> None:
    there, _ = trained
    truth = there.lake.scan("shop/returns_dataset").filter(pl.col("split") == "report").collect()
    scores = there.registry.load("shop", "return_model", 2).score(truth)
    found = performance(truth["returned"].cast(pl.Float64).to_numpy(), scores)
    assert found.auc == pytest.approx(there.registry.metrics("shop", "return_model", 2)["report_auc"])


def zygote(root: str, kills: int, ends: Any) -> None:
    """In a process that has imported everything and grown no tree: fork, tune, and be killed at any instant."""
    import lightgbm  # noqa: F401 - loaded once for all that are forked

    # Polars starts its threads with its first query and LightGBM with its first tree, so both wait for the fork.
    dice, whole, killed = random.Random(7), 0.0, 0
    while killed < kills:
        child, started = os.fork(), time.monotonic()
        if not child:
            there = shop.platform(Path(root))
            search(there, there.lake.scan("shop/returns_dataset"), longer())
            os._exit(0)
        if whole:  # the first is left alone, to learn how long it takes
            time.sleep(dice.uniform(0, whole))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            ends.put(len(lines(shop.platform(Path(root)))) - 1)
            continue
        ends.put("finished")
        whole = whole or time.monotonic() - started
        shutil.rmtree(Path(root) / "mlflow")


def longer() -> Model:
    return with_tuning(trials=30)


def lines(there: Platform) -> list[bytes]:
    folder = study_folder(there.registry.root, "shop", "return_model")
    return [line for path in folder.glob("*.journal") for line in path.read_bytes().splitlines()]


@pytest.mark.slow
def test_killed_at_any_instant_it_is_the_study_that_was_never_killed(
    finished_shop: Path, rows: pl.LazyFrame, tmp_path: Path
) -> None:
    """SIGKILL, over and over in one folder: each life goes on where the one before was killed; finished, it begins anew."""
    shutil.copytree(finished_shop / "lake", tmp_path / "lake")
    spawn = multiprocessing.get_context("spawn")
    ends = spawn.Queue()
    process = spawn.Process(target=zygote, args=(str(tmp_path), 40, ends))
    process.start()
    process.join(240)
    assert process.exitcode == 0
    seen = [ends.get(timeout=5) for _ in range(ends.qsize())]
    assert len(set(seen)) > 8, "killed at different trials"
    assert seen.count("finished") > 2, "and finished in between"
    there, beside = shop.platform(tmp_path), shop.platform(tmp_path / "beside")
    assert same(search(there, rows, longer()), search(beside, rows, longer()))
    assert [told(trial) for trial in held(there)] == [told(trial) for trial in held(beside)]


def told(trial: optuna.trial.FrozenTrial) -> tuple[object, ...]:
    return trial.number, trial.state, trial.value, trial.params, trial.intermediate_values, trial.user_attrs


def tune_beside(root: str, said: Any) -> None:
    there = shop.platform(Path(root))
    run = replace(shop.run(), say=said.put)
    tune(there, shop.TUNED, MODEL, there.lake.scan("shop/returns_dataset"), run=run, threads=1)


@pytest.mark.slow
def test_two_processes_at_once_make_each_trial_once(
    undisturbed: Tuned, finished_shop: Path, rows: pl.LazyFrame, tmp_path: Path
) -> None:
    shutil.copytree(finished_shop / "lake", tmp_path / "lake")
    spawn = multiprocessing.get_context("spawn")
    said = spawn.Queue()
    processes = [spawn.Process(target=tune_beside, args=(str(tmp_path), said)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    told = [said.get(timeout=5) for _ in range(said.qsize())]
    assert sum(line.startswith("trial ") for line in told) == TUNING.trials
    assert same(search(shop.platform(tmp_path), rows), undisturbed)
