"""What may be searched, and how a wrong space is told at import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from platform_assets.declarations.fingerprint import _PROSE, _describe_record, fingerprint
from platform_assets.declarations.models import LightGBM
from platform_assets.declarations.tuning import (
    LIGHTGBM_OWNED,
    LIGHTGBM_SETTINGS,
    Choice,
    Range,
    Tuning,
    choice,
    real,
    whole,
)
from platform_assets.errors import DeclarationError
from platform_assets_tests import shop

MODEL = shop.TUNED["return_model"]
LEARNER = MODEL.learner
LEAVES = {"num_leaves": whole(3, 24)}


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: whole(255, 15), r"whole\(255, 15\): 255 is above 15; the lower bound comes first"),
        (lambda: whole(7, 7), r"whole\(7, 7\): there is only one value to try; fix it in parameters instead"),
        (lambda: whole(1.5, 7), r"whole\(1.5, 7\): low is 1.5, which is not whole; use real"),
        (lambda: real(0, 1, log=True), r"real\(0, 1, log=True\): log has no magnitude for 0; begin above 0"),
        (lambda: real(0.1, float("nan")), r"high is nan, which is no number"),
        (lambda: real(0.1, float("inf")), r"high is inf, which is no number"),
        (lambda: real("a", 1), r"low is 'a', which is no number"),
        (lambda: real(False, 1), r"low is False, which is no number"),
        (lambda: whole(3, 9, start=10), r"whole\(3, 9\): start=10 lies outside of it"),
        (lambda: whole(3, 9, start=3.5), r"start is 3.5, which is not whole"),
        (lambda: choice(True), r"choice\(True\): there is nothing to choose from; name two values or more"),
        (lambda: choice("a", "a"), r"choice\('a', 'a'\): a value comes twice"),
        (lambda: choice([1, 2], 3), "is there a bracket too many"),
        (lambda: choice("a", "b", start="c"), r"start='c' is not among them"),
        (lambda: Tuning(trials=0, space=LEAVES), "trials=0 tries nothing; write trials=30"),
        (lambda: Tuning(trials=True, space=LEAVES), "trials=True tries nothing"),
        (lambda: Tuning(trials=3, space={}), "its space is empty; name what to search"),
        (lambda: Tuning(trials=3, space={"num_leaves": (3, 9)}), r"space\['num_leaves'\] is \(3, 9\); write whole"),
    ],
)
def test_a_space_that_means_nothing_is_refused(declare: Callable[[], object], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        declare()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"parameters": {"num_leaves": 31}, "tuning": Tuning(trials=3, space=LEAVES)},
            r"num_leaves: both fixed in parameters and tuned; keep one, or .* start=31 in space\['num_leaves'\]",
        ),
        ({"tuning": Tuning(trials=3, space={"num_leafs": whole(3, 9)})}, "'num_leafs' .* did you mean num_leaves?"),
        ({"parameters": {"bagging_fractoin": 0.5}}, "'bagging_fractoin' .* did you mean bagging_fraction?"),
        ({"parameters": {"n_jobs": 4}}, "'n_jobs' is no parameter that a learner may set, and would be ignored"),
        ({"tuning": Tuning(trials=3, space={"seed": whole(1, 9)})}, "LightGBM: seed are set by the platform"),
        ({"parameters": {"num_iterations": 9}}, "num_iterations are set by the platform .*trees are told as rounds="),
    ],
)
def test_a_parameter_that_would_not_be_taken_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        LightGBM(**{"parameters": {}, "rounds": 10, **changes})


def test_every_parameter_is_one_that_lightgbm_knows_by_that_name() -> None:
    from lightgbm.basic import _ConfigAliases

    known = set(_ConfigAliases._get_all_param_aliases())
    assert set(LIGHTGBM_SETTINGS) | set(LIGHTGBM_OWNED) <= known
    assert set(LIGHTGBM_SETTINGS).isdisjoint(LIGHTGBM_OWNED)
    assert {"learning_rate", "cat_smooth", "max_bin", "extra_trees"} <= set(LIGHTGBM_SETTINGS)


def test_what_lies_within_is_told_by_value_and_kind() -> None:
    assert [n in whole(3, 9) for n in (3, 9, 2, 3.0, True, None)] == [True, True, False, False, False, False]
    assert [n in real(0.5, 2) for n in (0.5, 1, 2.1, True, "1")] == [True, True, False, False, False]
    assert [n in choice(1, "a") for n in (1, "a", True, 1.0)] == [True, True, False, False]


def test_with_its_settings_chosen_nothing_is_left_to_tune() -> None:
    found = LEARNER.with_settings({"num_leaves": 4, "learning_rate": 0.1, "extra_trees": True})
    assert found.tuning is None
    assert found.parameters == {"min_data_in_leaf": 10, "num_leaves": 4, "learning_rate": 0.1, "extra_trees": True}
    assert (found.rounds, found.seed) == (LEARNER.rounds, LEARNER.seed)


@pytest.mark.parametrize(
    "tuning",
    [
        replace(LEARNER.tuning, trials=13),
        replace(LEARNER.tuning, space=LEARNER.tuning.space | {"num_leaves": whole(3, 25, log=True, start=3)}),
        replace(LEARNER.tuning, space=LEARNER.tuning.space | {"num_leaves": whole(3, 24, start=3)}),
        replace(LEARNER.tuning, space=LEARNER.tuning.space | {"num_leaves": whole(3, 24, log=True, start=7)}),
        replace(LEARNER.tuning, space=LEARNER.tuning.space | {"lambda_l2": real(0, 10)}),
        replace(LEARNER.tuning, space=LEARNER.tuning.space | {"extra_trees": choice(True, False, start=False)}),
        None,
    ],
)
def test_what_is_searched_changes_what_is_made(tuning: Tuning | None) -> None:
    assert fingerprint(replace(MODEL, learner=replace(LEARNER, tuning=tuning))) != fingerprint(MODEL)


def test_prose_tunes_nothing_anew() -> None:
    assert fingerprint(replace(MODEL, description="Other words.", owners=["team:other"])) == fingerprint(MODEL)


def test_a_learner_without_tuning_has_the_fingerprint_that_it_had() -> None:
    described = str(_describe_record(shop.return_model, set(), _PROSE))
    assert "tuning" not in described
    assert "rounds" in described


def test_ranges_and_choices_read_as_they_are_written() -> None:
    assert str(whole(3, 24, log=True, start=3)) == "whole(3, 24, log=True)"
    assert str(real(0.5, 1)) == "real(0.5, 1)"
    assert str(choice("gbdt", "dart")) == "choice('gbdt', 'dart')"
    assert isinstance(whole(1, 2), Range)
    assert isinstance(choice(1, 2), Choice)
