"""The drift pipeline: a table's days against a reference, from their profiles, and whether that is too much.

What a day is compared with does not change from day to day: the merged profile of the reference, the grid that follows
from it and the thresholds are learned once, and kept until the days that they are learned from, or the monitor, change.
So a day reads the profiles of its own windows, and of a reference that moves along those of its days, however many
days came before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from platform_assets.compute.drift import Against, drift_over, fixed, trailing, year_ago
from platform_assets.compute.merging import merge
from platform_assets.compute.profiles import PROFILES
from platform_assets.compute.thresholds import held_out, learn
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Column
from platform_assets.declarations.monitor import Monitor, SameSeason, Trailing
from platform_assets.declarations.names import DAY, asset_name, profile_folder, table_folder
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.errors import TableError
from platform_assets.lake.writes import write
from platform_assets.pipelines.checks import NO_DRIFT
from platform_assets.pipelines.drift_plots import picture_of_columns, picture_of_drift
from platform_assets.pipelines.incidents import Lasting, Moved, furthest, incident_facts, lasting, say_since
from platform_assets.pipelines.profiling import changed_at, read_profiles
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run, provenance

GRID_POINTS = 256
"""With so many points of the reference, differences of distribution functions are told to some 0.002."""

_LOOK_BACK = 60  # days that are shown
_SHOWN = 3
_BASIS = "basis"
_KEPT = pl.Schema(
    {
        _BASIS: pl.String(),
        **{name: dtype for name, dtype in PROFILES.items() if name != DAY},
        "windows": pl.List(pl.Int64()),
        "measures": pl.List(pl.String()),
        "thresholds": pl.List(pl.Float64()),
        "deaf": pl.List(pl.Boolean()),
    }
)
_THRESHOLDS = ("windows", "measures", "thresholds", "deaf")
_REFERENCE = Days(date.min, date.min)
"""The day under which the merged profile of a reference that stays is compared: no table has it."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What days are compared with.

    Attributes:
        reference: the merged profile of the days that it was learned from, a row for each column that is watched.
        thresholds: a row for each window, column and measure, with threshold and deaf.
    """

    reference: pl.DataFrame
    thresholds: pl.DataFrame


def watch(platform: Platform, catalogue: Catalogue, monitor: Monitor, days: Days, run: Run) -> Materialization:
    """Measure the drift of each column on `days`, and compare it with what unchanged days do.

    Raises:
        TableError: when no threshold can be learned.
    """
    inputs = Inputs.pin(platform, catalogue, monitor, days)
    learned = learn_thresholds(platform, catalogue, monitor, inputs, run)
    needed = _days_needed(monitor, days)
    profiles = _profiles(platform, catalogue, monitor, inputs, needed, run)
    rows = _judged(monitor, _measured(monitor, days, profiles, learned), learned)

    def conclude(made: Materialization) -> Materialization:
        times = pl.col("value") / pl.col("threshold")
        found = lasting(platform, catalogue, monitor, days, times=times)
        moved = furthest(found.rows.with_columns(times.alias("times")))
        worst = [one for one in moved if one[0] in found.begun]
        facts = {
            "columns": len(learned.reference),
            **_counted(found),
            "deaf thresholds": int(learned.thresholds.get_column("deaf").sum()),
            "columns of too few values": found.rows.filter("too_few").get_column("column").n_unique(),
            "reference": f"{monitor.reference.settled}",
        }
        pictures = {}
        if run.draws:
            pictures["drift by column and day"] = picture_of_drift(
                _shown_days(platform, catalogue, monitor, days, rows)
            )
        if run.draws and (shown := (worst or moved)[:_SHOWN]):
            current = pl.concat([_of_window(profiles, column, days.last, window) for column, _, window, _ in shown])
            pictures["furthest columns"] = picture_of_columns(learned.reference, current, shown)
        check = _no_drift(days, len(learned.reference), worst, found)
        return replace(made, checks=[check, *made.checks], facts=facts, pictures=pictures)

    return publish(platform, catalogue, monitor, rows, days, run, inputs, conclude=conclude)


def learn_thresholds(platform: Platform, catalogue: Catalogue, monitor: Monitor, inputs: Inputs, run: Run) -> Learned:
    """The reference and the thresholds as they were kept, or learned anew when what they follow from has changed.

    Raises:
        TableError: when no threshold can be learned.
    """
    folder, basis = profile_folder(catalogue.name, monitor.name), _basis(platform, catalogue, monitor, inputs)
    if platform.lake.version(folder) is not None:
        with platform.lake.reading(folder):
            kept = platform.lake.scan(folder).collect()
        if kept.get_column(_BASIS).unique().to_list() == [basis]:
            return _read(kept)
    asset = asset_name(catalogue.name, monitor.name)
    run.say(f"{asset}: learns what is too much from {monitor.settled}")
    profiles = _profiles(platform, catalogue, monitor, inputs, set(monitor.settled), run)
    whole = merge(profiles)
    known = pl.col("rows") - pl.col("nulls") - pl.col("nans") - pl.col("infinities")
    own_each = (pl.col("kind") == "text") & (2 * pl.col("distinct") > known)
    whole = whole.filter(~pl.col("column").is_in(list(monitor.skip)) & ~own_each)
    windows = [against for length in monitor.windows for against in _quiet_windows(monitor, length)]
    quiet = drift_over(profiles, windows, grid=whole, points=GRID_POINTS, at_least=monitor.at_least)
    budget = monitor.alarms_per_month / len(monitor.windows)
    parts = []
    for length in monitor.windows:
        try:
            found = learn(
                quiet.filter(pl.col("window") == length),
                alarms_per_month=budget,
                measures=monitor.measures,
                margin=monitor.margin,
                beyond=monitor.beyond,
                floors=monitor.floors,
            )
        except ValueError as error:
            msg = f"{asset}: of windows of {length} days on {monitor.settled}: {error}; or lower at_least"
            raise TableError(msg) from error
        parts.append(found.select(pl.lit(length, pl.Int64).alias("window"), "column", "measure", "threshold", "deaf"))
    learned = Learned(reference=whole, thresholds=pl.concat(parts))
    rows = _kept(learned, basis)
    write(
        platform.lake,
        folder,
        rows,
        columns=[Column(name=name, dtype=dtype) for name, dtype in _KEPT.items()],
        days=None,
        provenance=provenance(catalogue, monitor, inputs.versions, run),
        description=f"What {asset} compares with: the merged profile of {monitor.settled}, and thresholds",
    )
    return _read(rows)


def kept_reference(platform: Platform, catalogue: Catalogue, monitor: Monitor) -> pl.DataFrame:
    """The merged profile of the reference as it was last learned, a row a column; none before that. It writes nothing."""
    folder = profile_folder(catalogue.name, monitor.name)
    if platform.lake.version(folder) is None:
        return PROFILES.to_frame()
    with platform.lake.reading(folder):
        return _read(platform.lake.scan(folder).collect()).reference


def _basis(platform: Platform, catalogue: Catalogue, monitor: Monitor, inputs: Inputs) -> str:
    """What thresholds follow from: the monitor, and when each of the days last changed that they are learned from."""
    name = monitor.of.name
    changed = changed_at(platform.lake, catalogue, name, monitor.settled, version=inputs.versions[name])
    table_id = platform.lake.table_id(table_folder(catalogue.name, name))
    told = [catalogue.fingerprints[monitor.name], table_id, [changed[day] for day in monitor.settled]]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


def _kept(learned: Learned, basis: str) -> pl.DataFrame:
    lists = learned.thresholds.rename({"window": "windows", "measure": "measures", "threshold": "thresholds"})
    by_column = lists.group_by("column", maintain_order=True).agg(_THRESHOLDS)
    return (
        learned.reference.join(by_column, on="column", how="left", maintain_order="left")
        .with_columns(pl.lit(basis).alias(_BASIS), *(pl.col(name).fill_null([]) for name in _THRESHOLDS))
        .select(pl.col(name).cast(dtype) for name, dtype in _KEPT.items())
    )


def _read(kept: pl.DataFrame) -> Learned:
    kept = kept.sort("column")
    thresholds = kept.select("column", *_THRESHOLDS).filter(pl.col("windows").list.len() > 0).explode(_THRESHOLDS)
    renamed = {"windows": "window", "measures": "measure", "thresholds": "threshold"}
    return Learned(
        reference=kept.with_columns(pl.lit(None, pl.Date).alias(DAY)).select(PROFILES.names()),
        thresholds=thresholds.rename(renamed),
    )


def _quiet_windows(monitor: Monitor, length: int) -> Sequence[Against]:
    """The windows from which thresholds are learned, each against a reference as it will be used."""
    settled = monitor.settled
    if isinstance(monitor.reference, Trailing | SameSeason):
        return _windows(
            monitor, Days(monitor.reference.learned_from.first + (length - 1) * ONE_DAY, settled.last), length
        )
    return held_out(settled, apart=monitor.apart, length=length)


def _windows(monitor: Monitor, days: Days, length: int) -> Sequence[Against]:
    reference = monitor.reference
    if isinstance(reference, Trailing):
        return trailing(days, reference=reference.days, length=length)
    if isinstance(reference, SameSeason):
        return year_ago(days, around=reference.around, length=length)
    return fixed(days, _REFERENCE, length=length)


def _of_window(profiles: pl.DataFrame, column: str, last: date, length: int) -> pl.DataFrame:
    """The merged profile of a column over the `length` days up to `last`."""
    first = last - (length - 1) * ONE_DAY
    return merge(profiles.filter(pl.col("column") == column, pl.col(DAY).is_between(first, last)))


def _days_needed(monitor: Monitor, days: Days) -> set[date]:
    """The days whose profiles are read to watch some."""
    needed = set[date]()
    first = monitor.of.partitions.first  # type: ignore[union-attr]
    for length in monitor.windows:
        for against in _windows(monitor, days, length):
            for part in (against.current, *(p for p in against.reference if p != _REFERENCE)):
                needed.update(day for day in part if day >= first)
    return needed


def _profiles(
    platform: Platform, catalogue: Catalogue, monitor: Monitor, inputs: Inputs, days: set[date], run: Run
) -> pl.DataFrame:
    origin = provenance(catalogue, monitor, inputs.versions, run)
    version = inputs.versions[monitor.of.name]
    return read_profiles(platform.lake, catalogue, monitor.of, days, version=version, provenance=origin)


def _measured(monitor: Monitor, days: Days, profiles: pl.DataFrame, learned: Learned) -> pl.DataFrame:
    """The drift of every window that ends on one of `days`."""
    held = profiles
    if not isinstance(monitor.reference, Trailing | SameSeason):
        reference = learned.reference.with_columns(pl.lit(_REFERENCE.first).alias(DAY))
        held = pl.concat([profiles, reference.select(PROFILES.names())])
    windows = [against for length in monitor.windows for against in _windows(monitor, days, length)]
    return drift_over(held, windows, grid=learned.reference, points=GRID_POINTS, at_least=monitor.at_least)


def _judged(monitor: Monitor, measured: pl.DataFrame, learned: Learned) -> pl.DataFrame:
    """A row for each day, window, column and measure that has a threshold, or is deaf to it."""
    index = [DAY, "window", "column", "rows", "too_few"]
    told = measured.unpivot(list(monitor.measures), index=index, variable_name="measure", value_name="value")
    judged = told.join(learned.thresholds, on=["window", "column", "measure"], how="inner")
    above = (pl.col("value") > pl.col("threshold")).fill_null(value=False)
    return judged.with_columns(above.alias("alarmed")).sort(DAY, *monitor.keys)


def _shown_days(
    platform: Platform, catalogue: Catalogue, monitor: Monitor, days: Days, rows: pl.DataFrame
) -> pl.DataFrame:
    """How far each column is above or below its thresholds, on these days and those before."""
    cells = [DAY, "column", "value", "threshold"]
    shown = rows.filter(pl.col(DAY) > days.last - _LOOK_BACK * ONE_DAY).select(cells)
    folder = table_folder(catalogue.name, monitor.name)
    late = Days(days.last - _LOOK_BACK * ONE_DAY, days.first - ONE_DAY) if len(days) < _LOOK_BACK else None
    if late is not None:
        with platform.lake.reading(folder):
            shown = pl.concat([shown, platform.lake.scan(folder, days=late).select(cells).collect()])
    return shown.group_by(DAY, "column").agg((pl.col("value") / pl.col("threshold")).max().alias("times"))


def _counted(found: Lasting) -> dict[str, object]:
    """How many columns drift; of days long past also how many do by now, which is another question."""
    counts: dict[str, object] = {"columns that drift": len(found.begun)}
    if found.later is not None:
        counts |= {"newest day": str(found.later.day), "columns that drift on the newest day": len(found.later.begun)}
    return counts


def _no_drift(days: Days, columns: int, worst: Sequence[Moved], found: Lasting) -> CheckResult:
    """Whether nothing drifts on the last of the days that were made, nor on the newest one that is watched."""

    def say(moved: Sequence[Moved], begun: Mapping[str, date]) -> str:
        verb, how_far = "have" if len(begun) > 1 else "has", say_since(moved, begun)
        told = f"{len(begun)} of {columns} columns {verb} been further from the reference than unchanged days are"
        return f"{told}: {how_far}." if how_far else f"{told}, and of too few values since."

    later, on = found.later, "" if found.later is None else f"On {days.last}, "
    said = f"{on}{say(worst, found.begun)}" if found.begun else f"None of {columns} columns drifts on {days.last}."
    if later is not None and later.begun:
        said += f" On the newest day, {later.day}, {say(later.moved, later.begun)}"
    elif later is not None:
        said += f" None does on the newest day, {later.day}."
    facts = {"columns": columns, **_counted(found), **incident_facts(found, worst, what="column")}
    return CheckResult(
        name=NO_DRIFT, passed=not (found.begun or found.now), description=said, blocking=False, facts=facts
    )
