"""The last steps that every table shares: judge the rows, set the bad ones aside, write, profile, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dataframely as dy
import polars as pl

from platform_assets.compute.content_hash import content_hash
from platform_assets.compute.contracts import REASONS, Verdict, judge
from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.declaration import Column, Table
from platform_assets.declarations.names import DAY, asset_name, quarantine_folder, table_folder
from platform_assets.declarations.tables import OnInvalid
from platform_assets.declarations.times import Daily, Days
from platform_assets.errors import ContractError
from platform_assets.lake.writes import write
from platform_assets.pipelines.checks import CONTRACT, not_empty
from platform_assets.pipelines.profiling import store_profiles
from platform_assets.pipelines.run import CheckResult, Inputs, Materialization, Platform, Run, enter, provenance

_SHOWN = 5
_QUARANTINE_COLUMNS = (
    Column(name="reason", dtype=pl.String(), description="The rules the row breaks."),
    Column(name="file", dtype=pl.String(), description="The landed file, where one is known."),
    Column(name="line", dtype=pl.Int64(), description="The line in that file."),
    Column(name="row", dtype=pl.String(), description="The row as JSON."),
)
_QUARANTINE_SCHEMA = {column.name: column.dtype for column in _QUARANTINE_COLUMNS}


def require_contract(
    catalogue: Catalogue,
    declaration: Table,
    rows: pl.DataFrame,
    schema: type[dy.Schema],
    *,
    policy: OnInvalid,
    rules: Mapping[str, pl.Expr] | None = None,
    carried: Sequence[str] = (),
    apart: Sequence[str] = (),
    where: str = "",
) -> Verdict:
    """Judge rows; under the policy `fail`, refuse them when any is bad.

    Raises:
        ContractError: naming the table, where the rows come from, the counts by rule and example rows.
    """
    name = asset_name(catalogue.name, declaration.name)
    try:
        verdict = judge(rows, schema, rules=rules, carried=carried, apart=apart)
    except (dy.exc.SchemaError, pl.exceptions.ColumnNotFoundError) as error:
        msg = f"{name}: its function does not return what {schema.__name__} declares: {str(error).splitlines()[0]}"
        raise ContractError(msg) from error
    if verdict.failures and policy == "fail":
        msg = f"{name}: {explain(verdict)}{where}. Nothing was written; correct the rows and run it again"
        raise ContractError(msg)
    return verdict


def explain(verdict: Verdict) -> str:
    """Counts by rule and example rows, in one readable piece."""
    counts = ", ".join(f"{rule} ({count} row{'s' if count != 1 else ''})" for rule, count in verdict.failures.items())
    examples = (
        verdict.bad.drop(REASONS)
        .head(_SHOWN)
        .with_columns(
            pl.selectors.temporal().dt.to_string() if verdict.bad.select(pl.selectors.datetime()).width else pl.all()
        )
    )
    shown = "; ".join(str(row) for row in examples.iter_rows(named=True))
    return f"{len(verdict.bad)} of {verdict.examined} rows break the contract: {counts}; for example {shown}"


def publish(
    platform: Platform,
    catalogue: Catalogue,
    declaration: Table,
    rows: pl.DataFrame,
    days: Days | None,
    run: Run,
    inputs: Inputs,
    *,
    checks: Sequence[CheckResult] = (),
    facts: Mapping[str, Any] | None = None,
    pictures: Mapping[str, bytes] | None = None,
    stamps: Mapping[str, str] | None = None,
    conclude: Callable[[Materialization], Materialization] = lambda made: made,
) -> Materialization:
    """Write judged rows to the table, replacing exactly `days`, and record it.

    Rows are cast to the declared types and columns, given their `day` by their event time if they have one, and laid
    down in order of time and key, so that equal content is equal to the byte. `conclude` adds what is told of the table
    once the rows are in it, and before the ledger has them.
    """
    folder = table_folder(catalogue.name, declaration.name)
    laid = _laid_down(declaration, rows)
    origin = provenance(catalogue, declaration, inputs.versions, run)
    written = write(
        platform.lake,
        folder,
        laid,
        columns=declaration.columns,
        days=days,
        provenance=origin,
        description=declaration.description,
    )
    # What follows comes before the ledger has it: a run that ends here is made again.
    store_profiles(platform.lake, catalogue, declaration, laid, written, origin)
    plan = written.plan
    made = Materialization(
        declaration=declaration,
        days=days,
        version=written.version,
        uri=str(platform.lake.path(folder)),
        rows=plan.rows,
        hashes=plan.hashes,
        digest=plan.digest,
        is_new=plan.writes,
        changed=plan.replace if days is not None else None,
        inputs=inputs.versions,
        preview=laid[list(range(min(len(laid), _SHOWN)))],  # a slice would keep all rows in memory
        checks=[*checks, not_empty(plan.rows)],
        facts=facts or {},
        pictures=pictures or {},
    )
    return enter(platform, catalogue, conclude(made), run, stamps=stamps)


def hash_of(declaration: Table, rows: pl.DataFrame) -> str:
    """The content hash that rows would have as the whole of a table without partitions; nothing is written."""
    return content_hash(_laid_down(declaration, rows))


def set_aside(
    platform: Platform,
    catalogue: Catalogue,
    declaration: Table,
    bad: pl.DataFrame,
    days: Days | None,
    run: Run,
    inputs: Inputs,
) -> None:
    """Replace the quarantined rows of `days` by `bad` (columns day, reason, file, line, row)."""
    folder = quarantine_folder(catalogue.name, declaration.name)
    if bad.is_empty() and platform.lake.version(folder) is None:
        return
    write(
        platform.lake,
        folder,
        bad,
        columns=_QUARANTINE_COLUMNS,
        days=days,
        provenance=provenance(catalogue, declaration, inputs.versions, run),
        description=f"Rows that {asset_name(catalogue.name, declaration.name)} refused, and why",
    )


def quarantined(
    bad: pl.DataFrame, *, reason: pl.Expr, file: pl.Expr, line: pl.Expr, day: pl.Expr | None
) -> pl.DataFrame:
    """Bad rows of any shape in the one shape of a quarantine table."""
    kept = [name for name in bad.columns if not name.startswith("__")]
    as_json = pl.struct(kept).struct.json_encode() if kept else pl.lit("{}")
    columns = {"reason": reason, "file": file, "line": line, "row": as_json} | ({DAY: day} if day is not None else {})
    schema = _QUARANTINE_SCHEMA | ({DAY: pl.Date()} if day is not None else {})
    return bad.select(expression.cast(schema[name]).alias(name) for name, expression in columns.items())


def contract_check(verdict: Verdict, *, policy: OnInvalid, refused: int = 0) -> CheckResult:
    """The contract as a check: under `quarantine`, bad rows are a warning, since readers never see them."""
    failures = dict(verdict.failures) | ({"a cell cannot be read": refused} if refused else {})
    bad, examined = len(verdict.bad) + refused, verdict.examined + refused
    said = f"{examined:,} rows examined, all kept the contract."
    if bad:
        counts = ", ".join(f"{rule} ({count})" for rule, count in failures.items())
        said = f"{bad:,} of {examined:,} rows were set aside: {counts}."
    facts = {"rows examined": examined, "rows set aside": bad} | {f"broke {r}": n for r, n in failures.items()}
    return CheckResult(name=CONTRACT, passed=not bad, description=said, blocking=policy == "fail", facts=facts)


def _laid_down(declaration: Table, rows: pl.DataFrame) -> pl.DataFrame:
    cells = [pl.col(column.name).cast(column.dtype) for column in declaration.columns]
    days = calendar(declaration)
    event_time = getattr(declaration, "event_time", None)
    keys = getattr(declaration, "keys", ())
    known_at = getattr(declaration, "known_at", None)
    told_by = [
        *([event_time] if event_time else []),
        *keys,
        *([known_at.column] if known_at and known_at.column else []),
    ]
    order = list(dict.fromkeys(told_by))
    laid = rows.select(cells)
    if isinstance(days, Daily):
        day = pl.col(DAY) if event_time is None else days.day_of(pl.col(event_time))
        laid = rows.select(*cells, day.alias(DAY))
        order = order if event_time is not None else [DAY, *order]
    return laid.sort(order) if order else laid
