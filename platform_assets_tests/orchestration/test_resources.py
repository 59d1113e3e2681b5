"""What a code location hands to its steps."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from platform_assets.orchestration.resources import resources
from platform_assets.settings import load_settings


def test_the_platform_opens_connections_of_their_own_and_closes_them(tmp_path: Path) -> None:
    opened = resources(load_settings({"PLATFORM_DATA": str(tmp_path)}))["platform"].open()
    with opened.connect() as one, opened.connect() as other:
        one.execute("CREATE TABLE held AS SELECT 1 AS n")
        assert one.sql("SELECT current_setting('threads')").fetchall() == [(2,)]
        with pytest.raises(duckdb.CatalogException):
            other.sql("SELECT * FROM held")
    for connection in (one, other):
        with pytest.raises(duckdb.ConnectionException):
            connection.sql("SELECT 1")
