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
    wanted: list[tuple[str, str]] = []
    with dg.DagsterInstance.ephemeral() as instance:
        for key in keys[:6]:
            before, fails = None, dice.choice([0.0, 0.0, 0.5])  # most never fail
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
                if said is not None and said != before:
                    wanted.append((key.asset_key.to_user_string(), f"{key.name}: {said}"))
                before = said
        found = [(event.asset, event.said) for event in failed_checks(instance, catalogue)]
    assert wanted, "some fail"
    assert sorted(found) == sorted(wanted)
