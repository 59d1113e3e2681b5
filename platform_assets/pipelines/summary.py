"""What there is, in a few figures: tables and rows, models against their baselines, the best and worst day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from platform_assets.compute.metrics import Performance
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.models import Model, Outcomes
from platform_assets.declarations.names import table_folder
from platform_assets.pipelines.monitoring import daily_performance
from platform_assets.pipelines.run import Platform

_FEWEST_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class TableFigures:
    """One table: its kind, rows, days that have rows (None without partitions) and version."""

    name: str
    kind: str
    rows: int
    days: int | None
    version: int


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """A champion: its version, and every figure that was logged with it."""

    name: str
    version: int
    metrics: Mapping[str, float]

    @property
    def baselines(self) -> dict[str, float]:
        """The AUC of each declared baseline on *report*."""
        return {
            name.removeprefix("baseline_").removesuffix("_auc").replace("_", " "): value
            for name, value in self.metrics.items()
            if name.startswith("baseline_")
        }


@dataclass(frozen=True, kw_only=True)
class DayFigures:
    """A day of predictions that came to a yes or no."""

    day: date
    performance: Performance


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Everything of one catalogue.

    Attributes:
        tables: those that exist, in the order of the graph.
        models: those that have a champion.
        best: per outcomes table, the day with the highest AUC among days with 100 or more rows.
        worst: likewise the lowest.
    """

    tables: tuple[TableFigures, ...]
    models: tuple[ModelFigures, ...]
    best: Mapping[str, DayFigures]
    worst: Mapping[str, DayFigures]


def summarize(platform: Platform, catalogue: Catalogue) -> Summary:
    """Look at everything that has been materialized."""
    tables, models = [], []
    best: dict[str, DayFigures] = {}
    worst: dict[str, DayFigures] = {}
    for declaration in catalogue.declarations:
        folder = table_folder(catalogue.name, declaration.name)
        if isinstance(declaration, Model):
            version = platform.registry.champion(catalogue.name, declaration.name)
            if version is not None:
                metrics = platform.registry.metrics(catalogue.name, declaration.name, version)
                models.append(ModelFigures(name=declaration.name, version=version, metrics=metrics))
            continue
        version = platform.lake.version(folder)
        if version is None:
            continue
        with platform.lake.reading(folder):
            rows = platform.lake.scan(folder).select(pl.len()).collect().item()
        days = len(platform.lake.days(folder)) if getattr(declaration, "partitions", None) is not None else None
        tables.append(TableFigures(name=declaration.name, kind=declaration.kind, rows=rows, days=days, version=version))
        if isinstance(declaration, Outcomes):
            ranked = _ranked_days(platform, declaration, folder)
            if ranked:
                worst[declaration.name], best[declaration.name] = ranked[0], ranked[-1]
    return Summary(tables=tuple(tables), models=tuple(models), best=best, worst=worst)


def _ranked_days(platform: Platform, outcomes: Outcomes, folder: str) -> list[DayFigures]:
    needed = [outcomes.event_time, outcomes.label.value, "probability", "in_sample"]
    with platform.lake.reading(folder):
        rows = platform.lake.scan(folder).select(needed).filter(~pl.col("in_sample")).collect()
    found = [
        (figures.auc, DayFigures(day=day, performance=figures))
        for day, figures in daily_performance(outcomes, rows).items()
        if figures.auc is not None and figures.rows >= _FEWEST_ROWS and isinstance(day, date)
    ]
    return [figures for _, figures in sorted(found, key=lambda pair: (pair[0], pair[1].day))]
