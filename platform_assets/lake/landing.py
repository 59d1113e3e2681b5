"""Landed files: what upstream delivered, found, stamped and read strictly.

A daily source has one file a day, `<source>/<day>.csv`; a snapshot has one, `<source>.csv`. Beside it may
lie a count of its data rows, `<day>.rows`, written last: where it does, the file must have that many.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from platform_assets.declarations.times import Days
from platform_assets.errors import LandedFileError, PartitionError, SourceUnavailable

FILE, LINE = "__file", "__line"
"""Columns beside the raw ones: the landed file's path below the landing folder, and the line in it."""
REASON = "__reason"
"""In `Landed.unreadable`: the cells that cannot be read as declared."""

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Landed:
    """What landed files hold.

    Attributes:
        rows: typed raw columns with `FILE` and `LINE`, in the files' order.
        unreadable: as text, with `FILE`, `LINE` and `REASON`.
        stamps: per day (or "" for a snapshot) what tells this delivery from another.
    """

    rows: pl.DataFrame
    unreadable: pl.DataFrame
    stamps: Mapping[str, str]


@dataclass(frozen=True)
class Landing:
    """The folder where upstream delivers."""

    root: Path

    def path(self, source: str, day: date | None) -> Path:
        """Where a delivery lies."""
        return self.root / f"{source}.csv" if day is None else self.root / source / f"{day}.csv"

    def days(self, source: str) -> set[date]:
        """The days delivered for a daily source."""
        found = set()
        for path in (self.root / source).glob("*.csv"):
            try:
                day = date.fromisoformat(path.stem)
                if str(day) != path.stem:
                    raise ValueError(path.stem)  # noqa: TRY301 - 20131231 is a day, but not the name of its file
                found.add(day)
            except ValueError as error:
                msg = f"{path}: not a day's file; name it like 2013-12-31.csv, or move it out of the landing folder"
                raise PartitionError(msg) from error
        return found

    def stamp(self, source: str, day: date | None) -> str | None:
        """Size and modification time of a delivery, or None when there is none."""
        try:
            found = self.path(source, day).stat()
        except FileNotFoundError:
            return None
        return f"{found.st_size}-{found.st_mtime_ns}"

    def stamps(self, source: str, days: Days | None) -> dict[str, str]:
        """The stamps of the deliveries of `days` that there are (of the snapshot under "")."""
        wanted: Sequence[date | None] = list(days) if days is not None else [None]
        found = {("" if day is None else str(day)): self.stamp(source, day) for day in wanted}
        return {day: stamp for day, stamp in found.items() if stamp is not None}

    def read(self, source: str, columns: Mapping[str, pl.DataType | type[pl.DataType]], days: Days | None) -> Landed:
        """Read the deliveries of `days` (of the snapshot when None).

        Raises:
            SourceUnavailable: naming the days for which nothing landed.
            LandedFileError: naming the file that is truncated, damaged or lacks a column.
        """
        stamps = self.stamps(source, days)
        paths = [self.path(source, day) for day in (days if days is not None else [None])]
        self._require_files(source, paths)
        by_header: dict[tuple[str, ...], list[Path]] = {}
        for path in paths:
            by_header.setdefault(self._header(path, columns), []).append(path)
        text = pl.concat([self._read_text(group, list(columns)) for group in by_header.values()])
        if len(by_header) > 1:
            text = text.sort(FILE, LINE)
        self._check_counts(paths, text)
        return _typed(text, columns, stamps)

    def _require_files(self, source: str, paths: Sequence[Path]) -> None:
        missing = [path for path in paths if not path.is_file()]
        if missing:
            shown = ", ".join(path.stem for path in missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
            msg = (
                f"source {source}: nothing landed for {shown} ({len(missing)} of {len(paths)} files); "
                f"expected {missing[0]}"
            )
            raise SourceUnavailable(msg)

    def _header(self, path: Path, columns: Mapping[str, object]) -> tuple[str, ...]:
        with path.open("rb") as file:
            content = file.read()
        if not content:
            msg = f"{path}: the file is empty, without even a header; deliver it again"
            raise LandedFileError(msg)
        if not content.endswith(b"\n"):
            msg = f"{path}: the file ends in the middle of a line, so it is truncated; deliver it again"
            raise LandedFileError(msg)
        try:
            header = tuple(next(csv.reader([content.split(b"\n", 1)[0].decode()]), ()))
        except (UnicodeDecodeError, csv.Error) as error:
            msg = f"{path}: the header cannot be read as UTF-8 text ({error}); deliver it again"
            raise LandedFileError(msg) from error
        missing = [name for name in columns if name not in header]
        if missing:
            lines = content.count(b"\n") - 1
            msg = (
                f"{path}: the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
                f"{'are' if len(missing) > 1 else 'is'} missing from all {lines} rows; it has {', '.join(header)}"
            )
            raise LandedFileError(msg)
        _refuse_short_lines(path, content, len(header))
        return header

    def _read_text(self, paths: Sequence[Path], columns: Sequence[str]) -> pl.DataFrame:
        try:
            frame = (
                pl.scan_csv(list(paths), infer_schema=False, include_file_paths=FILE, glob=False)
                .select(*columns, FILE)
                .collect()
            )
        except pl.exceptions.PolarsError as error:
            if len(paths) > 1:
                for path in paths:
                    self._read_text([path], columns)
            msg = f"{paths[0]}: not a well-formed CSV file ({str(error).splitlines()[0]}); deliver it again"
            raise LandedFileError(msg) from error
        return frame.with_columns(
            pl.col(FILE).str.strip_prefix(f"{self.root}/"), (pl.int_range(pl.len()).over(FILE) + 2).alias(LINE)
        )

    def _check_counts(self, paths: Sequence[Path], text: pl.DataFrame) -> None:
        counted = dict(text.group_by(FILE).len().iter_rows())
        for path in paths:
            note = path.with_suffix(".rows")
            if not note.is_file():
                continue
            said, found = note.read_text().strip(), counted.get(str(path.relative_to(self.root)), 0)
            if said != str(found):
                msg = (
                    f"{path}: {note.name} promises {said} rows, the file has {found}; it is truncated or half "
                    "delivered. Deliver it again, the count last"
                )
                raise LandedFileError(msg)


def _refuse_short_lines(path: Path, content: bytes, width: int) -> None:
    """Polars fills the cells that a line lacks with nulls, which would pass for empty cells."""
    if b'"' not in content and content.count(b",") >= content.count(b"\n") * (width - 1):
        return
    reader = csv.reader(io.StringIO(content.decode(errors="replace"), newline=""))
    for fields in reader:
        if len(fields) < width and width > 1:
            msg = f"{path}: line {reader.line_num} has {len(fields)} of {width} fields; deliver it again"
            raise LandedFileError(msg)


def _cells(name: str, dtype: pl.DataType | type[pl.DataType]) -> pl.Expr:
    """A text column as declared, null where a cell cannot be read."""
    if dtype == pl.String:
        return pl.col(name)
    text = pl.col(name).str.strip_chars()
    if dtype == pl.Boolean:
        return text.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        )
    if dtype == pl.Date:
        return text.str.to_date("%Y-%m-%d", strict=False)
    return text.cast(dtype, strict=False)


def _typed(
    text: pl.DataFrame, columns: Mapping[str, pl.DataType | type[pl.DataType]], stamps: Mapping[str, str]
) -> Landed:
    typed = text.with_columns(_cells(name, dtype).alias(name) for name, dtype in columns.items())
    wrong = {
        name: text.get_column(name).is_not_null() & typed.get_column(name).is_null()
        for name, dtype in columns.items()
        if dtype != pl.String
    }
    lost = [name for name, mask in wrong.items() if mask.any()]
    if not lost:
        return Landed(
            rows=typed, unreadable=text.clear().with_columns(pl.lit(None, pl.String).alias(REASON)), stamps=stamps
        )
    any_wrong = pl.DataFrame({name: wrong[name] for name in lost}).select(pl.any_horizontal(pl.all())).to_series()
    said = [
        pl.when(wrong[name]).then(
            pl.format(f"{name}: cannot read {{}} as {columns[name]}", pl.col(name).cast(pl.String))
        )
        for name in lost
    ]
    reasons = text.select(pl.concat_str(said, separator="; ", ignore_nulls=True).alias(REASON)).to_series()
    return Landed(rows=typed.filter(~any_wrong), unreadable=text.with_columns(reasons).filter(any_wrong), stamps=stamps)
