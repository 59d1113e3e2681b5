"""What happens to a row on its way into a model."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from platform_assets.compute.preparation import Preparation
from platform_assets.errors import ModelError

LEARNED = pl.DataFrame({"size": [1.5, 2.5, None], "kind": ["pear", "apple", None], "count": [1, 2, 3]})
PREPARATION = Preparation.fit(LEARNED, inputs=["size", "kind", "count"], categories=["kind"])


def encode(**columns: Any) -> list[list[float]]:
    return PREPARATION.encode(pl.DataFrame(columns)).tolist()


def test_levels_are_learned_in_order_and_without_null() -> None:
    assert PREPARATION.levels == {"kind": ("apple", "pear")}


def test_columns_are_found_by_name_and_not_by_place() -> None:
    straight = encode(size=[1.0], kind=["pear"], count=[7])
    assert straight == encode(count=[7], extra=["x"], kind=["pear"], size=[1.0]) == [[1.0, 1.0, 7.0]]


def test_nulls_and_unseen_levels_are_missing_values() -> None:
    rows = pl.DataFrame(
        {"size": [None, 1.0], "kind": ["quince", None], "count": [None, 2]},
        schema={"size": pl.Float64, "kind": pl.String, "count": pl.Int64},
    )
    found = PREPARATION.encode(rows)
    np.testing.assert_array_equal(found, [[np.nan, np.nan, np.nan], [1.0, np.nan, 2.0]])


def test_booleans_are_numbers() -> None:
    assert encode(size=[True], kind=["apple"], count=[False]) == [[1.0, 0.0, 0.0]]


def test_no_rows_are_a_matrix_without_rows() -> None:
    assert PREPARATION.encode(LEARNED.clear()).shape == (0, 3)


def test_a_category_without_any_level_is_always_missing() -> None:
    learned = pl.DataFrame({"kind": [None]}, schema={"kind": pl.String})
    found = Preparation.fit(learned, inputs=["kind"], categories=["kind"]).encode(pl.DataFrame({"kind": ["a"]}))
    assert np.isnan(found).all()


def test_a_renamed_column_is_named() -> None:
    with pytest.raises(ModelError, match="the model needs the columns size, which the rows lack; was one renamed"):
        encode(width=[1.0], kind=["pear"], count=[1])


@pytest.mark.parametrize(
    ("columns", "culprit"),
    [({"size": ["1"], "kind": ["pear"]}, r"size \(String\)"), ({"size": [1.0], "kind": [3]}, r"kind \(Int64\)")],
)
def test_a_wrong_type_is_named(columns: dict[str, Any], culprit: str) -> None:
    with pytest.raises(ModelError, match=f"text for its categories and numbers for the rest, but was given {culprit}"):
        encode(count=[1], **columns)


def test_a_polars_categorical_and_a_date_are_named() -> None:
    rows = pl.DataFrame({"size": [date(2024, 1, 1)], "kind": ["pear"], "count": [1]})
    with pytest.raises(ModelError, match=r"was given size \(Date\), kind \(Categorical"):
        PREPARATION.encode(rows.with_columns(pl.col("kind").cast(pl.Categorical)))


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int64, pl.UInt32, pl.Float32, pl.Float64])
def test_any_number_with_nulls_gives_the_same_matrix(dtype: pl.DataType) -> None:
    rows = pl.DataFrame({"size": [1, None], "kind": ["pear", "apple"], "count": [None, 3]})
    found = PREPARATION.encode(rows.with_columns(pl.col("size", "count").cast(dtype)))
    np.testing.assert_array_equal(found, [[1.0, 1.0, np.nan], [np.nan, 0.0, 3.0]])


def test_it_comes_back_from_storage_as_it_was() -> None:
    assert Preparation.from_dict(json.loads(json.dumps(PREPARATION.to_dict()))) == PREPARATION
