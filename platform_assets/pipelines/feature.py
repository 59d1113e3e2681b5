"""The feature pipeline: landed files to sources, sources to features and labels, features to the view."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

import polars as pl

from platform_assets.compute.contracts import REASONS, together
from platform_assets.compute.corrections import fold
from platform_assets.compute.point_in_time import Features, point_in_time_joins
from platform_assets.declarations.catalogue import Catalogue, calendar, days_read, reach
from platform_assets.declarations.declaration import WINDOW_PARAMETER
from platform_assets.declarations.names import DAY, asset_name, feature_column
from platform_assets.declarations.tables import FeatureGroup, Label, Selection, Source
from platform_assets.declarations.times import INSTANT, Days, Known, Window
from platform_assets.declarations.views import PREDICTION_TIME, FeatureView
from platform_assets.errors import ContractError, LandedFileError
from platform_assets.lake.landing import FILE, LINE, REASON, Landed, corrected_at, day_of_file
from platform_assets.pipelines.checks import SPINE_KEPT
from platform_assets.pipelines.leaks import as_known_then, held, knows_no_future
from platform_assets.pipelines.publish import contract_check, publish, quarantined, require_contract, set_aside
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run

if TYPE_CHECKING:
    import duckdb

_EVENT_TIME, _KNOWN_AT = "__event_time", "__known_at"
_CORRECTED_AT, _TURN = "__corrected_at", "__turn"


def ingest(platform: Platform, catalogue: Catalogue, source: Source, days: Days | None, run: Run) -> Materialization:
    """Read the landed files of `days`, check them, and publish the rows that keep the contract.

    What a day holds follows from its own files alone: its first delivery with its corrections on top.

    Raises:
        SourceUnavailable: when a day has not landed.
        LandedFileError: when a file is damaged, corrects a source that keeps no versions, or under the policy
            `fail` has a cell that cannot be read.
        ContractError: under the policy `fail`, when a row breaks the contract.
    """
    inputs = Inputs.pin(platform, catalogue, source, days)
    landed = platform.landing.read(source.name, source.raw, days)
    if landed.corrections and source.on_correction == "refuse":
        raise LandedFileError(_explain_correction(catalogue, source, landed))
    if len(landed.unreadable) and source.on_invalid == "fail":
        raise LandedFileError(_explain_unreadable(catalogue, source, landed))
    others = _slices(catalogue, source, inputs, days)
    verdict = together(
        [
            require_contract(
                catalogue,
                source,
                _transformed(source, rows, others),
                source.schema,
                policy=source.on_invalid,
                rules=_partition_rules(source, days),
                carried=[FILE, LINE],
                apart=[FILE],
                where=_files_of(landed),
            )
            for rows in _in_turn(landed)
        ]
    )
    bad = pl.concat(
        [
            quarantined(
                landed.unreadable,
                reason=pl.col(REASON),
                file=pl.col(FILE),
                line=pl.col(LINE),
                day=day_of_file() if days is not None else None,
            ),
            quarantined(
                verdict.bad,
                reason=pl.col(REASONS).list.join("; "),
                file=pl.col(FILE),
                line=pl.col(LINE),
                day=pl.coalesce(day_of_file(), pl.lit(days.first)) if days is not None else None,
            ),
        ]
    )
    set_aside(platform, catalogue, source, bad, days, run, inputs)
    check = contract_check(verdict, policy=source.on_invalid, refused=len(landed.unreadable))
    facts = {"landed files": len(landed.deliveries), "rows set aside": len(bad)}
    kept = verdict.good
    if source.on_correction == "keep":
        kept = _folded(source, verdict.good)
        facts |= {"corrections": len(landed.corrections), "rows from corrections": kept[_CORRECTED_AT].count()}
    return publish(
        platform, catalogue, source, kept, days, run, inputs, checks=[check], stamps=landed.stamps, facts=facts
    )


def compute_features(
    platform: Platform, catalogue: Catalogue, group: FeatureGroup, days: Days, run: Run
) -> Materialization:
    """Compute a feature group for `days` from the slices that its look-back reaches.

    Raises:
        ContractError: when its function or SQL returns rows that break the declared contract.
    """
    inputs = Inputs.pin(platform, catalogue, group, days)

    def read(days: Days) -> dict[str, pl.LazyFrame]:
        return _slices(catalogue, group, inputs, days)

    # The check computes a day again from slices in memory: of a single day these, and these rows, are what it starts from.
    slices = held(read(days)) if len(days) == 1 else read(days)
    # DuckDB takes longer to open than to answer.
    with platform.connect() if group.transform is None else nullcontext() as connection:

        def compute(slices: Mapping[str, pl.LazyFrame], days: Days) -> pl.DataFrame:
            return _computed(group, slices, days, connection)

        rows = compute(slices, days)
        verdict = require_contract(catalogue, group, rows, group.schema, policy="fail")
        alone = (slices, rows) if len(days) == 1 else None
        no_future = knows_no_future(catalogue, group, days, read, compute, alone=alone)
    checks = [contract_check(verdict, policy="fail"), no_future]
    return publish(platform, catalogue, group, verdict.good, days, run, inputs, checks=checks)


def compute_labels(platform: Platform, catalogue: Catalogue, label: Label, days: Days, run: Run) -> Materialization:
    """Compute the labels of `days`, reading as far ahead as their look-ahead reaches."""
    inputs = Inputs.pin(platform, catalogue, label, days)
    window = label.partitions.window(days)
    extra = {WINDOW_PARAMETER: window} if label.wants_window else {}
    found = label.transform(**_slices(catalogue, label, inputs, days), **extra)
    rows = _produced(found, label.event_time, window).collect(engine=_engine(days))
    verdict = require_contract(catalogue, label, rows, label.schema, policy="fail")
    return publish(
        platform, catalogue, label, verdict.good, days, run, inputs, checks=[contract_check(verdict, policy="fail")]
    )


def compute_view(platform: Platform, catalogue: Catalogue, view: FeatureView, days: Days, run: Run) -> Materialization:
    """Ask for the predictions of `days` (the spine) and join to each what was known at its prediction time."""
    inputs = Inputs.pin(platform, catalogue, view, days)
    window = view.partitions.window(days)
    spine = view.transform(**_slices(catalogue, view, inputs, days, names=view.spine_inputs))
    rows = _produced(spine, view.event_time, window).collect(engine=_engine(days))
    verdict = require_contract(catalogue, view, rows, view.schema, policy="fail")
    joined = verdict.good.with_columns(view.prediction_time.expr().alias(PREDICTION_TIME))
    facts = slices_of_groups(view, inputs, days)
    joined = join_selections(joined, facts, view.features, known=view.known)
    kept = CheckResult(
        name=SPINE_KEPT,
        passed=len(joined) == len(rows),
        blocking=True,
        description=f"{len(joined):,} rows for a spine of {len(rows):,}.",
        facts={"spine rows": len(rows), "joined rows": len(joined)},
    )
    missing = (
        {
            f"share without {s.prefix}": joined.get_column(c).null_count() / max(len(joined), 1)
            for s in view.features
            for c in [feature_column(s.prefix, s.features[0])]
        }
        if len(joined)
        else {}
    )
    return publish(
        platform,
        catalogue,
        view,
        joined,
        days,
        run,
        inputs,
        facts={"features as known": view.known, **missing},
        checks=[contract_check(verdict, policy="fail"), kept, as_known_then(view, joined, facts)],
    )


def slices_of_groups(
    view: FeatureView, inputs: Inputs, days: Days, *, names: Collection[str] | None = None
) -> dict[str, pl.LazyFrame]:
    """Per feature group of a view (or of `names` alone) the rows that its `days` are joined from, as pinned."""
    wanted = [group for group in view.groups if names is None or group.name in names]
    return {group.name: _slice(view, group, inputs, days) for group in wanted}


def join_selections(
    spine: pl.DataFrame, facts: Mapping[str, pl.LazyFrame], selections: Sequence[Selection], *, known: Known = "then"
) -> pl.DataFrame:
    """Join the chosen features of each group to a spine as known at its prediction time, or as corrected since.

    Args:
        spine: rows with the keys and the prediction time.
        facts: per group the rows to join.
        selections: what to take of which group.
        known: see `point_in_time_join`.
    """
    groups = [_as_features(facts[selection.group.name], selection) for selection in selections]
    joined = point_in_time_joins(spine, groups, prediction_time=PREDICTION_TIME, known=known)
    # How old an expired row is depends on how far back the slice happens to reach: a day alone would differ.
    # Polars divides by a constant one bit apart for one row and for many, and so does not multiply.
    ages = [
        (pl.when(pl.col(s.age_column) <= s.group.max_age).then(pl.col(s.age_column)).dt.total_seconds() * (1 / 60))
        for s in selections
        if s.age
    ]
    return joined.with_columns(ages)


def _as_features(facts: pl.LazyFrame, selection: Selection) -> Features:
    group = selection.group
    known_at = group.known_at.expr() if group.known_at.is_known else pl.col(group.event_time)
    renamed = dict(zip(group.keys, selection.spine_keys, strict=True))
    rows = facts.select(
        *(pl.col(key).alias(spine_key) for key, spine_key in renamed.items()),
        pl.col(group.event_time).alias(_EVENT_TIME),
        known_at.alias(_KNOWN_AT),
        *(pl.col(name).alias(feature_column(selection.prefix, name)) for name in selection.features),
    )
    return Features(
        rows=rows,
        on=selection.spine_keys,
        event_time=_EVENT_TIME,
        known_at=_KNOWN_AT,
        max_age=group.max_age,
        age_column=selection.age_column if selection.age else None,
    )


def _slices(
    catalogue: Catalogue,
    reader: Source | FeatureGroup | Label | FeatureView,
    inputs: Inputs,
    days: Days | None,
    names: tuple[str, ...] | None = None,
) -> dict[str, pl.LazyFrame]:
    wanted = reader.input_names if names is None else names
    reads = {d.name: d for d in catalogue.inputs(reader) if isinstance(d, Source | FeatureGroup)}
    return {name: _slice(reader, reads[name], inputs, days) for name in wanted}


def _slice(
    reader: Source | FeatureGroup | Label | FeatureView,
    read: Source | FeatureGroup,
    inputs: Inputs,
    days: Days | None,
) -> pl.LazyFrame:
    """The rows of an input whose event time the reader's windows reach."""
    extent, own = reach(reader, read), calendar(reader)
    if extent is None or own is None or days is None or read.event_time is None:
        return inputs.scan(read.name)
    touched = days_read(reader, read, days)
    if touched is None:
        return inputs.scan(read.name).drop(DAY).clear()
    window = own.window(days)
    reached = Window(start=window.start - extent.back, end=window.end + extent.forth)
    return _inside(inputs.scan(read.name, days=touched).drop(DAY), read.event_time, reached)


