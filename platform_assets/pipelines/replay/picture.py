"""A picture of a replay: how each policy fared, week by week, and when it trained."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from platform_assets.declarations.times import ONE_DAY
from platform_assets.pipelines.replay.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK = "#1b2a41"
_COLOURS = ("#2f6fde", "#d1495b", "#3a9278", "#b07d2b", "#7a5ea8", "#5b6770")


def picture_of_replay(report: Report) -> bytes:
    """Log loss by week, a colour for each policy; a dot where it trained, a full one where that made a champion (PNG)."""
    held = io.BytesIO()
    draw_replay(report).savefig(held, format="png")
    return held.getvalue()


def draw_replay(report: Report) -> Figure:
    """The same before it is saved."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.4), layout="constrained", dpi=110)
    axes, events = figure.subplots(2, 1, sharex=True, height_ratios=[5, max(1.0, 0.5 * len(report.policies))])
    for number, one in enumerate(report.policies):
        color = _COLOURS[number % len(_COLOURS)]
        label = one.policy if one.overall is None else f"{one.policy}: log loss {one.overall.log_loss:.4f} in all"
        weeks = list(one.weeks)
        axes.plot(
            weeks,
            [one.weeks[week].log_loss for week in weeks],
            color=color,
            lw=max(1.2, 4.0 - 1.4 * number),
            marker=".",
            label=label,
        )
        trained = [change for change in one.changes if change.trained]
        for is_champion, fill in ((True, color), (False, "white")):
            days = [change.day for change in trained if bool(change.promoted) == is_champion]
            events.scatter(days, [number] * len(days), s=46, facecolor=fill, edgecolor=color, linewidth=1.4, zorder=3)
        for change in trained:
            if change.promoted:
                axes.axvline(change.day, color=color, lw=0.8, ls=":", alpha=0.7)
    axes.set_title(f"{report.project}: {report.days} as though live", color=_INK, loc="left")
    axes.set_ylabel("log loss by week, in nats")
    axes.legend(frameon=False, loc="upper left", ncols=min(3, len(report.policies)))
    events.set_yticks(range(len(report.policies)), [one.policy for one in report.policies])
    events.set_ylim(len(report.policies) - 0.5, -0.5)
    events.set_xlabel("a training: full where it became champion, hollow where it did not")
    for part in (axes, events):
        part.spines[["top", "right"]].set_visible(False)
        part.tick_params(colors=_INK)
    # Two ticks of days are enough, or a few days would be cut into hours.
    locator = AutoDateLocator(minticks=2, maxticks=9)  # type: ignore[no-untyped-call]
    events.set_xlim(report.days.first - 2 * ONE_DAY, report.days.last + ONE_DAY)
    events.xaxis.set_major_locator(locator)
    events.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    return figure
