"""Landed files: every way in which a delivery can be wrong, and what is said about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from platform_assets.declarations.times import Days
from platform_assets.errors import LandedFileError, PartitionError, SourceUnavailable
from platform_assets.lake.landing import FILE, LINE, REASON, Landed, Landing

FIRST, SECOND, THIRD = (date(2024, 3, n) for n in (1, 2, 3))
COLUMNS: Mapping[str, type[pl.DataType]] = {
    "key": pl.String,
    "count": pl.Int32,
    "share": pl.Float64,
    "flag": pl.Boolean,
    "on": pl.Date,
}
HEADER = "key,count,share,flag,on\n"
GOOD = "a,1,0.5,true,2024-03-01\n"


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


def land(
    landing: Landing, content: str | bytes, day: date | None = FIRST, *, promised: int | str | None = None
) -> Path:
    path = landing.path("orders", day)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if promised is not None:
        path.with_suffix(".rows").write_text(f"{promised}\n")
    return path


def read(landing: Landing, last: date = FIRST) -> Landed:
    return landing.read("orders", COLUMNS, Days(FIRST, last))


def refusal(landing: Landing, last: date = FIRST) -> str:
    with pytest.raises(LandedFileError) as refused:
        read(landing, last)
    assert str(landing.root) in str(refused.value)
    return str(refused.value).removeprefix(f"{landing.root}/")


def test_cells_are_read_as_declared(landing: Landing) -> None:
    land(landing, HEADER + GOOD + "b, 2 ,1e3,FALSE,\n" + ",,,,\n", promised=3)
    found = read(landing)
    assert found.rows.schema == {
        **{name: dtype() for name, dtype in COLUMNS.items()},
        FILE: pl.String(),
        LINE: pl.Int64(),
    }
    assert found.rows.rows() == [
        ("a", 1, 0.5, True, date(2024, 3, 1), "orders/2024-03-01.csv", 2),
        ("b", 2, 1000.0, False, None, "orders/2024-03-01.csv", 3),
        (None, None, None, None, None, "orders/2024-03-01.csv", 4),
    ]
    assert found.unreadable.is_empty()


def test_days_come_in_order_each_with_its_file_and_stamp(landing: Landing) -> None:
    for day, key in ((THIRD, "c"), (FIRST, "a"), (SECOND, "b")):
        land(landing, HEADER + GOOD.replace("a", key, 1), day)
    found = read(landing, THIRD)
    assert found.rows["key"].to_list() == ["a", "b", "c"]
    assert list(found.stamps) == ["2024-03-01", "2024-03-02", "2024-03-03"]
    assert found.stamps["2024-03-02"] == landing.stamp("orders", SECOND)


def test_a_snapshot_is_one_file(landing: Landing) -> None:
    land(landing, HEADER + GOOD, None, promised=1)
    found = landing.read("orders", COLUMNS, None)
    assert (found.rows[FILE].to_list(), list(found.stamps)) == (["orders.csv"], [""])


def test_a_header_without_rows_is_a_quiet_day(landing: Landing) -> None:
    land(landing, HEADER, promised=0)
    assert read(landing).rows.is_empty()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("extra," + HEADER + "x," + GOOD, "a", id="an extra column"),
        pytest.param("on,flag,share,count,key\n2024-03-01,true,0.5,1,a\n", "a", id="columns in another order"),
        pytest.param(HEADER.replace("\n", "\r\n") + GOOD.replace("\n", "\r\n"), "a", id="line ends of another system"),
        pytest.param(HEADER + '"a, ""b""",1,0.5,true,2024-03-01\n', 'a, "b"', id="quotes"),
        pytest.param('"key","count","share","flag","on"\n' + GOOD, "a", id="a quoted header"),
        pytest.param(HEADER + '"a\nb",1,0.5,true,2024-03-01\n', "a\nb", id="a line end inside quotes"),
        pytest.param(HEADER + '"",1,0.5,true,2024-03-01\n', "", id="an empty text"),
        pytest.param(HEADER + "é,1,0.5,true,2024-03-01\n", "é", id="an accent"),
    ],
)
def test_harmless_differences_are_read_all_the_same(landing: Landing, content: str, expected: str) -> None:
    land(landing, content)
    assert read(landing).rows.select(*COLUMNS).rows() == [(expected, 1, 0.5, True, date(2024, 3, 1))]


