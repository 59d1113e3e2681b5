"""What the benchmarks found, from their JSON: the tables, the chart, and the README's section on performance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest import as_markdown, as_number
from benchmarks.peers import ROOT

Record = Mapping[str, Any]

FOLDER = ROOT / "benchmarks" / "results"
CHART = "ratios.png"
ROUNDING = 1e-9
"""How far answers in floating point may be from the truth and yet be the same."""
BEGIN, END = "<!-- performance: written by make bench -->", "<!-- performance ends -->"


def records(folder: Path = FOLDER) -> list[Record]:
    """As they were measured, by name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def section(found: Sequence[Record]) -> str:
    """The README's section: the chart, of each work who is told there, and in full where more is told."""
    if not found:
        return "Not measured yet: `make bench` does, and writes this section."
    head = (
        "`make bench` does each work in turn by the platform and by what one would use instead, on the same data, every "
        "contender in a process of its own, and writes this section. Ratios are of processor time; everyone, with "
        "spread and memory, is in [`benchmarks/results`](benchmarks/results/README.md)."
    )
    chart = f"![Processor time of each contender, as a ratio, by work](benchmarks/results/{CHART})"
    rows = []
    for record in found:
        rows.append(f"| **{record['work']}** | | |")
        rows += [_row(record, f) for f in _in_readme(record) if f["contender"] != f["against"]]
    table = ["| | processor time | wrong |", "|---|---|---:|", *rows]
    whole = [as_markdown(record) for record in found if any(f.get("told") for f in record["figures"])]
    return "\n\n".join([head, chart, "\n".join(table), *whole, _measured(found)])


def _in_readme(record: Record) -> list[Mapping[str, Any]]:
    return [f for f in record["figures"] if f.get("in_readme", True)]


def tables(found: Sequence[Record]) -> str:
    """Every figure, as the folder's README."""
    of_each = [f"## {record['benchmark']}\n\n{as_markdown(record)}\n\n{_measured([record])}" for record in found]
    return "\n\n".join(["# What `make bench` found", f"![Ratios of processor time]({CHART})", *of_each]) + "\n"


def with_section(readme: str, found: Sequence[Record]) -> str:
    """The README with its section written anew.

    Raises:
        ValueError: when a marker is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        msg = f"README.md has no section between {BEGIN!r} and {END!r}: put both back"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{section(found)}\n{END}{after}"


def tell() -> None:
    """Write the tables, the chart and the README's section from what is kept."""
    found = records()
    (FOLDER / "README.md").write_text(tables(found))
    draw(found, FOLDER / CHART)
    readme = ROOT / "README.md"
    readme.write_text(with_section(readme.read_text(), found))


def draw(found: Sequence[Record], path: Path) -> None:
    """One panel a work: the processor time of who is in the README over that of whom they are told against, on a log axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = [len(_in_readme(record)) for record in found]
    figure = Figure(figsize=(9.5, 0.24 * sum(counts) + 0.62 * len(counts) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(found), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    for panel, record in zip(panels, found, strict=True):
        figures = _in_readme(record)[::-1]
        ratios = [f["ratio"] for f in figures]
        panel.axvline(1, color="0.6", linewidth=1)
        panel.hlines(range(len(figures)), 1, ratios, color="0.8", linewidth=2, zorder=1)
        panel.scatter(
            ratios,
            range(len(figures)),
            s=26,
            color=["C1" if (f["wrong"] or 0) > ROUNDING else "C0" for f in figures],
            zorder=2,
        )
        for height, ratio in enumerate(ratios):
            beside = (6, "left") if ratio >= 1 else (-6, "right")
            panel.annotate(
                f"{ratio:.3g}",
                (ratio, height),
                (beside[0], 0),
                textcoords="offset points",
                ha=beside[1],
                va="center",
                fontsize=7,
            )
        panel.set_yticks(range(len(figures)), [f["contender"] for f in figures], fontsize=8)
        panel.set_ylim(-0.7, len(figures) - 0.3)
        bases = {f["against"] for f in figures}
        against = f", against {bases.pop()}" if len(bases) == 1 else ""
        panel.set_title(f"{record['benchmark']}{against}", loc="left", fontsize=9, fontweight="bold")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.margins(x=0.12)
        panel.grid(axis="x", color="0.92")
        panel.set_axisbelow(True)
        panel.spines[["top", "right", "left"]].set_visible(False)
    panels[-1].set_xlabel("processor time against the one at 1, log scale; orange: answers differ from the truth")
    figure.savefig(path, dpi=110)


def _row(record: Record, figures: Mapping[str, Any]) -> str:
    wrong = figures["wrong"]
    told = (
        f"{as_number(wrong)} {record['wrong_is'].removeprefix('wrong ')}"
        if isinstance(wrong, int)
        else as_number(wrong)
    )
    return f"| {figures['contender']} | {figures['ratio']:.2f} of {figures['against']} | {told} |"


def _measured(found: Sequence[Record]) -> str:
    days = sorted({record["measured"] for record in found})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    machine, versions = found[-1]["machine"], {}
    for record in found:
        versions |= record["versions"]
    what = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured {when} on {machine['cores']} cores ({machine['processor']}) with {machine['memory_gb']} GB; {what}."
    )
