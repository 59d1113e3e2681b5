"""Failed checks as the timeline tells them, against a walk over every record that was made."""

from __future__ import annotations

import random

import dagster as dg

from platform_assets.orchestration.metadata import checks_along
from platform_assets.orchestration.past_checks import failed_checks
from platform_assets_tests import shop


def test_a_check_is_told_when_it_begins_to_fail_or_fails_otherwise() -> None:
    catalogue, dice = shop.CATALOGUE, random.Random("past checks")
    keys = sorted(checks_along(catalogue, [d.name for d in catalogue.declarations]), key=str)
    wanted: list[tuple[str, str, bool]] = []
    with dg.DagsterInstance.ephemeral() as instance:
        for key in keys[:6]:
            before, begun, fails = None, len(wanted), dice.choice([0.0, 0.0, 0.5])  # most never fail
            for _ in range(20):
                said = dice.choice(["one row", "two rows"]) if dice.random() < fails else None
                instance.report_runless_asset_event(
                    dg.AssetCheckEvaluation(
                        asset_key=key.asset_key,
                        check_name=key.name,
                        passed=said is None,
                        description=said or "all is well",
                    )
                )
                if said is None:
                    wanted[begun:] = [(asset, told, True) for asset, told, _ in wanted[begun:]]
                elif said != before:
                    wanted.append((key.asset_key.to_user_string(), f"{key.name}: {said}.", False))
                before = said
        events = list(failed_checks(instance, catalogue))
    found = [(one.asset, one.said.partition(" It passed at ")[0], one.is_over) for one in events]
    assert {over for _, _, over in wanted} == {True, False}, "some fail to the end, and some pass again"
    assert all((" It passed at " in one.said) == one.is_over for one in events)
    assert sorted(found) == sorted(wanted)