def test_files_whose_columns_differ_are_read_together(landing: Landing) -> None:
    land(landing, HEADER + GOOD, FIRST)
    land(landing, "on,flag,share,count,key\n2024-03-02,false,0.5,2,b\n", SECOND)
    land(landing, "extra," + HEADER + "x," + GOOD, THIRD)
    found = read(landing, THIRD).rows
    assert found["key"].to_list() == ["a", "b", "a"]
    assert found[FILE].to_list() == [f"orders/2024-03-0{n}.csv" for n in (1, 2, 3)]


def test_a_cell_that_cannot_be_read_is_set_apart_with_its_file_line_and_reason(landing: Landing) -> None:
    land(landing, HEADER + GOOD + "b,many,half,perhaps,1.3.2024\n" + "c,1.0,1,true,2024-03-01 10:00\n" + "d, ,1,1,\n")
    found = read(landing)
    assert found.rows["key"].to_list() == ["a"]
    assert dict(found.unreadable.select(LINE, REASON).iter_rows()) == {
        3: "count: cannot read many as Int32; share: cannot read half as Float64; flag: cannot read perhaps as Boolean; "
        "on: cannot read 1.3.2024 as Date",
        4: "count: cannot read 1.0 as Int32; on: cannot read 2024-03-01 10:00 as Date",
        5: "count: cannot read   as Int32; flag: cannot read 1 as Boolean",
    }
    assert found.unreadable.select("key", FILE).rows() == [(k, "orders/2024-03-01.csv") for k in "bcd"]


def test_a_number_that_does_not_fit_cannot_be_read(landing: Landing) -> None:
    land(landing, HEADER + "a,3000000000,0.5,true,\n")
    assert read(landing).unreadable[REASON].to_list() == ["count: cannot read 3000000000 as Int32"]


@pytest.mark.parametrize(
    ("content", "promised", "message"),
    [
        pytest.param("", None, "the file is empty, without even a header; deliver it again", id="empty"),
        pytest.param(
            HEADER + GOOD + "b,1",
            None,
            "the file ends in the middle of a line, so it is truncated",
            id="truncated in a line",
        ),
        pytest.param(
            HEADER + GOOD,
            2,
            "2024-03-01.rows promises 2 rows, the file has 1; it is truncated or half delivered",
            id="truncated after a line",
        ),
        pytest.param(HEADER, 1, "2024-03-01.rows promises 1 rows, the file has 0", id="truncated after the header"),
        pytest.param(HEADER + GOOD, "?", r"2024-03-01.rows promises \? rows, the file has 1", id="a damaged promise"),
        pytest.param(
            "key,share,flag,on\na,1,true,\nb,1,true,\n",
            None,
            "the column count is missing from all 2 rows; it has key, share, flag, on",
            id="missing column",
        ),
        pytest.param(
            "key,share\na,1\n",
            None,
            "the columns count, flag, on are missing from all 1 rows; it has key, share",
            id="missing columns",
        ),
        pytest.param(
            "\n", None, "the columns key, count, share, flag, on are missing from all 0 rows", id="an empty line"
        ),
        pytest.param(
            HEADER + GOOD + "b,1,0.5,true,,x\n",
            None,
            "not a well-formed CSV file .*; deliver it again",
            id="too many fields",
        ),
        pytest.param(
            HEADER + GOOD + "b,1\n" + GOOD, None, "line 3 has 2 of 5 fields; deliver it again", id="too few fields"
        ),
        pytest.param(
            HEADER + "b,1\n" + "c,1,0.5,true,,x,y,z\n",
            None,
            "not a well-formed CSV file|line 2 has 2 of 5 fields",
            id="too few and too many",
        ),
        pytest.param(HEADER + '"a",1,0.5,true\n', None, "line 2 has 4 of 5 fields", id="too few fields beside quotes"),
        pytest.param(HEADER + GOOD + "\n" + GOOD, None, "line 3 has 0 of 5 fields", id="a blank line"),
        pytest.param(
            HEADER + '"a,1,0.5,true,\n' + GOOD, None, "line 3 has 1 of 5 fields", id="a quote that is not closed"
        ),
        pytest.param(
            HEADER.encode() + b"\xff\xfe,1,0.5,true,\n",
            None,
            "not a well-formed CSV file .*utf-8",
            id="another encoding",
        ),
        pytest.param(b"\xff\xfe\n", None, "the header cannot be read as UTF-8 text", id="a header in another encoding"),
    ],
)
def test_a_damaged_file_is_refused_by_name(
    landing: Landing, content: str | bytes, promised: int | str | None, message: str
) -> None:
    land(landing, content, promised=promised)
    said = refusal(landing)
    assert said.startswith("orders/2024-03-01.csv: ")
    assert re.search(message, said), said


