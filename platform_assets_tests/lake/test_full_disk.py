"""A real full disk: a small file system of the test's own, in a process with mounts of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import platform_assets_tests.lake.full_disk

FULL = "the disk is full; free some space and run it again. The table is as it was"


def test_a_full_disk_is_called_by_its_name_and_spoils_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-m", platform_assets_tests.lake.full_disk.__name__]
        + [str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(platform_assets_tests.__file__).parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(done.stdout)
    assert [one["free"] for one in told] == [0, 4_096, 8_192, 32_768, 98_304, 196_608]
    for one in told:
        assert one["said"][0] == f"cannot write the table at {tmp_path}/lake/shop/orders: {FULL}", one
        assert one["table as it was"], one
        assert one["whole when run again"], one
        assert one["other day as it was"], one
        for table, said in (("shop/new", one["said"][1]), ("ledger", one["said"][2])):
            assert said in ("written", f"cannot write the table at {tmp_path}/lake/{table}: {FULL}"), one
        assert one["recorded"] == (one["said"][2] == "written"), one
    assert told[0]["said"][2] != "written", "not even a ledger entry fits"
    assert list(tmp_path.iterdir()) == [], "nothing stays mounted"
