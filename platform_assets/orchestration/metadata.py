"""A materialization as Dagster shows it: figures, schema, preview, pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Declaration, Table
from platform_assets.declarations.models import Outcomes, Predictions
from platform_assets.declarations.names import asset_name, asset_path
from platform_assets.declarations.views import FeatureView, TrainingDataset
from platform_assets.pipelines.checks import checks_of
from platform_assets.pipelines.run import CheckResult, Materialization

RUN_TIME = "run time (s)"
"""The wall time of a materialization; of a range of days, that of all of it."""
_WIDEST_PREVIEW = 12


def key_of(catalogue: Catalogue, name: str) -> dg.AssetKey:
    """The two-level asset key of a declaration."""
    return dg.AssetKey(asset_path(catalogue.name, name))


def checks_along(catalogue: Catalogue, names: Iterable[str]) -> list[dg.AssetCheckKey]:
    """The checks that are part of materializing these declarations; `up_to_date` has runs of its own."""
    return [
        dg.AssetCheckKey(key_of(catalogue, name), check.name) for name in names for check in checks_of(catalogue[name])
    ]


def definition_metadata(catalogue: Catalogue, declaration: Declaration, uri: str) -> dict[str, Any]:
    """What is known of an asset before it runs: its schema with descriptions, and where it will lie."""
    known: dict[str, Any] = {"dagster/uri": uri, "fingerprint": catalogue.fingerprints[declaration.name]}
    if isinstance(declaration, Table):
        known["dagster/table_name"] = asset_name(catalogue.name, declaration.name).replace("/", ".")
        known["dagster/column_schema"] = dg.TableSchema(
            columns=[
                dg.TableColumn(
                    name=column.name,
                    type=_type_name(column.dtype),
                    description=column.description or None,
                    constraints=dg.TableColumnConstraints(nullable=column.nullable),
                )
                for column in declaration.columns
            ]
        )
        lineage = column_lineage(catalogue, declaration)
        if lineage:
            known["dagster/column_lineage"] = dg.TableColumnLineage(lineage)
    keys = getattr(declaration, "keys", None)
    if keys:
        known["keys"] = ", ".join(keys)
    for title in ("known_at", "on_correction", "lookback", "lookahead", "max_age", "prediction_time", "known"):
        value = getattr(declaration, title, None)
        if value:
            known[title.replace("_", " ")] = str(value)
    return known


def column_lineage(catalogue: Catalogue, declaration: Declaration) -> dict[str, list[dg.TableColumnDep]]:
    """Where each column comes from, for the tables that the platform itself puts together."""

    def dep(name: str, column: str) -> list[dg.TableColumnDep]:
        return [dg.TableColumnDep(asset_key=key_of(catalogue, name), column_name=column)]

    if isinstance(declaration, FeatureView):
        return {c: dep(s.group.name, behind) for s in declaration.features for c, behind in s.column_sources.items()}
    if isinstance(declaration, TrainingDataset):
        own = {c.name: dep(declaration.view.name, c.name) for c in declaration.view.columns}
        return own | {declaration.label.value: dep(declaration.label.name, declaration.label.value)}
    if isinstance(declaration, Predictions):
        kept = {c.name for c in declaration.view.columns}
        return {c.name: dep(declaration.view.name, c.name) for c in declaration.columns if c.name in kept}
    if isinstance(declaration, Outcomes):
        predicted = {c.name for c in declaration.predictions.columns}
        return {
            c.name: dep(declaration.predictions.name if c.name in predicted else declaration.label.name, c.name)
            for c in declaration.columns
        }
    return {}


def run_metadata(catalogue: Catalogue, made: Materialization, run_id: str, seconds: float) -> dict[str, Any]:
    """What every partition of a materialization shows: what it is, and what it was made of."""
    return {
        **{title: _plain(value) for title, value in made.facts.items()},
        RUN_TIME: round(seconds, 2),
        "version": made.version,
        "new version": made.is_new,
        **{f"version of {name}": version for name, version in made.inputs.items()},
        "dagster/uri": made.uri,
        "fingerprint": catalogue.fingerprints[made.declaration.name],
        "run": run_id,
    }


def heavy_metadata(made: Materialization) -> dict[str, Any]:
    """What one event of a materialization shows: its card, tables, pictures and preview."""
    shown: dict[str, Any] = {"card": dg.MetadataValue.md(made.card)} if made.card else {}
    shown |= {title: dg.MetadataValue.md(_as_markdown(table)) for title, table in made.tables.items()}
    for title, png in made.pictures.items():
        encoded = base64.b64encode(png).decode()
        shown[title] = dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
    return shown | {"preview": dg.MetadataValue.md(_as_markdown(made.preview))}


def check_result(key: dg.AssetKey, found: CheckResult) -> dg.AssetCheckResult:
    """A check of ours as Dagster's; only a blocking one that failed is an error."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=found.name,
        passed=found.passed,
        description=found.description,
        severity=dg.AssetCheckSeverity.ERROR if found.blocking else dg.AssetCheckSeverity.WARN,
        metadata={title: _plain(value) for title, value in found.facts.items()},
    )


def _type_name(dtype: pl.DataType) -> str:
    return "datetime UTC" if isinstance(dtype, pl.Datetime) else str(dtype)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if value is None:
        return "none"
    return round(float(value), 6)


def _as_markdown(frame: pl.DataFrame) -> str:
    """A few rows as a Markdown table."""
    shown = frame.select(frame.columns[:_WIDEST_PREVIEW])
    cells: list[Mapping[str, Any]] = list(shown.iter_rows(named=True))
    head = "| " + " | ".join(map(_cell, shown.columns)) + " |\n|" + "---|" * shown.width
    body = "\n".join("| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in cells)
    more = f"\n\nand {frame.width - shown.width} more columns" if frame.width > shown.width else ""
    return f"{head}\n{body}{more}" if cells else "no rows"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).replace("|", "\\|").replace("+00:00", "Z")
