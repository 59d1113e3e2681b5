"""The kinds of column that features have, each with its range."""

from __future__ import annotations

from datetime import timedelta

import dataframely as dy
import polars as pl

from platform_assets.defs.flights.outcome import LATE_MINUTES

# A cancelled flight is never announced in the data: it stops counting as waiting after this long.
WAIT_LIMIT = timedelta(hours=6)


def late(delay: pl.Expr) -> pl.Expr:
    """1 where a delay in minutes counts as late, else 0, Int64."""
    return (delay >= LATE_MINUTES).cast(pl.Int64)


def key(description: str) -> dy.String:
    """A key of text."""
    return dy.String(primary_key=True, description=description)


def event_time(description: str) -> dy.Datetime:
    """When the features were true; a key beside the entity's."""
    return dy.Datetime(primary_key=True, time_zone="UTC", time_unit="us", description=description)


def count(description: str, *, most: int = 1000, least: int = 0) -> dy.Int32:
    """A number of flights."""
    return dy.Int32(nullable=False, min=least, max=most, description=description)


def share(description: str) -> dy.Float64:
    """A share from 0 to 1; null of nothing."""
    return dy.Float64(nullable=True, min=0, max=1, description=description)


def mean_minutes(description: str, *, least: float = -180, most: float = 3000) -> dy.Float64:
    """A mean in minutes; null of nothing."""
    return dy.Float64(nullable=True, min=least, max=most, description=description)


def measure(description: str, least: float, most: float) -> dy.Float64:
    """A measured quantity; null where it was not measured."""
    return dy.Float64(nullable=True, min=least, max=most, description=description)
