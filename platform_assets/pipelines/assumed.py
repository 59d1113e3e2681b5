"""Changes that are only assumed, to see what would follow from them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.times import Days
from platform_assets.errors import PartitionError

_DAY = r"\d{4}-\d{2}-\d{2}"
_WRITTEN = re.compile(rf"(?P<catalogue>[a-z0-9_]+)/(?P<name>[a-z0-9_]+)(=(?P<first>{_DAY})(:(?P<last>{_DAY}))?)?")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A declaration that is taken to have changed.

    Attributes:
        catalogue: the project.
        name: the declaration.
        days: which of its days; None for all of it.
    """

    catalogue: str
    name: str
    days: Days | None = None


def read_change(text: str) -> Change:
    """Read `shop/orders`, `shop/orders=2024-04-10` or `shop/orders=2024-04-10:2024-04-14`.

    Raises:
        ValueError: when it is none of these.
    """
    found, days = _WRITTEN.fullmatch(text), None
    if found is None:
        msg = (
            f"{text!r} names nothing that could change; write shop/orders, shop/orders=2024-04-10 or "
            "shop/orders=2024-04-10:2024-04-14"
        )
        raise ValueError(msg)
    if found["first"]:
        try:
            days = Days(date.fromisoformat(found["first"]), date.fromisoformat(found["last"] or found["first"]))
        except (ValueError, PartitionError) as error:
            msg = f"{text!r}: {error}"
            raise ValueError(msg) from error
    return Change(catalogue=found["catalogue"], name=found["name"], days=days)


def days_assumed(
    changes: Sequence[Change], catalogue: Catalogue, declaration: Declaration, days: Collection[date | None]
) -> set[date | None]:
    """Which of a declaration's days (None without partitions) are taken to have changed."""
    own = [c for c in changes if (c.catalogue, c.name) == (catalogue.name, declaration.name)]
    return {day for day in days for c in own if c.days is None or day is None or day in c.days}
