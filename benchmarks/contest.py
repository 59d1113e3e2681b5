"""One piece of work, done in turn by the platform and by what a user would pick instead, on the same data.

Every contender runs in a process of its own, several times; figures are medians. A contender first gets ready (what
is loaded or compiled on first use does not count) and then works. The one that holds the truth works first, and the
answers of the others are compared with its.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import peers

Work = Callable[[], Any]

ENOUGH = 20
"""Seconds of a contender's work after which it is not asked to repeat it."""

LIBRARIES = ("polars", "duckdb", "pandas", "deltalake", "lightgbm", "mlflow", "numpy", "dagster")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who works.

    Attributes:
        ready: given the folder of the data, makes ready what does not count and gives back the work that does.
        times: how often the work is done in one process; its figures are for one.
        judged: whether its answer is compared with the truth.
        base: the contender that its processor time is told against; that of the contest when None.
        peer: whether it runs in the environment of `peers`; left out, and said so, where that is missing.
        in_readme: whether the README tells of it; the folder of the results tells of everyone.
    """

    ready: Callable[[Path], Work]
    times: int = 1
    judged: bool = True
    base: str | None = None
    peer: bool = False
    in_readme: bool = True


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What is done, on what, by whom.

    Attributes:
        module: the module that declares it, as `python -m` takes it.
        work: what is done, in a few words, with the sizes in braces.
        sizes: by name the arguments of `make`; `repeat` is how often each contender runs, less where its runs took
            `ENOUGH` by then.
        make: writes the data into a folder.
        contenders: by name, in order.
        base: the contender that the others' processor time is told against.
        truth: the contender whose answer is right; None where there is nothing to compare.
        keep: writes the right answer into the folder.
        wrong: says how wrong another answer is.
        wrong_is: what that is, as the table heads it.
        tell: what else there is to say of an answer, by the head of its column.
        note: what is to be known beside the figures, as Markdown.
    """

    module: str
    work: str
    sizes: Mapping[str, Mapping[str, int]]
    make: Callable[..., None]
    contenders: Mapping[str, Contender]
    base: str
    truth: str | None = None
    keep: Callable[[Path, Any], None] | None = None
    wrong: Callable[[Path, Any], float] | None = None
    wrong_is: str = "wrong rows"
    tell: Callable[[Path, Any], Mapping[str, float]] | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one contender took: medians, with the spread of wall time as its range over the median.

    Attributes:
        contender: who.
        runs: how often it ran.
        wall: seconds.
        processor: seconds of all threads together.
        peak: memory of its process at most, in GB.
        spread: of wall time, largest less smallest, over the median.
        ratio: processor time over that of `against`.
        against: the contender that it is told against.
        wrong: how wrong its answers are; None where nothing was compared.
        told: what else there is to say of its answer.
        in_readme: whether the README tells of it.
    """

    contender: str
    runs: int
    wall: float
    processor: float
    peak: float
    spread: float
    ratio: float
    against: str
    wrong: float | None
    told: Mapping[str, float]
    in_readme: bool


def hold(contest: Contest, *, size: str) -> list[Figures]:
    """Let every contender run in turn, and say what each took."""
    repeat = contest.sizes[size]["repeat"]
    here = [name for name, contender in contest.contenders.items() if peers.are_installed() or not contender.peer]
    if absent := [name for name in contest.contenders if name not in here]:
        print(f"left out, since .venv-peers is missing (make bench makes it): {'; '.join(absent)}", file=sys.stderr)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in here}
    order = sorted(here, key=lambda name: name != contest.truth)
    with tempfile.TemporaryDirectory() as folder, Console(stderr=True).status("making the data") as under_way:
        # In a process of its own: a process begins with the peak of the one that started it.
        _told([sys.executable, "-m", contest.module, "--size", size, "--make", folder])
        for turn in range(repeat):
            for place, name in enumerate(order):
                if sum(f["wall"] * contest.contenders[name].times for f in found[name]) >= ENOUGH:
                    continue
                under_way.update(f"turn {turn + 1} of {repeat}, {place + 1} of {len(order)}: {name}")
                python = str(peers.python()) if contest.contenders[name].peer else sys.executable
                said = _told([python, "-m", contest.module, "--one", folder, name])
                found[name].append(json.loads(said.splitlines()[-1]))
    figures = []
    for name, each in found.items():
        wall, processor, peak = (statistics.median(f[what] for f in each) for what in ("wall", "processor", "peak"))
        walls, base = [f["wall"] for f in each], contest.contenders[name].base or contest.base
        wrong = each[0]["wrong"]
        figures.append(
            Figures(
                contender=name,
                runs=len(each),
                wall=wall,
                processor=processor,
                peak=peak,
                spread=(max(walls) - min(walls)) / wall,
                ratio=processor / statistics.median(f["processor"] for f in found[base]),
                against=base,
                wrong=None if wrong is None else max(f["wrong"] for f in each),
                told=each[0].get("told", {}),
                in_readme=contest.contenders[name].in_readme,
            )
        )
    return figures


def work_alone(contest: Contest, root: Path, name: str) -> dict[str, Any]:
    """Run one contender in this process and say what it took."""
    contender = contest.contenders[name]
    work = contender.ready(root)
    began, used = time.perf_counter(), _processor_seconds()
    for _ in range(contender.times):
        answer = work()
    wall, processor = time.perf_counter() - began, _processor_seconds() - used
    peak, wrong = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, None
    if name == contest.truth and contest.keep is not None:
        contest.keep(root, answer)
    elif contest.wrong is not None and contender.judged:
        wrong = contest.wrong(root, answer)
    told = {} if contest.tell is None else dict(contest.tell(root, answer))
    took = {"wall": wall / contender.times, "processor": processor / contender.times, "peak": peak}
    return {**took, "wrong": wrong, "told": told}


def as_markdown(record: Mapping[str, Any]) -> str:
    """A record's figures as a table, between what was done and what is to be known."""
    bases = {f["against"] for f in record["figures"]}
    against = f"against {bases.pop()}" if len(bases) == 1 else "ratio"
    told = list(dict.fromkeys(name for f in record["figures"] for name in f.get("told", {})))
    heads = ["wall s", "spread", "processor s", against, "peak GB", record["wrong_is"], *told]
    lines = [
        f"{record['work']}, {_how_often(record['sizes']['repeat'])}",
        "",
        f"| | {' | '.join(heads)} |",
        "|---|" + "---:|" * len(heads),
    ]
    for f in record["figures"]:
        spread = f"{f['spread']:.0%}" if f["runs"] > 1 else "ran once"
        took = [short(f["wall"]), spread, short(f["processor"]), f"{f['ratio']:.2f}", f"{f['peak']:.2f}"]
        said = [as_number(number) for number in (f["wrong"], *(f.get("told", {}).get(name) for name in told))]
        lines.append(f"| {f['contender']} | {' | '.join([*took, *said])} |")
    return "\n".join([*lines, *(["", record["note"]] if record["note"] else [])])


