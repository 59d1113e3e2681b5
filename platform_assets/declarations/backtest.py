"""How good a model would have been, month after month: fitted on what was known, judged on the month that came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import ClassVar

import polars as pl

from platform_assets.declarations.declaration import Column, Table
from platform_assets.declarations.models import Model
from platform_assets.declarations.times import INSTANT, Monthly


@dataclass(frozen=True, kw_only=True)
class Backtest(Table):
    """A walk-forward backtest: for each month, the model fitted on what was known before it and judged on it.

    A fold's cutoff is the first instant of its month. Its rows are those of the model's view and label: *report*
    is the month, *select* the time of length `select` before the cutoff, *fit* everything before that; a gap as
    in the model's training dataset lies before each. The learner's settings are those that are declared (of
    what is tuned, where the tuning starts), since those that were chosen later know what came. The registered
    model is not looked at.

    Attributes:
        model: whose learner, inputs and baselines.
        first: the first day of the first month that is reported on.
        last: the last day that is; None for that of the model's view.
        select: how long before the cutoff is used to stop.
    """

    kind: ClassVar[str] = "backtest"

    model: Model
    first: date
    select: timedelta
    last: date | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        days, gap = self.model.training.view.partitions, self.model.training.split.gap
        if self.first.day != 1:
            self._refuse(f"first={self.first} is no first day of a month; write {self.first:%Y-%m}-01")
        if self.select <= gap:
            self._refuse(f"select={self.select} is no longer than the gap of its training dataset, {gap}; lengthen it")
        if self.first - self.select - 2 * gap <= days.first:
            self._refuse(
                f"first={self.first}: nothing is left to fit on, since {self.model.training.view.name!r} begins on "
                f"{days.first} and {self.select + 2 * gap} go to select and the gaps; begin later"
            )
        if self.last is not None and (self.last < self.first or (days.last is not None and self.last > days.last)):
            self._refuse(f"last={self.last} is not among the days from {self.first} to {days.last or 'today'}")
        if self.model.learner.tuning is not None:
            tuning = self.model.learner.tuning
            loose = [name for name in tuning.space if name not in tuning.start]
            if loose:
                self._refuse(
                    f"{', '.join(loose)} of {self.model.name!r} are tuned from no start, so that a fold has nothing to "
                    "take; add start=..."
                )

    @property
    def partitions(self) -> Monthly:
        days = self.model.training.view.partitions
        return Monthly(first=self.first, last=self.last or days.last, zone=days.zone)

    @property
    def keys(self) -> tuple[str, ...]:
        return ("predictor",)

    @property
    def event_time(self) -> str:
        return "cutoff"

    @property
    def input_names(self) -> tuple[str, ...]:
        return self.model.training.input_names

    @property
    def columns(self) -> tuple[Column, ...]:
        def figure(name: str, said: str, dtype: pl.DataType | None = None, *, nullable: bool = False) -> Column:
            return Column(name=name, dtype=dtype or pl.Float64(), description=said, nullable=nullable)

        count = pl.Int64()
        return (
            figure("predictor", "The model, or one of its baselines.", pl.String()),
            figure("cutoff", "The first instant of the month that is reported on (UTC).", INSTANT),
            figure("fit_rows", "Rows of fit.", count),
            figure("select_rows", "Rows of select.", count),
            figure("report_rows", "Rows of report.", count),
            figure("base_rate", "Share of positives on report."),
            figure("auc", "Area under the ROC curve on report; null of a single outcome.", nullable=True),
            figure("auc_low", "Lower end of its 95% interval, by whole days.", nullable=True),
            figure("auc_high", "Upper end of its 95% interval, by whole days.", nullable=True),
            figure("log_loss", "Mean negative log likelihood on report, in nats."),
            figure("log_loss_low", "Lower end of its 95% interval, by whole days.", nullable=True),
            figure("log_loss_high", "Upper end of its 95% interval, by whole days.", nullable=True),
            figure("brier", "Mean squared error of the probability on report."),
            figure("calibration_error", "Mean distance of probability and share of positives, by tenths of report."),
            figure("trees", "Trees of the model; null of a baseline.", count, nullable=True),
            figure(
                "digest",
                "A hash over all that decides its probabilities; null of a baseline.",
                pl.String(),
                nullable=True,
            ),
        )
