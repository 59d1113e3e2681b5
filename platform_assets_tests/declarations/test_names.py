"""Names are derived in one file, and stay what they are: tables on disk are called by them."""

from __future__ import annotations

from platform_assets.declarations import names


def test_derived_names() -> None:
    assert names.asset_path("flights", "departures") == ("flights", "departures")
    assert names.asset_name("flights", "departures") == "flights/departures"
    assert names.table_folder("flights", "departures") == "flights/departures"
    assert names.quarantine_folder("flights", "departures") == "quarantine/flights/departures"
    assert names.feature_column("origin_weather", "wind") == "origin_weather__wind"
    assert names.registered_model("flights", "late") == "flights.late"
    assert names.group_name("feature group") == "feature_groups"
    assert names.group_name("predictions") == "predictions"
    assert (names.DAY, names.LEDGER) == ("day", "ledger")
