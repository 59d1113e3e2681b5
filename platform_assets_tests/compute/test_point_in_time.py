"""The point-in-time join against the table of the design, its naive twin, and the mistakes one can make with it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.compute import point_in_time, timelines
from platform_assets.compute.point_in_time import Features, point_in_time_join, point_in_time_joins
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


@pytest.fixture(params=["in NumPy", "compiled"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with both forms of the join's inner steps."""
    wanted = {"in NumPy": "platform_assets.compute.sight", "compiled": "platform_assets.compute.sight_compiled"}
    found = importlib.import_module(wanted[request.param])
    monkeypatch.setattr(timelines, "steps", lambda _: found)
    return str(request.param)


@contextmanager
def in_portions(rows: int) -> Iterator[None]:
    """Hands over about so many feature rows at once, and throws out the beaten ones at every turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point_in_time, "_PORTION", rows * 4)
        patch.setattr(timelines, "_ENOUGH_LOSERS", -1_000)
        yield


@pytest.mark.usefixtures("steps")
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    portion=st.sampled_from([1, 3, 500_000]),
    zone=zones,
    unit=units,
    other_zone=zones,
    dice=st.randoms(use_true_random=False),
)
def test_it_agrees_with_its_naive_twin(
    spine, rows, keys, known, boundary, max_age, last_non_null, one_time, lazy, portion, zone, unit, other_zone, dice
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

    with in_portions(portion):
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
        found = joined.lazy().collect()

    assert isinstance(joined, pl.LazyFrame) == lazy
    schema = {"age": pl.Duration("us"), "v": pl.Int64, "w": pl.Float64}
    assert joined.lazy().collect_schema() == pl.Schema({**left_zoned.schema, **schema})
    assert_frame_equal(found, pl.concat([left_zoned, pl.DataFrame(expected, schema=schema)], how="horizontal"))


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("key", [pl.Int64, pl.Int8, pl.UInt64, pl.String, pl.Date], ids=str)
@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize(("known", "boundary"), [("then", "inclusive"), ("then", "exclusive"), ("since", "inclusive")])
def test_twenty_thousand_rows_agree_with_every_pair_compared(
    key: pl.DataType, known: Any, boundary: Any, *, is_sorted: bool
) -> None:
    dice = np.random.default_rng(11)
    instant = lambda n, most: pl.Series(dice.integers(0, most, n), dtype=pl.Int64)  # noqa: E731
    spine = pl.DataFrame({"k": instant(2_000, 40), "t": instant(2_000, 5_000)}).with_row_index("row")
    rows = pl.DataFrame({"k": instant(20_000, 50), "event": instant(20_000, 5_000), "late": instant(20_000, 300)})
    rows = rows.select("k", "event", known=pl.col("event") + pl.col("late") // 100 * 50, v=pl.int_range(pl.len()))
    rows = rows.unique(["k", "event", "known"], keep="first", maintain_order=True)
    if is_sorted:
        rows = rows.sort("event")
    spine, rows = (
        frame.with_columns(
            pl.col("k").cast(pl.Int32 if key == pl.Date else key).cast(key),
            *(pl.col(c).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") for c in times),
        )
        for frame, times in ((spine, ["t"]), (rows, ["event", "known"]))
    )
    came = pl.max_horizontal("event", "known") if known == "then" else pl.col("event")
    pairs = spine.join(rows, on="k").filter(came < pl.col("t") if boundary == "exclusive" else came <= pl.col("t"))
    newest = pairs.sort("event", "known").group_by("row", maintain_order=True).last()
    expected = spine.join(newest.select("row", "v"), on="row", how="left", maintain_order="left")
    for features in (rows, rows.lazy()):
        with in_portions(3_000):
            joined = point_in_time_join(spine, features, on=["k"], **NAMES, known=known, boundary=boundary)
        assert_frame_equal(joined, expected)
    assert expected["v"].null_count() < len(expected) / 10


@pytest.mark.usefixtures("steps")
@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("boundary", ["inclusive", "exclusive"])
@pytest.mark.parametrize("known", ["then", "since"])
def test_the_first_and_the_last_instant_that_there_is_are_instants_like_others(known: str, boundary: str) -> None:
    first, last = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    instants = [first, first + 1, 0, last - 1, last]
    facts = [(e, k) for e in instants for k in instants]
    for event, when_known in facts:
        spine = pl.DataFrame({"k": [1] * 5, "t": pl.Series(instants).cast(INSTANT)})
        row = pl.DataFrame({"k": [1], "event": [event], "known": [when_known], "v": [7]})
        row = row.with_columns(pl.col("event", "known").cast(INSTANT))
        found = point_in_time_join(spine, row, on=["k"], known=known, boundary=boundary, **NAMES)  # type: ignore[arg-type]
        seen = max(event, when_known) if known == "then" else event
        expected = [7 if (seen <= t if boundary == "inclusive" else seen < t) else None for t in instants]
        assert found["v"].to_list() == expected, (event, when_known)


def test_many_groups_at_once_are_joined_as_one_by_one() -> None:
    spine = DESIGN_SPINE.with_columns(j=pl.Series([1, 2, 1, 2, 1, 2]))
    by_k, by_j = (
        DESIGN_FACTS,
        DESIGN_FACTS.select(j=pl.Series([1, 1, 2, 2, 1, None]), event="event", known="known", w="v"),
    )
    names = {"event_time": "event", "known_at": "known"}
    one = point_in_time_join(spine, by_k, on=["k"], **NAMES, age_column="age")
    two = point_in_time_join(one, by_j, on=["j"], **NAMES, max_age=timedelta(minutes=3))
    three = point_in_time_join(two, by_k.rename({"v": "u"}), on=["k"], **NAMES, last_non_null=True)
    groups = [
        Features(rows=by_k, on=["k"], **names, age_column="age"),
        Features(rows=by_j.lazy(), on=["j"], **names, max_age=timedelta(minutes=3)),
        Features(rows=by_k.rename({"v": "u"}), on=["k"], **names, last_non_null=True),
    ]
    assert_frame_equal(point_in_time_joins(spine, groups, prediction_time="t"), three)
    assert_frame_equal(point_in_time_joins(spine.lazy(), groups, prediction_time="t").collect(), three)
    assert_frame_equal(point_in_time_joins(spine, [], prediction_time="t"), spine)


def test_a_column_of_two_groups_is_refused() -> None:
    group = Features(rows=DESIGN_FACTS, on=["k"], event_time="event", known_at="known")
    with pytest.raises(ValueError, match="v would come twice; rename one side"):
        point_in_time_joins(DESIGN_SPINE, [group, group], prediction_time="t")


ONE_RUN = """
import polars as pl
from platform_assets.compute.content_hash import content_hash
from platform_assets.compute.point_in_time import point_in_time_join
numbers = pl.int_range(200_000, eager=True)
at = lambda n: pl.from_epoch(n, time_unit="s").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
spine = pl.select(k=numbers % 997, t=at(numbers * 37 % 100_003))
rows = pl.select(k=numbers % 1_009, event=at(numbers * 53 % 10_007), known=at(numbers * 41 % 10_009), v=numbers % 5)
joined = point_in_time_join(
    spine, rows.lazy(), on=["k"], prediction_time="t", event_time="event", known_at="known", age_column="age"
)
print(pl.thread_pool_size(), content_hash(joined.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))))
"""


def test_the_number_of_threads_does_not_matter() -> None:
    told = {}
    for threads in ("1", "3"):
        environment = {**os.environ, "POLARS_MAX_THREADS": threads}
        command = [sys.executable, "-c", ONE_RUN]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
        told[said[0]] = said[1]
    assert set(told) == {"1", "3"}
    assert told["1"] == told["3"]


def test_a_lazy_group_is_read_only_where_questions_can_see_it(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    numbers = pl.int_range(20_000, eager=True)
    rows = pl.select(k=numbers % 1_000, event=pl.lit(start) + pl.duration(minutes=numbers), v=numbers)
    seen: list[int] = []

    def counted(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(len(frame))
        return frame

    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=1_000)
    scanned = pl.scan_parquet(tmp_path / "rows.parquet")
    spine = pl.DataFrame({"k": [5, 7], "t": [start + timedelta(minutes=10_050), start + timedelta(minutes=10_090)]})
    options: dict[str, Any] = {"on": ["k"], "prediction_time": "t", "event_time": "event", "known_at": "event"}
    day = timedelta(days=1)
    expected = point_in_time_join(spine, rows, **options, max_age=day)
    with pytest.MonkeyPatch.context() as patch:
        number = timelines.Timelines.number
        patch.setattr(
            timelines.Timelines,
            "number",
            lambda lines, frame: number(lines, counted(frame)),
        )
        assert_frame_equal(point_in_time_join(spine, scanned, **options, max_age=day), expected)
        assert seen[0] == 2, "the spine itself"
        assert sum(seen[1:]) == 4, "two entities, a day and less than two hours of their rows"
        seen.clear()
        assert_frame_equal(point_in_time_join(spine, scanned, **options), expected)
        assert sum(seen[1:]) == 22, "without an age limit all that is not later than the last question"
        seen.clear()
        point_in_time_join(spine, scanned, **options, max_age=day, age_column="age")
        assert sum(seen[1:]) == 22, "the age of an expired row is asked for, so it has to be found"
    assert expected["v"].to_list() == [10_005, 10_007]


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
