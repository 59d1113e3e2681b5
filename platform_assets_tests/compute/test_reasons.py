"""The strongest inputs of each row, beside a sort in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.compute.reasons import strongest

# Few values, so that many are equal or opposite.
VALUES = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])


@given(st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=1, max_size=6), st.integers(1, 4))
def test_they_are_those_that_a_plain_sort_gives(rows: list[list[float]], count: int) -> None:
    inputs = ["a", "b", "c", "d"]
    names, values = strongest(np.array(rows), inputs, count)
    for row, named, moved in zip(rows, names.to_list(), values.to_list(), strict=True):
        ranked = sorted(range(4), key=lambda n: (-abs(row[n]), n))[:count]
        assert named == [inputs[n] for n in ranked]
        assert moved == [row[n] for n in ranked]


def test_no_rows_have_no_reasons() -> None:
    names, values = strongest(np.zeros((0, 2)), ["a", "b"], 2)
    assert (names.to_list(), values.to_list()) == ([], [])
