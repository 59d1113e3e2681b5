"""A promotion says what it may say, and a catalogue has one for each champion at most."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.fingerprint import fingerprint
from platform_assets.errors import CatalogueError, DeclarationError
from platform_assets_tests import shop

PROMOTION = shop.return_promotion
CHOSEN = shop.PROMOTING["return_predictions"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"slices": "category"}, r"slices='category' is a string; did you mean slices=\['category'\]\?"),
        ({"slices": ["colour"]}, "slices names the column 'colour', which AskedOrder does not have"),
        ({"slice_rows": 0}, "slice_rows=0; a slice has at least one row"),
        ({"floor": -0.1}, "floor=-0.1 is below zero, which no model could hold"),
        ({"largest_gap": -1.0}, "largest_gap=-1.0 is below zero"),
        ({"confidence": 95}, "confidence=95 is no share; write 0.95"),
        ({"draws": 100}, "draws=100 are too few for a confidence of 0.95; take 400 or more"),
        ({"approval": "boss"}, "approval='boss'; choose 'none' or 'human'"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=f"promotion 'return_promotion': {said}"):
        replace(PROMOTION, **wrong)


def test_predictions_name_the_promotion_of_their_own_model() -> None:
    other = replace(shop.return_model, name="other_model")
    with pytest.raises(DeclarationError, match="promotion='return_promotion' chooses the champion of 'return_model'"):
        replace(CHOSEN, model=other)


def test_it_comes_between_the_model_and_its_predictions() -> None:
    names = [d.name for d in shop.PROMOTING.declarations]
    assert names.index("return_model") < names.index(PROMOTION.name) < names.index("return_predictions")
    assert shop.PROMOTING.promotion_of("return_model") == PROMOTION
    assert shop.CATALOGUE.promotion_of("return_model") is None


def test_a_champion_is_chosen_in_one_place() -> None:
    twin = replace(PROMOTION, name="twin_promotion")
    with pytest.raises(CatalogueError, match="both choose the champion of 'return_model'; keep one"):
        Catalogue(name="shop", declarations=[*shop.PROMOTING.declarations, twin])


def test_predictions_wait_for_the_promotion_of_their_model() -> None:
    with pytest.raises(
        CatalogueError, match="do not name the promotion of their model; add promotion=return_promotion"
    ):
        Catalogue(name="shop", declarations=[*shop.DECLARATIONS, PROMOTION])


def test_a_stricter_promotion_is_another_and_scores_nothing_again() -> None:
    strict = shop.with_changed(PROMOTION.name, catalogue=shop.PROMOTING, floor=0.0)
    told = shop.PROMOTING.fingerprints
    assert {name for name, value in strict.fingerprints.items() if value != told[name]} == {PROMOTION.name}
    assert fingerprint(CHOSEN) == fingerprint(shop.return_predictions)


def test_a_month_is_the_local_one_of_the_prediction_time() -> None:
    """22:00 UTC is midnight in Berlin in summer."""
    asked = [datetime(2024, 4, 30, 21, 59, tzinfo=UTC), datetime(2024, 4, 30, 22, tzinfo=UTC)]
    rows = pl.DataFrame({"prediction_time": asked}, schema={"prediction_time": pl.Datetime("us", "UTC")})
    monthly = replace(PROMOTION, slices=["month"])
    assert rows.select(monthly.slice_of("month"))["month"].to_list() == ["2024-04", "2024-05"]
