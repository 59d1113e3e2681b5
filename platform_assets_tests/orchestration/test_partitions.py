"""Dagster's partitions and mappings against the calendars and windows that the pipelines read by."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from platform_assets.declarations.catalogue import Catalogue, calendar, days_affected, days_read
from platform_assets.declarations.times import Daily, Days, Monthly
from platform_assets.orchestration.definitions import build_definitions
from platform_assets.orchestration.metadata import key_of
from platform_assets.orchestration.partitions import daily_partitions, monthly_partitions
from platform_assets.orchestration.projects import find_catalogues
from platform_assets.settings import load_settings
from platform_assets_tests import ferry, shop


@pytest.mark.parametrize(
    "days",
    [shop.OPEN, shop.OPEN_AND_TAIL, Daily(first=date(2013, 1, 1), last=date(2014, 1, 1), zone="America/New_York")],
)
def test_a_calendar_has_its_days_and_its_instants(days: Daily) -> None:
    theirs = daily_partitions(days)
    assert days.last is not None
    ours = list(Days(days.first, days.last))
    assert theirs.get_partition_keys() == [str(day) for day in ours]
    for day in ours:
        window, own = theirs.time_window_for_partition_key(str(day)), days.window(Days(day, day))
        assert (window.start.astimezone(UTC), window.end.astimezone(UTC)) == (own.start, own.end)


def test_an_open_calendar_grows_when_a_day_is_over() -> None:
    days = Daily(first=date(2024, 3, 29), zone="Europe/Berlin")
    for now in (datetime(2024, 4, 1, 21, 59, tzinfo=UTC), datetime(2024, 4, 1, 22, tzinfo=UTC)):
        with partition_loading_context(effective_dt=now):
            closed = days.closed_until(now)
            assert closed is not None
            assert daily_partitions(days).get_partition_keys() == [str(day) for day in closed]


@pytest.mark.parametrize("last", [None, date(2024, 5, 15), date(2024, 4, 30)])
def test_the_months_that_are_over_are_the_partitions_that_dagster_knows(last: date | None) -> None:
    months = Monthly(first=date(2024, 3, 1), last=last, zone="Europe/Berlin")
    for day in (date(2024, 4, 2), date(2024, 5, 1), date(2024, 5, 17), date(2024, 5, 31), date(2024, 6, 1)):
        now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        with partition_loading_context(effective_dt=now):
            closed = months.closed_until(now)
            assert closed is not None
            assert monthly_partitions(months).get_partition_keys() == [str(m) for m in months.among(closed)]


@pytest.mark.parametrize(
    "catalogue", [shop.CATALOGUE, ferry.CATALOGUE, *find_catalogues()], ids=lambda catalogue: catalogue.name
)
def test_every_mapping_leads_to_the_days_that_are_read(catalogue: Catalogue) -> None:
    graph = build_definitions(catalogue, settings=load_settings({})).resolve_asset_graph()
    seen = 0
    for reader in catalogue.declarations:
        days, node = calendar(reader), graph.get(key_of(catalogue, reader.name))
        if days is None or days.last is None:
            continue
        # The edges, the days the clocks change, and one in the middle.
        chosen = {days.first, days.first + timedelta(days=1), days.last, days.last - timedelta(days=1)}
        if isinstance(days, Monthly):
            chosen = set(days.among(Days(days.first, days.last)))
        chosen |= {
            day
            for day in (date(2013, 3, 10), date(2013, 11, 3), date(2024, 3, 31), date(2013, 7, 1))
            if day in days.among(Days(days.first, days.last))
        }
        for read in catalogue.inputs(reader):
            other = graph.get(key_of(catalogue, read.name))
            if other.partitions_def is None:
                continue
            mapping = node.partition_mappings[other.key]
            for day in chosen:
                mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
                    downstream_partitions_subset=node.partitions_def.subset_with_partition_keys([str(day)]),
                    downstream_partitions_def=node.partitions_def,
                    upstream_partitions_def=other.partitions_def,
                )
                expected = days_read(reader, read, Days(day, day))
                assert expected is not None
                assert set(mapped.partitions_subset.get_partition_keys()) == {str(one) for one in expected}
                seen += 1
    assert seen > 20


def test_a_job_of_two_calendars_refuses_a_day(tmp_path: Path) -> None:
    """Why every calendar has a job of its own; when this fails, one job may do."""
    definitions = build_definitions(shop.CATALOGUE, settings=load_settings({"PLATFORM_DATA": str(tmp_path)}))
    both = dg.define_asset_job("both", selection=dg.AssetSelection.assets("shop/orders", "shop/returns"))
    with pytest.raises(dg.DagsterInvalidDefinitionError) as refused:
        dg.Definitions(assets=definitions.assets, resources=definitions.resources, jobs=[both]).resolve_job_def("both")
    assert "must have the same partitions definition" in str(refused.value.__cause__)


def test_a_calendar_of_months_has_its_months_and_its_instants() -> None:
    months = Monthly(first=date(2023, 4, 1), last=date(2023, 6, 10), zone="America/New_York")
    theirs = monthly_partitions(months)
    assert theirs.get_partition_keys() == ["2023-04-01", "2023-05-01", "2023-06-01"]
    for key in theirs.get_partition_keys()[:-1]:  # the last goes on to where the month ends
        window, month = theirs.time_window_for_partition_key(key), date.fromisoformat(key)
        own = months.window(Days(month, month))
        assert (window.start.astimezone(UTC), window.end.astimezone(UTC)) == (own.start, own.end)


def test_a_day_leads_to_the_months_that_read_it() -> None:
    """The other way round, which is how Dagster tells what a new day reaches."""
    graph = build_definitions(ferry.CATALOGUE, settings=load_settings({})).resolve_asset_graph()
    reader, read = ferry.late_backtest, ferry.crossings_asked
    node, other = graph.get(key_of(ferry.CATALOGUE, reader.name)), graph.get(key_of(ferry.CATALOGUE, read.name))
    assert read.partitions.last is not None
    for day in (date(2023, 1, 20), date(2023, 3, 31), date(2023, 4, 1), date(2023, 5, 31), date(2023, 6, 10)):
        mapped = node.partition_mappings[other.key].get_downstream_partitions_for_partitions(
            upstream_partitions_subset=other.partitions_def.subset_with_partition_keys([str(day)]),
            upstream_partitions_def=other.partitions_def,
            downstream_partitions_def=node.partitions_def,
        )
        affected = days_affected(reader, read, Days(day, day))
        assert affected is not None
        assert set(mapped.get_partition_keys()) == {str(month) for month in reader.partitions.among(affected)}
