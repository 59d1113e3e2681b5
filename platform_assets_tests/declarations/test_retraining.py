"""Retraining policies and splits that roll: what they mean, and what they refuse."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from platform_assets.declarations.catalogue import Catalogue, days_affected, days_read
from platform_assets.declarations.monitor import TrainedOn
from platform_assets.declarations.retraining import MONTHLY, NEVER, RetrainingPolicy
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.declarations.views import RollingSplit, TimeSplit
from platform_assets.errors import CatalogueError, DeclarationError
from platform_assets_tests import ferry, looping, shop

ROLLING = RollingSplit(select=timedelta(days=28), report=timedelta(days=14), gap=timedelta(days=1))
FIRST = date(2023, 1, 1)
DAY = date(2023, 4, 2)


class TestPolicy:
    def test_never_and_monthly_are_what_they_say(self) -> None:
        assert not NEVER.asks
        assert (MONTHLY.every, MONTHLY.alarms, MONTHLY.asks) == ("month", None, True)

    @pytest.mark.parametrize(
        ("told", "said"),
        [
            ({"every": "week"}, "every='week'; write 'month'"),
            ({"alarms": 0}, "alarms=0 is no number of days in a row"),
            ({"alarms": True}, "alarms=True is no number of days in a row"),
            ({"alarms": 3, "fresh_rows": 0}, "without a fresh row the same model would be trained again"),
            ({"alarms": 3, "cool_down": timedelta(hours=36)}, "is no number of whole days"),
            ({"alarms": 3, "cool_down": -ONE_DAY}, "is no number of whole days"),
            ({"alarms": 3, "cool_down": 28}, "is no number of whole days"),
            ({"cool_down": timedelta(days=28)}, "it holds back what nothing asks for"),
            ({"fresh_rows": 100}, "it holds back what nothing asks for"),
        ],
    )
    def test_nonsense_is_refused(self, told: Any, said: str) -> None:
        with pytest.raises(DeclarationError, match=said):
            RetrainingPolicy(**told)


class TestRetraining:
    def test_it_reads_alarms_in_a_row_and_no_label_that_is_not_due(self) -> None:
        declared = looping.late_retraining
        assert declared.partitions.first == looping.crossings_drift.partitions.first
        assert days_read(declared, looping.crossings_drift, Days(DAY, DAY)) == Days(DAY - 2 * ONE_DAY, DAY)
        assert days_read(declared, ferry.crossing_late, Days(DAY, DAY)) == Days(DAY, DAY)
        assert days_affected(declared, looping.crossings_drift, Days(DAY, DAY)) == Days(DAY, DAY + 2 * ONE_DAY)

    def test_a_label_that_waits_for_later_sources_is_due_later(self) -> None:
        declared = replace(looping.late_retraining, model=shop.return_model, monitors=[], policy=MONTHLY)
        label, day = shop.order_returned, date(2024, 4, 10)
        lag = declared.labels_lag
        assert lag == label.partitions.days_touching(label.lookahead) > 1
        due = day - lag * ONE_DAY
        assert days_read(declared, label, Days(day, day + ONE_DAY)) == Days(due, due + ONE_DAY)
        assert days_affected(declared, label, Days(due, due)) == Days(day, day)
        assert days_read(declared, label, Days(label.partitions.first, label.partitions.first)) is None

    @pytest.mark.parametrize(
        ("told", "said"),
        [
            (
                {"monitors": [ferry.crossings]},
                "monitors holds crossings, which is no daily table with a Boolean column",
            ),
            ({"monitors": ["drift"]}, "monitors holds 'drift', which is no daily table"),
            ({"monitors": looping.crossings_drift}, "monitors=crossings_drift is no list"),
            ({"monitors": [looping.crossings_drift] * 2}, "names one twice"),
            ({"monitors": []}, "alarms=3 of no monitor never come"),
            ({"policy": "monthly"}, "write RetrainingPolicy"),
            ({"model": looping.crossings_dataset}, "is no model"),
        ],
    )
    def test_nonsense_is_refused(self, told: Any, said: str) -> None:
        with pytest.raises(DeclarationError, match=said):
            replace(looping.late_retraining, **told)

    def test_a_model_has_one_at_most_and_is_in_the_catalogue(self) -> None:
        declared = looping.CATALOGUE.declarations
        twice = [*declared, replace(looping.late_retraining, name="late_again")]
        with pytest.raises(CatalogueError, match="both ask for the training of 'late_model'"):
            Catalogue(name="ferry", declarations=twice)
        kept = [d for d in declared if d.name in (*ferry.TO_VIEW, "crossings_drift", "late_retraining")]
        with pytest.raises(CatalogueError, match="trains 'late_model', which is not in the catalogue; add it"):
            Catalogue(name="ferry", declarations=kept)


class TestRollingSplit:
    def test_the_last_days_are_reported_on_and_those_before_select(self) -> None:
        assert ROLLING.resolve(FIRST, date(2023, 12, 31)) == TimeSplit(
            select_from=date(2023, 11, 20),
            report_from=date(2023, 12, 18),
            report_until=date(2023, 12, 31),
            gap=ONE_DAY,
        )

    def test_a_young_table_shrinks_both_in_proportion(self) -> None:
        found = ROLLING.resolve(FIRST, FIRST + 41 * ONE_DAY)
        assert (found.report_from - found.select_from, found.report_until - found.report_from) == (
            14 * ONE_DAY,
            6 * ONE_DAY,
        )

    def test_of_any_number_of_days_the_parts_are_what_a_count_of_days_gives(self) -> None:
        dice = random.Random(0)
        for _ in range(300):
            select, report, labelled = dice.randrange(1, 60), dice.randrange(1, 60), dice.randrange(3, 400)
            most = dice.choice([0.2, 0.5, 0.8])
            split = RollingSplit(select=select * ONE_DAY, report=report * ONE_DAY, most=most)
            found = split.resolve(FIRST, FIRST + (labelled - 1) * ONE_DAY)
            days = [FIRST + n * ONE_DAY for n in range(labelled)]
            reported = [day for day in days if found.report_from <= day <= found.report_until]
            selected = [day for day in days if found.select_from <= day < found.report_from]
            assert reported[-1] == days[-1]
            assert 1 <= len(reported) <= report
            assert 1 <= len(selected) <= select
            held = len(reported) + len(selected)
            assert held <= most * labelled or min(len(selected), len(reported)) == 1, "each has a day at least"
            if select + report <= most * labelled:
                assert held == select + report
            elif min(len(selected), len(reported)) > 1:
                assert held > most * labelled - 2, "no more is given up than whole days ask for"
                assert abs(len(selected) * report - len(reported) * select) < select + report, "in proportion"

    @pytest.mark.parametrize(
        ("told", "said"),
        [
            ({"select": timedelta(hours=36)}, "select=.* is no number of whole days"),
            ({"report": timedelta(0)}, "report=.* is no number of whole days"),
            ({"report": 14}, "report=14 is no number of whole days"),
            ({"gap": -ONE_DAY}, "gap=.* is no span of time"),
            ({"gap": timedelta(days=14)}, "leaves nothing of select"),
            ({"most": 1.0}, "most=1.0 is no share that leaves something to fit on"),
            ({"most": 0}, "most=0 is no share"),
        ],
    )
    def test_nonsense_is_refused(self, told: Any, said: str) -> None:
        with pytest.raises(DeclarationError, match=said):
            replace(ROLLING, **told)

    def test_a_dataset_takes_one_of_the_two_splits(self) -> None:
        with pytest.raises(DeclarationError, match="write TimeSplit"):
            replace(looping.crossings_dataset, split=28)

    def test_a_monitor_cannot_compare_with_days_that_move(self) -> None:
        with pytest.raises(DeclarationError, match="the split of 'crossings_dataset' rolls"):
            TrainedOn(model=looping.late_model)
