"""The commands that tell what happened: history, as text or as JSON, and report, as a page to send."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from platform_assets.answers import open_projects, plain
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.errors import NotFound, SettingsError
from platform_assets.orchestration.outlook import instance_if_any
from platform_assets.orchestration.past_checks import failed_checks
from platform_assets.pipelines.timeline import CHECK_FAILED, Event, timeline
from platform_assets.settings import Settings
from platform_assets.terminal import console

if TYPE_CHECKING:
    from platform_assets.declarations.catalogue import Catalogue

_COLORS = {"drift": "yellow", "check failed": "red", "quarantine": "red", "refused": "yellow", "rolled back": "yellow"}


def answer_history(settings: Settings, chosen: argparse.Namespace) -> int:
    """Say what happened and why, newest last."""
    if chosen.since is not None and chosen.until is not None and chosen.since > chosen.until:
        msg = f"--since {chosen.since} is after --until {chosen.until}; swap them"
        raise NotFound(msg)
    platform, catalogues = open_projects(settings)
    events = []
    for catalogue in _asked(catalogues, chosen):
        events += timeline(
            platform,
            catalogue,
            model=chosen.model and chosen.model.model,
            asset=chosen.asset,
            since=chosen.since,
            until=chosen.until,
            also=_failed(settings, catalogue),
        )
    events.sort(key=lambda event: event.at)
    if chosen.json:
        print(json.dumps([plain(event) for event in events], indent=2))
    else:
        show_history(console(), events)
    return 0


def answer_report(settings: Settings, chosen: argparse.Namespace) -> int:
    """Write the report of one project.

    Raises:
        SettingsError: when what is asked contradicts itself, or there are several projects.
    """
    from platform_assets.pipelines.report import SHOWN_DAYS, report
    from platform_assets.pipelines.report_page import headline, render

    days = _days_asked(chosen, shown=SHOWN_DAYS)
    platform, catalogues = open_projects(settings)
    wanted = chosen.project or (chosen.model and chosen.model.catalogue)
    found = [catalogue for catalogue in catalogues if wanted in (None, catalogue.name)]
    if len(found) != 1:
        known = ", ".join(catalogue.name for catalogue in catalogues) or "none"
        msg = f"a report is of one project; name it with --project: there are {known}"
        raise SettingsError(msg)
    also, model = _failed(settings, found[0]), chosen.model and chosen.model.model
    made = report(platform, found[0], now=datetime.now(UTC), days=days, model=model, also=also)
    chosen.out.write_text(render(made), encoding="utf-8")
    print(f"{headline(made)}\n{chosen.out}")
    return 0


def _days_asked(chosen: argparse.Namespace, *, shown: int) -> Days | None:
    if (chosen.first is None) != (chosen.last is None) or (chosen.day is not None and chosen.first is not None):
        msg = "write --day DAY, or --from DAY --to DAY, or neither for the last four weeks"
        raise SettingsError(msg)
    if chosen.day is not None:
        return Days(chosen.day - (shown - 1) * ONE_DAY, chosen.day)
    return None if chosen.first is None else Days(chosen.first, chosen.last)


def show_history(out: Console, events: Sequence[Event]) -> None:
    """A line for what happened and one for why."""
    if not events:
        out.print("nothing happened in that time that is worth telling")
        return
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column("when", no_wrap=True)
    table.add_column("what, and why", overflow="fold")
    for event in events:
        color = "bold" if event.kind == CHECK_FAILED and event.is_over else _COLORS.get(event.kind, "bold")
        table.add_row(event.when, f"[{color}]{event.kind}[/] {event.asset}: {escape(event.said)}")
    out.print(table)
    if any(event.days is None for event in events):
        out.print("[dim]days are days of data; times are in UTC[/]")


def _asked(catalogues: Sequence[Catalogue], chosen: argparse.Namespace) -> Sequence[Catalogue]:
    """The projects that are asked about.

    Raises:
        NotFound: when there is no such project.
    """
    wanted = {chosen.model.catalogue} if chosen.model else set()
    if chosen.asset is not None:
        wanted.add(chosen.asset.split("/", 1)[0])
    found = [catalogue for catalogue in catalogues if not wanted or {catalogue.name} == wanted]
    if not found:
        known = ", ".join(catalogue.name for catalogue in catalogues) or "none"
        msg = f"{' and '.join(sorted(wanted)) or 'that'} is no project; there are {known}"
        raise NotFound(msg)
    return found


def _failed(settings: Settings, catalogue: Catalogue) -> list[Event]:
    with instance_if_any(settings) as instance:
        return [] if instance is None else list(failed_checks(instance, catalogue))
