"""The commands that answer a question and change nothing: plan, trace, reproduce, usage; as text or as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.names import asset_name
from platform_assets.errors import NotFound, PartitionError, SettingsError
from platform_assets.orchestration import projects
from platform_assets.orchestration.outlook import instance_if_any, look_ahead
from platform_assets.orchestration.resources import resources
from platform_assets.pipelines.addresses import Addresses
from platform_assets.pipelines.assumed import Change
from platform_assets.pipelines.impact import Impact
from platform_assets.pipelines.reproduce import Link, Reproduction, reproduce
from platform_assets.pipelines.run import Platform, Run
from platform_assets.pipelines.staleness import say_days
from platform_assets.pipelines.trace import FeatureRow, TableUsed, Trace, trace
from platform_assets.pipelines.usage import Usage, usage
from platform_assets.settings import Settings
from platform_assets.terminal import console, show_not_looked_at

_NAME = 36
"""So wide is the column of names at most, before they are folded, so that 80 columns leave room for the reasons."""
_MARKS = {"same": "[green]✓[/]", "not recorded": "[yellow]?[/]"}


def answer_plan(settings: Settings, *, allow: bool, as_json: bool, assumed: Sequence[Change] = ()) -> int:
    """Say what a refresh would do, reach and cost; 1 where it reaches a champion and that is not allowed.

    Raises:
        NotFound: when something that is assumed to change is not declared.
        PartitionError: when it has no such days.
    """
    platform, catalogues = open_projects(settings)
    _require_declared(catalogues, assumed)
    with instance_if_any(settings) as instance:
        found = [look_ahead(platform, c, instance, now=datetime.now(UTC), assumed=assumed) for c in catalogues]
    reached = any(one.reaches_production for one in found)
    if as_json:
        shown = [{**plain(one), "seconds": one.seconds, "reaches_production": one.reaches_production} for one in found]
        print(json.dumps({"projects": shown, "reaches_production": reached}, indent=2))
    else:
        for one in found:
            show_impact(console(), one)
        if not catalogues:
            print("there is no project below platform_assets/defs; declare one as the README shows")
        if reached and not allow:
            console().print("[red]✗[/] a champion would be fitted anew; say --allow where that is meant")
    return int(reached and not allow)


def _require_declared(catalogues: Sequence[Catalogue], assumed: Sequence[Change]) -> None:
    declared = {asset_name(c.name, d.name): d for c in catalogues for d in c.declarations}
    for change in assumed:
        wanted = asset_name(change.catalogue, change.name)
        if wanted not in declared:
            near = difflib.get_close_matches(wanted, declared, n=1)
            msg = f"{wanted} is not declared; " + (
                f"did you mean {near[0]}?" if near else "usage and the UI list what is"
            )
            raise NotFound(msg)
        days = calendar(declared[wanted])
        if change.days is not None and days is None:
            msg = f"{wanted} is not cut into days; write --change {wanted} alone"
            raise PartitionError(msg)
        if change.days is not None and days is not None:
            days.require(change.days)


def answer_trace(settings: Settings, chosen: argparse.Namespace) -> int:
    """Follow a prediction back; 1 where something behind it is gone or does not agree."""
    platform, catalogues = open_projects(settings)
    uis = Addresses(
        dagster=f"http://{settings.host}:{settings.port}", mlflow=f"http://{settings.host}:{settings.mlflow_port}"
    )
    found = trace(platform, catalogues, chosen.prediction, addresses=uis)
    if chosen.json:
        print(json.dumps(plain(found), indent=2))
    else:
        show_trace(console(), found)
    return int(bool(found.problems))


def answer_reproduce(settings: Settings, chosen: argparse.Namespace) -> int:
    """Make a model again; 1 where a link broke."""
    platform, catalogues = open_projects(settings)
    now = datetime.now(UTC)
    out = console()
    with out.status("looking up what was recorded") as status:
        run = Run(run_id=f"reproduce-{now:%Y%m%dT%H%M%S}", now=now, say=lambda said: status.update(escape(said)))
        if chosen.json or not out.is_terminal:
            status.stop()
        found = reproduce(platform, catalogues, chosen.model, run=run)
    if chosen.json:
        print(json.dumps({**plain(found), "is_reproduced": found.is_reproduced, "broken": len(found.broken)}, indent=2))
    else:
        show_reproduction(out, found)
    return int(bool(found.broken) or not found.is_reproduced)


def answer_usage(settings: Settings, chosen: argparse.Namespace) -> int:
    """Say who uses a feature; 0 where it is safe to drop, 1 where it is not."""
    platform, catalogues = open_projects(settings)
    found = usage(platform, catalogues, chosen.feature)
    if chosen.json:
        print(json.dumps({**plain(found), "is_safe_to_drop": found.is_safe_to_drop}, indent=2))
    else:
        show_usage(console(), found)
    return int(not found.is_safe_to_drop)


def plain(value: Any) -> Any:
    """A record as JSON has it: times as ISO 8601, days as first and last."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = [field for field in dataclasses.fields(value) if field.repr]
        return {field.name: plain(getattr(value, field.name)) for field in shown}
    if isinstance(value, Mapping):
        return {str(key): plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(held) for held in value]
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def show_impact(out: Console, found: Impact) -> None:
    """What is out of date and why, a line each; then what that reaches and costs."""
    show_not_looked_at(out, found.catalogue, found.waiting, found.early)
    if not found.steps:
        all_of_it = "everything that has landed" if found.waiting else "everything"
        out.print(f"[green]✓[/] {found.catalogue}: {all_of_it} is up to date, nothing to do")
        return
    table = _table("out of date")
    table.columns[0].no_wrap = max(len(step.asset) for step in found.steps) <= _NAME
    for title in ("days", "rows", "cost"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for step in found.steps:
        days = "" if step.day_count is None else f"{step.day_count}"
        rows = "unknown" if step.rows is None else f"{step.rows:,}"
        table.add_row(step.asset, days, rows, _seconds(step.seconds), ", ".join(step.reasons))
    out.print(table)
    for what, assets in (
        ("training dataset", found.training_datasets),
        ("model", tuple(_say_model(model.model, model.aliases) for model in found.models)),
        ("predictions", found.predictions),
    ):
        for asset in assets:
            out.print(f"reaches the {what} {asset}")
    unknown = f"; unknown for {len(found.never_ran)} that never ran" if found.never_ran else ""
    out.print(f"costs about {_seconds(found.seconds)} by run history{unknown}")


def show_trace(out: Console, found: Trace) -> None:
    """A prediction, its model, the feature rows and the tables behind both, and where to look."""
    row = found.row
    out.print(f"[bold]{escape(found.prediction_id)}[/]", soft_wrap=True)
    replaced = "" if found.is_newest else ", [yellow]replaced since[/]"
    _pairs(
        out,
        {
            "in": f"{found.asset} of {found.day}, version {found.version}{replaced}",
            "asked": f"{_instant(row['prediction_time'])}, made {_instant(found.made_at)}",
            "said": _said(row),
            "run": found.run,
        },
    )
    model = found.model
    if model is not None:
        aliases = f" ({', '.join(model.aliases)})" if model.aliases else ""
        content = f", content {model.content_hash}" if model.content_hash else ""
        out.print()
        out.print(f"[bold]model[/] {model.name} version {model.version}{aliases}")
        _pairs(
            out,
            {
                "learned": f"until {model.learned_until}",
                "from": f"{model.training_dataset} version {model.training_dataset_version}{content}",
                "code": _code(model.fingerprint, is_current=model.code_is_current),
                "run": f"{model.run}, in MLflow {model.mlflow_run}",
            },
        )
    for feature in found.features:
        out.print()
        _show_feature(out, feature)
    _show_tables(out, "behind the prediction", found.behind)
    _show_tables(out, "behind the model", found.trained_on)
    out.print()
    for what, link in found.links.items():
        out.print(f"{what}\n  {link}", soft_wrap=True)
    for problem in found.problems:
        out.print(f"[red]✗[/] {escape(problem)}")


def show_reproduction(out: Console, found: Reproduction) -> None:
    """One line a link."""
    aliases = f" ({', '.join(found.aliases)})" if found.aliases else ""
    out.print(f"[bold]{found.model}[/]{aliases}")
    table = _table("")
    for title in ("link", "of"):
        table.add_column(title, no_wrap=True)
    for title in ("recorded", "now"):
        table.add_column(title, overflow="fold")
    for link in found.links:
        table.add_row(_mark(link), link.kind, escape(link.name), escape(link.recorded), escape(link.found))
    out.print(table)
    for link in found.links:
        if link.why:
            out.print(f"{_mark(link)} {link.kind} {escape(link.name)}: {link.state}: {escape(link.why)}")
    if found.is_reproduced:
        out.print("[green]✓[/] made again: the same rows, the same trees, the same predictions")
    else:
        out.print("[red]✗[/] it could not be made again")


def show_usage(out: Console, found: Usage) -> None:
    """Who uses a feature, and whether it can go."""
    out.print(f"[bold]{escape(found.feature)}[/]")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for view in found.views:
        table.add_row("feature view", f"{view.view} as {view.column}")
    for what, assets in (
        ("read by", found.read_by),
        ("training dataset", found.training_datasets),
    ):
        for asset in assets:
            table.add_row(what, asset)
    for model in found.models:
        which = "as declared" if model.version is None else f"version {model.version} ({', '.join(model.aliases)})"
        table.add_row("model", f"{model.model} {which}")
    for asset in found.predictions:
        table.add_row("predictions", asset)
    if table.row_count:
        out.print(table)
    if found.is_safe_to_drop:
        out.print("[green]✓[/] safe to drop: nobody uses it")
    for why in found.keeps:
        out.print(f"[red]✗[/] not safe to drop: {escape(why)}")


def open_projects(settings: Settings) -> tuple[Platform, list[Catalogue]]:
    """Where to look, and every project.

    Raises:
        SettingsError: when there is no data folder.
    """
    if not settings.data.is_dir():
        msg = (
            f"there is no data folder {settings.data}; correct PLATFORM_DATA, or run refresh without --plan to make it"
        )
        raise SettingsError(msg)
    return resources(settings)["platform"].open(), projects.find_catalogues()


def _show_feature(out: Console, feature: FeatureRow) -> None:
    keys = ", ".join(f"{name} {value}" for name, value in feature.keys.items())
    said = {
        "used": "used",
        "expired": "[yellow]too old to count[/]",
        "none": "[yellow]nothing was known[/]",
        "gone": "[red]its version is gone[/]",
    }[feature.state]
    agrees = (
        ""
        if feature.agrees is None
        else ", joined again: the same"
        if feature.agrees
        else ", [red]joined again: other values[/]"
    )
    out.print(f"[bold]{feature.group}[/] version {feature.version}: {said}{agrees}")
    times = {
        "keys": escape(keys),
        "true at": _instant(feature.event_time),
        "known at": _instant(feature.known_at),
    }
    _pairs(out, {name: text for name, text in times.items() if text})
    for column, value in feature.values.items():
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        out.print(f"  [dim]{column}[/] {escape(shown)}")


def _show_tables(out: Console, title: str, tables: tuple[TableUsed, ...]) -> None:
    if not tables:
        return
    out.print()
    shown = _table(title)
    shown.add_column("version", justify="right")
    shown.add_column("days", overflow="fold")
    shown.add_column("code")
    for table in tables:
        versions = ", ".join(map(str, table.versions))
        code = ", ".join(fingerprint[:8] for fingerprint in table.fingerprints)
        gone = " [red]gone[/]" if table.gone is not None else ""
        state = "" if table.code_is_current else " [yellow]changed since[/]"
        shown.add_row(table.asset, versions + gone, say_days(table.days, most=2), code + state)
    out.print(shown)


def _said(row: Mapping[str, Any]) -> str:
    """The probability with its interval and decision, where it has them."""
    low, high, decision = (row.get(name) for name in ("probability_low", "probability_high", "decision"))
    between = "" if low is None or high is None else f", between {low:.4f} and {high:.4f}"
    decided = "" if decision is None else f"; decided {'yes' if decision else 'no'}"
    return f"{row['probability']:.4f}{between}{decided}" + (
        " (in sample: no measure of performance)" if row["in_sample"] else ""
    )


def _table(first: str) -> Table:
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column(first, overflow="fold")
    return table


def _pairs(out: Console, said: Mapping[str, str]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", min_width=8)
    table.add_column(overflow="fold")
    for name, text in said.items():
        table.add_row(f"  {name}", text)
    out.print(table)


def _instant(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _code(fingerprint: str, *, is_current: bool) -> str:
    return f"{fingerprint}" + ("" if is_current else " [yellow](changed since)[/]")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - two digits


def _say_model(model: str, aliases: Mapping[str, int]) -> str:
    named = ", ".join(f"{alias} is version {version}" for alias, version in sorted(aliases.items()))
    return f"{model} ({named})" if named else f"{model} (no alias)"


def _mark(link: Link) -> str:
    return _MARKS.get(link.state, "[red]✗[/]")
