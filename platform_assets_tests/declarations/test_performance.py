"""A performance monitor says what it may say, and reads the days of its windows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from platform_assets.compute import expected, thresholds
from platform_assets.declarations import monitor
from platform_assets.declarations import performance as declared
from platform_assets.declarations.catalogue import Catalogue, days_affected, days_read
from platform_assets.declarations.fingerprint import fingerprint
from platform_assets.declarations.performance import PerformanceMonitor
from platform_assets.declarations.times import Days
from platform_assets.declarations.views import TimeSplit
from platform_assets.errors import CatalogueError, DeclarationError
from platform_assets_tests import watched

MONITOR = watched.monitor


def of(**learner: Any) -> PerformanceMonitor:
    """The same with another learner, and a *select* that is long enough."""
    split = TimeSplit(
        select_from=date(2023, 2, 6),
        report_from=date(2023, 4, 11),
        report_until=date(2023, 6, 1),
        gap=watched.dataset.split.gap,
    )
    model = replace(
        watched.model,
        training=replace(watched.dataset, split=split),
        learner=replace(watched.model.learner, **learner),
    )
    outcomes = replace(watched.outcomes, predictions=replace(watched.predictions, model=model))
    return replace(MONITOR, of=outcomes)


def test_measures_are_those_that_can_be_computed() -> None:
    assert declared.PERFORMANCE_MEASURES == expected.MEASURES
    assert set(declared.ALARMING_PERFORMANCE) < set(declared.PERFORMANCE_MEASURES)
    assert monitor.FEWEST_DAYS == thresholds.FEWEST_WINDOWS


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"of": watched.predictions}, "of=late_predictions has no labels beside predictions; name outcomes"),
        ({"windows": ()}, r"windows=\(\); write lengths in days"),
        ({"windows": (7, 7)}, r"windows=\(7, 7\) has a length twice"),
        ({"slices": "boat"}, r"slices='boat' is a string; did you mean slices=\['boat'\]\?"),
        ({"slices": ["bout"]}, "bout"),
        ({"slices": ["month"]}, "its windows are days already"),
        ({"alarming": ["auc", "f1"]}, "alarming names f1; choose among auc, log_loss"),
        ({"alarming": []}, "alarming names nothing"),
        ({"alarms_per_month": 0}, "alarms_per_month=0: no threshold never alarms"),
        ({"at_least": 0}, "at_least=0 must be positive"),
        ({"confidence": 1.0}, "confidence=1.0 is no share"),
        ({"draws": 50}, "draws=50 are too few for a confidence of 0.95; take 400 or more"),
        ({"learned_from": "fit"}, "learned_from='fit'; choose 'report' or 'select'"),
        ({"learned_from": "select"}, r"is fitted anew on it.*or LightGBM\(refit=False\)"),
        ({"windows": (1, 30)}, "holds 28 windows of 30 days, and thresholds are learned from 40 or more"),
    ],
)
def test_what_it_cannot_do_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        replace(MONITOR, **wrong)


def test_select_is_learned_from_where_nothing_was_fitted_there() -> None:
    found = replace(of(refit=False), learned_from="select")
    assert found.settled == Days(date(2023, 2, 6), date(2023, 4, 9))
    calibrated = replace(found.of.predictions.model, calibration="platt")
    outcomes = replace(found.of, predictions=replace(found.of.predictions, model=calibrated))
    with pytest.raises(DeclarationError, match="calibrates its probabilities there"):
        replace(found, of=outcomes)


def test_it_reads_the_days_of_its_windows_and_the_view_only_for_slices() -> None:
    day = Days(date(2023, 4, 20), date(2023, 4, 20))
    assert days_read(MONITOR, watched.outcomes, day) == Days(date(2023, 4, 14), day.last)
    assert days_affected(MONITOR, watched.outcomes, day) == Days(day.first, date(2023, 4, 26))
    assert MONITOR.input_names == ("late_outcomes", "crossings_asked")
    assert replace(MONITOR, slices=()).input_names == ("late_outcomes",)


def test_prose_changes_no_fingerprint_and_everything_else_does() -> None:
    assert fingerprint(replace(MONITOR, description="Another.", owners=["team:pier"])) == fingerprint(MONITOR)
    for change in ({"windows": (1,)}, {"slices": ()}, {"alarms_per_month": 2.0}, {"draws": 500}, {"at_least": 21}):
        assert fingerprint(replace(MONITOR, **change)) != fingerprint(MONITOR)


def test_the_outcomes_are_those_of_the_catalogue() -> None:
    other = replace(watched.outcomes, predictions=replace(watched.predictions, first=date(2023, 3, 1)))
    held = [d for d in watched.CATALOGUE.declarations if d.name != MONITOR.name]
    with pytest.raises(CatalogueError, match="refers to another outcomes 'late_outcomes' than the one"):
        Catalogue(name="ferry", declarations=[*held, replace(MONITOR, of=other)])
