"""What is fitted before a model is: category levels. It travels with the model, so training and scoring agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from platform_assets.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The model's input columns in order, and for each category its levels in order."""

    inputs: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]

    @staticmethod
    def fit(rows: pl.DataFrame, *, inputs: Sequence[str], categories: Sequence[str]) -> Preparation:
        """Learn the levels of each category from the rows a model is fitted on, and from no others."""
        levels = {name: tuple(rows.get_column(name).drop_nulls().unique().sort().to_list()) for name in categories}
        return Preparation(inputs=tuple(inputs), levels=levels)

    def encode(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Rows as a matrix in the model's column order; nulls and unseen levels become NaN.

        Raises:
            ModelError: naming the columns that are missing or are not numbers.
        """
        held = rows.schema
        missing = [name for name in self.inputs if name not in held]
        if missing:
            msg = f"the model needs the columns {', '.join(missing)}, which the rows lack; was one renamed?"
            raise ModelError(msg)
        wrong = [
            f"{name} ({held[name]})"
            for name in self.inputs
            if not (held[name] == pl.String if name in self.levels else _is_number(held[name]))
        ]
        if wrong:
            msg = f"the model takes text for its categories and numbers for the rest, but was given {', '.join(wrong)}"
            raise ModelError(msg)
        return rows.select(self._encoded(name) for name in self.inputs).to_numpy()

    def to_dict(self) -> dict[str, object]:
        """As plain lists, to be stored with the model."""
        return {"inputs": list(self.inputs), "levels": {name: list(levels) for name, levels in self.levels.items()}}

    @staticmethod
    def from_dict(stored: Mapping[str, object]) -> Preparation:
        """Read back what `to_dict` wrote."""
        levels: Mapping[str, Sequence[str]] = stored["levels"]  # type: ignore[assignment]
        inputs: Sequence[str] = stored["inputs"]  # type: ignore[assignment]
        return Preparation(inputs=tuple(inputs), levels={name: tuple(known) for name, known in levels.items()})

    def _encoded(self, name: str) -> pl.Expr:
        """The column as numbers, a level as its place among the known ones; null becomes NaN with the matrix."""
        column = pl.col(name)
        if name in self.levels:
            column = column.cast(pl.Enum(self.levels[name]), strict=False).to_physical()
        return column.cast(pl.Float64)


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean
