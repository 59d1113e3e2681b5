"""Finding one row of a table, and seeing whether a version can still be read, by the log more than by the files."""

from __future__ import annotations

from datetime import date
from urllib.parse import unquote

import polars as pl

from platform_assets.declarations.names import DAY
from platform_assets.errors import TableError
from platform_assets.lake.tables import Lake


def days_that_may_hold(lake: Lake, folder: str, *, version: int, column: str, value: str) -> set[date]:
    """The days whose files may hold a text in a column, from the least and greatest that the log has of each file.

    A file of which the log has none counts, and so does one whose text is cut short there.

    Raises:
        TableError: when the version cannot be opened.
    """
    files = pl.DataFrame(lake.open(folder, version=version).get_add_actions(flatten=True))
    least, greatest = f"min.{column}", f"max.{column}"
    if {least, greatest} <= set(files.columns):
        cut = pl.lit(value).str.head(pl.col(greatest).str.len_chars())
        within = (pl.col(least) <= value) & (pl.col(greatest) >= cut)
        files = files.filter(within | pl.col(least).is_null() | pl.col(greatest).is_null())
    return {day if isinstance(day, date) else date.fromisoformat(day) for day in files.get_column(f"partition.{DAY}")}


def why_unreadable(lake: Lake, folder: str, version: int) -> str | None:
    """Why a version cannot be read any more, from the log and the names of the files; None when it can."""
    try:
        newest = lake.version(folder)
        if newest is None or newest < version:
            there = "it is not there" if newest is None else f"its newest is {newest}"
            return f"the table has no version {version} any more, {there}; it was made anew or moved away"
        files = pl.DataFrame(lake.open(folder, version=version).get_add_actions(flatten=True)).get_column("path")
    except TableError as error:
        return str(error)
    missing = sorted(name for name in map(unquote, files) if not (lake.path(folder) / name).is_file())
    if not missing:
        return None
    return f"{len(missing)} of the {len(files)} files of version {version} are missing, for example {missing[0]}"
