"""Every feature group of the project, on the real rows: a day alone is the day in a range, and nothing knows the future."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from platform_assets.compute.content_hash import content_hash
from platform_assets.declarations.catalogue import reach
from platform_assets.declarations.tables import FeatureGroup, Source
from platform_assets.declarations.times import Days
from platform_assets.defs.flights.catalogue import CATALOGUE
from platform_assets.lake.landing import Landing
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.feature import _computed, compute_features
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.run import Platform, Run
from platform_assets.registry.models import Registry

pytestmark = pytest.mark.slow

GROUPS = [group.name for group in CATALOGUE.of_kind(FeatureGroup)]
CHANGES_OF_CLOCKS = (date(2013, 3, 10), date(2013, 11, 3))
RUN = Run(run_id="test", now=datetime(2026, 1, 1, tzinfo=UTC))


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


@pytest.fixture(scope="module")
def year(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A platform with the whole year's sources and no features yet."""
    root = tmp_path_factory.mktemp("year")
    platform = Platform(
        landing=Landing(landing), lake=Lake(root / "lake"), registry=Registry(root / "mlflow"), connect=connect
    )
    for source in CATALOGUE.of_kind(Source):
        days = source.partitions
        whole = None if days is None or days.last is None else Days(days.first, days.last)
        materialize(platform, CATALOGUE, source.name, RUN, days=whole)
    return platform


@pytest.mark.parametrize("name", GROUPS)
def test_a_day_alone_is_the_day_in_a_range(year: Platform, name: str) -> None:
    group = CATALOGUE[name]
    assert isinstance(group, FeatureGroup)
    for day in (*CHANGES_OF_CLOCKS, date(2013, 7, 1), date(2013, 1, 1)):
        within = Days(max(day - timedelta(days=20), date(2013, 1, 1)), day + timedelta(days=5))
        ranged = compute_features(year, CATALOGUE, group, within, RUN)
        alone = compute_features(year, CATALOGUE, group, Days(day, day), RUN)
        assert alone.row_count > 0
        assert alone.hashes[day] == ranged.hashes[day], f"{name} on {day}"
        assert not alone.is_new


@pytest.fixture(scope="module")
def around() -> tuple[datetime, datetime, datetime]:
    """A window of two days, and the instant in its middle at which the future is cut off."""
    return (
        datetime(2013, 6, 1, 4, tzinfo=UTC),
        datetime(2013, 6, 3, 4, tzinfo=UTC),
        datetime(2013, 6, 2, 17, 7, tzinfo=UTC),
    )


@pytest.mark.parametrize("name", GROUPS)
def test_nothing_known_later_moves_a_feature(
    year: Platform, name: str, around: tuple[datetime, datetime, datetime]
) -> None:
    group = CATALOGUE[name]
    assert isinstance(group, FeatureGroup)
    start, end, now = around

    def forget(rows: pl.LazyFrame, known: pl.Expr) -> pl.LazyFrame:
        return rows.filter(known <= now)

    def distort(rows: pl.LazyFrame, known: pl.Expr) -> pl.LazyFrame:
        measured = pl.selectors.numeric()
        return rows.with_columns(pl.when(known > now).then(measured + 1).otherwise(measured).name.keep())

    honest = _compute(year, group, start, end, lambda rows, _: rows)
    before = honest.filter(group.known_at.expr() <= now)
    assert len(before) > 10
    for tampered in (forget, distort):
        found = _compute(year, group, start, end, tampered).filter(group.known_at.expr() <= now)
        assert content_hash(found) == content_hash(before), f"{name}: {tampered.__name__}"
    assert content_hash(_compute(year, group, start, end, distort)) != content_hash(honest)


def _compute(
    platform: Platform,
    group: FeatureGroup,
    start: datetime,
    end: datetime,
    tamper: Callable[[pl.LazyFrame, pl.Expr], pl.LazyFrame],
) -> pl.DataFrame:
    days = Days(date(2013, 6, 1), date(2013, 6, 2))
    window = group.partitions.window(days)
    assert (window.start, window.end) == (start, end)
    slices = {}
    for read in CATALOGUE.inputs(group):
        assert isinstance(read, Source)
        extent = reach(group, read)
        assert extent is not None
        assert read.event_time is not None
        rows = platform.lake.scan(f"flights/{read.name}").drop("day")
        reached = rows.filter(pl.col(read.event_time) >= start - extent.back, pl.col(read.event_time) < end)
        slices[read.name] = tamper(reached, read.known_at.expr())
    with platform.connect() as connection:
        return _computed(group, slices, days, connection)
