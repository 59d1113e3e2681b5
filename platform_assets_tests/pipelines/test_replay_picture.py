"""The picture of a replay: its axis tells days, however few they are."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from platform_assets.declarations.times import Days
from platform_assets.pipelines.replay.picture import draw_replay
from platform_assets.pipelines.replay.report import Change, PolicyReport, Report

FIRST = date(2013, 2, 1)


def report(count: int) -> Report:
    days = Days(FIRST, FIRST + timedelta(days=count - 1))
    trained = Change(day=days.first - timedelta(days=1), why="no champion", said="", trained=(1,), promoted=(1,))
    own = PolicyReport(
        policy="never",
        overall=None,
        months={},
        years={},
        weeks={},
        changes=[trained],
        alerts=0,
        predicted_days=count,
        champion=1,
        training_cpu_seconds=1.0,
        cpu_seconds=1.0,
    )
    return Report(
        project="flights",
        days=days,
        notes=(),
        policies=[own],
        alerts=0,
        by_day=(),
        first_days=None,
        last_days=None,
    )


@pytest.mark.parametrize("count", [1, 2, 3, 6, 14, 60, 334, 3640])
def test_the_axis_tells_days_and_each_once(count: int) -> None:
    figure = draw_replay(report(count))
    FigureCanvasAgg(figure).draw()
    told = [label.get_text() for label in figure.axes[1].get_xticklabels() if label.get_text()]
    assert 2 <= len(told) <= 10, told
    assert not any(":" in text for text in told), told
    assert count > 14 or len(set(told)) == len(told)
