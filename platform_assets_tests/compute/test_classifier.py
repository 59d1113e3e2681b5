"""One path from rows to decisions: what follows the trees is put on, stored, hashed and brought back as one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache

import lightgbm
import numpy as np
import polars as pl
import pytest

from platform_assets.compute.band import Band
from platform_assets.compute.calibration import fit_calibration
from platform_assets.compute.classifier import Classifier
from platform_assets.compute.preparation import Preparation
from platform_assets.errors import ModelError

ROWS = pl.DataFrame({"size": np.linspace(0, 1, 200), "kind": ["a", "b"] * 100})
TRUTH = (np.random.default_rng(1).uniform(size=200) < ROWS["size"].to_numpy()).astype(float)


@cache
def plain() -> Classifier:
    preparation = Preparation.fit(ROWS, inputs=["size", "kind"], categories=["kind"])
    learned = lightgbm.Dataset(preparation.encode(ROWS), TRUTH, params={"verbosity": -1})
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "seed": 1}, learned, num_boost_round=5)
    return Classifier(preparation=preparation, booster=booster)


def followed(method: str = "venn_abers") -> Classifier:
    scores = plain().score(ROWS)
    return replace(
        plain(),
        calibration=fit_calibration(method, scores, TRUTH),
        band=Band.fit(scores, TRUTH, np.arange(200) % 9, confidence=0.9, draws=20, seed=1),
        threshold=0.2,
    )


def test_of_the_trees_alone_the_digest_is_what_it_always_was() -> None:
    """Champions from before calibration still reproduce."""
    text = plain().booster.model_to_string()
    assert plain().digest == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def test_everything_that_follows_the_trees_is_in_the_digest() -> None:
    whole = followed()
    assert whole.band is not None
    low = (*whole.band.low[:-1], float(np.nextafter(whole.band.low[-1], 0)))
    others = [
        plain(),
        whole,
        followed("platt"),
        replace(whole, calibration=None),
        replace(whole, band=None),
        replace(whole, band=replace(whole.band, low=low)),
        replace(whole, threshold=None),
        replace(whole, threshold=float(np.nextafter(0.2, 1))),
    ]
    assert len({one.digest for one in others}) == len(others)
    assert followed().digest == whole.digest


@pytest.mark.parametrize("method", ["isotonic", "platt", "venn_abers"])
def test_what_follows_the_trees_comes_back_to_the_bit(method: str) -> None:
    whole = followed(method)
    stored = json.loads(json.dumps(whole.after_the_trees()))
    again = Classifier.restore(whole.preparation, whole.booster, stored)
    assert again == whole
    assert again.digest == whole.digest
    for name in ("probability", "low", "high"):
        np.testing.assert_array_equal(getattr(again.predict(ROWS), name), getattr(whole.predict(ROWS), name))


def test_where_nothing_was_stored_the_trees_speak_alone() -> None:
    again = Classifier.restore(plain().preparation, plain().booster, {})
    assert again == plain()
    said = again.predict(ROWS)
    assert (said.low, said.high) == (None, None)
    np.testing.assert_array_equal(said.probability, plain().booster.predict(plain().preparation.encode(ROWS)))
    np.testing.assert_array_equal(again.score(ROWS), again.uncalibrated(ROWS))


def test_the_band_goes_before_the_interval_of_venn_abers() -> None:
    whole = followed()
    assert whole.calibration is not None
    assert whole.band is not None
    scores = whole.uncalibrated(ROWS)
    said, own = whole.predict(ROWS), replace(whole, band=None).predict(ROWS)
    np.testing.assert_array_equal(said.probability, own.probability)
    np.testing.assert_array_equal(own.low, whole.calibration.apply(scores).low)
    np.testing.assert_array_equal(said.low, whole.band.around(scores, said.probability)[0])
    assert said.low is not None
    assert own.low is not None
    assert (said.low < own.low).any()


def test_at_the_threshold_one_acts() -> None:
    assert followed().decide(np.array([0.1, 0.2, float(np.nextafter(0.2, 0)), 0.9])).tolist() == [
        False,
        True,
        False,
        True,
    ]


def test_without_costs_there_is_no_decision() -> None:
    with pytest.raises(ModelError, match="the model has no threshold, since it was declared without costs; add costs="):
        plain().decide(np.array([0.1]))


def test_contributions_are_those_of_the_trees_before_calibration() -> None:
    np.testing.assert_array_equal(followed().contributions(ROWS), plain().contributions(ROWS))
