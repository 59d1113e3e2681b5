"""What the command `replay` takes; apart, so that saying so imports nothing heavy."""

from __future__ import annotations

import argparse
from datetime import date, timedelta


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command takes."""
    command.epilog = (
        "example: platform-assets replay --from 2013-02-01 --to 2013-12-31 --policy never --policy monthly\n"
        "Stopped at any instant, it goes on where it was when it is started again. Nothing of production is written.\n"
        "exit code: 0 when every day was operated, 1 where it cannot be, 2 on wrong usage"
    )
    command.add_argument("--project", metavar="PROJECT", help="which, where there are several")
    command.add_argument("--from", dest="first", required=True, type=_day, metavar="DAY", help="the first day operated")
    command.add_argument("--to", dest="last", required=True, type=_day, metavar="DAY", help="the last one")
    written = "when to train again: never, monthly, drift, or a TOML file; again for another one beside it"
    command.add_argument("--policy", action="append", metavar="POLICY", help=written)
    written = "how many days select and report have at a training; else as declared"
    command.add_argument("--split", type=_split, metavar="SELECT,REPORT", help=written)
    command.add_argument("--json", action="store_true", help="print JSON, with a line for each day")
    written = "approve what passes where a promotion waits for somebody; else it waits to the end"
    command.add_argument("--approve", action="store_true", help=written)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        msg = f"{text} is no day; write 2013-02-01"
        raise argparse.ArgumentTypeError(msg) from error


def _split(text: str) -> tuple[timedelta, timedelta]:
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):  # noqa: PLR2004
        msg = f"{text} is no split; write the days of select and of report, such as 28,28"
        raise argparse.ArgumentTypeError(msg)
    select, report = (timedelta(days=int(part)) for part in parts)
    return select, report