def as_record(contest: Contest, size: str, figures: Sequence[Figures]) -> dict[str, Any]:
    """The figures as JSON has them, with what was done, the day, the machine and the versions."""
    return {
        "benchmark": contest.module.rpartition(".")[2],
        "work": contest.work.format(**{name: f"{value:,}" for name, value in contest.sizes[size].items()}),
        "note": contest.note,
        "wrong_is": contest.wrong_is,
        "measured": datetime.now(UTC).date().isoformat(),
        "size": size,
        "sizes": dict(contest.sizes[size]),
        "figures": [asdict(f) for f in figures],
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "memory_gb": _memory(),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
            **peers.versions(),
        },
    }


def main(contest: Contest, description: str) -> None:
    """The command of one benchmark."""
    parser = argparse.ArgumentParser(prog=f"python -m {contest.module}", description=description.splitlines()[0])
    parser.add_argument("--size", choices=contest.sizes, default="default", help="how much, and how often")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures there")
    parser.add_argument("--make", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "NAME"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(work_alone(contest, Path(chosen.one[0]), chosen.one[1])))
        return
    if chosen.make:
        sizes = {name: value for name, value in contest.sizes[chosen.size].items() if name != "repeat"}
        contest.make(Path(chosen.make), **sizes)
        return
    record = as_record(contest, chosen.size, hold(contest, size=chosen.size))
    print(as_markdown(record))
    if chosen.json:
        chosen.json.write_text(json.dumps(record, indent=2) + "\n")


def _how_often(repeat: int) -> str:
    return "each once" if repeat == 1 else f"median of {repeat} or of what {ENOUGH} s hold"


def _told(command: Sequence[str]) -> str:
    silent = os.environ | peers.SILENT
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=silent)
    if done.returncode:
        msg = f"{' '.join(command[2:])} failed:\n{done.stderr.strip()[-2000:]}"
        raise SystemExit(msg)
    return done.stdout


def _memory() -> int:
    """Of the machine, in whole GB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)


def as_number(number: float | None) -> str:
    """A count with its thousands, a measure to five places, nothing where there is none."""
    return "" if number is None else f"{number:,}" if isinstance(number, int) else f"{number:.5f}"


def short(seconds: float) -> str:
    return (
        f"{seconds:.2f}"
        if seconds >= 0.1
        else f"{seconds * 1e3:.3g} ms"
        if seconds >= 1e-4
        else f"{seconds * 1e6:.3g} µs"
    )


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
