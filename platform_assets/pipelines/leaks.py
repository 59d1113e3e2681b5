"""Leak checks, made from the declarations: a feature that knows the future stops everything downstream.

Five ways to catch one, each blind to something that another sees: the future taken away (truncation) and
changed (mutation) under a feature group; a sample of the view joined again by brute force; splits that
share entities or labels that matured too late; and a single feature that is too good to be true. A
check that examined nothing fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime

import polars as pl

from platform_assets.compute.leakage import distort, forget, moved, too_good
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import feature_column
from platform_assets.declarations.tables import FeatureGroup, Source
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import PREDICTION_TIME, SPLIT, FeatureView, TrainingDataset
from platform_assets.pipelines.checks import AS_KNOWN_THEN, KNOWS_NO_FUTURE, NOT_TOO_GOOD, SPLITS_APART
from platform_assets.pipelines.run import CheckResult

TOO_GOOD = 0.95
"""A single feature that ranks the label better than this is taken for a leak."""

Compute = Callable[[Mapping[str, pl.LazyFrame], Days], pl.DataFrame]

_SAMPLE = 100
_LATEST_DAYS = 7


def knows_no_future(
    catalogue: Catalogue,
    group: FeatureGroup,
    days: Days,
    read: Callable[[Days], Mapping[str, pl.LazyFrame]],
    compute: Compute,
    *,
    alone: tuple[Mapping[str, pl.LazyFrame], pl.DataFrame] | None = None,
) -> CheckResult:
    """Compute one day again with its later half forgotten, and again with it distorted; nothing before may move.

    The cut is the time at which the day's middle row was known. Where no row was made there is nothing to
    examine: the check fails, as a warning, since what is not there cannot leak.

    Args:
        catalogue: where the group's inputs are declared.
        group: the feature group.
        days: what was materialized; the newest of its last days that has rows is examined.
        read: gives the input slices for some days.
        compute: computes the group from such slices.
        alone: of a single day, the slices (in memory) that it was computed from and the rows that came out, so that
            neither is made again. Of more days, one is computed alone.
    """
    for day in sorted(days, reverse=True)[:_LATEST_DAYS]:
        one = Days(day, day)
        slices = alone[0] if alone else held(read(one))
        honest = alone[1] if alone else compute(slices, one)
        found = _examine_day(catalogue, group, day, slices, honest, compute)
        if found is not None:
            return found
    return CheckResult(
        name=KNOWS_NO_FUTURE,
        passed=False,
        blocking=False,
        facts={"rows examined": 0},
        description=f"No rows on the last {min(len(days), _LATEST_DAYS)} days: nothing could be examined.",
    )


def _examine_day(
    catalogue: Catalogue,
    group: FeatureGroup,
    day: date,
    slices: Mapping[str, pl.LazyFrame],
    honest: pl.DataFrame,
    compute: Compute,
) -> CheckResult | None:
    known = group.known_at.expr() if group.known_at.is_known else pl.col(group.event_time)
    if honest.is_empty():
        return None
    now = honest.select(known.quantile(0.5, interpolation="lower")).item()
    before = honest.filter(known <= now)
    sources = {d.name: d for d in catalogue.inputs(group)}
    differing: dict[str, int] = {}
    for tamper in (_forget, _distort):
        tampered = {name: tamper(rows, sources[name], now) for name, rows in slices.items()}
        after = compute(tampered, Days(day, day)).filter(known <= now)
        differing |= moved(before, after, on=_told_by(group))
    said = f"{len(before):,} rows of {day} stay as they are when what was known after {now:%H:%M} UTC goes or changes."
    if differing:
        culprits = ", ".join(f"{name} ({count} rows)" for name, count in differing.items())
        said = f"On {day}, values before {now:%H:%M} UTC move when only what was known later changes: {culprits}."
    return CheckResult(
        name=KNOWS_NO_FUTURE,
        passed=not differing,
        blocking=True,
        description=said,
        facts={"rows examined": len(before), "columns that moved": len(differing)},
    )


def held(slices: Mapping[str, pl.LazyFrame]) -> dict[str, pl.LazyFrame]:
    """Slices read into memory, in an order of rows that stays: what is computed from them twice is the same twice."""
    return {name: rows.collect().lazy() for name, rows in slices.items()}


def _told_by(group: FeatureGroup) -> list[str]:
    """The columns that tell its rows apart; where it has a column for it, also when each was known."""
    own = [group.known_at.column] if group.known_at.column is not None else []
    return list(dict.fromkeys([*group.keys, group.event_time, *own]))


def _forget(rows: pl.LazyFrame, source: object, now: datetime) -> pl.LazyFrame:
    return forget(rows, known=_known(source), now=now) if _is_dated(source) else rows


def _distort(rows: pl.LazyFrame, source: object, now: datetime) -> pl.LazyFrame:
    if not _is_dated(source):
        return rows
    assert isinstance(source, Source | FeatureGroup)  # noqa: S101 - what `_is_dated` said
    # Keys stay, so that what is changed is what a row says, not whom it is about.
    return distort(rows, known=_known(source), now=now, keep=list(source.keys))


def _is_dated(source: object) -> bool:
    return isinstance(source, Source | FeatureGroup) and source.known_at.is_known


def _known(source: object) -> pl.Expr:
    assert isinstance(source, Source | FeatureGroup)  # noqa: S101
    return source.known_at.expr()


def as_known_then(view: FeatureView, joined: pl.DataFrame, facts: Mapping[str, pl.LazyFrame]) -> CheckResult:
    """Join a sample of the view again by comparing every pair of rows, and look at the times of what was found.

    Of a view that is joined as corrected since, only the event times have to have come.

    Args:
        view: the feature view.
        joined: its rows as they are about to be published.
        facts: per group the rows that were joined.
    """
    sample = joined.sample(min(_SAMPLE, len(joined)), seed=len(joined)) if len(joined) else joined
    wrong: dict[str, int] = {}
    examined = 0
    for selection in view.features:
        group = selection.group
        known = group.known_at.expr() if group.known_at.is_known else pl.col(group.event_time)
        names = {name: feature_column(selection.prefix, name) for name in selection.features}
        asked = sample.select(*dict.fromkeys([*view.keys, *selection.spine_keys]), PREDICTION_TIME, *names.values())
        keys = [f"__key{n}" for n in range(len(group.keys))]
        wanted = asked.select(*dict.fromkeys(selection.spine_keys)).unique().lazy()
        rows = (
            facts[group.name]
            .select(
                *(pl.col(key).alias(alias) for key, alias in zip(group.keys, keys, strict=True)),
                pl.col(group.event_time).alias("__event"),
                known.alias("__known"),
                *names,
            )
            .join(wanted, left_on=keys, right_on=list(selection.spine_keys), how="semi")
            .collect(engine="streaming")
            .lazy()
            .with_row_index("__fact")
        )
        numbered = asked.lazy().with_row_index("__row")
        pairs = (
            numbered.select("__row", PREDICTION_TIME, *selection.spine_keys)
            .join(rows.select("__fact", "__event", "__known", *keys), left_on=list(selection.spine_keys), right_on=keys)
            .filter(pl.col("__event") <= pl.col(PREDICTION_TIME))
            .filter((pl.col("__known") <= pl.col(PREDICTION_TIME)) | (view.known == "since"))
        )
        newest = pairs.filter(pl.col("__event") == pl.col("__event").max().over("__row"))
        newest = newest.filter(pl.col("__known") == pl.col("__known").max().over("__row"))
        fresh = newest.filter(pl.col(PREDICTION_TIME) - pl.col("__event") <= group.max_age)
        values = fresh.select("__row", "__fact").join(rows.select("__fact", *names), on="__fact").sort(*names)
        found = values.group_by("__row", maintain_order=True).last()
        again = numbered.join(found, on="__row", how="left", maintain_order="left")
        differ = again.select(pl.col(name).ne_missing(pl.col(names[name])).sum().alias(names[name]) for name in names)
        counted = differ.collect(engine="in-memory").row(0, named=True)
        wrong |= {column: count for column, count in counted.items() if count}
        examined += len(asked)
    how = "as known then" if view.known == "then" else "as corrected since"
    said = f"{len(sample):,} rows joined again by brute force, {how}, agree in all {len(view.feature_columns)} columns."
    if wrong:
        meant = "what was known at the prediction time" if view.known == "then" else "what it was corrected to since"
        said = f"Not {meant}: " + ", ".join(f"{c} ({n} rows)" for c, n in wrong.items()) + "."
    return CheckResult(
        name=AS_KNOWN_THEN,
        passed=not wrong and examined > 0,
        blocking=examined > 0,
        description=said if examined else "The view has no rows: nothing could be examined.",
        facts={"rows examined": len(sample), "columns that differ": len(wrong)},
    )


def splits_apart(dataset: TrainingDataset, rows: pl.DataFrame, matured: str) -> CheckResult:
    """See that no entity is in two parts, and that every label had matured before the next part begins.

    Args:
        dataset: the training dataset.
        rows: its rows with their part and the column `matured`.
        matured: when each label was known.
    """
    keys = list(dataset.label.keys)
    shared = len(rows) - rows.select(keys).n_unique()
    late = 0
    for part, following in (("fit", "select"), ("select", "report")):
        begins = rows.filter(pl.col(SPLIT) == following).get_column(PREDICTION_TIME).min()
        if begins is not None:
            late += rows.filter((pl.col(SPLIT) == part) & (pl.col(matured) >= begins)).height
    said = f"{len(rows):,} rows: none in two parts, every label known before the next part begins."
    if shared or late or rows.is_empty():
        said = (
            (
                f"{shared:,} rows share an entity with another row; {late:,} labels were known only after the next part "
                "had begun."
            )
            if len(rows)
            else "There are no rows: nothing could be examined."
        )
    return CheckResult(
        name=SPLITS_APART,
        passed=not shared and not late and len(rows) > 0,
        blocking=True,
        description=said,
        facts={"rows examined": len(rows), "shared entities": shared, "labels too late": late},
    )


def not_too_good(dataset: TrainingDataset, rows: pl.DataFrame) -> CheckResult:
    """Rank the label by each feature alone on *fit*; one that all but knows it is named."""
    features = [
        name
        for name in (*dataset.view.feature_columns, *dataset.view.schema.columns())
        if name not in dataset.view.keys and _can_rank(rows.schema[name])
    ]
    fit = rows.filter(pl.col(SPLIT) == "fit")
    suspects, judged = too_good(fit, features=features, label=dataset.label.value, limit=TOO_GOOD)
    said = f"None of {judged} features ranks the label with an AUC above {TOO_GOOD} by itself."
    if suspects:
        named = ", ".join(f"{s.feature} ({s.auc:.3f})" for s in suspects)
        said = f"Too good to be known in time: {named}. Does it hold the label, or something that follows from it?"
    return CheckResult(
        name=NOT_TOO_GOOD,
        passed=not suspects and judged > 0,
        blocking=True,
        description=said if judged else "No feature could be judged: too few rows, or all alike.",
        facts={"features examined": judged, "suspects": len(suspects)},
    )


def _can_rank(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.String)
