"""A project over months for the tests: a ferry in New York, asked crossing by crossing, "will it be late?".

Five months of a dozen crossings a day, over both days on which the clocks change; strong wind makes it late, and from
May on the old boat does too.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from platform_assets.declarations.backtest import Backtest
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import LightGBM, Model
from platform_assets.declarations.tables import feature_group, label, source
from platform_assets.declarations.times import Daily, Days, after
from platform_assets.declarations.views import TimeSplit, TrainingDataset, feature_view

SAILING = Daily(first=date(2023, 1, 20), last=date(2023, 6, 10), zone="America/New_York")
SAILED = Days(SAILING.first, SAILING.last or SAILING.first)
MATURES_AFTER = timedelta(days=1)
MONTHS = [date(2023, 4, 1), date(2023, 5, 1), date(2023, 6, 1)]
_OWNERS = ["team:ferry"]


def _instant(description: str, *, key: bool = False) -> dy.Datetime:
    return dy.Datetime(primary_key=key, nullable=False, time_zone="UTC", time_unit="us", description=description)


class Crossings(dy.Schema):
    crossing_id = dy.String(primary_key=True, description="The crossing.")
    boat = dy.String(nullable=False, description="The boat.")
    wind = dy.Int32(nullable=False, description="Wind at the pier, in knots.")
    minutes_late = dy.Int32(nullable=False, description="How late it arrived, in minutes; known the day after.")
    left_at = _instant("When it left (UTC).")


class BoatHistory(dy.Schema):
    boat = dy.String(primary_key=True, description="The boat.")
    event_time = _instant("The crossing up to which is counted (UTC).", key=True)
    crossings_1d = dy.Int64(nullable=False, description="Crossings of the last day.")


class CrossingOutcome(dy.Schema):
    crossing_id = dy.String(primary_key=True, description="The crossing.")
    left_at = _instant("When it left (UTC).")
    known_at = _instant("When its delay is known (UTC).")
    late = dy.Bool(nullable=True, description="Whether it was late by ten minutes.")


class AskedCrossing(dy.Schema):
    crossing_id = dy.String(primary_key=True, description="The crossing.")
    boat = dy.String(nullable=False, description="The boat.")
    wind = dy.Int32(nullable=False, description="Wind at the pier, in knots.")
    left_at = _instant("When it left (UTC).")


@source(
    keys=["crossing_id"],
    event_time="left_at",
    known_at=after("left_at"),
    partitions=SAILING,
    schema=Crossings,
    raw={"crossing_id": pl.String, "boat": pl.String, "wind": pl.Int32, "minutes_late": pl.Int32, "left_at": pl.String},
    event_ids=["crossing_id"],
    owners=_OWNERS,
)
def crossings(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Crossings as they were logged."""
    return raw.with_columns(
        pl.col("left_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC", strict=False)
    )


@feature_group(
    keys=["boat"],
    event_time="event_time",
    known_at=after("event_time"),
    partitions=SAILING,
    schema=BoatHistory,
    lookback=timedelta(days=1),
    max_age=timedelta(days=1),
    owners=_OWNERS,
)
def boat_history(crossings: pl.LazyFrame) -> pl.LazyFrame:
    """What a boat did in the last day, crossing by crossing."""
    counted = crossings.sort("left_at").rolling(index_column="left_at", period="1d", group_by="boat")
    return counted.agg(crossings_1d=pl.len().cast(pl.Int64)).rename({"left_at": "event_time"}).unique()


@label(
    keys=["crossing_id"],
    event_time="left_at",
    known_at=after("known_at"),
    value="late",
    lookahead=timedelta(0),
    partitions=SAILING,
    schema=CrossingOutcome,
    owners=_OWNERS,
)
def crossing_late(crossings: pl.LazyFrame) -> pl.LazyFrame:
    """Whether a crossing was late by ten minutes."""
    return crossings.select(
        "crossing_id", "left_at", known_at=pl.col("left_at") + MATURES_AFTER, late=pl.col("minutes_late") >= 10
    )


@feature_view(
    keys=["crossing_id"],
    event_time="left_at",
    prediction_time=after("left_at"),
    partitions=SAILING,
    schema=AskedCrossing,
    features=[boat_history.select()],
    owners=_OWNERS,
)
def crossings_asked(crossings: pl.LazyFrame) -> pl.LazyFrame:
    """Every crossing the moment it leaves."""
    return crossings.select(AskedCrossing.column_names())


crossings_dataset = TrainingDataset(
    name="crossings_dataset",
    description="Crossings whose delay is known.",
    view=crossings_asked,
    label=crossing_late,
    split=TimeSplit(
        select_from=date(2023, 4, 1),
        report_from=date(2023, 5, 1),
        report_until=date(2023, 6, 10),
        gap=timedelta(days=2),
    ),
    owners=_OWNERS,
)

late_model = Model(
    name="late_model",
    description="Probability that a crossing is late.",
    training=crossings_dataset,
    learner=LightGBM(
        parameters={"num_leaves": 4, "min_data_in_leaf": 10, "learning_rate": 0.3}, rounds=20, early_stopping=5
    ),
    request=["boat", "wind"],
    categories=["boat"],
    baselines={"averages by boat": ["boat"]},
    owners=_OWNERS,
)

late_backtest = Backtest(
    name="late_backtest",
    description="How good the model would have been, month after month.",
    model=late_model,
    first=MONTHS[0],
    select=timedelta(days=14),
    owners=_OWNERS,
)

CATALOGUE = Catalogue(
    name="ferry",
    declarations=[
        crossings,
        boat_history,
        crossing_late,
        crossings_asked,
        crossings_dataset,
        late_model,
        late_backtest,
    ],
)
TO_VIEW = ("crossings", "boat_history", "crossing_late", "crossings_asked")


def rows_of(day: date, *, per_day: int = 12) -> list[dict[str, Any]]:
    """The cells of the file of `day`; the first and the last second of the local day are among them."""
    dice, window = random.Random(f"ferry {day}"), SAILING.window(Days(day, day))
    seconds = int((window.end - window.start).total_seconds())
    found = []
    for number, second in enumerate([0, *sorted(dice.sample(range(1, seconds - 1), per_day - 2)), seconds - 1]):
        boat, wind = dice.choice(["old", "new", "fast"]), dice.randrange(0, 40)
        likely = 0.85 if wind > 25 or (boat == "old" and day >= date(2023, 5, 1)) else 0.1
        late = dice.randrange(10, 60) if dice.random() < likely else dice.randrange(0, 10)
        left_at = window.start + timedelta(seconds=second)
        found.append(
            {
                "crossing_id": f"{day:%Y%m%d}-{number:02}",
                "boat": boat,
                "wind": wind,
                "minutes_late": late,
                "left_at": f"{left_at:%Y-%m-%dT%H:%M:%SZ}",
            }
        )
    return found


def land(landing: Path, days: Iterable[date] = SAILED, *, spoilt: bool = False) -> None:
    """Let the files of `days` land; `spoilt` ones have garbage in all but their times."""
    for day in days:
        rows = rows_of(day)
        if spoilt:
            rows = [row | {"wind": 999, "boat": "ghost", "minutes_late": 60 - row["minutes_late"]} for row in rows]
        path = landing / "crossings" / f"{day}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*Crossings.columns()], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        path.with_suffix(".rows").write_text(str(len(rows)))


def with_backtest(**changes: Any) -> Catalogue:
    """The catalogue with another backtest."""
    kept = [d for d in CATALOGUE.declarations if d.name != late_backtest.name]
    return Catalogue(name="ferry", declarations=[*kept, replace(late_backtest, **changes)])
