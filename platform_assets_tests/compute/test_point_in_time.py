"""The point-in-time join against the table of the design, its naive twin, and the mistakes one can make with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.compute.point_in_time import point_in_time_join
from platform_assets_tests.reference.point_in_time import naive_join

INSTANT = pl.Datetime("us", "UTC")
NAMES = {"prediction_time": "t", "event_time": "event", "known_at": "known"}
FACT_SCHEMA = {"k": pl.String, "event": INSTANT, "known": INSTANT, "v": pl.Int64}


def at(minute: int | None) -> datetime | None:
    return None if minute is None else datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)


def asked(*rows: tuple[str | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame([(k, at(t)) for k, t in rows], schema={"k": pl.String, "t": INSTANT}, orient="row")


def known(*rows: tuple[str | None, int | None, int | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame([(k, at(e), at(n), v) for k, e, n, v in rows], schema=FACT_SCHEMA, orient="row")


DESIGN_SPINE = asked(("a", 10), ("a", 10), ("b", 10), (None, 10), ("a", 5), ("a", 30))
DESIGN_FACTS = known(
    ("a", 10, 10, 1), ("a", 10, 11, 2), ("a", 9, 12, 9), ("b", 10, 20, 7), ("a", 4, 4, None), ("a", 3, 3, 8)
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, [1, 1, None, None, None, 2], id="as known"),
        pytest.param({"known": "since"}, [2, 2, 7, None, None, 2], id="as corrected"),
        pytest.param(
            {"known": "since", "boundary": "exclusive"},
            [9, 9, None, None, None, 2],
            id="as corrected, strictly before t",
        ),
        pytest.param(
            {"known": "since", "max_age": timedelta(minutes=5)},
            [2, 2, 7, None, None, None],
            id="as corrected, max_age 5",
        ),
        pytest.param(
            {"known": "since", "last_non_null": True}, [2, 2, 7, None, 8, 2], id="as corrected, last non-null"
        ),
    ],
)
def test_the_table_of_the_design(options: dict[str, Any], expected: list[int | None]) -> None:
    joined = point_in_time_join(DESIGN_SPINE, DESIGN_FACTS, on=["k"], **NAMES, **options)
    assert joined.columns == ["k", "t", "v"]
    assert joined.select("k", "t").equals(DESIGN_SPINE)
    assert joined["v"].to_list() == expected


minutes = st.none() | st.integers(0, 6)
KEYS = st.sampled_from(["a", "b", None])
OTHER_KEYS = st.sampled_from([1, 2, None])
FLOATS = st.sampled_from([None, -1.0, 0.5, float("nan")])
spines = st.lists(st.tuples(KEYS, OTHER_KEYS, minutes), max_size=8)
facts = st.lists(st.tuples(KEYS, OTHER_KEYS, minutes, minutes, st.sampled_from([None, 1, 2]), FLOATS), max_size=14)
zones = st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"])
units = st.sampled_from(["ms", "us", "ns"])


@settings(max_examples=250)
@given(
    spine=spines,
    rows=facts,
    keys=st.sampled_from([["k"], ["k", "j"]]),
    known=st.sampled_from(["then", "since"]),
    boundary=st.sampled_from(["inclusive", "exclusive"]),
    max_age=st.none() | st.integers(0, 4),
    last_non_null=st.booleans(),
    one_time=st.booleans(),
    lazy=st.booleans(),
    zone=zones,
    unit=units,
    other_zone=zones,
    dice=st.randoms(use_true_random=False),
)
def test_it_agrees_with_its_naive_twin(
    spine, rows, keys, known, boundary, max_age, last_non_null, one_time, lazy, zone, unit, other_zone, dice
) -> None:
    left = pl.DataFrame(
        [(k, j, at(t)) for k, j, t in spine], schema={"k": pl.String, "j": pl.Int64, "t": INSTANT}, orient="row"
    )
    right = pl.DataFrame(
        [(k, j, at(e), at(n), v, w) for k, j, e, n, v, w in rows],
        schema={"k": pl.String, "j": pl.Int64, "event": INSTANT, "known": INSTANT, "v": pl.Int64, "w": pl.Float64},
        orient="row",
    )
    if len(keys) == 1:
        right = right.drop("j")
    known_at = "event" if one_time else "known"
    if one_time:
        right = right.drop("known")
    span = None if max_age is None else timedelta(minutes=max_age)
    expected = naive_join(
        left.to_dicts(),
        right.to_dicts(),
        on=keys,
        at="t",
        event="event",
        known_at=known_at,
        values=["v", "w"],
        max_age=span,
        known=known,
        boundary=boundary,
        last_non_null=last_non_null,
    )
    left_zoned = left.with_columns(pl.col("t").dt.convert_time_zone(zone))
    right_zoned = right.with_columns(pl.col("event").dt.cast_time_unit(unit).dt.convert_time_zone(other_zone))
    order = list(range(len(right)))
    dice.shuffle(order)
    shuffled = right_zoned[order]

    joined = point_in_time_join(
        left_zoned.lazy() if lazy else left_zoned,
        shuffled.lazy() if lazy else shuffled,
        on=keys,
        prediction_time="t",
        event_time="event",
        known_at=known_at,
        max_age=span,
        known=known,
        boundary=boundary,
        last_non_null=last_non_null,
        age_column="age",
    )

    assert isinstance(joined, pl.LazyFrame) == lazy
    schema = {"age": pl.Duration("us"), "v": pl.Int64, "w": pl.Float64}
    assert joined.lazy().collect_schema() == pl.Schema({**left_zoned.schema, **schema})
    assert_frame_equal(
        joined.lazy().collect(), pl.concat([left_zoned, pl.DataFrame(expected, schema=schema)], how="horizontal")
    )


def test_a_late_row_about_an_old_event_does_not_shadow_a_newer_fact() -> None:
    late = known(("a", 5, 5, 1), ("a", 2, 8, 2))
    assert point_in_time_join(asked(("a", 9)), late, on=["k"], **NAMES)["v"].to_list() == [1]


def test_expired_and_never_existed_are_told_apart_by_the_age() -> None:
    joined = point_in_time_join(
        asked(("a", 10), ("b", 10)),
        known(("a", 1, 1, 5)),
        on=["k"],
        **NAMES,
        max_age=timedelta(minutes=5),
        age_column="age",
    )
    assert joined["v"].to_list() == [None, None]
    assert joined["age"].to_list() == [timedelta(minutes=9), None]


def test_max_age_is_inclusive() -> None:
    joined = point_in_time_join(
        asked(("a", 10)), known(("a", 5, 5, 1)), on=["k"], **NAMES, max_age=timedelta(minutes=5)
    )
    assert joined["v"].to_list() == [1]


def test_an_expired_winner_does_not_give_way_to_another_row() -> None:
    rows = known(("a", 1, 1, 7), ("a", 1, 9, 8))
    joined = point_in_time_join(
        asked(("a", 10)), rows, on=["k"], **NAMES, max_age=timedelta(minutes=3), last_non_null=True
    )
    assert joined["v"].to_list() == [None]


def test_keys_are_compared_as_columns_and_not_concatenated() -> None:
    spine = pl.DataFrame({"k": ["ab"], "j": ["c"], "t": [at(5)]}, schema_overrides={"t": INSTANT})
    rows = pl.DataFrame({"k": ["a"], "j": ["bc"], "event": [at(1)], "known": [at(1)], "v": [1]})
    assert point_in_time_join(spine, rows, on=["k", "j"], **NAMES)["v"].to_list() == [None]


@pytest.mark.parametrize("keys", [[True, False], [1, 2], [0.5, 1.5], ["ä", "b"]])
def test_keys_may_have_any_plain_type(keys: list[Any]) -> None:
    spine = pl.DataFrame({"k": keys, "t": [at(5)] * 2})
    rows = pl.DataFrame({"k": keys[:1], "event": [at(1)], "known": [at(1)], "v": [1]})
    assert point_in_time_join(spine, rows, on=["k"], **NAMES)["v"].to_list() == [1, None]


def test_facts_without_values_still_give_their_age() -> None:
    twice = known(("a", 1, 1, 1), ("a", 1, 1, 2)).drop("v")
    joined = point_in_time_join(asked(("a", 5)), twice, on=["k"], **NAMES, age_column="age")
    assert joined["age"].to_list() == [timedelta(minutes=4)]


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        (lambda joined: joined.filter(pl.col("v") == 2), {"k": ["a"], "v": [2]}),
        (lambda joined: joined.filter(pl.col("k") == "b"), {"k": ["b"], "v": [None]}),
        (lambda joined: joined.tail(1), {"k": ["a"], "v": [2]}),
    ],
)
def test_a_lazy_join_may_be_narrowed_afterwards(narrowed: Any, expected: dict[str, Any]) -> None:
    joined = point_in_time_join(DESIGN_SPINE.lazy(), DESIGN_FACTS.lazy(), on=["k"], **NAMES)
    assert narrowed(joined).select("k", "v").collect().to_dict(as_series=False) == expected


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"on": "k"}, r"on='k'; name the key columns as a list"),
        ({"on": []}, r"on=\[\]; name the key columns as a list"),
        ({"on": ["z"]}, r"the spine lack z; they have k, t"),
        ({"event_time": "when"}, r"the features lack when; they have k, event, known, v"),
        ({"prediction_time": "naive"}, r"'naive' of the spine is Datetime\(.*\); an instant needs a time zone"),
        ({"known_at": "v"}, r"'v' of the features is Int64; an instant needs a time zone"),
        ({"on": ["n"]}, r"the key 'n' is Int64 in the spine but String in the features"),
        ({"age_column": "k"}, r"k would come twice; rename one side"),
        ({"age_column": "v"}, r"v would come twice; rename one side"),
        ({"max_age": timedelta(minutes=-1)}, r"max_age=.* is negative"),
        ({"known": "sicne"}, r"known is 'then' or 'since'"),
        ({"boundary": "strict"}, r"boundary 'inclusive' or 'exclusive'"),
    ],
)
def test_a_mistake_is_named_before_anything_is_computed(changes: dict[str, Any], message: str, *, lazy: bool) -> None:
    spine = asked(("a", 1))
    rows = known(("a", 1, 1, 1))
    if changes.get("prediction_time") == "naive":
        spine = spine.with_columns(naive=pl.col("t").dt.replace_time_zone(None))
    if changes.get("on") == ["n"]:
        spine, rows = spine.with_columns(n=pl.lit(1, pl.Int64)), rows.with_columns(n=pl.lit("x"))
    arguments: dict[str, Any] = {"on": ["k"], **NAMES, **changes}
    with pytest.raises(ValueError, match=f"point-in-time join: .*{message}"):
        point_in_time_join(spine.lazy() if lazy else spine, rows, **arguments)


def test_a_column_on_both_sides_is_refused() -> None:
    with pytest.raises(ValueError, match="v would come twice; rename one side"):
        point_in_time_join(asked(("a", 1)).with_columns(v=1), known(("a", 1, 1, 1)), on=["k"], **NAMES)
