"""The report as one HTML file: no scripts, nothing from elsewhere, pictures drawn in the colours of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from platform_assets.compute.metrics import Performance
from platform_assets.compute.profiles import Profile
from platform_assets.pipelines.report import Expected, Report

_WIDE, _HIGH, _LEFT, _BELOW = 360, 130, 46, 20
_BARS, _TEXTS, _HOTTEST = 24, 8, 3.0


def render(report: Report) -> str:
    """The page."""
    from jinja2 import Environment

    template = files("platform_assets.pipelines").joinpath("report.html").read_text()
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    return page.render(
        report=report, headline=headline(report), lines=_lines(report), heat=_shade, bars=bars, share=_share
    )


def headline(report: Report) -> str:
    """The state in one sentence."""
    if report.open:
        first = min(one.days.first for one in report.open)
        count = sum(len(one.moved) for one in report.open)
        columns = f"{count} column{'s' if count > 1 else ''}"
        return f"{columns} alarm on {report.days.last}, the longest since {first}."
    if report.incidents:
        over = "1 incident is" if len(report.incidents) == 1 else f"{len(report.incidents)} incidents are"
        return f"Nothing alarms on {report.days.last}; {over} over."
    if not any(watched.clip(report.days) for watched in report.watched.values()):
        there = ", ".join(f"{monitor} watched {days}" for monitor, days in report.watched.items())
        return f"Nothing is watched from {report.days}" + (f": {there}." if there else ", nor on any other day yet.")
    return f"Nothing alarmed from {report.days}."


def line(
    values: Mapping[date, float | None],
    *,
    days: Sequence[date],
    expected: Mapping[date, float] | None = None,
    changes: Mapping[date, str] | None = None,
) -> str:
    """A line over days, with its lowest and highest value written beside it, as SVG; gaps where there is no value.

    Args:
        values: by day.
        days: in order.
        expected: dashed beside it.
        changes: days that are marked, with what happened.
    """
    known = {day: value for day, value in values.items() if value is not None}
    if not known:
        return ""
    beside = {day: value for day, value in (expected or {}).items() if day in days}
    told = [*known.values(), *beside.values()]
    low, high = min(told), max(told)
    span = high - low or max(abs(high), 1.0) * 0.1
    places = {day: _LEFT + (_WIDE - _LEFT - 8) * n / max(len(days) - 1, 1) for n, day in enumerate(days)}

    def height(value: float) -> float:
        return 10 + (_HIGH - _BELOW - 20) * (1 - (value - low) / span)

    drawn = "".join(
        f'<line x1="{places[day]:.1f}" x2="{places[day]:.1f}" y1="6" y2="{_HIGH - _BELOW}"><title>{day}: {said}</title></line>'
        for day, said in (changes or {}).items()
    )
    for points, kind in ((beside, ' class="expected"'), (known, "")):
        drawn += "".join(
            f'<polyline{kind} points="{" ".join(f"{places[day]:.1f},{height(points[day]):.1f}" for day in part)}"/>'
            for part in _unbroken(days, points)
            if len(part) > 1
        )
    drawn += "".join(
        f'<circle cx="{places[day]:.1f}" cy="{height(value):.1f}" r="2.5"><title>{_title(day, value, beside)}</title></circle>'
        for day, value in known.items()
    )
    drawn += "".join(
        f'<text x="{_LEFT - 6}" y="{place:.0f}" text-anchor="end">{value:.3f}</text>'
        for value, place in ((high, 14), (low, _HIGH - _BELOW - 6))
    )
    ends = (
        f'<text x="{_LEFT}" y="{_HIGH - 4}">{days[0]}</text>'
        f'<text x="{_WIDE - 8}" y="{_HIGH - 4}" text-anchor="end">{days[-1]}</text>'
    )
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img">{drawn}{ends}</svg>'


def _unbroken(days: Sequence[date], points: Mapping[date, float]) -> list[list[date]]:
    """The days that have a point, in stretches without a gap."""
    parts: list[list[date]] = [[]]
    for day in days:
        if day in points:
            parts[-1].append(day)
        elif parts[-1]:
            parts.append([])
    return parts


def _title(day: date, value: float, expected: Mapping[date, float]) -> str:
    beside = f", expected {expected[day]:.4f}" if day in expected else ""
    return f"{day}: {value:.4f}{beside}"


class Bar(NamedTuple):
    """The share of the values in the reference and now that have a name, or lie from one number to another."""

    name: str
    then: float
    now: float
    until: str = ""


def bars(then: Profile, now: Profile) -> list[Bar]:
    """A bar for each text or truth, or for each step of a number."""
    if then.kind == "text":
        shares = [{t: c / max(p.known, 1) for t, c in zip(p.texts, p.counts, strict=True)} for p in (then, now)]
        names = sorted({*shares[0], *shares[1]}, key=lambda text: (-max(s.get(text, 0.0) for s in shares), text))
        return [Bar(name, shares[0].get(name, 0.0), shares[1].get(name, 0.0)) for name in names[:_TEXTS]]
    if then.kind == "boolean":
        false = [side.cdf(0.0) or 0.0 for side in (then, now)]
        true = [1 - share if side.values else 0.0 for side, share in zip((then, now), false, strict=True)]
        return [Bar("false", false[0], false[1]), Bar("true", true[0], true[1])]
    sides = [side for side in (then, now) if side.values]
    if not sides:
        return []
    low = min(side.quantile(0.005) or 0.0 for side in sides)
    high = max(side.quantile(0.995) or 0.0 for side in sides)
    edges = np.linspace(low, high if high > low else low + 1, _BARS + 1)
    heights = []
    for side in (then, now):
        upto = np.array([side.cdf(edge) for edge in edges]) if side.values else np.zeros(len(edges))
        if side.values:
            upto[0], upto[-1] = 0.0, 1.0
        heights.append(np.diff(upto))
    ends = pairwise(f"{edge:.4g}" for edge in edges)
    return [Bar(first, float(a), float(b), last) for (first, last), a, b in zip(ends, *heights, strict=True)]


def _lines(report: Report) -> list[tuple[str, str, str]]:
    """Of each outcomes table its pictures: table, title, SVG."""
    days, found = list(report.days), []
    titles = {"auc": "AUC", "log_loss": "log loss", "brier": "Brier score", "base_rate": "share of positives"}
    for name, by_day in report.performance.items():
        beside = report.expected.get(name, Expected(measures={}, versions={}))
        changes = _changes(beside.versions)
        for measure, title in titles.items():
            values, expected = (
                {d: _value(figures, measure) for d, figures in by_day.items()},
                beside.measures.get(measure),
            )
            svg = line(values, days=days, expected=expected, changes=changes)
            if svg:
                found.append((name, title, svg))
    return found


def _changes(versions: Mapping[date, int]) -> dict[date, str]:
    """The days on which another version began to predict."""
    told = sorted(versions.items())
    return {day: f"version {now}" for (_, before), (day, now) in pairwise(told) if now != before}


def _value(figures: Performance, measure: str) -> float | None:
    value = getattr(figures, measure)
    return None if value is None else float(value)


def _shade(times: float | None) -> str:
    """How a cell of the heat map is filled: quiet below the threshold, hotter the further above."""
    if times is None:
        return "background:none"
    if times <= 1:
        return f"background:color-mix(in srgb, var(--cool) {round(100 * max(times, 0) * 0.6)}%, var(--paper))"
    hot = min((times - 1) / (_HOTTEST - 1), 1)
    return f"background:color-mix(in srgb, var(--hot) {round(45 + 55 * hot)}%, var(--paper))"


def _share(found: Profile) -> float:
    return 1 - found.known / found.rows if found.rows else 0.0
