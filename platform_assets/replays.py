"""The command `replay`: operate a project over its history as though live, and say what came of each policy."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

import polars as pl
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.retraining import RetrainingPolicy
from platform_assets.declarations.tables import Source
from platform_assets.declarations.times import ONE_DAY, Days, Monthly
from platform_assets.errors import NotFound, PartitionError
from platform_assets.lake.delivered import Delivered
from platform_assets.lake.repeated import Repeated, Turns
from platform_assets.orchestration import projects
from platform_assets.orchestration.resources import resources
from platform_assets.pipelines.replay.journal import Day
from platform_assets.pipelines.replay.judging import unjudged
from platform_assets.pipelines.replay.operate import Replay
from platform_assets.pipelines.replay.picture import picture_of_replay
from platform_assets.pipelines.replay.policies import read_policies
from platform_assets.pipelines.replay.report import Report, report_on
from platform_assets.pipelines.replay.setting import Setting, set_up
from platform_assets.pipelines.run import one_database
from platform_assets.settings import Settings
from platform_assets.terminal import console

_SHOWN = 12
_MONTHS_SHOWN = 24


def answer_replay(settings: Settings, chosen: argparse.Namespace) -> int:
    """Operate the days that are not over yet, and print the report.

    Raises:
        NotFound: when there is no such project, or several and none was named.
        PartitionError, DeclarationError: when the days or a policy are none.
    """
    catalogue = _chosen(chosen.project)
    policies = read_policies(chosen.policy or ["never"])
    if chosen.last < chosen.first:
        msg = f"--from {chosen.first} is after --to {chosen.last}; turn them round"
        raise PartitionError(msg)
    platform = resources(settings)["platform"].open()
    calendars = {s.name: s.partitions for s in catalogue.of_kind(Source) if s.partitions is not None}
    landed = Delivered.of(platform.landing, calendars, until=datetime.now(UTC))
    turns = Turns.of(landed, again=chosen.years - 1) if chosen.years > 1 else None
    setting = _set_up(catalogue, chosen, list(policies), turns)
    first = _short(landed, chosen.last) if turns is None else []
    setting = replace(setting, notes=(*first, *unjudged(setting, policies), *setting.notes))
    folder = settings.data / "replay" / _name(setting, policies, landed, turns, approve=chosen.approve)
    sources = {source.name: source for source in setting.catalogue.of_kind(Source)}
    landing = landed if turns is None else Repeated.again(landed, turns, sources, folder=folder / "landing")
    out = Console(stderr=True, highlight=False) if chosen.json else console()
    # A day is small: what Polars and DuckDB do to get ready for much would be most of what it costs.
    with (
        _Follow(out, setting) as follow,
        one_database(platform.connect) as connect,
        pl.Config(engine_affinity="in-memory"),
    ):
        said = False

        def begin(over: Sequence[Day]) -> None:
            nonlocal said
            said = True
            show_beginning(out, setting, over, list(policies), folder)
            follow.begin(over)

        replay = Replay(
            folder=folder,
            setting=setting,
            landing=landing,
            policies=policies,
            connect=connect,
            approve=chosen.approve,
            say=follow.say,
            begin=begin,
            over=follow.over,
        )
        by_day = replay.go()
    report = report_on(setting, replay.lake, by_day, list(policies))
    (replay.folder / "report.json").write_text(json.dumps(report.plain(), default=str, indent=1))
    (replay.folder / "report.png").write_bytes(picture_of_replay(report))
    if chosen.json:
        print(json.dumps(report.plain(), default=str, indent=2))
    else:
        show_report(out, report, replay.folder, notes=not said)
    return 0


def show_beginning(out: Console, setting: Setting, over: Sequence[Day], policies: Sequence[str], folder: Path) -> None:
    """How many days it will operate, under which policies, and what is not as declared."""
    days, done = setting.days, max(len(over) - 1, 0)
    told = f"operates {_count(len(days), 'day')}, {days},"
    if over:
        told = f"goes on from {over[-1].day + ONE_DAY}: {done} of {_count(len(days), 'day')} operated,"
    out.print(f"[bold]{setting.catalogue.name}[/] {told} under {' and '.join(policies)}")
    out.print(f"[dim]  in {folder}", soft_wrap=True)
    for note in setting.notes:
        out.print(f"[dim]· {escape(note)}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def show_report(out: Console, report: Report, folder: Path, *, notes: bool = True) -> None:
    """The policies side by side, month by month, and what each training came to; `notes` where they were not said yet."""
    out.print()
    for note in report.notes if notes else ():
        out.print(f"[dim]· {escape(note)}")
    out.print(f"\n[bold]{report.project}[/] {report.days}, as though live")
    figures = Table(box=None, pad_edge=False, header_style="dim")
    figures.add_column("policy")
    titles = ("log loss", "AUC", "matured", "trained", "promoted", "alerts", "CPU s", "training")
    for title in titles:
        figures.add_column(title, justify="right")
    for one in report.policies:
        found = one.overall
        loss, auc = ("", "") if found is None else (f"{found.log_loss:.4f}", f"{found.auc or 0:.3f}")
        spent = one.cpu_seconds + one.training_cpu_seconds
        rows = "none came" if found is None else f"{found.rows:,}"
        counts = (str(one.trainings), str(one.promotions), str(one.alerts))
        figures.add_row(one.policy, loss, auc, rows, *counts, f"{spent:.0f}", f"{one.training_cpu_seconds:.0f}")
    out.print(figures)
    shared = sum(day.cpu_seconds for day in report.by_day)
    out.print(f"[dim]and for all of them alike {shared:.0f} CPU s, {report.alerts} alerts")
    _show_months(out, report)
    _show_trainings(out, report)
    _show_alerts(out, report)
    out.print()
    if report.first_days and report.last_days:
        (first, first_cpu), (last, last_cpu) = report.first_days, report.last_days
        out.print(
            f"a day without training: {first:.2f} s ({first_cpu:.2f} CPU s) over the first thirty, "
            f"{last:.2f} s ({last_cpu:.2f} CPU s) over the last: {report.day_cost_ratio:.2f} times the CPU s"
        )
    out.print(f"report  {folder / 'report.png'}\n        {folder / 'report.json'}", soft_wrap=True)


def _show_months(out: Console, report: Report) -> None:
    """Log loss month by month, or year by year where there are more than two of them."""
    months = {month for one in report.policies for month in one.months}
    told = [one.months if len(months) <= _MONTHS_SHOWN else one.years for one in report.policies]
    if months:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("log loss of")
        for one in report.policies:
            table.add_column(one.policy, justify="right")
        for part in sorted({part for own in told for part in own}):
            table.add_row(part, *(f"{own[part].log_loss:.4f}" if part in own else "" for own in told))
        out.print()
        out.print(table)


def _show_trainings(out: Console, report: Report) -> None:
    for one in report.policies:
        out.print()
        if not one.changes:
            out.print(f"[bold]{one.policy}[/] never trained")
        for change in one.changes[:_SHOWN]:
            mark = "[green]✓[/]" if change.promoted else "[yellow]·[/]"
            out.print(f"{mark} {one.policy} {change.day}: {escape(change.why)}; {escape(change.said[:160])}")
        if len(one.changes) > _SHOWN:
            out.print(f"[dim]  and {len(one.changes) - _SHOWN} more, in report.json")


def _show_alerts(out: Console, report: Report) -> None:
    told = [(day.day, alert, day.moved.get(alert, "")) for day in report.by_day for alert in day.all_alerts]
    if told:
        out.print()
    for day, alert, moved in told[:_SHOWN]:
        out.print(f"[red]![/] {day}: {escape(alert)}{f': {escape(moved)}' if moved else ''}")
    if len(told) > _SHOWN:
        out.print(f"[dim]  and {len(told) - _SHOWN} more alerts, in report.json")


class _Follow:
    """One line that says which day is being operated, and how long the rest will take; use it as a context manager."""

    def __init__(self, out: Console, setting: Setting) -> None:
        self._setting = setting
        self._live = Live(console=out, refresh_per_second=4, transient=True)
        self._doing, self._done, self._seconds = "", 0, 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, over: Sequence[Day]) -> None:
        """Show where it begins: before its first day all that came before is made at once."""
        days = self._setting.days
        self._doing = f"all days before {days.first}, {len(days)} days to go"
        if over:
            self._doing = f"{over[-1].day + ONE_DAY}, {(days.last - over[-1].day).days} days to go"
        self._show("")

    def say(self, said: str) -> None:
        """Show what a pipeline says."""
        self._show(said.partition("\n")[0])

    def over(self, day: Day) -> None:
        """Count a day that is over."""
        self._done += 1
        self._seconds += day.seconds + sum(one.seconds + one.training_seconds for one in day.policies.values())
        left = (self._setting.days.last - day.day).days
        minutes = self._seconds / self._done * left / 60
        self._doing = f"{min(day.day + ONE_DAY, self._setting.days.last)}, {left} days to go, about {minutes:.0f} min"
        self._show("")

    def _show(self, said: str) -> None:
        line = f" {self._setting.catalogue.name} {self._doing}  [dim]{escape(said)}"
        told = Text.from_markup(line, overflow="ellipsis")
        told.no_wrap = True  # or the line that is taken away again is two, or three
        self._live.update(Spinner("dots", told))


def _chosen(project: str | None) -> Catalogue:
    found = projects.find_catalogues()
    named = [one for one in found if project in (None, one.name)]
    if len(named) != 1:
        names = ", ".join(one.name for one in found) or "none"
        problem = (
            f"no project {project!r}" if project else "which project is not said" if found else "there is no project"
        )
        msg = f"{problem}; there are: {names}. Say --project NAME"
        raise NotFound(msg)
    return named[0]


def _short(landed: Delivered, last: date) -> list[str]:
    """A sentence for each source of which the last days have not landed.

    Raises:
        NotFound: when nothing landed for one at all.
    """
    notes = []
    for source, calendar in landed.calendars.items():
        newest = max(landed.days(source), default=None)
        if newest is None:
            msg = f"nothing landed for {source} in {landed.root}, so that there is nothing to operate; correct "
            msg += "PLATFORM_DATA, or land its days first"
            raise NotFound(msg)
        if not isinstance(calendar, Monthly) and newest < min(last, calendar.last or last):
            notes.append(f"nothing landed for {source} after {newest}: what reads later days of it is not made")
    return notes


def _set_up(catalogue: Catalogue, chosen: argparse.Namespace, policies: list[str], turns: Turns | None) -> Setting:
    """The catalogue over the days asked for, and over as many more as the landing comes again."""
    if turns is None:
        return set_up(catalogue, days=Days(chosen.first, chosen.last), policies=policies, split=chosen.split)
    days = Days(chosen.first, chosen.last + turns.longer)
    setting = set_up(catalogue, days=days, policies=policies, split=chosen.split, longer=turns.longer)
    asked = _count((chosen.last - chosen.first).days + 1, "day")
    more = f"--years {chosen.years} has the {asked} that were asked for followed by {turns.longer.days} more: {turns}"
    return replace(setting, notes=(more, *setting.notes))


def _name(
    setting: Setting, policies: dict[str, RetrainingPolicy], landed: Delivered, turns: Turns | None, *, approve: bool
) -> str:
    """The same for the same replay: what is declared, what was delivered in time, and what is asked for."""
    told = [
        sorted(setting.catalogue.fingerprints.items()),
        {name: repr(policy) for name, policy in policies.items()},
        str(setting.days),
        approve,
        landed.digest(setting.days),
        *(
            []
            if turns is None
            else [str(turns), [[s.date_parts, s.event_ids] for s in setting.catalogue.of_kind(Source)]]
        ),
    ]
    digest = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{setting.catalogue.name}-{setting.days.first}-{setting.days.last}-{digest}"
