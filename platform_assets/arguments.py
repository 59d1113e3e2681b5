"""What the commands may be asked that tell what happened; it imports nothing heavy, so that a wrong word is quickly refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform_assets.registry.versions import ModelName


def add_history_arguments(command: argparse.ArgumentParser, model: Callable[[str], ModelName]) -> None:
    """What `history` may be asked."""
    command.add_argument("--model", type=model, help="only what is about a model, as MLflow writes it: models:/NAME")
    command.add_argument("--asset", metavar="PROJECT/NAME", help="only what is about an asset")
    command.add_argument("--since", type=_day, metavar="DAY", help="leave out what was over before")
    command.add_argument("--until", type=_day, metavar="DAY", help="leave out what came after")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        msg = f"{text!r} is no day; write 2013-06-14"
        raise argparse.ArgumentTypeError(msg) from error
