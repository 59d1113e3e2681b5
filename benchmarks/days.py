"""A day from its landed file to judged predictions, after so many days of history, beside a plain script of the same steps.

The steps: ingest, features, labels, the view, predictions, outcomes. The script keeps what it makes as Parquet files
and nothing else: no contract, no origin, no profiles, no check that training would have said the same. *Wrong* counts
the day's probabilities that differ from the script's by more than 1e-12, and rows that are not there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import visits
from benchmarks.contest import Contender, Contest, Work, main
from benchmarks.orchestration import habits
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.lake.tables import Lake

STEPS = ("visits", "visitor_habits", "visit_ordered", "visits_asked", "order_predictions", "order_outcomes")
_AT_ONCE = 30


def new_day(history: int) -> date:
    """The day that is not in yet."""
    return visits.FIRST + history * ONE_DAY


def make(root: Path, *, per_day: int, **histories: int) -> None:
    """Everything up to the day before, a month at a time, with a model that learned from the first days."""
    for name, count in histories.items():
        folder, catalogue = root / name, visits.project(count + 2)
        visits.land(folder, Days(visits.FIRST, new_day(count) + ONE_DAY), per_day=per_day)
        for first in range(0, count, _AT_ONCE):
            part = Days(new_day(first), new_day(min(first + _AT_ONCE, count) - 1))
            visits.make(folder, catalogue, *STEPS[:4], days=part)
        visits.make(folder, catalogue, "visit_orders", "order_model")
        begins = catalogue["order_predictions"].partitions.first  # type: ignore[attr-defined]
        visits.make(folder, catalogue, *STEPS[4:], days=Days(begins, new_day(count - 1)))


def through_the_platform(root: Path, history: int, day: date) -> Callable[[], pl.DataFrame]:
    visits.make(root, visits.project(history + 2), *STEPS, days=Days(day, day))
    table = Lake(root / "lake").scan(table_folder("visits", "order_outcomes"), days=Days(day, day))
    return lambda: table.select("visit_id", "probability", "ordered").collect()


def script(root: Path, _: int, day: date) -> Callable[[], pl.DataFrame]:
    """The steps by hand; the week before is read where the platform keeps it, since a script would keep it too."""
    model = visits.platform(root).registry.load("visits", "order_model", 1)
    at = pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    out = root / "script"
    out.mkdir(exist_ok=True)
    landed = pl.read_csv(
        root / "landing" / "visits" / f"{day}.csv", schema_overrides=dict.fromkeys(visits.TEXTS, pl.String)
    )
    landed = landed.with_columns(at)
    landed.write_parquet(out / f"visits-{day}.parquet")
    before = Lake(root / "lake").scan(table_folder("visits", "visits"), days=Days(day - 7 * ONE_DAY, day - ONE_DAY))
    recent = pl.concat([before.select(landed.columns).collect(), landed], how="vertical_relaxed")
    made = habits(recent.lazy()).collect()
    made.filter(pl.col("at").dt.date() == day).write_parquet(out / f"habits-{day}.parquet")
    asked = (
        landed.drop("ordered")
        .join(made, on=["visitor", "at"], how="left")
        .rename({name: f"visitor_habits__{name}" for name in ("visits_7d", "spent_7d")})
    )
    asked.write_parquet(out / f"asked-{day}.parquet")
    booster, preparation = model.classifier.booster, model.classifier.preparation
    scored = asked.select("visit_id").with_columns(
        probability=booster.predict(preparation.encode(asked), num_threads=os.cpu_count() or 1)
    )
    scored.write_parquet(out / f"predictions-{day}.parquet")
    judged = scored.join(landed.select("visit_id", "ordered"), on="visit_id")
    judged.write_parquet(out / f"outcomes-{day}.parquet")
    return lambda: judged


def after(age: str, way: Callable[[Path, int, date], Callable[[], pl.DataFrame]]) -> Contender:
    """A way on a copy of a history, once it did the next day but one, to load what is loaded on first use."""

    def ready(root: Path) -> Work:
        copied = root / f"copy-{os.getpid()}"
        shutil.copytree(root / age, copied)
        history = len(list((copied / "landing" / "visits").iterdir())) - 2
        visits.make(copied, visits.project(history + 2), *STEPS, days=Days(new_day(history), new_day(history)))
        way(copied, history, new_day(history))
        return lambda: way(copied, history, new_day(history + 1))

    return Contender(ready=ready)


def keep(root: Path, answer: Any) -> None:
    answer().sort("visit_id").write_parquet(root / "truth.parquet")


def wrong(root: Path, answer: Any) -> int:
    right, found = pl.read_parquet(root / "truth.parquet"), answer().sort("visit_id")
    # Other histories end on other days, whose rows are others; the model is the same everywhere.
    if right["visit_id"][0][:6] != found["visit_id"][0][:6]:
        return abs(len(right) - len(found))
    both = right.join(found, on="visit_id", suffix="_found")
    same = both.filter((pl.col("probability") - pl.col("probability_found")).abs() <= 1e-12)
    return len(right) - len(same) + abs(len(found) - len(right))


AGES = ("young", "grown", "old")
CONTEST = Contest(
    module="benchmarks.days",
    work="A day of {per_day} rows of 32 columns, from the landed file to judged predictions, after {young} (young), "
    "{grown} (grown) and {old} (old) days",
    sizes={
        "small": {"per_day": 100, "young": 62, "grown": 70, "old": 90, "repeat": 1},
        "default": {"per_day": 2_000, "young": 62, "grown": 180, "old": 365, "repeat": 3},
        "large": {"per_day": 200, "young": 62, "grown": 365, "old": 3_650, "repeat": 3},
    },
    make=make,
    contenders={
        "a script (the floor), young": after("young", script),
        **{f"materialize, {age}": after(age, through_the_platform) for age in AGES},
    },
    base="materialize, young",
    truth="a script (the floor), young",
    keep=keep,
    wrong=wrong,
)

if __name__ == "__main__":
    main(CONTEST, __doc__ or "")
