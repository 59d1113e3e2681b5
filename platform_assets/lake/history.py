"""Tables that only grow: what was decided stays. A row is added only by who has seen all rows before it."""

from __future__ import annotations

import polars as pl
from deltalake import CommitProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from platform_assets.compute.content_hash import content_hash
from platform_assets.errors import TableError, WriteConflict
from platform_assets.lake.tables import AFTER_COMMIT, NEW_TABLE, Lake, explained
from platform_assets.lake.writes import Provenance


def add_rows(
    lake: Lake, table: str, rows: pl.DataFrame, *, seen: int | None, provenance: Provenance, description: str
) -> int:
    """Add rows to a table in one commit, and give back its version.

    Args:
        lake: the lake.
        table: the table's folder.
        rows: what is added.
        seen: the version whose rows the writer has seen; None where there was no table.
        provenance: what the commit records.
        description: of the table, when it is made.

    Raises:
        WriteConflict: when there is a newer version than `seen`: look again, and decide anew.
        TableError: naming the table, when it cannot be written.
    """
    properties = CommitProperties(custom_metadata=provenance.metadata((), content_hash(rows)), max_commit_retries=0)
    faster = f"table {table}: another writer was faster; run it again"
    path = lake.path(table)
    try:
        with explained(path, "write"):
            if seen is None:
                path.mkdir(parents=True, exist_ok=True)
                write_deltalake(
                    path,
                    rows,
                    mode="error",
                    description=description,
                    commit_properties=properties,
                    configuration=NEW_TABLE,
                )
                return 0
            with lake.writing(table, version=seen) as there:
                try:
                    write_deltalake(
                        there,
                        rows,
                        mode="append",
                        commit_properties=properties,
                        post_commithook_properties=AFTER_COMMIT,
                        schema_mode="merge",
                    )
                except CommitFailedError as error:
                    raise WriteConflict(faster) from error
                return there.version()
    except WriteConflict:
        raise
    except TableError as error:
        if seen is None and isinstance(error.__cause__, DeltaError) and lake.version(table) is not None:
            raise WriteConflict(faster) from error
        raise
