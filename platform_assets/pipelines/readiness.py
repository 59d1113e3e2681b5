"""Which days of a declaration can be made from what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date

from platform_assets.declarations.catalogue import Catalogue, calendar, days_always_read, days_read
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.times import Days


def can_run(
    catalogue: Catalogue,
    declaration: Declaration,
    day: date,
    there: Mapping[str, AbstractSet[date | None]],
    along: Mapping[date, Sequence[str]] | None = None,
) -> bool:
    """Whether all that a day reads is there, or is made along with it in the same run.

    Args:
        catalogue: what is declared.
        declaration: whose day.
        day: which.
        there: by declaration the days that are there; `{None}` for one without partitions.
        along: by day what the same run makes.
    """
    for read in catalogue.inputs(declaration):
        near = (None,) if calendar(read) is None else days_read(declaration, read, Days(day, day)) or ()
        for needed in (*near, *(days_always_read(declaration) or ())):
            if needed not in there[read.name] and not (needed == day and read.name in (along or {}).get(day, ())):
                return False
    return True
