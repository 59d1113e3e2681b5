"""A project to measure on: visits to a shop's pages, of which some end in an order, as many days as are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dataframely as dy
import duckdb
import numpy as np
import polars as pl

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import LightGBM, Model, Outcomes, Predictions
from platform_assets.declarations.tables import feature_group, label, source
from platform_assets.declarations.times import ONE_DAY, Daily, Days, after
from platform_assets.declarations.views import TimeSplit, TrainingDataset, feature_view
from platform_assets.lake.landing import Landing
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Materialization, Platform, Run
from platform_assets.registry.models import Registry

FIRST = date(2020, 1, 6)
NUMBERS = tuple(f"n{n}" for n in range(24))
TEXTS = ("campaign", "country", "device", "page")
LEVELS = {"campaign": 30, "country": 40, "device": 4, "page": 200}
OWNERS = ["team:shop"]
SETTINGS = {"learning_rate": 0.06, "num_leaves": 31, "min_data_in_leaf": 100, "feature_fraction": 0.5}
LEARNED = 60
"""A model learns from so many days at most, however many there are."""
ROUNDS, PATIENCE = 300, 30


def _schema(name: str, *columns: str, key: str = "visit_id") -> type[dy.Schema]:
    """The named columns of a visit as a schema."""
    told: dict[str, dy.Column] = {
        "visit_id": dy.String(description="The visit.", primary_key=key == "visit_id"),
        "visitor": dy.String(description="Who came.", primary_key=key == "visitor"),
        "at": dy.Datetime(
            description="When the visit began (UTC).", time_zone="UTC", time_unit="us", primary_key=key == "visitor"
        ),
        "visits_7d": dy.Int64(description="Visits of the last seven days."),
        "spent_7d": dy.Float64(description="The sum of n0 over the last seven days."),
        "known_at": dy.Datetime(description="A day after the visit (UTC).", time_zone="UTC", time_unit="us"),
        "ordered": dy.Bool(description="Whether the visitor ordered within a day."),
        **{name: dy.Float64(description="A figure of the visit.", nullable=True) for name in NUMBERS},
        **{name: dy.String(description="What the visit says of itself.") for name in TEXTS},
    }
    return type(name, (dy.Schema,), {column: told[column] for column in columns})


def project(days: int) -> Catalogue:
    """The catalogue, on so many days from `FIRST`; of the first `LEARNED` the last fifth is *report*, the one before *select*."""
    calendar = Daily(first=FIRST, last=FIRST + (days - 1) * ONE_DAY, zone="UTC")
    raw = {"visit_id": pl.String, "visitor": pl.String, "at": pl.String, "ordered": pl.Boolean}
    raw |= dict.fromkeys(NUMBERS, pl.Float64) | dict.fromkeys(TEXTS, pl.String)

    @source(
        keys=["visit_id"],
        event_time="at",
        known_at=after("at"),
        partitions=calendar,
        schema=_schema("Visits", "visit_id", "visitor", "at", "ordered", *NUMBERS, *TEXTS),
        raw=raw,
        owners=OWNERS,
    )
    def visits(raw: pl.LazyFrame) -> pl.LazyFrame:
        """Visits as they were logged."""
        return raw.with_columns(pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"))

    @feature_group(
        keys=["visitor"],
        event_time="at",
        known_at=after("at"),
        partitions=calendar,
        schema=_schema("Habits", "visitor", "at", "visits_7d", "spent_7d", key="visitor"),
        lookback=timedelta(days=7),
        max_age=timedelta(days=7),
        owners=OWNERS,
    )
    def visitor_habits(visits: pl.LazyFrame) -> pl.LazyFrame:
        """What a visitor did in the last seven days, visit by visit."""
        counted = visits.group_by("visitor", "at").agg(pl.len().alias("visits"), pl.col("n0").fill_null(0).sum())
        rolled = counted.sort("visitor", "at").rolling("at", period="7d", group_by="visitor")
        return rolled.agg(visits_7d=pl.col("visits").sum().cast(pl.Int64), spent_7d=pl.col("n0").sum())

    @label(
        keys=["visit_id"],
        event_time="at",
        known_at=after("known_at"),
        value="ordered",
        lookahead=timedelta(0),
        partitions=calendar,
        schema=_schema("Orders", "visit_id", "at", "known_at", "ordered"),
        owners=OWNERS,
    )
    def visit_ordered(visits: pl.LazyFrame) -> pl.LazyFrame:
        """Whether a visit ended in an order within a day."""
        return visits.select("visit_id", "at", "ordered", known_at=pl.col("at") + timedelta(days=1))

    @feature_view(
        keys=["visit_id"],
        event_time="at",
        prediction_time=after("at"),
        partitions=calendar,
        schema=_schema("Asked", "visit_id", "visitor", "at", *NUMBERS, *TEXTS),
        features=[visitor_habits.select()],
        owners=OWNERS,
    )
    def visits_asked(visits: pl.LazyFrame) -> pl.LazyFrame:
        """Every visit as it begins."""
        return visits.select("visit_id", "visitor", "at", *NUMBERS, *TEXTS)

    learned = min(days, LEARNED)
    dataset = TrainingDataset(
        name="visit_orders",
        description="Visits whose end is known.",
        view=visits_asked,
        label=visit_ordered,
        split=TimeSplit(
            select_from=FIRST + (learned * 3 // 5) * ONE_DAY,
            report_from=FIRST + (learned * 4 // 5) * ONE_DAY,
            report_until=FIRST + (learned - 1) * ONE_DAY,
            gap=timedelta(days=1),
        ),
        owners=OWNERS,
    )
    model = Model(
        name="order_model",
        description="Probability that a visit ends in an order.",
        training=dataset,
        learner=LightGBM(parameters=SETTINGS, rounds=ROUNDS, early_stopping=PATIENCE),
        request=[*NUMBERS, *TEXTS],
        categories=list(TEXTS),
        baselines={"averages by page": ["page"]},
        owners=OWNERS,
    )
    predictions = Predictions(
        name="order_predictions",
        description="The champion's probability for every visit of *report*.",
        model=model,
        first=dataset.split.report_from,
        owners=OWNERS,
    )
    outcomes = Outcomes(
        name="order_outcomes", description="Predictions and what came.", predictions=predictions, owners=OWNERS
    )
    declared = (visits, visitor_habits, visit_ordered, visits_asked, dataset, model, predictions, outcomes)
    return Catalogue(name="visits", declarations=declared)


def land(root: Path, days: Days, *, per_day: int) -> None:
    """Let the files of `days` land: the same rows for the same day, however many days there are."""
    folder = root / "landing" / "visits"
    folder.mkdir(parents=True, exist_ok=True)
    for day in days:
        rows_of(day, per_day).write_csv(folder / f"{day}.csv")


def rows_of(day: date, count: int) -> pl.DataFrame:
    """A day as it lands: `count` visits."""
    dice = np.random.default_rng(day.toordinal())
    numbers = dice.normal(size=(count, len(NUMBERS))).round(4)
    numbers[dice.random(numbers.shape) < 0.03] = np.nan
    codes = {name: dice.integers(0, levels, count) for name, levels in LEVELS.items()}
    odds = np.nan_to_num(numbers[:, :6]).sum(axis=1) / 2 + codes["campaign"] / 30 - codes["page"] % 7 / 4 - 1
    began = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - written as UTC below
    seconds = np.sort(dice.integers(0, 86_400, count))
    return pl.DataFrame(
        {
            "visit_id": [f"{day:%y%m%d}-{n}" for n in range(count)],
            "visitor": [f"v{n}" for n in dice.integers(0, max(count // 3, 1), count)],
            "at": pl.Series([began] * count, dtype=pl.Datetime("us"))
            + pl.Series(seconds * 10**6, dtype=pl.Duration("us")),
            "ordered": dice.random(count) < 1 / (1 + np.exp(-odds)),
            **{name: numbers[:, n] for n, name in enumerate(NUMBERS)},
            **{name: pl.Series(code).cast(pl.String) for name, code in codes.items()},
        }
    ).with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"), pl.col(NUMBERS).fill_nan(None))


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own."""
    with duckdb.connect(":memory:") as connection:
        yield connection


def platform(root: Path) -> Platform:
    """A platform below a folder."""
    return Platform(
        landing=Landing(root / "landing"), lake=Lake(root / "lake"), registry=Registry(root / "mlflow"), connect=connect
    )


def make(root: Path, catalogue: Catalogue, *names: str, days: Days | None = None) -> list[Materialization]:
    """Materialize by direct call."""
    run, there = Run(run_id="benchmark", now=datetime(2040, 1, 1, tzinfo=UTC)), platform(root)
    return [materialize(there, catalogue, name, run, days=days) for name in names]
