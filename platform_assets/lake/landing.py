"""Landed files: what upstream delivered, found, stamped and read strictly.

A daily source has a first delivery a day, `<source>/<day>.csv`, and beside it any number of corrections,
`<source>/<day>@<instant>.csv`, each named after the instant (UTC) at which it was delivered and holding
only the rows that are new or changed; a snapshot has one file, `<source>.csv`. Beside each may lie a count
of its data rows of the same name, `<day>.rows`, written last: where it does, the file must have that many.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from platform_assets.declarations.times import Days
from platform_assets.errors import LandedFileError, PartitionError, SourceUnavailable

FILE, LINE = "__file", "__line"
"""Columns beside the raw ones: the landed file's path below the landing folder, and the line in it."""
REASON = "__reason"
"""In `Landed.unreadable`: the cells that cannot be read as declared."""

_SHOWN = 3
_INSTANT_IN_NAME = "%Y-%m-%dT%H%M%SZ"
_NAME = r"(\d{4}-\d{2}-\d{2})(?:@(\d{4}-\d{2}-\d{2}T\d{6}Z))?\.csv$"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One landed file.

    Attributes:
        path: where it lies.
        day: the day it speaks for; None for a snapshot.
        corrected_at: the instant (UTC) at which a correction was delivered; None for a first delivery.
    """

    path: Path
    day: date | None
    corrected_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Landed:
    """What landed files hold.

    Attributes:
        rows: typed raw columns with `FILE` and `LINE`, in the files' order.
        unreadable: as text, with `FILE`, `LINE` and `REASON`.
        stamps: per day (or "" for a snapshot) what tells its deliveries from others.
        deliveries: the files that were read, day by day, each day's in the order in which they were delivered.
    """

    rows: pl.DataFrame
    unreadable: pl.DataFrame
    stamps: Mapping[str, str]
    deliveries: tuple[Delivery, ...] = ()

    @property
    def corrections(self) -> tuple[Delivery, ...]:
        """Those of the deliveries that correct an earlier one."""
        return tuple(d for d in self.deliveries if d.corrected_at is not None)


@dataclass(frozen=True)
class Landing:
    """The folder where upstream delivers."""

    root: Path

    def path(self, source: str, day: date | None, corrected_at: datetime | None = None) -> Path:
        """Where a delivery lies: the first of its day, or the correction that is delivered at an instant."""
        if day is None:
            return self.root / f"{source}.csv"
        at = "" if corrected_at is None else f"@{corrected_at.astimezone(UTC).strftime(_INSTANT_IN_NAME)}"
        return self.root / source / f"{day}{at}.csv"

    def deliveries(self, source: str) -> dict[date, tuple[Delivery, ...]]:
        """The files of a daily source by day, each day's in the order in which they were delivered.

        Raises:
            PartitionError: naming a file that is neither a day's nor a correction's.
        """
        found: dict[date, list[Delivery]] = {}
        for path in (self.root / source).glob("*.csv"):
            day, instant = _parsed(path)
            found.setdefault(day, []).append(Delivery(path=path, day=day, corrected_at=instant))
        first = datetime.min.replace(tzinfo=UTC)
        return {day: tuple(sorted(found[day], key=lambda d: d.corrected_at or first)) for day in sorted(found)}

    def days(self, source: str) -> set[date]:
        """The days delivered for a daily source; a correction alone does not deliver its day."""
        return {day for day, files in self.deliveries(source).items() if files[0].corrected_at is None}

    def stamp(self, source: str, day: date | None) -> str | None:
        """What tells the deliveries of a day from others, or None when there is none.

        Size and modification time of the first delivery; a correction more, or another one, changes it.
        """
        return self.stamps(source, None if day is None else Days(day, day)).get("" if day is None else str(day))

    def stamps(self, source: str, days: Days | None) -> dict[str, str]:
        """The stamps of the deliveries of `days` that there are (of the snapshot under "")."""
        return _stamped(self._units(source, days))

    def _units(self, source: str, days: Days | None) -> dict[str, tuple[Delivery, ...]]:
        """The deliveries of each of `days`, or of the snapshot under "": none where nothing landed."""
        if days is not None:
            there = self.deliveries(source)
            return {str(day): there.get(day, ()) for day in days}
        path = self.path(source, None)
        for stranger in self.root.glob(f"{source}@*.csv"):
            msg = (
                f"{stranger}: a snapshot has no corrections; deliver it whole as {path.name}, or move it out of the "
                "landing folder"
            )
            raise LandedFileError(msg)
        return {"": (Delivery(path=path, day=None),) if path.is_file() else ()}

    def read(self, source: str, columns: Mapping[str, pl.DataType | type[pl.DataType]], days: Days | None) -> Landed:
        """Read the deliveries of `days` (of the snapshot when None).

        Raises:
            SourceUnavailable: naming the days for which nothing landed.
            LandedFileError: naming the file that is truncated, damaged or lacks a column.
        """
        units = self._units(source, days)
        stamps = _stamped(units)
        self._require_first(source, days, units)
        deliveries = tuple(delivery for files in units.values() for delivery in files)
        by_header: dict[tuple[str, ...], list[Path]] = {}
        lines: dict[str, list[int]] = {}
        for path in (delivery.path for delivery in deliveries):
            header, drifting = self._inspected(path, columns)
            by_header.setdefault(header, []).append(path)
            if drifting is not None:
                lines[self._said(path)] = drifting
        text = pl.concat([self._read_text(group, list(columns)) for group in by_header.values()])
        if len(by_header) > 1:
            text = text.sort(FILE, LINE)
        self._check_counts([delivery.path for delivery in deliveries], text)
        return _typed(_with_lines(text, lines), columns, stamps, deliveries)

    def _said(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _require_first(self, source: str, days: Days | None, units: Mapping[str, Sequence[Delivery]]) -> None:
        missing = [unit for unit, files in units.items() if not files or files[0].corrected_at is not None]
        if missing:
            shown = ", ".join(unit or source for unit in missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
            expected = self.path(source, date.fromisoformat(missing[0]) if days is not None else None)
            msg = f"source {source}: nothing landed for {shown} ({len(missing)} of {len(units)} files); expected {expected}"
            alone = [files[0].path.name for unit in missing if (files := units[unit])]
            if alone:
                msg += f", which {alone[0]} is to correct"
            raise SourceUnavailable(msg)

    def _inspected(self, path: Path, columns: Mapping[str, object]) -> tuple[tuple[str, ...], list[int] | None]:
        """The header, and the line of each row where that does not follow from its number."""
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
        return header, _lines_of_rows(path, content, len(header))

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
            said, found = note.read_text().strip(), counted.get(self._said(path), 0)
            if said != str(found):
                msg = (
                    f"{path}: {note.name} promises {said} rows, the file has {found}; it is truncated or half "
                    "delivered. Deliver it again, the count last"
                )
                raise LandedFileError(msg)


def _lines_of_rows(path: Path, content: bytes, width: int) -> list[int] | None:
    """The line on which each row begins, or None where rows and lines agree; a line that lacks cells is refused.

    Polars fills the cells that a line lacks with nulls, which would pass for empty cells. A line break
    inside quotes is no end of a row.
    """
    if b'"' not in content and content.count(b",") >= content.count(b"\n") * (width - 1):
        return None
    reader = csv.reader(io.StringIO(content.decode(errors="replace"), newline=""))
    begins, following = [], 1
    try:
        for fields in reader:
            if len(fields) < width and width > 1:
                msg = f"{path}: line {reader.line_num} has {len(fields)} of {width} fields; deliver it again"
                raise LandedFileError(msg)
            begins.append(following)
            following = reader.line_num + 1
    except csv.Error as error:
        msg = f"{path}: not a well-formed CSV file ({error}, line {following}); deliver it again"
        raise LandedFileError(msg) from error
    return begins[1:] if following != len(begins) + 1 else None


def _with_lines(text: pl.DataFrame, lines: Mapping[str, Sequence[int]]) -> pl.DataFrame:
    """The rows with the lines of those files in which they do not follow from the rows' numbers."""
    if not lines:
        return text
    begins = pl.concat(
        pl.DataFrame({FILE: file, LINE: pl.int_range(2, len(own) + 2, eager=True), "__begins": own})
        for file, own in lines.items()
    )
    found = text.join(begins, on=[FILE, LINE], how="left", maintain_order="left")
    return found.with_columns(pl.coalesce("__begins", LINE).alias(LINE)).drop("__begins")


