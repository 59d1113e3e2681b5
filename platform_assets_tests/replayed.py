"""The ferry with champions and a monitor, and replays of it.

root = tmp_path
ferry.land(root / "landing")
replayed.replay(root, days=Days(date(2023, 3, 29), date(2023, 4, 2))).go()
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from platform_assets.compute.content_hash import content_hash
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Outcomes, Predictions
from platform_assets.declarations.monitor import Fixed, Monitor
from platform_assets.declarations.names import LEDGER, table_folder
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retraining import RetrainingPolicy
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import Days
from platform_assets.lake.delivered import Delivered
from platform_assets.lake.landing import Landing
from platform_assets.lake.repeated import Repeated, Turns
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.replay.operate import Replay
from platform_assets.pipelines.replay.policies import KNOWN
from platform_assets.pipelines.replay.setting import Setting, set_up
from platform_assets_tests import ferry, shop

_OWNERS = ["team:ferry"]
REFERENCE = Days(date(2023, 1, 20), date(2023, 3, 20))

promotion = Promotion(
    name="late_promotion",
    description="Which version predicts.",
    model=ferry.late_model,
    slices=["boat"],
    slice_rows=20,
    floor=0.5,
    draws=400,
    owners=_OWNERS,
)
predictions = Predictions(
    name="late_predictions",
    description="The champion's probability for every crossing.",
    model=ferry.late_model,
    promotion=promotion,
    first=date(2023, 6, 1),
    owners=_OWNERS,
)
outcomes = Outcomes(
    name="late_outcomes", description="Each beside what came of it.", predictions=predictions, owners=_OWNERS
)
drift = Monitor(
    name="crossing_drift",
    description="Whether crossings are what they were.",
    of=ferry.crossings_asked,
    reference=Fixed(days=REFERENCE),
    at_least=5,
    owners=_OWNERS,
)
CATALOGUE = Catalogue(
    name="ferry", declarations=[*ferry.CATALOGUE.declarations, promotion, predictions, outcomes, drift]
)
OPERATED = Days(date(2023, 3, 29), date(2023, 4, 2))
"""Five days, with the first of a month among them."""


def setting(
    days: Days = OPERATED, *, policies: Mapping[str, RetrainingPolicy] | None = None, longer: timedelta | None = None
) -> Setting:
    return set_up(CATALOGUE, days=days, policies=list(policies or {"monthly": KNOWN["monthly"]}), longer=longer)


def replay(
    root: Path,
    *,
    days: Days = OPERATED,
    policies: Mapping[str, RetrainingPolicy] | None = None,
    turns: Turns | None = None,
    longer: timedelta | None = None,
    **told: Any,
) -> Replay:
    """A replay below `root`, of what landed there, or of what comes of it when that comes again."""
    policies = policies or {"monthly": KNOWN["monthly"]}
    taken = setting(days, policies=policies, longer=turns.longer if turns else longer)
    sources = {source.name: source for source in taken.catalogue.of_kind(Source)}
    calendars = {name: source.partitions for name, source in sources.items() if source.partitions is not None}
    landing = Delivered.of(Landing(root / "landing"), calendars, until=shop.NOW)
    if turns is not None:
        landing = Repeated.again(landing, turns, sources, folder=root / "replay" / "landing")
    return Replay(
        folder=root / "replay", setting=taken, landing=landing, policies=policies, connect=shop.connect, **told
    )


def contents(lake: Path) -> dict[str, str]:
    """The content hash of every table but the ledger; who decided and when a profile was made is left out."""
    found = {}
    for log in sorted(lake.rglob("_delta_log")):
        folder = str(log.parent.relative_to(lake))
        if folder != LEDGER:
            rows = Lake(lake).scan(folder).collect()
            if "reason" in rows.columns:  # measured by the clock and of files that tell the time
                rows = rows.filter(~pl.col("reason").is_in(["microseconds a row", "bytes"]))
            found[folder] = content_hash(rows.drop("run", "table_id", "basis", strict=False))
    return found


def table(lake: Path, name: str, days: Days | None = None) -> pl.DataFrame:
    return Lake(lake).scan(table_folder("ferry", name), days=days).collect()
