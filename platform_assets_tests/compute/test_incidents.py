"""Incidents: a run of days is one, however it is asked for, and later days do not change what was told."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from platform_assets.compute.incidents import Spell, begun, spells
from platform_assets_tests.reference.incidents import naive_drifting

FIRST = date(2024, 3, 1)
ALARMS = st.lists(st.tuples(st.integers(0, 29), st.sampled_from("abc"), st.sampled_from([1, 7])), max_size=40)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def alarms(*numbers: int, column: str = "a", window: int = 1) -> list[tuple[date, str, int]]:
    return [(day(number), column, window) for number in numbers]


def told(found: list[Spell]) -> list[tuple[str, int, int, int]]:
    return [(s.column, *((d - FIRST).days for d in (s.incident, s.first, s.last))) for s in found]


@given(found=ALARMS)
def test_each_day_tells_what_the_naive_twin_tells_who_never_sees_the_next(found: list[tuple[int, str, int]]) -> None:
    all_of_them = [(day(number), column, window) for number, column, window in found]
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


def test_a_window_of_several_days_is_one_at_once() -> None:
    assert told(spells(alarms(4, window=7))) == [("a", 4, 4, 4)]


def test_it_lasts_until_three_days_are_quiet() -> None:
    assert told(spells(alarms(4, 8, window=7))) == [("a", 4, 4, 4), ("a", 4, 8, 8)]
    assert told(spells(alarms(4, 7, window=7))) == [("a", 4, 4, 7)]
    (spell,) = spells(alarms(4, 6, window=7))
    assert [spell.drifts(day(n)) for n in (3, 4, 8, 9)] == [False, True, True, False]


def test_columns_that_begin_within_a_week_are_one_incident_and_a_lasting_one_hides_no_later_one() -> None:
    lasting = alarms(*range(30), window=7)
    found = spells([*lasting, *alarms(6, column="b", window=7), *alarms(7, column="c", window=7)])
    assert told(found) == [("a", 0, 0, 29), ("b", 0, 6, 6), ("c", 7, 7, 7)]
    assert begun(found) == [day(0), day(7)]
