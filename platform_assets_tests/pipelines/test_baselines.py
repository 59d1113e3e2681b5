"""What is held against a model: on the same rows, told with intervals, and in the way of a model that is no better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import polars as pl
import pytest

from platform_assets.compute.comparison import losses
from platform_assets.compute.linear import Linear
from platform_assets.compute.metrics import performance
from platform_assets.declarations.fingerprint import fingerprint
from platform_assets.declarations.models import Logistic
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.promotion import Promotion
from platform_assets.errors import DeclarationError
from platform_assets.pipelines.decisions import history
from platform_assets.pipelines.run import Platform
from platform_assets.pipelines.training.baselines import DRAWS
from platform_assets.registry.versions import document
from platform_assets_tests import shop
from platform_assets_tests.reference.comparison import naive_calibration_error
from platform_assets_tests.reference.costs import naive_bounds_of_mean
from platform_assets_tests.reference.uncertainty import naive_uncertainty

BASELINES = {"averages by product": ["product"], "a linear model": Logistic()}
NAMES = ["return_model", "the base rate", "averages by product", "a linear model"]
LINEAR = shop.with_changed("return_model", baselines=BASELINES)
WORSE = replace(shop.return_model.learner, rounds=1, parameters={"learning_rate": 1e-6, "num_leaves": 2})


def made_table(there: Platform, version: int) -> pl.DataFrame:
    run_id = there.registry.client.get_model_version("shop.return_model", str(version)).run_id
    return pl.read_csv(StringIO(document(there.registry, run_id, "candidates.csv") or ""))


def parts_of(there: Platform) -> Mapping[str, pl.DataFrame]:
    rows = there.lake.scan(table_folder("shop", "returns_dataset")).collect()
    return {str(key[0]): part for key, part in rows.group_by("split", maintain_order=True)}


def test_the_table_tells_every_candidate_on_the_same_rows(shop_copy: Platform) -> None:
    made = shop.make(shop_copy, "return_model", catalogue=LINEAR)[0]
    found, parts = made_table(shop_copy, made.version), parts_of(shop_copy)
    assert found["candidate"].to_list() == NAMES * 2
    assert found["part"].to_list() == ["select"] * 4 + ["report"] * 4
    rows = found.filter(pl.col("part") == "report", pl.col("candidate") == "a linear model").row(0, named=True)

    learned, asked = pl.concat([parts["fit"], parts["select"]]), parts["report"]
    label = lambda frame: frame["returned"].cast(pl.Float64).to_numpy()  # noqa: E731
    line = Linear.fit(
        learned,
        label(learned),
        inputs=shop.return_model.inputs,
        categories=shop.return_model.categories,
        penalty=1.0,
    )
    said, own = line.score(asked), shop_copy.registry.load("shop", "return_model", made.version).score(asked)
    days = asked.select(shop.OPEN.day_of(pl.col("prediction_time")).cast(pl.String)).to_series().to_list()
    told = {"confidence": 0.95, "draws": DRAWS, "seed": shop.return_model.learner.seed}
    naive = naive_uncertainty(label(asked), said, days, **told)  # type: ignore[arg-type]
    worse = losses(label(asked), said) - losses(label(asked), own)
    apart = naive_bounds_of_mean(worse.tolist(), days, **told)  # type: ignore[arg-type]
    figures = performance(label(asked), said)
    expected: dict[str, Any] = {
        "rows": len(asked),
        "auc": figures.auc,
        "log_loss": figures.log_loss,
        "calibration_error": naive_calibration_error(label(asked), said, 10),
        "worse_by": float(np.mean(worse)),
    }
    for name, bounds in (("auc", naive["auc"]), ("log_loss", naive["log_loss"]), ("worse_by", apart)):
        expected |= {f"{name}_low": bounds[0], f"{name}_high": bounds[1]}  # type: ignore[index]
    assert {name: rows[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert made.facts["AUC of a linear model"] == pytest.approx(figures.auc)
    metrics = shop_copy.registry.metrics("shop", "return_model", made.version)
    assert metrics["baseline_a_linear_model_auc"] == pytest.approx(figures.auc)


def test_on_select_everything_has_learned_from_fit_alone(shop_copy: Platform) -> None:
    made = shop.make(shop_copy, "return_model", catalogue=LINEAR)[0]
    found, parts = made_table(shop_copy, made.version).filter(pl.col("part") == "select"), parts_of(shop_copy)
    share = float(parts["fit"]["returned"].mean())  # type: ignore[arg-type]
    truth = parts["select"]["returned"].cast(pl.Float64).to_numpy()
    base = found.filter(pl.col("candidate") == "the base rate").row(0, named=True)
    assert base["log_loss"] == pytest.approx(float(losses(truth, np.full(len(truth), share)).mean()))
    own = found.filter(pl.col("candidate") == "return_model").row(0, named=True)
    metrics = shop_copy.registry.metrics("shop", "return_model", made.version)
    assert own["log_loss"] == pytest.approx(metrics["select_log_loss"])
    assert (own["worse_by"], own["worse_by_low"], own["worse_by_high"]) == (0, 0, 0)


def test_a_model_that_a_line_beats_does_not_become_champion(shop_copy: Platform) -> None:
    catalogue = shop.with_changed("return_model", catalogue=LINEAR, learner=WORSE)
    made = shop.make(shop_copy, "return_model", catalogue=catalogue)[0]
    beats = next(check for check in made.checks if check.name == "beats_baselines")
    assert (beats.passed, made.facts["is champion"]) == (False, False)
    assert "of a linear model" in beats.description
    assert shop_copy.registry.champion("shop", "return_model") == 1


def test_nor_does_a_promotion_let_it(shop_copy: Platform) -> None:
    catalogue = shop.with_changed("return_model", catalogue=shop.PROMOTING, baselines=BASELINES, learner=WORSE)
    shop.make(shop_copy, "return_model", "return_promotion", catalogue=catalogue)
    promotion = catalogue["return_promotion"]
    assert isinstance(promotion, Promotion)
    decided = history(shop_copy, catalogue, promotion).decisions[-1]
    reason = next(reason for reason in decided.reasons if reason.name == "baselines")
    assert (decided.verdict, decided.champion, reason.passed) == ("refused", 1, False)
    assert "of a linear model" in reason.said


@pytest.mark.parametrize("penalty", [0, -1.0, float("nan"), True, "1"])
def test_a_penalty_is_a_number_above_zero(penalty: Any) -> None:
    with pytest.raises(DeclarationError, match=f"logistic: penalty={penalty!r} is no weight; write a number above"):
        Logistic(penalty=penalty)


def test_the_penalty_is_in_the_fingerprint() -> None:
    models = [replace(shop.return_model, baselines={"line": Logistic(penalty=weight)}) for weight in (1.0, 2.0)]
    assert len({fingerprint(model) for model in (shop.return_model, *models)}) == 3
