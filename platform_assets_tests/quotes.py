"""What the shop's supplier quotes and corrects: a source that keeps versions, and three ways to read it.

The shop's orders ask for the price of their product; the quotes of a day may be corrected long after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import dataframely as dy
import polars as pl

from platform_assets.compute.corrections import superseded_at
from platform_assets.compute.windows import sums_at_ticks
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.tables import feature_group, source
from platform_assets.declarations.times import Window, after
from platform_assets.declarations.views import feature_view
from platform_assets.lake.landing import Landing
from platform_assets_tests import shop

KNOWN_AFTER = timedelta(minutes=5)
PRODUCTS = ("chair", "lamp", "boots", "coat", "scarf")
Quote = tuple[str, datetime, int | str | None]
"""Product, when it was quoted, and the price in cents (or what stands in its cell)."""


def _instant(description: str, *, key: bool = False) -> dy.Datetime:
    return dy.Datetime(primary_key=key, nullable=False, time_zone="UTC", time_unit="us", description=description)


class Quotes(dy.Schema):
    product = dy.String(primary_key=True, description="The product.")
    quoted_at = _instant("When it was quoted (UTC).", key=True)
    known_at = _instant("When that was known (UTC).")
    cents = dy.Int64(nullable=True, min=1, description="Price in euro cents.")


class QuoteVersions(Quotes):
    known_at = _instant("When that was known (UTC).", key=True)


class QuotesOfTheDay(dy.Schema):
    product = dy.String(primary_key=True, description="The product.")
    event_time = _instant("End of the 24 hours (UTC).", key=True)
    quotes_24h = dy.Int64(nullable=False, description="Quotes of the last 24 hours.")
    cents_24h = dy.Int64(nullable=False, description="The sum of their prices, each as known then, in euro cents.")


class OrderPriced(dy.Schema):
    order_id = dy.String(primary_key=True, description="The order.")
    product = dy.String(nullable=False, description="What was ordered.")
    ordered_at = _instant("When it was ordered (UTC).")


@source(
    keys=["product"],
    event_time="quoted_at",
    known_at=after("known_at"),
    partitions=shop.OPEN,
    schema=Quotes,
    raw={"product": pl.String, "quoted_at": pl.String, "cents": pl.Int64},
    on_correction="keep",
    owners=["team:shop"],
)
def quotes(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Prices as the supplier quotes them."""
    quoted_at = pl.col("quoted_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", strict=False)
    rows = raw.with_columns(quoted_at=quoted_at.dt.replace_time_zone("UTC"))
    return rows.with_columns(known_at=pl.col("quoted_at") + KNOWN_AFTER)


@feature_group(
    keys=["product"],
    event_time="quoted_at",
    known_at=after("known_at"),
    partitions=shop.OPEN,
    schema=QuoteVersions,
    max_age=timedelta(hours=48),
    owners=["team:shop"],
)
def quote(quotes: pl.LazyFrame) -> pl.LazyFrame:
    """A quote in all its versions, each with when it was known."""
    return quotes


@feature_group(
    keys=["product"],
    event_time="event_time",
    known_at=after("event_time"),
    partitions=shop.OPEN,
    schema=QuotesOfTheDay,
    lookback=timedelta(hours=24),
    max_age=timedelta(hours=2),
    owners=["team:shop"],
)
def quotes_of_the_day(quotes: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Sums over a day of quotes, at each hour the version that was known then."""
    until = superseded_at(keys=["product"], event_time="quoted_at", known_at="known_at")
    versions = quotes.select(
        "product",
        active_from="known_at",
        active_until=pl.min_horizontal(pl.col("quoted_at") + timedelta(hours=24), until),
        quotes_24h=pl.lit(1, pl.Int64),
        cents_24h="cents",
    )
    return sums_at_ticks([versions], keys=["product"], window=window, step=timedelta(hours=1)).select(
        QuotesOfTheDay.column_names()
    )


@feature_view(
    keys=["order_id"],
    event_time="ordered_at",
    prediction_time=after("ordered_at"),
    partitions=shop.OPEN,
    schema=OrderPriced,
    features=[quote.select(age=True), quotes_of_the_day.select()],
    owners=["team:shop"],
)
def orders_priced(orders: pl.LazyFrame) -> pl.LazyFrame:
    """Every order with the price that was known of its product."""
    return orders.select(OrderPriced.column_names())


orders_priced_since = replace(orders_priced, name="orders_priced_since", known="since")

CATALOGUE = Catalogue(
    name="quotes", declarations=[shop.orders, quotes, quote, quotes_of_the_day, orders_priced, orders_priced_since]
)


def land(landing: Path, day: date, rows: Iterable[Quote], *, at: datetime | None = None) -> Path:
    """Deliver quotes: the first file of a day, or a correction of it at an instant; the count is written last."""
    path = Landing(landing).path("quotes", day, at)
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [
        f"{product},{quoted:%Y-%m-%dT%H:%M:%SZ},{'' if cents is None else cents}\n" for product, quoted, cents in rows
    ]
    path.write_text("product,quoted_at,cents\n" + "".join(cells))
    path.with_suffix(".rows").write_text(str(len(cells)))
    return path
