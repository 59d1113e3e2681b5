"""Incidents: a run of days is one, however it is asked for, and later days do not change what was told."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from platform_assets.compute.incidents import Spell, begun, spells
from platform_assets_tests.reference.incidents import naive_drifting

FIRST = date(2024, 3, 1)
ALARMS = st.lists(st.tuples(st.integers(0, 29), st.sampled_from("abc")), max_size=40)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def alarms(*numbers: int, column: str = "a") -> list[tuple[date, str]]:
    return [(day(number), column) for number in numbers]


def told(found: list[Spell]) -> list[tuple[str, int, int, int]]:
    return [(s.column, *((d - FIRST).days for d in (s.incident, s.first, s.last))) for s in found]


@given(found=ALARMS)
def test_each_day_tells_what_the_naive_twin_tells_who_never_sees_the_next(found: list[tuple[int, str]]) -> None:
    all_of_them = [(day(number), column) for number, column in found]
    for number in range(33):
        on, so_far = day(number), [alarm for alarm in all_of_them if alarm[0] <= day(number)]
        expected = naive_drifting(all_of_them, on, FIRST)
        for seen in (so_far, all_of_them):
            drifting = {s.column: s.incident for s in spells(seen) if s.first <= on}
            assert set(expected) <= set(drifting)
        assert {s.column: s.incident for s in spells(so_far) if s.drifts(on)} == expected


def test_a_single_day_is_no_incident_but_two_of_three_are() -> None:
    assert spells(alarms(4)) == []
    assert spells(alarms(4, 7)) == []
    assert told(spells(alarms(4, 6))) == [("a", 6, 6, 6)]


def test_it_lasts_until_three_days_are_quiet() -> None:
    assert told(spells(alarms(3, 4, 8, 9))) == [("a", 4, 4, 4), ("a", 4, 9, 9)]
    assert told(spells(alarms(3, 4, 7))) == [("a", 4, 4, 7)]
    (spell,) = spells(alarms(3, 4, 6))
    assert [spell.drifts(day(n)) for n in (3, 4, 8, 9)] == [False, True, True, False]


def test_columns_that_begin_within_a_week_are_one_incident_and_a_lasting_one_hides_no_later_one() -> None:
    found = spells([*alarms(*range(30)), *alarms(6, 7, column="b"), *alarms(7, 8, column="c")])
    assert told(found) == [("a", 1, 1, 29), ("b", 1, 7, 7), ("c", 8, 8, 8)]
    assert begun(found) == [day(1), day(8)]
