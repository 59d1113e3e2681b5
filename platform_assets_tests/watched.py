"""The ferry's predictions beside what came of them, watched: eight weeks of report to learn from, April to watch.

Nothing changes before May, when the old boat begins to be late: that no model of March knows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Outcomes, Predictions
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import TimeSplit
from platform_assets_tests import ferry

NOW = datetime(2023, 6, 20, tzinfo=UTC)
LEARNED = Days(date(2023, 1, 20), date(2023, 4, 10))
PREDICTED = Days(date(2023, 2, 8), date(2023, 5, 6))
WATCHED = Days(date(2023, 4, 11), date(2023, 4, 30))
PER_DAY = 40

dataset = replace(
    ferry.crossings_dataset,
    split=TimeSplit(
        select_from=date(2023, 2, 6),
        report_from=date(2023, 2, 13),
        report_until=LEARNED.last,
        gap=ferry.MATURES_AFTER,
    ),
)
model = replace(ferry.late_model, training=dataset)
predictions = Predictions(
    name="late_predictions",
    description="The champion's probability for every crossing.",
    model=model,
    first=PREDICTED.first,
    owners=["team:ferry"],
)
outcomes = Outcomes(
    name="late_outcomes",
    description="Each prediction beside how late the ferry was.",
    predictions=predictions,
    owners=["team:ferry"],
)
monitor = PerformanceMonitor(
    name="late_performance",
    description="How good the predictions were, beside what they let expect.",
    of=outcomes,
    slices=["boat"],
    slice_rows=8,
    at_least=20,
    alarms_per_month=0.5,
    owners=["team:ferry"],
)


def catalogue(**changes: Any) -> Catalogue:
    """The ferry with its monitor, or with another; `learner` is another for its model."""
    learner = changes.pop("learner", model.learner)
    fitted = replace(model, learner=learner)
    said = replace(predictions, model=fitted)
    came = replace(outcomes, predictions=said)
    kept = [d for d in ferry.CATALOGUE.declarations if d.name in ferry.TO_VIEW]
    return Catalogue(
        name="ferry", declarations=[*kept, dataset, fitted, said, came, replace(monitor, of=came, **changes)]
    )


CATALOGUE = catalogue()


def land(landing: Path, days: Iterable[date], *, late: str = "as it was") -> None:
    """Let crossings land: late as they were, the other way round ("flipped"), or "never"."""
    for day in days:
        rows = ferry.rows_of(day, per_day=PER_DAY)
        for row in rows:
            was = row["minutes_late"]
            row["minutes_late"] = {"as it was": was, "flipped": 0 if was >= 10 else 20, "never": 0}[late]
        path = landing / "crossings" / f"{day}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*ferry.Crossings.columns()], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        path.with_suffix(".rows").write_text(str(len(rows)))