def _inside(rows: pl.LazyFrame, instant: str, window: Window) -> pl.LazyFrame:
    return rows.filter(pl.col(instant) >= window.start, pl.col(instant) < window.end)


def _produced(rows: pl.LazyFrame, instant: str, window: Window) -> pl.LazyFrame:
    """The computed rows of a window; those without a time stay, to be refused by the contract and not lost."""
    return rows.filter((pl.col(instant) >= window.start) & (pl.col(instant) < window.end) | pl.col(instant).is_null())


def _computed(
    group: FeatureGroup,
    slices: Mapping[str, pl.LazyFrame],
    days: Days,
    connection: duckdb.DuckDBPyConnection | None,
) -> pl.DataFrame:
    """A group's rows of `days`, by its function or by its SQL on the connection."""
    window = group.partitions.window(days)
    if group.transform is not None:
        extra = {WINDOW_PARAMETER: window} if group.wants_window else {}
        found = group.transform(**slices, **extra)
    else:
        assert connection is not None  # noqa: S101 - opened for every group of SQL
        found = _run_sql(connection, group, slices)
    return _produced(found, group.event_time, window).collect(engine=_engine(days))


def _engine(days: Days) -> Literal["in-memory", "auto"]:
    """What Polars computes with: for one day, setting up its streaming engine takes longer than the rows."""
    return "in-memory" if len(days) == 1 else "auto"


