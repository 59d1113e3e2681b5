"""The performance pipeline: what came of predictions beside what they let expect, and whether that is too much worse.

What unchanged days exceed is learned once for each version of the model, and kept. So a day reads the outcomes of its
own windows, however many days came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from platform_assets.compute.curves import calibration_table
from platform_assets.compute.uncertainty import Bounds, uncertainty, uncertainty_of_rows
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import DAY, table_folder
from platform_assets.declarations.performance import ALL, PERFORMANCE_MEASURES, PerformanceMonitor
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.pipelines.checks import AS_EXPECTED
from platform_assets.pipelines.incidents import Lasting, furthest, incident_facts, lasting, say_since
from platform_assets.pipelines.performance.plots import picture_of_performance
from platform_assets.pipelines.performance.thresholds import thresholds_of
from platform_assets.pipelines.performance.windows import PROBABILITY, TRUTH, VERSION, Cut, cuts, slice_columns
from platform_assets.pipelines.plots import picture_of_calibration
from platform_assets.pipelines.publish import publish
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run

_LOOK_BACK = 90  # days that are shown
_TITLE = (
    pl.when(pl.col("sliced_by") == ALL)
    .then(pl.lit("all rows"))
    .otherwise(pl.concat_str("sliced_by", "slice", separator=" "))
)
_TIMES = pl.col("excess") / pl.col("threshold")
_WORSE = "Worse than the probabilities let expect"
_TOO_FEW = "too few rows to say by how much"


def watch_performance(
    platform: Platform, catalogue: Catalogue, monitor: PerformanceMonitor, days: Days, run: Run
) -> Materialization:
    """Measure the predictions of each window that ends on one of `days`, and compare it with what they let expect.

    A version of the model that cannot be loaded any more, or of whose training dataset too little is left, has no
    thresholds: its days are measured, and the check fails and says so.
    """
    inputs = Inputs.pin(platform, catalogue, monitor, days)
    decided = _decided(inputs, monitor, days, run)
    versions = decided.get_column(VERSION).unique().sort().to_list()
    thresholds, without = thresholds_of(platform, catalogue, monitor, versions, inputs, run)
    made = list(cuts(monitor, decided, days, first=monitor.partitions.first))
    rows = _compared([row for cut in made for row in _measured(monitor, cut)], thresholds)
    newest = rows.filter(pl.col(DAY) == days.last)
    whole = [cut for cut in made if cut.day == days.last and cut.sliced_by == ALL]
    longest = max(whole, key=lambda cut: cut.window)

    def conclude(written: Materialization) -> Materialization:
        found = lasting(platform, catalogue, monitor, days, times=_TIMES, column=_TITLE)
        facts = {
            "model versions": _say_versions(longest),
            **_facts(newest, longest.window),
            **_counted(found),
            "slices of too few rows": _left_out(monitor, longest),
            "thresholds learned from": _say_learned(monitor),
        }
        pictures = {}
        if run.draws:
            shown = _shown_days(platform, catalogue, monitor, days, rows)
            pictures["performance by day"] = picture_of_performance(shown)
        judged = longest.judged(at_least=monitor.at_least) if run.draws else None
        if judged is not None and (error := judged["calibration_error"].value) is not None:
            truth, said = _arrays(longest)
            title = f"calibration of {longest.window} day{'s' if longest.window > 1 else ''}"
            pictures[title] = picture_of_calibration(calibration_table(truth, said), said, error)
        return replace(
            written,
            checks=[_as_expected(days, without, found), *written.checks],
            facts=facts,
            pictures=pictures,
            tables={"slices": _table(newest, longest.window)},
        )

    return publish(platform, catalogue, monitor, rows, days, run, inputs, conclude=conclude)


def _decided(inputs: Inputs, monitor: PerformanceMonitor, days: Days, run: Run) -> pl.DataFrame:
    """The rows out of sample that came to a yes or no, and are known to by now."""
    outcomes, label = monitor.of, monitor.of.label
    read = Days(max(days.first - monitor.days_back * ONE_DAY, monitor.partitions.first), days.last)
    came = inputs.scan(outcomes.name, days=read).filter(
        ~pl.col("in_sample"), pl.col(label.value).is_not_null(), label.known_at.expr() <= run.now
    )
    keys = list(outcomes.keys)
    rows = came.select(
        *keys, DAY, VERSION, pl.col(label.value).cast(pl.Float64).alias(TRUTH), pl.col("probability").alias(PROBABILITY)
    )
    if monitor.slices:
        sliced = inputs.scan(monitor.view.name, days=read).select(*keys, *slice_columns(monitor))
        rows = rows.join(sliced, on=keys, how="left", maintain_order="left")
    return rows.collect().sort(DAY, *keys).drop(keys)  # ties of a probability fall into bins by order


def _measured(monitor: PerformanceMonitor, cut: Cut) -> list[dict[str, Any]]:
    """A row for each measure."""
    judged = cut.judged(at_least=monitor.at_least)
    bounds = {} if judged is None else _bounds(monitor, cut)
    shared = {
        DAY: cut.day,
        "window": cut.window,
        "sliced_by": cut.sliced_by,
        "slice": cut.slice,
        "rows": len(cut.rows),
        "model_versions": _versions(cut),
        "too_few": judged is None,
    }
    found = []
    for name in PERFORMANCE_MEASURES:
        own, between = None if judged is None else judged[name], bounds.get(name)
        told = {
            "measure": name,
            "value": own and own.value,
            "expected": own and own.expected,
            "excess": own and own.excess,
            "low": between and between.low,
            "high": between and between.high,
        }
        found.append(shared | told)
    return found


def _versions(cut: Cut) -> list[int]:
    """The versions that predicted it, by the first day of each; rows are in order of day."""
    found, first = np.unique(cut.rows.get_column(VERSION).to_numpy(), return_index=True)
    days = cut.rows.get_column(DAY).to_physical().to_numpy()[first]
    versions: list[int] = found[np.argsort(days, kind="stable")].tolist()
    return versions


def _bounds(monitor: PerformanceMonitor, cut: Cut) -> dict[str, Bounds | None]:
    """The intervals of the measures that have one, by drawing days; of a single day by the spread of its rows."""
    truth, said = _arrays(cut)
    if cut.window == 1:
        found = uncertainty_of_rows(truth, said, confidence=monitor.confidence)
    else:
        days = cut.rows.get_column(DAY).to_physical().to_numpy()
        found = uncertainty(truth, said, days, confidence=monitor.confidence, draws=monitor.draws, seed=monitor.seed)
    return {} if found is None else vars(found)


def _arrays(cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    return cut.rows.get_column(TRUTH).to_numpy(), cut.rows.get_column(PROBABILITY).to_numpy()


def _compared(measured: Sequence[dict[str, Any]], thresholds: pl.DataFrame) -> pl.DataFrame:
    """The measures with the thresholds of the version that predicted the newest rows of each window."""
    numbers = dict.fromkeys(("value", "low", "high", "expected", "excess"), pl.Float64)
    told = pl.DataFrame(
        measured, schema_overrides={**numbers, "model_versions": pl.List(pl.Int64)}, infer_schema_length=None
    )
    told = told.with_columns(pl.col("model_versions").list.last().alias(VERSION))
    found = told.join(
        thresholds, on=[VERSION, "window", "sliced_by", "slice", "measure"], how="left", maintain_order="left"
    )
    return found.with_columns((pl.col("excess") > pl.col("threshold")).fill_null(value=False).alias("alarmed"))


def _shown_days(
    platform: Platform, catalogue: Catalogue, monitor: PerformanceMonitor, days: Days, rows: pl.DataFrame
) -> pl.DataFrame:
    """The shortest window of all rows, on these days and those before."""
    cells = [DAY, "measure", "value", "low", "high", "expected", "threshold", "alarmed", "model_versions"]
    kept = (pl.col("sliced_by") == ALL) & (pl.col("window") == min(monitor.windows))
    kept &= pl.col(DAY) > days.last - _LOOK_BACK * ONE_DAY
    shown, folder = rows.filter(kept).select(cells), table_folder(catalogue.name, monitor.name)
    if len(days) < _LOOK_BACK:
        late = Days(days.last - _LOOK_BACK * ONE_DAY, days.first - ONE_DAY)
        with platform.lake.reading(folder):
            before = platform.lake.scan(folder, days=late).filter(kept).select(cells).collect()
        shown = pl.concat([before, shown])
    return shown.sort(DAY)


def _facts(newest: pl.DataFrame, window: int) -> dict[str, object]:
    """Each measure of all rows in a window, beside what was expected."""
    whole = newest.filter(pl.col("sliced_by") == ALL, pl.col("window") == window)
    over = f"over {window} day{'s' if window > 1 else ''}"
    facts: dict[str, object] = {f"rows {over}": whole.get_column("rows")[0]}
    for name, value, due in whole.select("measure", "value", "expected").iter_rows():
        facts[f"{name} {over}"] = value
        facts[f"{name} {over}, expected"] = due
    return facts


def _left_out(monitor: PerformanceMonitor, cut: Cut) -> int:
    columns = [name.meta.output_name() for name in slice_columns(monitor)]
    return sum(int((cut.rows.get_column(name).value_counts()["count"] < monitor.slice_rows).sum()) for name in columns)


def _say_versions(cut: Cut) -> str:
    counts = cut.rows.group_by(VERSION).agg(pl.len(), pl.col(DAY).min()).sort(DAY, VERSION)
    return ", ".join(f"version {version} ({rows:,} rows)" for version, rows, _ in counts.iter_rows()) or "none"


def _say_learned(monitor: PerformanceMonitor) -> str:
    settled, own = monitor.settled, monitor.partitions
    if settled is None:
        return f"{monitor.learned_from} of {monitor.training.name} as it was for each version"
    said = f"{monitor.learned_from} of {monitor.training.name}, {settled}"
    watched = own.first <= settled.last and (own.last is None or own.last >= settled.first)
    return said + (": among them days that are watched themselves" if watched else "")


def _table(newest: pl.DataFrame, window: int) -> pl.DataFrame:
    """The slices side by side, those with the largest excess of log loss first."""
    index = ["sliced_by", "slice", "rows"]
    part = newest.filter(pl.col("window") == window, ~pl.col("too_few"))
    flags = part.group_by(index, maintain_order=True).agg(
        pl.col("measure").filter("alarmed").str.join(", ").alias("alarms")
    )
    for name in ("log_loss", "auc", "base_rate"):
        own = part.filter(pl.col("measure") == name)
        told = own.select(*index, pl.col("value").alias(name), pl.col("expected").alias(f"{name} expected"))
        flags = flags.join(told, on=index, how="left", maintain_order="left")
    worst = pl.col("log_loss") - pl.col("log_loss expected")
    shown = flags.select(*index, *(name for name in flags.columns if name not in {*index, "alarms"}), "alarms")
    return shown.sort(pl.col("sliced_by") != ALL, worst, descending=[False, True])


def _counted(found: Lasting) -> dict[str, object]:
    """How many slices are worse; of days long past also how many are by now, which is another question."""
    counts: dict[str, object] = {"slices worse than expected": len(found.begun)}
    if found.later is not None:
        counts |= {
            "newest day": str(found.later.day),
            "slices worse than expected on the newest day": len(found.later.begun),
        }
    return counts


def _as_expected(days: Days, without: Sequence[str], found: Lasting) -> CheckResult:
    """Whether nothing is above its threshold on the last of the days that were made, nor on the newest one that is watched.

    Of a day on which nothing could be, it fails as well, and says why.
    """
    told, later = found.rows.with_columns(_TITLE.alias("column"), _TIMES.alias("times")), found.later
    compared = told.filter(pl.col("threshold").is_not_null() & pl.col("excess").is_not_null())
    worst = [moved for moved in furthest(told) if moved[0] in found.begun]
    if found.begun:
        on = "" if later is None else f" on {days.last}"
        said = f"{_WORSE}{on}: {say_since(worst, found.begun) or _TOO_FEW}."
    elif without:
        said = f"Nothing tells what is too much: {'; '.join(without)}."
    elif compared.is_empty():
        rows = found.rows.filter(pl.col("sliced_by") == ALL).select(pl.max("rows")).item()
        said = f"Too few rows have a yes or no up to {days.last} to be compared: {rows}."
    else:
        said = (
            f"None of {len(compared)} measures on {days.last} is worse than the probabilities let expect, "
            "but for what unchanged days are."
        )
    if later is not None and later.begun:
        said += f" {_WORSE} on the newest day, {later.day}: {say_since(later.moved, later.begun) or _TOO_FEW}."
    elif later is not None:
        said += f" Nothing is on the newest day, {later.day}."
    passed = not found.begun and not found.now and not without and not compared.is_empty()
    facts: dict[str, object] = {"measures compared": len(compared), **_counted(found)}
    facts |= incident_facts(found, worst, what="slice")
    return CheckResult(name=AS_EXPECTED, passed=passed, description=said, blocking=False, facts=facts)
