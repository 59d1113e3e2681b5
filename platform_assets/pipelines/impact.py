"""What a plan reaches: rows, training datasets, models by alias and predictions, and what it would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.models import Model, Predictions
from platform_assets.declarations.names import DAY, asset_name, registered_model, table_folder
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import TrainingDataset
from platform_assets.lake import ledger
from platform_assets.pipelines.plan import Plan, Step
from platform_assets.pipelines.run import Platform
from platform_assets.registry.models import CHAMPION


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """How long one run took for one asset.

    Attributes:
        seconds: of wall time.
        days: how many days it was for; None for an asset without partitions.
    """

    seconds: float
    days: int | None


@dataclass(frozen=True, kw_only=True)
class StepImpact:
    """One step of a plan.

    Attributes:
        asset: what would be recomputed.
        days: which of its days; None without partitions.
        day_count: how many; None without partitions.
        rows: how many rows are there now of what would be recomputed; None where nobody knows, since none are.
        reasons: why, with the number of days each reason holds for.
        seconds: what it would cost by run history; None where it never ran.
    """

    asset: str
    days: tuple[Days, ...] | None
    day_count: int | None
    rows: int | None
    reasons: Mapping[str, int]
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class ModelReached:
    """A model that would be fitted anew, and the aliased versions that the new one may follow."""

    model: str
    aliases: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Impact:
    """What carrying out a plan would do.

    Attributes:
        catalogue: the project.
        steps: in an order in which they can run.
        waiting: per source, the days of its calendar that have not landed.
        early: per source, the days that have landed but are not over.
        training_datasets: that would be built anew.
        models: that would be fitted anew.
        predictions: that would be made anew.
    """

    catalogue: str
    steps: tuple[StepImpact, ...]
    waiting: Mapping[str, int]
    early: Mapping[str, tuple[Days, ...]]
    training_datasets: tuple[str, ...]
    models: tuple[ModelReached, ...]
    predictions: tuple[str, ...]

    @property
    def reaches_production(self) -> bool:
        """Whether a model that is champion would be fitted anew."""
        return any(CHAMPION in model.aliases for model in self.models)

    @property
    def seconds(self) -> float:
        """What the steps that ever ran would cost together."""
        return sum(step.seconds for step in self.steps if step.seconds is not None)

    @property
    def never_ran(self) -> tuple[str, ...]:
        """The steps whose cost is unknown."""
        return tuple(step.asset for step in self.steps if step.seconds is None)


def impact(
    platform: Platform, catalogue: Catalogue, decided: Plan, *, history: Mapping[str, Sequence[PastRun]]
) -> Impact:
    """Say what a plan reaches and costs.

    Args:
        platform: where everything lives.
        catalogue: what is declared.
        decided: the plan, as it would be carried out.
        history: per declaration its last runs, newest first.
    """
    steps = tuple(
        StepImpact(
            asset=asset_name(catalogue.name, step.name),
            days=step.days,
            day_count=None if step.days is None else step.day_count,
            rows=_rows(platform, catalogue, step),
            reasons=step.reasons,
            seconds=cost(step.days, history.get(step.name, ())),
        )
        for step in decided.steps
    )
    planned = {step.name for step in decided.steps}

    def reached(kind: type[TrainingDataset | Predictions]) -> tuple[str, ...]:
        return tuple(asset_name(catalogue.name, d.name) for d in catalogue.of_kind(kind) if d.name in planned)

    aliases: dict[str, dict[str, int]] = {}
    for found in platform.registry.aliased(catalogue.name):
        aliases.setdefault(found.name, {}).update(dict.fromkeys(found.aliases, found.version))
    return Impact(
        catalogue=catalogue.name,
        steps=steps,
        waiting=decided.waiting,
        early=decided.early,
        training_datasets=reached(TrainingDataset),
        models=tuple(
            ModelReached(model=registered_model(catalogue.name, model.name), aliases=aliases.get(model.name, {}))
            for model in catalogue.of_kind(Model)
            if model.name in planned
        ),
        predictions=reached(Predictions),
    )


def cost(days: Sequence[Days] | None, history: Sequence[PastRun]) -> float | None:
    """The seconds that ranges of days (None: all of it) would take, each by the past run most like it; None without one.

    A longer range is counted in proportion. A shorter one is not: much of a run's time is the same for one
    day as for many, so that a share of it would promise too little.
    """
    if not history:
        return None
    if days is None:
        return history[0].seconds
    total = 0.0
    for wanted in map(len, days):
        like = min(history, key=lambda run: abs((run.days or 1) - wanted))
        total += like.seconds * max(1.0, wanted / (like.days or 1))
    return total


def _rows(platform: Platform, catalogue: Catalogue, step: Step) -> int | None:
    """The rows that are there of what a step would recompute, from the log alone (of a model, what it learned from)."""
    declaration = catalogue[step.name]
    if isinstance(declaration, Model):
        entry = ledger.latest(platform.lake, asset_name(catalogue.name, step.name)).get(None)
        return None if entry is None else entry.rows
    folder = table_folder(catalogue.name, step.name)
    if platform.lake.version(folder) is None:
        return None
    files = pl.DataFrame(platform.lake.open(folder).get_add_actions(flatten=True))
    if calendar(declaration) is not None:
        days = {str(day) for part in step.days or () for day in part}
        files = files.filter(pl.col(f"partition.{DAY}").cast(pl.String).is_in(days))
    return int(files.get_column("num_records").sum()) if len(files) else None