def _run_sql(
    connection: duckdb.DuckDBPyConnection, group: FeatureGroup, slices: Mapping[str, pl.LazyFrame]
) -> pl.LazyFrame:
    connection.execute("SET TimeZone = 'UTC'")
    for name, rows in slices.items():
        connection.register(name, rows.collect().to_arrow())
    found: pl.DataFrame = connection.sql(group.sql or "").pl()
    for name in slices:
        connection.unregister(name)
    instants = [pl.col(c.name).cast(c.dtype) for c in group.columns if c.name in found.columns]
    try:
        return found.lazy().select(instants).collect().lazy()
    except pl.exceptions.PolarsError as error:
        msg = f"{group.name}: its SQL returns columns that cannot be read as declared: {str(error).splitlines()[0]}"
        raise ContractError(msg) from error


def _in_turn(landed: Landed) -> list[pl.DataFrame]:
    """The rows of the first deliveries, those of the first corrections, and so on.

    A function or a rule may compare rows, and must not see two versions of one.
    """
    if not landed.corrections:
        return [landed.rows]
    turn = corrected_at().rank("dense").over(day_of_file()).fill_null(0).alias(_TURN)
    turns = landed.rows.with_columns(turn).partition_by(_TURN, include_key=False, maintain_order=True)
    return turns or [landed.rows]


