"""How much drift is too much: what unchanged data do by themselves, and so many false alarms a month.

The reference is cut into windows, each measured against the rest of it. The highest tenth of what a measure does there
is taken for a generalized Pareto tail (Pickands, Annals of Statistics 1975; peaks over threshold, Coles, An Introduction
to Statistical Modeling of Extreme Values, 2001), whose scale and shape follow from probability-weighted moments
(Hosking and Wallis, Technometrics 1987). Each column and measure may alarm equally often, and all of them together as
often as is stated: the per-family error rate (Spjøtvoll, Annals of Mathematical Statistics 1972), which holds however the
columns hang together, since expectations add up.

That is true of days like those of the reference. Days after it are of another season, and of hundreds of columns some
have a tail that two wild days made: so a threshold may be some way above what was learned, no further above the worst
that was seen than stated, and never below a difference that matters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import polars as pl

from platform_assets.compute.drift import Against
from platform_assets.compute.summaries import Floats
from platform_assets.declarations.times import ONE_DAY, Days

ALARMING = ("jensen_shannon", "infinity_norm", "wasserstein_in_spreads", "missing", "unseen")
"""The measures that alarm unless others are named: each sees something that the others do not."""

FEWEST_WINDOWS = 40

THRESHOLDS = pl.Schema(
    {
        "column": pl.String(),
        "measure": pl.String(),
        "threshold": pl.Float64(),
        "deaf": pl.Boolean(),
        "windows": pl.Int64(),
        "highest": pl.Float64(),
        "highest_day": pl.Date(),
    }
)
"""`threshold` is null of fewer than `FEWEST_WINDOWS` measured `windows`. `deaf`: nothing can be above it, because there
are too few windows or days in the reference that drift themselves, of which `highest_day` is the worst."""

ALARMS = pl.Schema(
    {
        "day": pl.Date(),
        "column": pl.String(),
        "measure": pl.String(),
        "value": pl.Float64(),
        "threshold": pl.Float64(),
        "begins": pl.Boolean(),
    }
)
"""`begins`: the column was quiet on the day before."""

NO_FLOORS: Mapping[str, float] = MappingProxyType({})
"""Every difference may be an alarm."""

_DAYS_A_MONTH = 365.25 / 12
_TAIL = 0.1
_FEWEST_OF_TAIL = 10
_HEAVIEST = 0.5  # no tail is taken for bounded or for heavier: few windows cannot tell
_UNBOUNDED = ("psi", "wasserstein", "wasserstein_in_spreads")


def held_out(reference: Days, *, apart: int, length: int = 1) -> list[Against]:
    """Each window of `length` days against the rest of the reference, but for `apart` days on either side.

    Days near each other are alike. What a day is to days of which none is near is what the first day of a new season
    is to the reference: set `apart` to about the time after which they are no more alike than others, two weeks of
    weather.
    """
    found = []
    for last in list(reference)[length - 1 :]:
        first = last - (length - 1) * ONE_DAY
        before, after = first - (apart + 1) * ONE_DAY, last + (apart + 1) * ONE_DAY
        parts = [Days(reference.first, before)] if before >= reference.first else []
        parts += [Days(after, reference.last)] if after <= reference.last else []
        if parts:
            found.append(Against(current=Days(first, last), reference=tuple(parts)))
    return found


def learn(
    quiet: pl.DataFrame,
    *,
    alarms_per_month: float,
    measures: Sequence[str] = ALARMING,
    margin: float = 1.0,
    beyond: float = math.inf,
    floors: Mapping[str, float] = NO_FLOORS,
) -> pl.DataFrame:
    """The thresholds at which unchanged data alarm so often.

    Args:
        quiet: the drift of days on which nothing was wrong, each against a reference as it will be used: `held_out` for
            a fixed one, `trailing` over the reference's own days for one that moves along.
        alarms_per_month: how many days and columns above a threshold to expect of unchanged data in a month, over all
            columns and measures together, with one window a day. Alarms come in runs, so fewer begin. The longer the
            windows, the fewer are independent and the less certain is the figure; and days of far fewer rows than
            those of the reference alarm more often.
        measures: those that are to alarm.
        margin: thresholds are so many times what would be exceeded that often.
        beyond: but at most so many times the highest that was seen, where that is above zero.
        floors: by measure what no threshold is below, however quiet the days were; of others, none.

    Returns:
        A frame of `THRESHOLDS` in order of column and measure.

    Raises:
        ValueError: when no column has enough windows, or the number of alarms is not positive.
    """
    if alarms_per_month <= 0:
        msg = f"thresholds for {alarms_per_month} alarms a month: no threshold never alarms; allow 1, or 0.1"
        raise ValueError(msg)
    columns = quiet.get_column("column").unique().sort().to_list()
    share = alarms_per_month / _DAYS_A_MONTH / max(len(columns) * len(measures), 1)
    told = quiet.unpivot(measures, index=["day", "column"], variable_name="measure", value_name="value").drop_nulls()
    by_measure = told.sort("value", "day").partition_by("column", "measure", as_dict=True)
    rows = []
    for column, measure in itertools.product(columns, measures):
        ours = by_measure.get((column, measure))
        if ours is None:
            continue
        values = ours.get_column("value").to_numpy()
        level = None
        if len(values) >= FEWEST_WINDOWS:
            highest = float(values[-1])
            level = exceeded(values, share) * margin
            level = max(min(level, beyond * highest if highest > 0 else level), floors.get(measure, -math.inf))
        deaf = level is None or (measure not in _UNBOUNDED and level >= 1)
        rows.append((column, measure, level, deaf, len(values), values[-1], ours.get_column("day")[-1]))
    if not any(row[2] is not None for row in rows):
        msg = f"thresholds: no column was measured in {FEWEST_WINDOWS} windows or more; take a longer reference"
        raise ValueError(msg)
    return pl.DataFrame(rows, schema=THRESHOLDS, orient="row")


def alarms(found: pl.DataFrame, thresholds: pl.DataFrame) -> pl.DataFrame:
    """What is above its threshold, in order of day, column and measure: a frame of `ALARMS`.

    Args:
        found: a frame of `DRIFT`, one window a day, measured as those were from which the thresholds were learned.
        thresholds: a frame of `THRESHOLDS`.
    """
    measures = thresholds.get_column("measure").unique().to_list()
    told = found.unpivot(measures, index=["day", "column"], variable_name="measure", value_name="value")
    above = told.join(thresholds.select("column", "measure", "threshold"), on=["column", "measure"])
    above = above.filter(pl.col("value") > pl.col("threshold"))
    before = above.select(pl.col("day").dt.offset_by("1d"), "column", begins=False).unique()
    marked = above.join(before, on=["day", "column"], how="left").with_columns(pl.col("begins").fill_null(value=True))
    return marked.select(ALARMS.names()).sort("day", "column", "measure")


def exceeded(values: Floats, share: float) -> float:
    """What values of this kind exceed in this share of cases, which may be rarer than any that were seen.

    Args:
        values: ascending, at least eleven.
        share: between 0 and 1; down to a tenth it is read off the values.
    """
    count = len(values)
    many = max(int(count * _TAIL), _FEWEST_OF_TAIL)
    start = float(values[count - many - 1])
    if share >= many / count:
        return float(np.quantile(values, 1 - share, method="higher"))
    excess = values[count - many :] - start
    mean = float(excess.mean())
    weighted = float((excess * (np.arange(many - 1, -1, -1) / (many - 1))).mean())
    if mean - 2 * weighted <= 0:
        return start + mean  # all alike
    shape = min(max(2 - mean / (mean - 2 * weighted), 0.0), _HEAVIEST)
    scale = mean * (1 - shape)
    times = many / count / share
    return start + (scale * math.log(times) if shape < 1e-9 else scale / shape * (times**shape - 1))  # noqa: PLR2004
