"""Days in stretches: the same as at once, and within the memory that is allowed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import platform_assets.pipelines.materialize as door
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days
from platform_assets.lake import ledger, writes
from platform_assets.lake.tables import Lake
from platform_assets.lake.writes import Written
from platform_assets.pipelines import publish
from platform_assets.pipelines.run import Materialization, Platform
from platform_assets.pipelines.stretches import machine_memory, stretches
from platform_assets_tests import shop

DERIVED = ("product_sales", "customer_history", "category_sales", "order_returned", "orders_asked")


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stretches")
    shop.land(root / "landing")
    shop.make(shop.platform(root), "products", "orders", "returns")
    return root


def made_with(root: Path, folder: Path, memory: int | None) -> tuple[Platform, dict[str, Materialization]]:

    shutil.copytree(root, folder)
    there = replace(shop.platform(folder), memory=memory)
    return there, {name: shop.make(there, name)[0] for name in DERIVED}


def test_days_made_in_stretches_are_those_made_at_once(landed: Path, tmp_path: Path) -> None:
    whole, at_once = made_with(landed, tmp_path / "whole", None)
    cut, in_parts = made_with(landed, tmp_path / "cut", 300_000)
    for name in DERIVED:
        one, other = at_once[name], in_parts[name]
        assert other.facts["computed in stretches"] > 1
        assert "computed in stretches" not in one.facts
        assert (other.rows, other.hashes, other.digest) == (one.rows, one.hashes, one.digest)
        assert other.days == one.days
        assert [(c.name, c.passed, c.blocking) for c in other.checks] == [
            (c.name, c.passed, c.blocking) for c in one.checks
        ]
        folder = table_folder("shop", name)
        rows = [p.lake.scan(folder).collect().sort(pl.all()) for p in (whole, cut)]
        assert rows[0].equals(rows[1])
        assert ledger.read(cut.lake).made(f"shop/{name}") == ledger.read(whole.lake).made(f"shop/{name}")


def test_what_is_shown_of_a_stretch_keeps_none_of_its_other_rows(
    landed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write(lake: Lake, table: str, rows: pl.DataFrame, **told: Any) -> Written:
        written.append(rows)
        return writes.write(lake, table, rows, **told)

    monkeypatch.setattr(publish, "write", write)
    shutil.copytree(landed, tmp_path / "shop")
    made = shop.make(shop.platform(tmp_path / "shop"), "product_sales")[0]
    assert made.preview.equals(written[-1].head(len(made.preview)))
    for name, dtype in made.preview.schema.items():
        if dtype.is_numeric() or dtype.is_temporal():
            begins = [rows[name].to_arrow().buffers()[1].address for rows in (made.preview, written[-1])]
            assert begins[0] != begins[1], f"{name}: a slice holds on to what it is a slice of"


def test_no_stretch_takes_more_than_it_may_unless_it_is_a_day(landed: Path) -> None:
    there, asked = shop.platform(landed), shop.CATALOGUE["customer_history"]
    for memory in (1, 100_000, 300_000, 10**12):
        parts = stretches(replace(there, memory=memory), shop.CATALOGUE, asked, shop.SOLD)
        assert [day for part in parts for day in part] == list(shop.SOLD)
        assert len(parts) == {1: len(shop.SOLD), 10**12: 1}.get(memory, len(parts))
    assert machine_memory() > 10**8


def test_what_a_stretch_has_made_stays_when_a_later_one_fails(
    landed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, _ = made_with(landed, tmp_path / "there", None)
    there = replace(there, memory=1)
    asset, late = "shop/customer_history", date(2024, 4, 1)
    before = ledger.read(there.lake).latest(asset)
    compute = door.compute_features

    def fail_late(*given: object) -> Materialization:
        if given[3] == Days(late, late):
            raise OSError("the disk went away")
        return compute(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(door, "compute_features", fail_late)
    with pytest.raises(OSError, match="went away"):
        shop.make(there, "customer_history")
    after = ledger.read(there.lake).latest(asset)
    anew = {day for day, entry in after.items() if entry.run_id != before[day].run_id}
    assert anew == {day for day in shop.SOLD if day < late}


PEAK = """
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from platform_assets_tests import shop
from platform_assets.declarations.times import Days

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

there = replace(shop.platform(Path(sys.argv[1])), memory=int(sys.argv[2]))
shop.make(there, "orders_asked", days=Days(date(2024, 3, 12), date(2024, 3, 13)))
before = peak()
made = shop.make(there, "orders_asked")[0]
print(made.row_count, peak() - before)
"""


@pytest.mark.slow
def test_memory_follows_the_stretch_and_not_how_many_days_are_made(tmp_path: Path) -> None:
    shop.land(tmp_path / "landing", per_day=3_000)
    shop.make(shop.platform(tmp_path), "products", "orders", "returns", *DERIVED)

    def run(memory: int) -> tuple[int, int]:
        command = [sys.executable, "-c", PEAK, str(tmp_path), str(memory)]
        rows, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return int(rows), int(peak)

    rows, at_once = run(10**12)
    again, in_stretches = run(10_000_000)
    assert rows == again == len(shop.SOLD) * 3_000
    assert in_stretches < at_once / 2
