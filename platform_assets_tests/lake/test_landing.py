"""Landed files: every way in which a delivery can be wrong, and what is said about it."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.declarations.times import Days
from platform_assets.errors import LandedFileError, PartitionError, SourceUnavailable
from platform_assets.lake.landing import FILE, LINE, REASON, Delivery, Landed, Landing, corrected_at, day_of_file

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
MORNING, NOON = (datetime(2024, 3, 5, hour, tzinfo=UTC) for hour in (6, 12))


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


def land(
    landing: Landing,
    content: str | bytes,
    day: date | None = FIRST,
    *,
    promised: int | str | None = None,
    at: datetime | None = None,
) -> Path:
    path = landing.path("orders", day, at)
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
    land(landing, HEADER, SECOND, at=NOON)
    assert landing.days("orders") == {FIRST, THIRD}, "a correction alone does not deliver its day"


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


def test_a_correction_lies_beside_its_day_and_is_read_after_it(landing: Landing) -> None:
    land(landing, HEADER + GOOD.replace("a", "late", 1), at=NOON, promised=1)
    land(landing, "on,flag,share,count,key\n2024-03-01,true,0.5,1,early\n", at=MORNING)
    land(landing, HEADER + GOOD, promised=1)
    land(landing, HEADER + GOOD.replace("a", "next", 1), SECOND)
    found = read(landing, SECOND)
    files = [
        "2024-03-01.csv",
        "2024-03-01@2024-03-05T060000Z.csv",
        "2024-03-01@2024-03-05T120000Z.csv",
        "2024-03-02.csv",
    ]
    assert found.rows.select("key", FILE, LINE).rows() == [
        (key, f"orders/{file}", 2) for key, file in zip(["a", "early", "late", "next"], files, strict=True)
    ]
    assert [d.path.name for d in found.deliveries] == files
    assert found.corrections == (
        Delivery(path=landing.path("orders", FIRST, MORNING), day=FIRST, corrected_at=MORNING),
        Delivery(path=landing.path("orders", FIRST, NOON), day=FIRST, corrected_at=NOON),
    )
    assert found.rows.select(day_of_file().alias("day"), corrected_at().alias("at")).rows() == [
        (FIRST, None),
        (FIRST, MORNING),
        (FIRST, NOON),
        (SECOND, None),
    ]
    assert found.rows.select(corrected_at()).dtypes == [pl.Datetime("us", "UTC")]
    assert list(found.stamps) == ["2024-03-01", "2024-03-02"]


def test_the_files_of_a_snapshot_and_of_a_first_delivery_are_no_corrections(landing: Landing) -> None:
    land(landing, HEADER + GOOD, None)
    found = landing.read("orders", COLUMNS, None)
    assert found.rows.select(day_of_file(), corrected_at().alias("at")).rows() == [(None, None)]
    assert found.corrections == ()


def test_every_change_of_a_correction_changes_the_stamp_of_its_day_and_of_no_other(landing: Landing) -> None:
    stamps = []

    def note() -> None:
        found = landing.stamps("orders", Days(FIRST, SECOND))
        assert found == {str(day): landing.stamp("orders", day) for day in (FIRST, SECOND)}
        stamps.append((found["2024-03-01"], found["2024-03-02"]))

    land(landing, HEADER + GOOD)
    land(landing, HEADER + GOOD, SECOND)
    note()
    path = land(landing, HEADER + GOOD, at=NOON)
    note()
    other = land(landing, HEADER + GOOD, at=MORNING)
    note()
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    note()
    path.write_text(HEADER)
    note()
    other.rename(landing.path("orders", FIRST, datetime(2024, 3, 5, 6, 0, 1, tzinfo=UTC)))
    note()
    assert len({first for first, _ in stamps}) == len(stamps)
    assert len({second for _, second in stamps}) == 1
    path.unlink()
    landing.path("orders", FIRST, datetime(2024, 3, 5, 6, 0, 1, tzinfo=UTC)).unlink()
    note()
    assert stamps[-1] == stamps[0], "without a correction it is what it always was"


def test_a_correction_of_a_day_that_has_not_landed_is_not_enough(landing: Landing) -> None:
    land(landing, HEADER + GOOD, at=NOON)
    assert landing.stamps("orders", Days(FIRST, SECOND)) == {}
    with pytest.raises(
        SourceUnavailable,
        match=r"nothing landed for 2024-03-01 \(1 of 1 files\); expected .*orders/2024-03-01.csv, which "
        r"2024-03-01@2024-03-05T120000Z.csv is to correct",
    ):
        read(landing)


@pytest.mark.parametrize(
    "instant",
    ["", "noon", "2024-03-05", "2024-03-05T12:00:00Z", "2024-03-05T120000", "2024-03-05T1200Z", "2024-03-05T250000Z"],
)
def test_a_correction_without_a_readable_instant_is_refused(landing: Landing, instant: str) -> None:
    land(landing, HEADER + GOOD).with_name(f"2024-03-01@{instant}.csv").write_text(HEADER)
    expected = (
        rf"orders/2024-03-01@{instant}.csv: not a correction's file; name it after the instant \(UTC\) at which it is "
        r"delivered, like 2024-03-01@2014-01-02T060000Z.csv, or move it out"
    )
    for look in (lambda: landing.days("orders"), lambda: landing.stamp("orders", FIRST), lambda: read(landing)):
        with pytest.raises(PartitionError, match=expected):
            look()


def test_a_correction_of_a_snapshot_is_refused(landing: Landing) -> None:
    land(landing, HEADER + GOOD, None).with_name("orders@2024-03-05T060000Z.csv").write_text(HEADER)
    for look in (lambda: landing.stamp("orders", None), lambda: landing.read("orders", COLUMNS, None)):
        with pytest.raises(LandedFileError, match=r"a snapshot has no corrections; deliver it whole as orders.csv, or"):
            look()


@pytest.mark.parametrize(
    ("content", "promised", "message"),
    [
        (HEADER + GOOD, 2, "2024-03-01@2024-03-05T120000Z.rows promises 2 rows, the file has 1"),
        (HEADER + GOOD + "b,1", None, "the file ends in the middle of a line"),
        ("key,share,flag,on\na,1,true,\n", None, "the column count is missing from all 1 rows"),
    ],
)
def test_a_damaged_correction_is_refused_by_name(
    landing: Landing, content: str, promised: int | None, message: str
) -> None:
    land(landing, HEADER + GOOD, promised=1)
    land(landing, content, at=NOON, promised=promised)
    said = refusal(landing)
    assert said.startswith("orders/2024-03-01@2024-03-05T120000Z.csv: ")
    assert message in said


def test_after_a_line_break_inside_quotes_lines_are_those_that_an_editor_shows(landing: Landing) -> None:
    land(landing, '"key",count,share,flag,on\n"a\n\nb",1,0.5,true,\n' + GOOD + '"c\n",x,0.5,true,\n' + "d,y,1,true,\n")
    land(landing, HEADER + GOOD + GOOD, SECOND)
    found = read(landing, SECOND)
    assert found.rows.select(FILE, LINE).rows() == [
        ("orders/2024-03-01.csv", 2),
        ("orders/2024-03-01.csv", 5),
        ("orders/2024-03-02.csv", 2),
        ("orders/2024-03-02.csv", 3),
    ]
    assert found.unreadable[LINE].to_list() == [6, 8]


@settings(max_examples=60)
@given(keys=st.lists(st.text(alphabet='ab,"\n', max_size=6), max_size=8), single=st.booleans())
def test_every_row_has_the_line_on_which_it_begins(tmp_path_factory, keys: list[str], single: bool) -> None:
    landing = Landing(tmp_path_factory.mktemp("landing"))
    columns = {"key": pl.String} if single else {"key": pl.String, "count": pl.Int32}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    begins = []
    for cells in [["key", "count"], *([key, number] for number, key in enumerate(keys))]:
        begins.append(text.getvalue().count("\n") + 1)
        writer.writerow(cells[: len(columns)])
    land(landing, text.getvalue())
    found = landing.read("orders", columns, Days(FIRST, FIRST)).rows
    assert found["key"].to_list() == keys
    assert found[LINE].to_list() == begins[1:]


def test_a_quote_that_is_never_closed_in_a_large_file_is_refused_by_name(landing: Landing) -> None:
    land(landing, HEADER + '"a,1,0.5,true,\n' + GOOD * 10_000)
    assert re.search(r"not a well-formed CSV file \(field larger .*, line 2\)", refusal(landing))


@pytest.mark.parametrize("name", ["with spaces [1] {a,b} *?", "ümlaut"])
def test_the_landing_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    landing = Landing(tmp_path / name)
    land(landing, HEADER + GOOD, promised=1)
    assert read(landing).rows[FILE].to_list() == ["orders/2024-03-01.csv"]