def _transformed(source: Source, landed: pl.DataFrame, others: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """What a source's function makes of landed rows, with the file and the line each row comes from."""

    def made(rows: pl.DataFrame) -> pl.DataFrame:
        found = source.transform(rows.lazy(), **others).collect()
        if len(found) == len(rows):
            # A row-wise function keeps the order, so that a bad row can be traced to its line.
            return found.with_columns(rows.get_column(FILE), rows.get_column(LINE))
        file = rows.item(0, FILE) if rows.get_column(FILE).n_unique() == 1 else None
        return found.with_columns(pl.lit(file, pl.String).alias(FILE), pl.lit(None, pl.Int64).alias(LINE))

    whole = made(landed)
    if landed.get_column(FILE).n_unique() <= 1 or whole.is_empty() or not _is_astray(source, whole):
        return whole
    # It drops, adds or moves rows (or one lies in the wrong file): file by file each keeps its own.
    return pl.concat([made(rows) for _, rows in landed.group_by(FILE, maintain_order=True)])


def _folded(source: Source, rows: pl.DataFrame) -> pl.DataFrame:
    """All versions of the rows that keep the contract, with the instant of the correction each comes from."""
    event_time, known_at = str(source.event_time), str(source.known_at.column)
    told_by = {*source.keys, event_time, known_at}
    return fold(
        rows.with_columns(corrected_at().alias(_CORRECTED_AT)),
        keys=source.keys,
        event_time=event_time,
        known_at=known_at,
        corrected_at=_CORRECTED_AT,
        values=[column.name for column in source.columns if column.name not in told_by],
    )


def _is_astray(source: Source, rows: pl.DataFrame) -> bool:
    """Whether a row has no file, or is not on the day of the one it seems to come from."""
    if rows.get_column(FILE).is_null().any() or source.partitions is None or source.event_time is None:
        return True
    if rows.schema.get(source.event_time) != INSTANT:
        return False
    return not rows.select((source.partitions.day_of(pl.col(source.event_time)) == day_of_file()).all()).item()


def _partition_rules(source: Source, days: Days | None) -> dict[str, pl.Expr]:
    if days is None or source.partitions is None or source.event_time is None:
        return {}
    own = source.partitions.day_of(pl.col(source.event_time))
    promised = pl.coalesce(day_of_file(), own)
    return {
        f"{source.event_time} is not on the day of its file": (own == promised) & own.is_between(days.first, days.last)
    }


def _files_of(landed: Landed) -> str:
    files = list(landed.stamps)
    return f" (in the landed file{'s' if len(files) > 1 else ''} of {', '.join(files[:3])})" if files != [""] else ""


def _explain_unreadable(catalogue: Catalogue, source: Source, landed: Landed) -> str:
    shown = landed.unreadable.select(FILE, LINE, REASON).head(5)
    examples = "; ".join(f"{file} line {line}: {reason}" for file, line, reason in shown.iter_rows())
    return (
        f"{asset_name(catalogue.name, source.name)}: {len(landed.unreadable)} of "
        f"{len(landed.unreadable) + len(landed.rows)} rows cannot be read: {examples}. "
        "Nothing was written; correct the file and run it again"
    )


def _explain_correction(catalogue: Catalogue, source: Source, landed: Landed) -> str:
    first = landed.corrections[0]
    return (
        f"{asset_name(catalogue.name, source.name)}: {first.path} is a correction, but the source keeps one version of "
        f"each row. Declare on_correction='keep', with known_at=after(...) of a column of its own (it is "
        f"{source.known_at} now), to keep what was known before; or deliver {first.day} again whole and move the "
        "correction away. Nothing was written"
    )
