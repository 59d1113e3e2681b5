"""The ferry with a loop around it: a split that rolls, a monitor, what asks for a retraining, a promotion, predictions.

From `CHANGED` on the wind is told in another unit. A model that was trained before then takes half a storm for one.

    root = tmp_path
    looping.land(root / "landing", Days(ferry.SAILING.first, date(2023, 3, 20)))
    there = shop.platform(root)
    shop.refresh(there, catalogue=looping.CATALOGUE)
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Outcomes, Predictions
from platform_assets.declarations.monitor import Fixed, Monitor
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.retraining import Retraining, RetrainingPolicy
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import RollingSplit
from platform_assets_tests import ferry

TRAINED = date(2023, 3, 20)
"""The newest day when the first model is trained."""
CHANGED = date(2023, 3, 25)
ASKED = date(2023, 4, 10)
"""The first day on which enough rows are fresh."""
_OWNERS = ["team:ferry"]

crossings_dataset = replace(
    ferry.crossings_dataset,
    split=RollingSplit(select=timedelta(days=3), report=timedelta(days=5), gap=timedelta(days=1)),
)
late_model = replace(ferry.late_model, training=crossings_dataset)
late_promotion = Promotion(
    name="late_promotion",
    description="Which version of the model predicts, and why.",
    model=late_model,
    floor=0.05,
    draws=400,
    owners=_OWNERS,
)
late_predictions = Predictions(
    name="late_predictions",
    description="The champion's probability for every crossing.",
    model=late_model,
    first=date(2023, 3, 21),
    champion="newest",  # no day of 2023 had one of its own
    promotion=late_promotion,
    owners=_OWNERS,
)
late_outcomes = Outcomes(
    name="late_outcomes",
    description="Each prediction beside what came of the crossing.",
    predictions=late_predictions,
    owners=_OWNERS,
)
crossings_drift = Monitor(
    name="crossings_drift",
    description="Whether crossings are still what they were in the first weeks.",
    of=ferry.crossings_asked,
    reference=Fixed(days=Days(date(2023, 1, 22), date(2023, 3, 15))),
    windows=(7,),
    alarms_per_month=0.2,
    apart=2,
    owners=_OWNERS,
)
late_retraining = Retraining(
    name="late_retraining",
    description="Whether the model is to be trained again.",
    model=late_model,
    policy=RetrainingPolicy(alarms=3, fresh_rows=240, cool_down=timedelta(days=20)),
    monitors=[crossings_drift],
    owners=_OWNERS,
)


def catalogue(**changes: Any) -> Catalogue:
    """The project; `policy` or `approval` may be another one."""
    promotion = replace(late_promotion, approval=changes.get("approval", "none"))
    predictions = replace(late_predictions, promotion=promotion)
    return Catalogue(
        name="ferry",
        declarations=[
            ferry.crossings,
            ferry.boat_history,
            ferry.crossing_late,
            ferry.crossings_asked,
            crossings_dataset,
            late_model,
            promotion,
            predictions,
            replace(late_outcomes, predictions=predictions),
            crossings_drift,
            replace(late_retraining, policy=changes.get("policy", late_retraining.policy)),
        ],
    )


CATALOGUE = catalogue()


def rows_of(day: date) -> list[dict[str, Any]]:
    """The cells of the file of `day`."""
    rows = ferry.rows_of(day)
    return rows if day < CHANGED else [row | {"wind": 2 * row["wind"]} for row in rows]


def land(landing: Path, days: Iterable[date]) -> None:
    """Let the files of `days` land."""
    for day in days:
        rows, path = rows_of(day), landing / "crossings" / f"{day}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*ferry.Crossings.columns()], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        path.with_suffix(".rows").write_text(str(len(rows)))
