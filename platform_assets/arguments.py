"""What the commands may be asked that tell what happened; it imports nothing heavy, so that a wrong word is quickly refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform_assets.registry.versions import ModelName


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


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        msg = f"{text!r} is no day; write 2013-06-14"
        raise argparse.ArgumentTypeError(msg) from error