def test_of_many_files_the_damaged_one_is_named(landing: Landing) -> None:
    land(landing, HEADER + GOOD, FIRST)
    land(landing, HEADER + GOOD + "b,1,0.5,true,,x\n", SECOND)
    land(landing, HEADER + GOOD, THIRD)
    assert refusal(landing, THIRD).startswith("orders/2024-03-02.csv: not a well-formed CSV file")


def test_nothing_landed(landing: Landing) -> None:
    land(landing, HEADER + GOOD, SECOND)
    with pytest.raises(
        SourceUnavailable,
        match=r"source orders: nothing landed for 2024-03-01, 2024-03-03 \(2 of 3 files\); expected .*orders/2024-03-01.csv",
    ):
        read(landing, THIRD)
    with pytest.raises(
        SourceUnavailable, match=r"nothing landed for returns \(1 of 1 files\); expected .*/returns.csv"
    ):
        landing.read("returns", COLUMNS, None)


def test_many_missing_days_are_shown_in_part(landing: Landing) -> None:
    with pytest.raises(SourceUnavailable, match=r"2024-03-01, 2024-03-02, 2024-03-03, ... \(31 of 31 files\)"):
        read(landing, date(2024, 3, 31))


def test_the_days_that_landed_are_told_by_their_files(landing: Landing) -> None:
    assert landing.days("orders") == set()
    land(landing, HEADER, FIRST, promised=0)
    land(landing, HEADER, THIRD)
    assert landing.days("orders") == {FIRST, THIRD}


@pytest.mark.parametrize("name", ["march", "20240301", "2024-W09-5"])
def test_a_file_that_is_no_day_is_refused(landing: Landing, name: str) -> None:
    land(landing, HEADER, FIRST).with_name(f"{name}.csv").write_text(HEADER)
    with pytest.raises(PartitionError, match=rf"orders/{name}.csv: not a day's file; name it like 2013-12-31.csv"):
        landing.days("orders")


def test_another_delivery_has_another_stamp(landing: Landing) -> None:
    land(landing, HEADER + GOOD)
    first = landing.stamps("orders", Days(FIRST, SECOND))
    land(landing, HEADER + GOOD + GOOD)
    assert list(first) == ["2024-03-01"]
    assert landing.stamps("orders", Days(FIRST, SECOND)) != first
    assert landing.stamp("orders", SECOND) is None


@pytest.mark.parametrize("name", ["with spaces [1] {a,b} *?", "ümlaut"])
def test_the_landing_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    landing = Landing(tmp_path / name)
    land(landing, HEADER + GOOD, promised=1)
    assert read(landing).rows[FILE].to_list() == ["orders/2024-03-01.csv"]
