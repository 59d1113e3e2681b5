"""What goes wrong upstream, as it would land: from a day on, the files of a source say something else.

Cells are text as they lie in the files. Nothing is drawn: which rows are spoilt follows from what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from platform_assets.declarations.times import Days
from platform_assets.lake.landing import Landing

Spoil = Callable[[pl.DataFrame, int], pl.DataFrame]
"""Given a day's rows and how many days the fault has lasted (0 on the first), the rows as they land."""

DAY_MINUTES = 24 * 60


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong upstream.

    Attributes:
        name: what it is called.
        what: what happens, in a few words.
        sources: by source, how a day's rows are spoilt.
        not_through: what was made before the fault came and stays: nothing follows through it.
    """

    name: str
    what: str
    sources: Mapping[str, Spoil]
    not_through: tuple[str, ...] = ()


def spoil(landing: Landing, fault: Fault, days: Days) -> None:
    """Rewrite the landed files of `days`, as though upstream had sent them so."""
    for source, change in fault.sources.items():
        for day in days:
            path = landing.path(source, day)
            changed = change(_read(path), (day - days.first).days)
            # Replaced, not written into: a copy may share its files with the original.
            for target, content in ((path, changed.write_csv()), (path.with_suffix(".rows"), f"{len(changed)}")):
                target.unlink(missing_ok=True)
                target.write_text(content)


def _read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def celsius(rows: pl.DataFrame, lasted: int) -> pl.DataFrame:  # noqa: ARG001 - as all are called
    """Temperatures in degrees Celsius, to two places."""
    fahrenheit = pl.col("temp", "dewp").cast(pl.Float64)
    return rows.with_columns(((fahrenheit - 32) / 1.8).round(2).cast(pl.String))


def stuck(rows: pl.DataFrame, lasted: int) -> pl.DataFrame:  # noqa: ARG001
    """The barometer of JFK says 1012.3 hPa in every hour."""
    return rows.with_columns(
        pl.when(pl.col("origin") == "JFK").then(pl.lit("1012.3")).otherwise("pressure").alias("pressure")
    )


def without_carrier(rows: pl.DataFrame, lasted: int) -> pl.DataFrame:  # noqa: ARG001
    """No flight of US Airways."""
    return rows.filter(pl.col("carrier") != "US")


def without_tail_number(rows: pl.DataFrame, lasted: int) -> pl.DataFrame:  # noqa: ARG001
    """Three flights in ten, those whose number ends in 0, 1 or 2, have no aircraft."""
    gone = pl.col("flight").str.tail(1).is_in(["0", "1", "2"])
    return rows.with_columns(pl.when(~gone).then("tailnum").alias("tailnum"))


def ever_later(rows: pl.DataFrame, lasted: int) -> pl.DataFrame:
    """Each departure three minutes later for each week that it lasts, but for those that would be on another day."""
    return _moved(rows, "dep_time", "dep_delay", pl.lit(3 * (lasted // 7 + 1)))


def flipped(rows: pl.DataFrame, lasted: int) -> pl.DataFrame:  # noqa: ARG001
    """Arrivals late for on time and on time for late, mirrored at 29.5 minutes, but for those of another day then."""
    delay = pl.col("arr_delay").cast(pl.Int64)
    return _moved(rows, "arr_time", "arr_delay", (59 - delay).clip(-45, 2_000) - delay)


def _moved(rows: pl.DataFrame, clock: str, delay: str, minutes: pl.Expr) -> pl.DataFrame:
    """Delays and the clock's digits moved together, where that stays between midnight and midnight."""
    digits = pl.col(clock).cast(pl.Int64)
    then = digits // 100 * 60 + digits % 100 + minutes
    stays = then.is_between(0, DAY_MINUTES - 1)
    later = (pl.col(delay).cast(pl.Int64) + minutes).cast(pl.String)
    return rows.with_columns(
        pl.when(stays).then((then // 60 * 100 + then % 60).cast(pl.String)).otherwise(clock).alias(clock),
        pl.when(stays).then(later).otherwise(delay).alias(delay),
    )


FLIGHTS = ("schedule", "assignments", "departures", "arrivals")
FAULTS = {
    fault.name: fault
    for fault in (
        Fault(name="celsius", what="temperature and dew point in Celsius", sources={"weather": celsius}),
        Fault(name="stuck_sensor", what="the barometer of JFK is stuck", sources={"weather": stuck}),
        Fault(name="lost_carrier", what="US Airways vanishes", sources=dict.fromkeys(FLIGHTS, without_carrier)),
        Fault(name="slow_drift", what="departures 3 minutes later each week", sources={"departures": ever_later}),
        Fault(
            name="null_flood", what="3 in 10 flights lose their aircraft", sources={"assignments": without_tail_number}
        ),
        Fault(
            name="label_flip",
            what="arrivals late for on time, once predictions are made",
            sources={"arrivals": flipped},
            # Histories of mirrored delays break their contracts and are refused, which is another way to be caught.
            not_through=("flights_asked", "late_arrival_predictions"),
        ),
    )
}