def day_of_file() -> pl.Expr:
    """The day for which the landed file in `FILE` speaks; null for a snapshot."""
    return pl.col(FILE).str.extract(_NAME, 1).str.to_date(strict=False)


def corrected_at() -> pl.Expr:
    """The instant (UTC) at which the correction in `FILE` was delivered; null for a first delivery."""
    return (
        pl.col(FILE).str.extract(_NAME, 2).str.to_datetime(_INSTANT_IN_NAME, time_unit="us").dt.replace_time_zone("UTC")
    )


def _parsed(path: Path) -> tuple[date, datetime | None]:
    """The day that a file's name says, and for a correction the instant of its delivery."""
    said, at, instant = path.stem.partition("@")
    try:
        day = date.fromisoformat(said)
        if str(day) != said:
            raise ValueError(said)  # noqa: TRY301 - 20131231 is a day, but not the name of its file
    except ValueError as error:
        msg = f"{path}: not a day's file; name it like 2013-12-31.csv, or move it out of the landing folder"
        raise PartitionError(msg) from error
    if not at:
        return day, None
    try:
        delivered = datetime.strptime(instant, _INSTANT_IN_NAME).replace(tzinfo=UTC)
        if delivered.strftime(_INSTANT_IN_NAME) != instant:
            raise ValueError(instant)  # noqa: TRY301 - 6:00 written as T60000Z would sort elsewhere
    except ValueError as error:
        msg = (
            f"{path}: not a correction's file; name it after the instant (UTC) at which it is delivered, like "
            f"{day}@2014-01-02T060000Z.csv, or move it out of the landing folder"
        )
        raise PartitionError(msg) from error
    return day, delivered


