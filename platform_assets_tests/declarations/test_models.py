"""What a model may be told of its probabilities: how they are calibrated, how far off they are, what being wrong costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from platform_assets.declarations.fingerprint import _UNSAID, fingerprint
from platform_assets.declarations.models import Costs
from platform_assets.errors import DeclarationError
from platform_assets_tests import shop

PLAIN = replace(shop.return_model, calibration=None, interval=None, costs=None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"calibration": "sigmoid"}, "calibration='sigmoid'; choose 'isotonic', 'platt', 'venn_abers'"),
        ({"interval": 0}, "interval=0 is no share of draws; write 0.9, or leave it out"),
        ({"interval": 1.0}, "interval=1.0 is no share"),
        ({"interval": True}, "interval=True is no share"),
        ({"interval": "90%"}, "interval='90%' is no share"),
        ({"costs": 4}, r"costs=4; write Costs\(false_alarm=1.0, miss=4.0"),
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=f"return_model.*{said}"):
        replace(shop.return_model, **wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"false_alarm": 0}, "costs: false_alarm=0 is no cost; write a number above zero"),
        ({"miss": -1.0}, "costs: miss=-1.0 is no cost"),
        ({"miss": float("nan")}, "costs: miss=nan is no cost"),
        ({"false_alarm": float("inf")}, "costs: false_alarm=inf is no cost"),
        ({"miss": True}, "costs: miss=True is no cost"),
        ({"miss": "4"}, "costs: miss='4' is no cost"),
        ({"unit": " "}, "costs: unit=' ' does not say what is counted, and whose"),
    ],
)
def test_wrong_costs_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        Costs(**({"false_alarm": 1.0, "miss": 4.0, "unit": "euros of the shop"} | wrong))


def test_the_threshold_is_the_share_of_a_false_alarm_in_both_costs() -> None:
    assert Costs(false_alarm=1, miss=4, unit="euros").threshold == 0.2
    assert Costs(false_alarm=3.0, miss=1.0, unit="euros").threshold == 0.75


def test_predictions_carry_what_their_model_can_say() -> None:
    def carried(**told: Any) -> list[str]:
        told_of = replace(shop.return_predictions, model=replace(PLAIN, **told))
        carried = {column.name for column in told_of.columns}
        return [name for name in ("probability_low", "probability_high", "decision") if name in carried]

    assert carried() == carried(calibration="platt") == carried(calibration="isotonic") == []
    assert carried(interval=0.8) == carried(calibration="venn_abers") == ["probability_low", "probability_high"]
    assert carried(costs=shop.return_model.costs) == ["decision"]


def test_columns_say_of_what_they_are() -> None:
    calibrated = replace(shop.return_predictions, model=replace(shop.return_model, calibration="platt", interval=0.8))
    said = {column.name: column.description for column in calibrated.columns}
    assert said["probability_low"].startswith("Lower end of the 80% interval, over the days of *select*, of how often")
    assert "a false alarm costs 1 and a miss 4 euros of the shop" in said["decision"]
    assert said["contributions"].startswith("What each reason adds to the log odds, before calibration, in the order")
    own = replace(shop.return_predictions, model=replace(PLAIN, calibration="venn_abers"))
    assert any("Venn-Abers interval" in column.description for column in own.columns)
    plain = replace(shop.return_predictions, model=PLAIN)
    assert any(c.description.startswith("What each reason adds to the log odds, in the order") for c in plain.columns)


def test_each_setting_changes_the_fingerprint_and_their_absence_does_not() -> None:
    """So that a model that was made before there were such settings is not made again."""
    told = [
        {"calibration": "platt"},
        {"calibration": "isotonic"},
        {"interval": 0.9},
        {"costs": shop.return_model.costs},
    ]
    assert len({fingerprint(PLAIN), *(fingerprint(replace(PLAIN, **setting)) for setting in told)}) == 5
    assert _UNSAID.items() >= {"calibration": None, "interval": None, "costs": None}.items()
    assert fingerprint(PLAIN) == "e0b543763faff013"
