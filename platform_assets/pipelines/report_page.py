"""The report as one HTML file: no scripts, nothing from elsewhere, pictures drawn in the colours of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from importlib.resources import files

import numpy as np

from platform_assets.compute.metrics import Performance
from platform_assets.compute.profiles import Profile
from platform_assets.pipelines.report import Report

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
        return f"Nothing alarms on {report.days.last}; {len(report.incidents)} incidents are over."
    if not report.heat:
        return "Nothing is watched yet in these days."
    return f"Nothing alarmed from {report.days}."


def line(values: Mapping[date, float | None], *, days: Sequence[date]) -> str:
    """A line over days, with its lowest and highest value written beside it, as SVG; gaps where there is no value."""
    known = {day: value for day, value in values.items() if value is not None}
    if not known:
        return ""
    low, high = min(known.values()), max(known.values())
    span = high - low or max(abs(high), 1.0) * 0.1
    places = {day: _LEFT + (_WIDE - _LEFT - 8) * n / max(len(days) - 1, 1) for n, day in enumerate(days)}
    heights = {day: 10 + (_HIGH - _BELOW - 20) * (1 - (value - low) / span) for day, value in known.items()}
    parts: list[list[str]] = [[]]
    for day in days:
        if day in heights:
            parts[-1].append(f"{places[day]:.1f},{heights[day]:.1f}")
        elif parts[-1]:
            parts.append([])
    drawn = "".join(f'<polyline points="{" ".join(part)}"/>' for part in parts if len(part) > 1)
    dots = "".join(
        f'<circle cx="{places[d]:.1f}" cy="{h:.1f}" r="2.5"><title>{d}: {known[d]:.4f}</title></circle>'
        for d, h in heights.items()
    )
    marks = "".join(
        f'<text x="{_LEFT - 6}" y="{height:.0f}" text-anchor="end">{value:.3f}</text>'
        for value, height in ((high, 14), (low, _HIGH - _BELOW - 6))
    )
    ends = (
        f'<text x="{_LEFT}" y="{_HIGH - 4}">{days[0]}</text>'
        f'<text x="{_WIDE - 8}" y="{_HIGH - 4}" text-anchor="end">{days[-1]}</text>'
    )
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img">{drawn}{dots}{marks}{ends}</svg>'


def bars(then: Profile, now: Profile) -> list[tuple[str, float, float]]:
    """By step of a number, or by text, the share of values in the reference and now."""
    if then.kind == "text":
        shares = [{t: c / max(p.known, 1) for t, c in zip(p.texts, p.counts, strict=True)} for p in (then, now)]
        names = sorted({*shares[0], *shares[1]}, key=lambda text: (-max(s.get(text, 0.0) for s in shares), text))
        return [(name, shares[0].get(name, 0.0), shares[1].get(name, 0.0)) for name in names[:_TEXTS]]
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
    return [(f"{edge:.4g}", float(a), float(b)) for edge, a, b in zip(edges, *heights, strict=False)]


def _lines(report: Report) -> list[tuple[str, str, str]]:
    """Of each outcomes table its pictures: table, title, SVG."""
    days, found = list(report.days), []
    titles = {"auc": "AUC", "log_loss": "log loss", "brier": "Brier score", "base_rate": "share of positives"}
    for name, by_day in report.performance.items():
        for measure, title in titles.items():
            svg = line({day: _value(figures, measure) for day, figures in by_day.items()}, days=days)
            if svg:
                found.append((name, title, svg))
    return found


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
