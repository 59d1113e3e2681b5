"""Who becomes champion: how a challenger is compared with the champion, and what it has to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from platform_assets.declarations.declaration import Column, Table
from platform_assets.declarations.models import Model
from platform_assets.declarations.times import INSTANT
from platform_assets.declarations.views import PREDICTION_TIME

Approval = Literal["none", "human"]
MONTH = "month"
"""The slice that needs no column: the calendar month of the prediction time, `2013-11`."""


@dataclass(frozen=True, kw_only=True)
class Promotion(Table):
    """The newest version of a model against its champion, on the same rows that neither has learned from.

    Those are the rows of *report*. The challenger becomes champion when the interval of the difference in log
    loss lies below zero and nothing else speaks against it; every decision stays in the table, with its reasons.

    Attributes:
        model: whose champion is chosen.
        slices: columns of the view, or "month"; each of their values with at least `slice_rows` rows is a slice.
        slice_rows: smaller slices are not judged.
        floor: by how much the log loss of a slice may be above the champion's, in nats.
        largest_gap: by how much the AUC of slices of one column may differ; None for any.
        largest_calibration_error: mean distance of probability and share of positives, 0 to 1; None for any.
        most_microseconds: to score a row; None for any.
        most_bytes: of the model's files; None for any.
        approval: "human" lets a challenger that passes wait until somebody promotes it.
        confidence: of the interval, between 0 and 1.
        draws: of the bootstrap, which takes whole days.
        seed: of the bootstrap.
    """

    kind: ClassVar[str] = "promotion"

    model: Model
    slices: Sequence[str] = ()
    slice_rows: int = 500
    floor: float = 0.01
    largest_gap: float | None = None
    largest_calibration_error: float | None = None
    most_microseconds: float | None = None
    most_bytes: int | None = None
    approval: Approval = "none"
    confidence: float = 0.95
    draws: int = 1_000
    seed: int = 20130101

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_list("slices", self.slices)
        for column in self.slices:
            if column != MONTH:
                self._require_column(self.model.training.view.schema, column, "slices")
        if self.approval not in ("none", "human"):
            self._refuse(f"approval={self.approval!r}; choose 'none' or 'human' (somebody has to approve)")
        if not 0 < self.confidence < 1:
            self._refuse(f"confidence={self.confidence!r} is no share; write 0.95 for 95 in a hundred")
        fewest = round(20 / (1 - self.confidence))
        if self.draws < fewest:
            self._refuse(f"draws={self.draws} are too few for a confidence of {self.confidence}; take {fewest} or more")
        if self.slice_rows < 1:
            self._refuse(f"slice_rows={self.slice_rows}; a slice has at least one row")
        for limit in ("floor", "largest_gap", "largest_calibration_error", "most_microseconds", "most_bytes"):
            value = getattr(self, limit)
            if value is not None and value < 0:
                self._refuse(f"{limit}={value} is below zero, which no model could hold; leave it out or raise it")

    def slice_of(self, column: str) -> pl.Expr:
        """The value of a slice for each row of the view."""
        view = self.model.training.view
        if column == MONTH and MONTH not in view.schema.columns():
            return view.partitions.day_of(pl.col(PREDICTION_TIME)).dt.strftime("%Y-%m").alias(MONTH)
        return pl.col(column)

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.model.name,)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            _column("decision", pl.Int64(), "Number of the decision, from 1."),
            _column("decided_at", INSTANT, "When it was decided (UTC)."),
            _column(
                "verdict", pl.String(), "promoted, refused, equal, waits, approved, by hand, rolled back, adopted."
            ),
            _column("version", pl.Int64(), "The version that was decided on."),
            _column("champion_before", pl.Int64(), "The champion until then.", nullable=True),
            _column("champion", pl.Int64(), "The champion from then on.", nullable=True),
            _column("reason", pl.String(), "What was looked at."),
            _column(
                "passed", pl.Boolean(), "Whether it speaks for the version; null where it is told only.", nullable=True
            ),
            _column("measured", pl.Float64(), "What was measured, in the unit that `said` names.", nullable=True),
            _column("limit", pl.Float64(), "What it may be at most.", nullable=True),
            _column("said", pl.String(), "The reason in words."),
            _column("run", pl.String(), "The Dagster run or command that decided."),
            _column("basis", pl.String(), "A hash of what it was decided by; equal ones are decided once."),
        )


def _column(name: str, dtype: pl.DataType, description: str, *, nullable: bool = False) -> Column:
    return Column(name=name, dtype=dtype, description=description, nullable=nullable)
