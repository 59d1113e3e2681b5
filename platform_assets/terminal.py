"""What the commands print: progress while work runs, and figures at its end, within 80 columns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import asset_name
from platform_assets.declarations.times import Days
from platform_assets.lake.retention import Upkeep
from platform_assets.orchestration.refresh import Progress
from platform_assets.pipelines.plan import Plan
from platform_assets.pipelines.summary import Summary
from platform_assets.settings import Settings

_WIDTH = 80


def console() -> Console:
    """A terminal of at most 80 columns."""
    found = Console(highlight=False)
    return (
        Console(highlight=False, width=min(found.width, _WIDTH))
        if found.is_terminal
        else Console(highlight=False, width=_WIDTH)
    )


class Follow:
    """Prints a line for each asset as it is done, and shows the one under way; use it as a context manager."""

    def __init__(self, out: Console, total: int) -> None:
        self._out, self._total = out, total
        self._done = 0
        self._started: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._live = Live(console=out, refresh_per_second=8, transient=True)

    def __enter__(self) -> Callable[[Progress], None]:
        self._live.start()
        return self._hear

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _hear(self, sign: Progress) -> None:
        if sign.state == "started":
            self._started[sign.asset] = time.monotonic()
        elif sign.state == "said":
            self._said[sign.asset] = escape(sign.message.partition("\n")[0])
        if sign.state in ("started", "said"):
            doing = f" {self._done + 1}/{self._total} {sign.asset}  [dim]{self._said.get(sign.asset, '')}"
            self._live.update(Spinner("dots", Text.from_markup(doing, overflow="ellipsis")))
            return
        self._done += 1
        seconds = time.monotonic() - self._started.get(sign.asset, time.monotonic())
        mark, style = ("✓", "green") if sign.state == "done" else ("✗", "red")
        self._out.print(
            f"[{style}]{mark}[/] {sign.asset:<34} {seconds:5.1f} s  [dim]{self._said.get(sign.asset, '')}",
            overflow="ellipsis",
            no_wrap=True,
        )


def _days(count: int) -> str:
    return "1 day has" if count == 1 else f"{count} days have"


def show_plan(out: Console, catalogue: Catalogue, plan: Plan) -> None:
    """What is out of date, and why, a line each."""
    show_not_looked_at(out, catalogue.name, plan.waiting, plan.early)
    if not plan.steps:
        all_of_it = "everything that has landed" if plan.waiting else "everything"
        out.print(f"[green]✓[/] {catalogue.name}: {all_of_it} is up to date, nothing to do")
        return
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column("out of date")
    table.add_column("days", justify="right")
    table.add_column("why")
    for step in plan.steps:
        days = "" if step.days is None else f"{step.day_count}"
        table.add_row(asset_name(catalogue.name, step.name), days, ", ".join(step.reasons))
    out.print(table)


def show_not_looked_at(
    out: Console, catalogue: str, waiting: Mapping[str, int], early: Mapping[str, Sequence[Days]]
) -> None:
    """The days that have not landed, and those that have and are not over."""
    for name, count in waiting.items():
        out.print(f"[yellow]![/] {asset_name(catalogue, name)}: {_days(count)} not landed")
    for name, ranges in early.items():
        count, first = sum(map(len, ranges)), ranges[0].first
        said = f"{count} landed day{'s' if count != 1 else ''} not over yet"
        out.print(f"[yellow]![/] {asset_name(catalogue, name)}: {said}, from {first}")


def show_maintenance(out: Console, catalogue: Catalogue, plans: Sequence[Upkeep], failed: Mapping[str, str]) -> None:
    """What maintenance would do, a line for each table that it would change."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column("table", overflow="fold")
    for title in ("kept", "merges", "removes", "bytes", "log"):
        table.add_column(title, justify="right")
    for upkeep in plans:
        log = f"from {upkeep.log_from}" if upkeep.log else ""
        figures = (sum(upkeep.merges.values()), len(upkeep.removes), upkeep.bytes)
        if upkeep.merges or upkeep.removes or upkeep.log:
            table.add_row(upkeep.table, str(len(upkeep.kept)), *(f"{n:,}" if n else "" for n in figures), log)
    if table.row_count:
        out.print(table)
    elif not failed:
        out.print(f"[green]✓[/] {catalogue.name}: nothing to merge or to remove")
    for upkeep in plans:
        for version, why in upkeep.lost.items():
            out.print(f"[red]✗[/] {upkeep.table} version {version} ({', '.join(upkeep.kept[version])}): {why}")
    for name, why in failed.items():
        out.print(f"[red]✗[/] {name}: {escape(why)}")


def show_summary(out: Console, catalogue: Catalogue, summary: Summary) -> None:
    """Tables and rows, models beside their baselines, the best and the worst day."""
    out.print()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("table", "kind"):
        table.add_column(title)
    for title in ("rows", "days"):
        table.add_column(title, justify="right")
    for found in summary.tables:
        days = "" if found.days is None else str(found.days)
        table.add_row(asset_name(catalogue.name, found.name), found.kind, f"{found.rows:,}", days)
    out.print(table)
    for model in summary.models:
        out.print()
        out.print(
            f"[bold]{asset_name(catalogue.name, model.name)}[/] version {model.version}, judged on "
            f"{int(model.metrics['report_rows']):,} later rows"
        )
        compared = Table(box=None, pad_edge=False, show_header=False)
        low, high = (model.metrics.get(f"report_auc_{end}") for end in ("low", "high"))
        between = "" if low is None or high is None else f" ({low:.3f} to {high:.3f}, by whole days)"
        compared.add_row("[bold]AUC of the model[/]", f"[bold green]{model.metrics['report_auc']:.3f}[/]{between}")
        for name, auc in model.baselines.items():
            compared.add_row(f"AUC of {name}", f"{auc:.3f}")
        out.print(compared)
    for name, best in summary.best.items():
        worst = summary.worst[name]
        out.print()
        for word, told in (("best", best), ("worst", worst)):
            figures = told.performance
            out.print(
                f"{word:<5} day {told.day:%a %d %b %Y}: AUC {figures.auc:.3f}, "
                f"{figures.base_rate:.0%} of {figures.rows:,} came true"
            )


def show_places(out: Console, settings: Settings, commands: Sequence[tuple[str, str]]) -> None:
    """Where everything lies, and what to type next."""
    out.print()
    places = (("tables", settings.lake), ("models", settings.mlflow), ("runs", settings.dagster_home))
    for what, folder in places:
        out.print(f"{what:<7} {folder}", overflow="fold")
    out.print()
    for command, purpose in commands:
        out.print(f"[bold]{command:<12}[/] {purpose}")
