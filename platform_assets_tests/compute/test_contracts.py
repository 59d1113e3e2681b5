"""Which rows are kept, which are not, and what is said about them."""

from __future__ import annotations

from typing import Any

import dataframely as dy
import polars as pl
import pytest

from platform_assets.compute.contracts import DUPLICATE, REASONS, judge, together


class Priced(dy.Schema):
    key = dy.String(primary_key=True)
    price = dy.Int32(nullable=True, min=0, max=100)
    share = dy.Float64(nullable=True, allow_nan=True)

    @dy.rule()
    def even(cls) -> pl.Expr:
        return pl.col("price") % 2 == 0


def rows(*cells: tuple[Any, Any, Any]) -> pl.DataFrame:
    frame = pl.DataFrame(list(cells), schema={"key": pl.String, "price": pl.Int32, "share": pl.Float64}, orient="row")
    return frame.with_columns(line=pl.int_range(pl.len(), dtype=pl.Int64))


def reasons(bad: pl.DataFrame) -> dict[int, list[str]]:
    return dict(bad.select("line", REASONS).iter_rows())


def test_rows_that_keep_the_contract_are_all_good() -> None:
    given = rows(("a", 2, 0.5), ("b", None, None), ("c", 4, float("nan")))
    verdict = judge(given, Priced, carried=["line"])
    assert verdict.good.equals(given)
    assert (len(verdict.bad), dict(verdict.failures), verdict.examined) == (0, {}, 3)
    assert verdict.bad.columns == [*given.columns, REASONS]


def test_each_broken_rule_is_counted_and_each_row_says_which_it_breaks() -> None:
    given = rows(("a", 2, 0.0), ("b", 101, 0.0), ("c", -1, 0.0), (None, 2, 0.0), ("d", 3, 0.0), ("e", 4, None))
    verdict = judge(given, Priced, carried=["line"])
    assert verdict.failures == {"price|max": 1, "price|min": 1, "key|nullability": 1, "even": 3}
    assert {line: set(why) for line, why in reasons(verdict.bad).items()} == {
        1: {"price|max", "even"},
        2: {"price|min", "even"},
        3: {"key|nullability"},
        4: {"even"},
    }
    assert verdict.good["line"].to_list() == [0, 5]
    assert verdict.examined == 6


def test_of_exact_repeats_the_first_is_kept() -> None:
    given = rows(("a", 2, float("nan")), ("b", 4, None), ("a", 2, float("nan")), ("b", 4, None), ("a", 2, float("nan")))
    verdict = judge(given, Priced, carried=["line"])
    assert verdict.good["line"].to_list() == [0, 1]
    assert verdict.failures == {DUPLICATE: 3}
    assert reasons(verdict.bad) == {2: [DUPLICATE], 3: [DUPLICATE], 4: [DUPLICATE]}


def test_of_rows_that_contradict_each_other_none_is_kept() -> None:
    given = rows(("a", 2, 0.0), ("a", 4, 0.0), ("a", 2, 0.0), ("b", 2, 0.0))
    verdict = judge(given, Priced, carried=["line"])
    assert verdict.good["key"].to_list() == ["b"]
    assert verdict.failures == {DUPLICATE: 1, "primary_key": 2 + 1}
    assert set(reasons(verdict.bad)[2]) == {DUPLICATE, "primary_key"}


def test_a_repeated_bad_row_is_bad_each_time() -> None:
    verdict = judge(rows(("a", 101, 0.0), ("a", 101, 0.0)), Priced)
    assert len(verdict.good) == 0
    assert verdict.failures["price|max"] == 2


def test_further_rules_are_judged_with_the_columns_beside_the_row() -> None:
    given = rows(("a", 2, 0.0), ("b", 2, 0.0), ("c", 2, 0.0))
    verdict = judge(
        given,
        Priced,
        carried=["line"],
        rules={"line is odd": pl.col("line") % 2 == 1, "unknown is fine": pl.col("line") > pl.lit(None, pl.Int64)},
    )
    assert verdict.good["line"].to_list() == [1]
    assert verdict.failures == {"line is odd": 2}


def test_no_rows_keep_every_contract() -> None:
    verdict = judge(rows(), Priced, carried=["line"], rules={"never": pl.col("line") < 0})
    assert (len(verdict.good), len(verdict.bad), verdict.examined) == (0, 0, 0)


def test_columns_beyond_the_contract_are_left_out() -> None:
    assert judge(rows(("a", 2, 0.0)), Priced).good.columns == ["key", "price", "share"]


def test_a_wrong_type_is_refused_even_if_a_further_rule_would_stumble_over_it() -> None:
    wrong = rows(("a", 2, 0.0)).with_columns(price=pl.lit("2"))
    with pytest.raises(dy.exc.SchemaError, match="'price', got: String"):
        judge(wrong, Priced, rules={"price is small": pl.col("price").dt.year() == 1})


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="price"):
        judge(rows(("a", 2, 0.0)).drop("price"), Priced)


def test_within_a_column_that_keeps_them_apart_keys_are_unique_and_across_it_they_may_come_again() -> None:
    given = rows(
        ("a", 2, 0.0), ("a", 2, 0.0), ("a", 4, 0.0), ("b", 2, 0.0), ("b", 2, 0.0), ("c", 2, 0.0), ("c", 6, 0.0)
    )
    files = given.with_columns(file=pl.Series(["1", "2", "3", "1", "1", "2", "2"]))
    verdict = judge(files, Priced, carried=["line", "file"], apart=["file"])
    assert verdict.good["line"].to_list() == [0, 1, 2, 3]
    assert verdict.failures == {DUPLICATE: 1, "primary_key": 2}
    assert reasons(verdict.bad) == {4: [DUPLICATE], 5: ["primary_key"], 6: ["primary_key"]}
    assert verdict.good["file"].to_list() == ["1", "2", "3", "1"]


def test_rows_that_only_come_again_in_another_file_are_all_good() -> None:
    files = rows(("a", 2, 0.0), ("a", 4, 0.0)).with_columns(file=pl.Series(["1", "2"]))
    verdict = judge(files, Priced, carried=["file"], apart=["file"])
    assert (len(verdict.good), dict(verdict.failures)) == (2, {})


def test_a_row_that_breaks_another_rule_is_bad_in_the_file_that_has_it() -> None:
    files = rows(("a", 2, 0.0), ("a", 101, 0.0), ("a", 2, 0.0)).with_columns(file=pl.Series(["1", "2", "3"]))
    verdict = judge(files, Priced, carried=["line", "file"], apart=["file"])
    assert verdict.good["line"].to_list() == [0, 2]
    assert {line: set(why) for line, why in reasons(verdict.bad).items()} == {1: {"price|max", "even"}}


def test_rows_that_were_judged_part_by_part_have_one_verdict() -> None:
    parts = [rows(("a", 2, 0.0), ("b", 101, 0.0)), rows(), rows(("a", 4, 0.0), ("a", 4, 0.0), ("c", 3, 0.0))]
    verdict = together([judge(part, Priced, carried=["line"]) for part in parts])
    assert verdict.good["price"].to_list() == [2, 4]
    assert verdict.bad["line"].to_list() == [1, 1, 2]
    assert verdict.failures == {"price|max": 1, "even": 2, DUPLICATE: 1}
    assert verdict.examined == 5
