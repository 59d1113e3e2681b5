"""The shop's orders over a hundred days, and monitors of them: sixty days to learn from, forty to watch.

root = tmp_path
monitored.land(root / "landing", monitored.LONG)
there = shop.platform(root)
shop.make(there, "orders", "order_drift", catalogue=monitored.CATALOGUE)
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.monitor import Fixed, Monitor, SameSeason, Trailing
from platform_assets.declarations.times import Daily, Days
from platform_assets_tests import shop

OPEN = Daily(first=date(2024, 1, 1), last=date(2024, 4, 9), zone=shop.BERLIN)
"""With the night the clocks go forward among the days that are watched."""
LONG = Days(OPEN.first, date(2024, 4, 9))
LEARNED_FROM = Days(OPEN.first, date(2024, 2, 29))
WATCHED = Days(date(2024, 3, 1), LONG.last)
NOW = datetime(2024, 5, 1, tzinfo=UTC)

orders = replace(shop.orders, partitions=OPEN)
order_drift = Monitor(
    name="order_drift",
    description="Whether orders are still what they were in the first sixty days.",
    of=orders,
    reference=Fixed(days=LEARNED_FROM),
    alarms_per_month=0.2,
    apart=2,
    owners=["team:shop"],
)
trailing_drift = replace(
    order_drift,
    name="trailing_drift",
    reference=Trailing(days=14, learned_from=Days(date(2024, 1, 15), LEARNED_FROM.last)),
    windows=(1,),
)
CATALOGUE = Catalogue(name="shop", declarations=[orders, order_drift, trailing_drift])


def seasonal(of: Daily, learned_from: Days) -> Monitor:
    """A monitor against the same season a year ago, of orders with another calendar."""
    return replace(
        order_drift,
        of=replace(orders, partitions=of),
        reference=SameSeason(around=5, learned_from=learned_from),
        windows=(1,),
    )


def rows(day: date, *, per_day: int = 80, times: float = 1.0, product: str | None = None) -> list[dict[str, str]]:
    """A day's orders; with `times` their amounts are told in another unit, with `product` all are of one."""
    dice = random.Random(f"long {day}")
    start = OPEN.start_of(day)
    return [
        {
            "order_id": f"{day:%Y%m%d}-{number:03}",
            "customer": f"c{dice.randrange(12):02}",
            "product": dice.choice(["boots", "chair", "coat", "lamp", "scarf"] if product is None else [product]),
            "amount_cents": str(max(round(dice.randrange(500, 12_000) * times), 1)),
            "cancelled": str(dice.random() < 0.05).lower(),
            "ordered_at": f"{start + timedelta(minutes=number):%Y-%m-%dT%H:%M:%SZ}",
        }
        for number in range(per_day)
    ]


def land(landing: Path, days: Iterable[date], **told: Any) -> None:
    """Let the orders of `days` land, as `rows` makes them."""
    for day in days:
        shop.land_rows(landing, "orders", day, rows(day, **told))