def _stamped(units: Mapping[str, Sequence[Delivery]]) -> dict[str, str]:
    stamped = {}
    for unit, files in units.items():
        if not files or files[0].corrected_at is not None:
            continue
        try:
            first, *others = [f"{found.st_size}-{found.st_mtime_ns}" for found in (d.path.stat() for d in files)]
        except FileNotFoundError:
            continue
        if others:
            named = "\n".join(f"{d.path.name} {said}" for d, said in zip(files[1:], others, strict=True))
            first += f"+{len(others)}-{hashlib.blake2b(named.encode(), digest_size=8).hexdigest()}"
        stamped[unit] = first
    return stamped


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
    text: pl.DataFrame,
    columns: Mapping[str, pl.DataType | type[pl.DataType]],
    stamps: Mapping[str, str],
    deliveries: tuple[Delivery, ...],
) -> Landed:
    typed = text.with_columns(_cells(name, dtype).alias(name) for name, dtype in columns.items())
    wrong = {
        name: text.get_column(name).is_not_null() & typed.get_column(name).is_null()
        for name, dtype in columns.items()
        if dtype != pl.String
    }
    lost = [name for name, mask in wrong.items() if mask.any()]
    if not lost:
        nothing = text.clear().with_columns(pl.lit(None, pl.String).alias(REASON))
        return Landed(rows=typed, unreadable=nothing, stamps=stamps, deliveries=deliveries)
    any_wrong = pl.DataFrame({name: wrong[name] for name in lost}).select(pl.any_horizontal(pl.all())).to_series()
    said = [
        pl.when(wrong[name]).then(
            pl.format(f"{name}: cannot read {{}} as {columns[name]}", pl.col(name).cast(pl.String))
        )
        for name in lost
    ]
    reasons = text.select(pl.concat_str(said, separator="; ", ignore_nulls=True).alias(REASON)).to_series()
    return Landed(
        rows=typed.filter(~any_wrong),
        unreadable=text.with_columns(reasons).filter(any_wrong),
        stamps=stamps,
        deliveries=deliveries,
    )
