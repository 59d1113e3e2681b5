"""A write replaces exactly what it names, and nothing when there is nothing to replace."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.compute.content_hash import content_hash
from platform_assets.declarations.declaration import Column
from platform_assets.errors import SchemaChanged, WriteRefused
from platform_assets.lake.tables import Lake
from platform_assets.lake.writes import Provenance, plan_write, write
from platform_assets_tests.lake.writers import COLUMNS, TABLE, day, days, held, put, rows

THREE_DAYS = rows(("a", 1, 1), ("b", 2, 1), ("a", 3, 2), ("a", 4, 3))
NEW_COLUMN = (*COLUMNS, Column(name="note", dtype=pl.String()))
RETYPED = (COLUMNS[0], Column(name="value", dtype=pl.Float64()))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def files_of(lake: Lake, table: str = TABLE) -> dict[str, bytes]:
    """The live files of a table and what is in them."""
    return {uri: Path(uri).read_bytes() for uri in lake.open(table).file_uris()}


def test_the_first_write_makes_the_table(lake: Lake) -> None:
    written = put(lake, THREE_DAYS, days(1, 4))
    assert (written.version, written.plan.base, written.plan.writes) == (0, None, True)
    assert written.plan.rows == {day(1): 2, day(2): 1, day(3): 1, day(4): 0}
    assert held(lake) == sorted(THREE_DAYS.rows())
    found = lake.open(TABLE).metadata()
    assert (found.partition_columns, found.description) == (["day"], "Orders.")
    assert lake.scan(TABLE).collect_schema() == pl.Schema({c.name: c.dtype for c in COLUMNS} | {"day": pl.Date()})


def test_a_day_is_replaced_exactly_and_the_files_of_the_others_are_not_touched(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    before = files_of(lake)
    written = put(lake, rows(("c", 9, 2), ("d", 8, 2)), days(2))
    after = files_of(lake)
    assert written.plan.replace == (days(2),)
    assert held(lake) == [("a", 1, day(1)), ("a", 4, day(3)), ("b", 2, day(1)), ("c", 9, day(2)), ("d", 8, day(2))]
    others = {uri: content for uri, content in before.items() if f"day={day(2)}" not in uri}
    assert len(others) == 2
    assert {uri: content for uri, content in after.items() if f"day={day(2)}" not in uri} == others


def test_only_the_days_that_differ_are_rewritten(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    before = files_of(lake)
    written = put(lake, rows(("a", 1, 1), ("b", 2, 1), ("a", 7, 2), ("a", 4, 3)), days(1, 3))
    assert written.plan.replace == (days(2),)
    assert {uri for uri in files_of(lake) if f"day={day(2)}" not in uri} < set(before)


def test_an_empty_day_deletes_the_rows_of_the_day(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    written = put(lake, rows(), days(2))
    assert written.plan.writes
    assert held(lake) == [("a", 1, day(1)), ("a", 4, day(3)), ("b", 2, day(1))]
    assert lake.days(TABLE) == {day(1), day(3)}


def test_equal_content_makes_no_new_version_in_any_order(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    again = put(lake, THREE_DAYS.reverse(), days(1, 3))
    part = put(lake, rows(("a", 3, 2)), days(2))
    nothing = put(lake, rows(), days(7))
    assert [w.version for w in (again, part, nothing)] == [0, 0, 0]
    assert not any(w.plan.writes for w in (again, part, nothing))
    assert again.plan.replace == ()
    assert lake.version(TABLE) == 0


def test_a_row_that_comes_twice_is_new_content(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    assert put(lake, rows(("a", 3, 2), ("a", 3, 2)), days(2)).version == 1
    assert len(held(lake)) == 5


def test_the_plan_says_what_the_write_does(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    changed = rows(("z", 1, 1), ("a", 3, 2), ("z", 1, 3))
    planned = plan_write(lake, TABLE, changed, columns=COLUMNS, days=days(1, 3))
    assert planned.replace == (days(1), days(3))
    assert lake.version(TABLE) == 0
    assert put(lake, changed, days(1, 3)).plan == planned


def test_the_digest_is_that_of_the_content_alone(lake: Lake) -> None:
    first = put(lake, THREE_DAYS, days(1, 3))
    other = put(Lake(lake.root / "other"), THREE_DAYS.reverse(), days(1, 3))
    changed = put(lake, rows(("a", 5, 3)), days(3))
    assert first.plan.digest == other.plan.digest
    assert changed.plan.digest != first.plan.digest
    snapshot = THREE_DAYS.drop("day")
    assert put(lake, snapshot, None, table="shop/snapshot").plan.digest == content_hash(snapshot)


@pytest.mark.parametrize("stranger", [rows(("a", 1, 4)), rows(("a", 1, 1)).with_columns(day=pl.lit(None, pl.Date))])
def test_rows_outside_the_days_are_refused(lake: Lake, stranger: pl.DataFrame) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    with pytest.raises(
        WriteRefused, match=r"table shop/orders: 1 rows lie on (2024-03-04|None), outside 2024-03-02 to 2024-03-03"
    ):
        put(lake, pl.concat([rows(("a", 1, 2)), stranger]), days(2, 3))
    assert lake.version(TABLE) == 0


def test_a_new_column_is_allowed_named_and_null_in_the_old_days(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    before = files_of(lake)
    written = put(lake, rows(("a", 3, 2)).with_columns(note=pl.lit("n")), days(2), columns=NEW_COLUMN)
    assert written.plan.new_columns == ("note",)
    found = lake.scan(TABLE).select("day", "note").collect()
    assert sorted(found.rows(), key=str) == [(day(1), None), (day(1), None), (day(2), "n"), (day(3), None)]
    assert {uri for uri in before if f"day={day(2)}" not in uri} < set(files_of(lake))


def test_after_a_new_column_equal_content_is_equal_again(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    put(lake, rows(("a", 3, 2)).with_columns(note=pl.lit("n")), days(2), columns=NEW_COLUMN)
    same = rows(("a", 4, 3)).with_columns(note=pl.lit(None, pl.String))
    assert not put(lake, same, days(3), columns=NEW_COLUMN).plan.writes


def test_a_changed_type_is_refused_for_a_part_with_both_types(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    with pytest.raises(
        SchemaChanged,
        match=r"table shop/orders: value is Int64 there and Float64 now; a write of 2024-03-02 would leave",
    ):
        put(lake, rows(("a", 3, 2)).cast({"value": pl.Float64}), days(2), columns=RETYPED)
    assert held(lake) == sorted(THREE_DAYS.rows())


def test_a_dropped_column_is_refused_for_a_part(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    with pytest.raises(
        SchemaChanged, match=r"value is gone; a write of 2024-03-02 .* Materialize all of its days at once"
    ):
        put(lake, rows(("a", 3, 2)).drop("value"), days(2), columns=COLUMNS[:1])


def test_the_whole_may_change_its_types_and_columns(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    retyped = THREE_DAYS.cast({"value": pl.Float64})
    assert put(lake, retyped, days(1, 4), columns=RETYPED).plan.rewrite_schema
    assert lake.scan(TABLE).collect_schema()["value"] == pl.Float64
    assert held(lake) == sorted(retyped.rows())
    put(lake, THREE_DAYS.drop("value"), days(1, 3), columns=COLUMNS[:1])
    assert lake.scan(TABLE).collect_schema().names() == ["key", "day"]


def test_a_snapshot_is_replaced_as_a_whole(lake: Lake) -> None:
    snapshot = THREE_DAYS.drop("day")
    assert put(lake, snapshot, None).plan.hashes == {None: content_hash(snapshot)}
    assert not put(lake, snapshot.reverse(), None).plan.writes
    assert put(lake, snapshot.head(1), None).version == 1
    assert lake.scan(TABLE).collect().equals(snapshot.head(1))
    assert lake.open(TABLE).metadata().partition_columns == []


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ((THREE_DAYS, days(1, 3)), (THREE_DAYS.drop("day"), None), "it is cut into days there and one piece now"),
        ((THREE_DAYS.drop("day"), None), (THREE_DAYS, days(1, 3)), "it is one piece there and cut into days now"),
    ],
)
def test_a_table_stays_cut_as_it_is(lake: Lake, first: tuple, second: tuple, message: str) -> None:
    put(lake, *first)
    with pytest.raises(SchemaChanged, match=f"table shop/orders: {message}; declare it under a new name"):
        put(lake, *second)
    assert lake.version(TABLE) == 0


def test_a_commit_says_where_its_rows_came_from(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    written = put(lake, rows(("z", 1, 1), ("a", 3, 2), ("z", 1, 3)), days(1, 3), run="run-2")
    commit = lake.open(TABLE).history(limit=1)[0]
    assert commit["platform.asset"] == TABLE
    assert commit["platform.fingerprint"] == "f00d"
    assert commit["platform.run"] == "run-2"
    assert json.loads(commit["platform.inputs"]) == {"raw": 3}
    assert json.loads(commit["platform.partitions"]) == [["2024-03-01"] * 2, ["2024-03-03"] * 2]
    assert commit["platform.content_hash"] == written.plan.digest


def test_old_versions_stay_readable(lake: Lake) -> None:
    put(lake, THREE_DAYS, days(1, 3))
    put(lake, rows(), days(1, 3))
    assert held(lake) == []
    assert sorted(lake.scan(TABLE, version=0).select("key", "value", "day").collect().rows()) == sorted(
        THREE_DAYS.rows()
    )
    assert DeltaTable(lake.path(TABLE)).metadata().configuration["delta.logRetentionDuration"] == "interval 3650 days"


cells = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.none() | st.integers(0, 2), st.integers(1, 3)), max_size=5)


@settings(max_examples=12)
@given(history=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), cells), min_size=1, max_size=5))
def test_a_table_is_what_a_dictionary_of_days_would_be(tmp_path_factory: pytest.TempPathFactory, history: list) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    model: dict[int, list[tuple]] = {}
    for first, length, written in history:
        span = range(first, first + length + 1)
        kept = [cell for cell in written if cell[2] in span]
        before, version = dict(model), lake.version(TABLE)
        model |= {number: sorted((c for c in kept if c[2] == number), key=str) for number in span}
        done = put(lake, rows(*kept), days(first, first + length))
        same = all(before.get(number, []) == model[number] for number in span)
        assert done.plan.writes == (version is None or not same)
        found = lake.scan(TABLE).select("key", "value", "day").collect().rows()
        assert sorted(found, key=str) == sorted(
            ((k, v, day(n)) for part in model.values() for k, v, n in part), key=str
        )


def test_what_is_known_to_be_new_is_written_without_a_look_at_what_is_there(lake: Lake) -> None:
    put(lake, rows(("a", 1, 1), ("a", 2, 2)), days(1, 2))
    for file in lake.path(TABLE).glob("day=2024-03-02/*.parquet"):
        file.unlink()
    provenance = Provenance(asset=TABLE, fingerprint="f00d", run_id="run-2", inputs={})
    written = write(lake, TABLE, rows(("b", 3, 2)), columns=COLUMNS, days=days(2), provenance=provenance, compare=False)
    assert (written.version, written.plan.hashes, written.plan.rows) == (1, {}, {day(2): 1})
    assert "platform.content_hash" not in (lake.commit(TABLE, 1) or {})
    assert lake.changes(TABLE, since=0, until=1) == {1: {day(2)}}
    assert held(lake) == [("a", 1, day(1)), ("b", 3, day(2))]
