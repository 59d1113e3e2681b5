"""What the longer commands may be asked; it imports nothing heavy, so that a wrong word is quickly refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform_assets.registry.versions import ModelName

_MOST_YEARS = 100


def add_history_arguments(command: argparse.ArgumentParser, model: Callable[[str], ModelName]) -> None:
    """What `history` may be asked."""
    command.add_argument("--model", type=model, help="only what is about a model, as MLflow writes it: models:/NAME")
    command.add_argument("--asset", metavar="PROJECT/NAME", help="only what is about an asset")
    command.add_argument("--since", type=_day, metavar="DAY", help="leave out what was over before")
    command.add_argument("--until", type=_day, metavar="DAY", help="leave out what came after")


def add_report_arguments(command: argparse.ArgumentParser, model: Callable[[str], ModelName]) -> None:
    """What `report` may be asked."""
    command.add_argument("--model", type=model, help="only what is about a model, as MLflow writes it: models:/NAME")
    command.add_argument("--project", help="of which project, where there are several")
    command.add_argument("--day", type=_day, metavar="DAY", help="as it stood on a day, with the four weeks up to it")
    command.add_argument("--from", dest="first", type=_day, metavar="DAY", help="with --to: over these days")
    command.add_argument("--to", dest="last", type=_day, metavar="DAY", help="the last of them")
    command.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html")


def add_replay_arguments(command: argparse.ArgumentParser) -> None:
    """What `replay` may be asked."""
    command.epilog = (
        "example: platform-assets replay --from 2013-02-01 --to 2013-12-31 --policy never --policy monthly\n"
        "Stopped at any instant, it goes on where it was when it is started again. Nothing of production is written.\n"
        "exit code: 0 when every day was operated, 1 where it cannot be, 2 on wrong usage"
    )
    command.add_argument("--project", metavar="PROJECT", help="which, where there are several")
    command.add_argument("--from", dest="first", required=True, type=_day, metavar="DAY", help="the first day operated")
    command.add_argument("--to", dest="last", required=True, type=_day, metavar="DAY", help="the last one")
    written = (
        "let the last year of landed days come again with later dates, so that there are N in all (of 364 days, or of "
        "the whole weeks that landed), and go on after --to for as long"
    )
    command.add_argument("--years", type=_years, default=1, metavar="N", help=written)
    written = "when to train again: never, monthly, drift, or a TOML file; again for another one beside it"
    command.add_argument("--policy", action="append", metavar="POLICY", help=written)
    written = "how many days select and report have at a training; else as declared"
    command.add_argument("--split", type=_split, metavar="SELECT,REPORT", help=written)
    command.add_argument("--json", action="store_true", help="print JSON, with all that each day brought")
    written = "approve what passes where a promotion waits for somebody; else it waits to the end"
    command.add_argument("--approve", action="store_true", help=written)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        msg = f"{text!r} is no day; write 2013-06-14"
        raise argparse.ArgumentTypeError(msg) from error


def _years(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_YEARS:
        msg = f"{text} is no number of years; write one from 1 to {_MOST_YEARS}, such as 10"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _split(text: str) -> tuple[timedelta, timedelta]:
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):  # noqa: PLR2004
        msg = f"{text} is no split; write the days of select and of report, such as 28,28"
        raise argparse.ArgumentTypeError(msg)
    select, report = (timedelta(days=int(part)) for part in parts)
    return select, report
