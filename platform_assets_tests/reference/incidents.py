"""The naive twin of incidents: day after day, asked anew of all days that were seen until then."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

DAY = timedelta(days=1)


def naive_drifting(alarms: Iterable[tuple[date, str]], on: date, first: date) -> dict[str, date]:
    """By column that drifts on a day the first day of its incident; two of three days, three quiet, a week together."""
    seen = [alarm for alarm in alarms if alarm[0] <= on]
    columns = sorted({column for _, column in seen})
    open_since: dict[str, date] = {}
    incident, day = None, first
    while day <= on:
        for column in columns:
            above = [(day - n * DAY, column) in seen for n in range(3)]
            if column in open_since:
                if not any(above):
                    del open_since[column]
            elif above[0] and sum(above) >= 2:
                if incident is None or (day - incident).days >= 7:
                    incident = day
                open_since[column] = incident
        day += DAY
    return open_since
