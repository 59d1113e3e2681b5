"""Every error the platform raises on purpose.

    PlatformError
    ├── SettingsError         an environment variable, folder or port is wrong
    ├── DeclarationError      one declaration is wrong; raised when it is built
    ├── CatalogueError        declarations do not fit together; all problems at once
    ├── PartitionError        a day that the asset does not have
    ├── SourceError           what upstream delivered cannot be used
    │   ├── SourceUnavailable     nothing was delivered
    │   └── LandedFileError       a landed file is damaged or broke its shape
    ├── ContractError         rows break the declared contract and the policy is to fail
    ├── TableError            a Delta table cannot be read or written
    │   ├── TableMissing          an input has not been materialized yet
    │   ├── SchemaChanged         a write would change a column's type or drop a column
    │   ├── WriteRefused          rows lie outside the partitions the write may replace
    │   └── WriteConflict         other writers won every retry
    ├── ModelError            a model is missing, or was given columns it does not know
    └── NotFound              what was asked about is not there

A message names the thing, the culprit and the fix, in that order.
"""

from __future__ import annotations

from collections.abc import Sequence


class PlatformError(Exception):
    """Base of every error raised on purpose; catching it catches nothing else."""


class SettingsError(PlatformError):
    """An environment variable, folder or port is wrong."""


class DeclarationError(PlatformError):
    """One declaration is wrong."""


class CatalogueError(PlatformError):
    """Declarations do not fit together.

    Attributes:
        problems: every problem found, one sentence each.
    """

    def __init__(self, catalogue: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(f"catalogue {catalogue!r} has {count}:\n" + "\n".join(f"  - {p}" for p in self.problems))


class PartitionError(PlatformError):
    """A day that the asset does not have."""


class SourceError(PlatformError):
    """What upstream delivered cannot be used."""


class SourceUnavailable(SourceError):
    """Nothing was delivered where something was expected."""


class LandedFileError(SourceError):
    """A landed file is damaged, or its columns or cells are not what was declared."""


class ContractError(PlatformError):
    """Rows break the declared contract and the declared policy is to fail."""


class TableError(PlatformError):
    """A Delta table cannot be read or written."""


class TableMissing(TableError):
    """An input has not been materialized yet."""


class SchemaChanged(TableError):
    """A write would change a column's type, or drop a column."""


class WriteRefused(TableError):
    """Rows lie outside the partitions that the write may replace."""


class WriteConflict(TableError):
    """Other writers won every retry."""


class ModelError(PlatformError):
    """A model is missing, or was given columns that it does not know."""


class NotFound(PlatformError):
    """What was asked about is not there: a prediction, a model version or a feature."""
