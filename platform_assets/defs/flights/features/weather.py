"""Weather: the last hour observed at an origin, what changed in three hours, and the worst around New York."""

from __future__ import annotations

from datetime import timedelta

import dataframely as dy
import polars as pl

from platform_assets.declarations.tables import feature_group
from platform_assets.declarations.times import after, within
from platform_assets.defs.flights.features.columns import event_time, key, measure
from platform_assets.defs.flights.sources import YEAR


class OriginWeather(dy.Schema):
    """Columns of `origin_weather`."""

    origin = key("Origin airport (IATA).")
    event_time = event_time("Hour of the observation (UTC).")
    temp_f = measure("Temperature, degrees Fahrenheit.", -80, 140)
    dew_point_f = measure("Dew point, degrees Fahrenheit.", -100, 100)
    humidity_pct = measure("Relative humidity, percent.", 0, 100)
    wind_dir_deg = measure("Direction the wind blows from, degrees.", 0, 360)
    wind_speed_mph = measure("Wind speed, miles per hour; impossible ones are null.", 0, 253)
    wind_gust_mph = measure("Wind gust, miles per hour.", 0, 253)
    precip_in = measure("Precipitation of the hour, inches.", 0, 15)
    precip_3h_in = dy.Float64(
        nullable=False, min=0, max=45, description="Precipitation of the last 3 hours, a missing hour as 0, inches."
    )
    pressure_mb = measure("Sea level pressure, millibars.", 870, 1090)
    visibility_mi = measure("Visibility, miles (10 is the most reported).", 0, 10)
    temp_change_3h_f = measure("Temperature less that of 3 hours before, degrees Fahrenheit.", -100, 100)
    pressure_change_3h_mb = measure("Pressure less that of 3 hours before, millibars.", -60, 60)
    wind_change_3h_mph = measure("Wind speed less that of 3 hours before, miles per hour.", -253, 253)
    visibility_change_3h_mi = measure("Visibility less that of 3 hours before, miles.", -10, 10)
    region_visibility_mi = measure("Worst visibility among the three origins in this hour, miles.", 0, 10)
    region_wind_speed_mph = measure("Strongest wind among the three origins in this hour, miles per hour.", 0, 253)
    region_precip_in = measure("Most precipitation among the three origins in this hour, inches.", 0, 15)


@feature_group(
    keys=["origin"],
    event_time="event_time",
    known_at=after("event_time", minutes=15),
    schema=OriginWeather,
    lookback=timedelta(days=1),
    max_age=timedelta(hours=3),
    freshness=within(hours=36),
    tags={"domain": "weather"},
    partitions=YEAR,
    owners=["team:weather"],
)
def origin_weather(weather: pl.LazyFrame) -> pl.LazyFrame:
    """The hour's weather at an origin, its change over three hours, and the worst of the three airports."""

    def ago(hours: int, *columns: str) -> pl.LazyFrame:
        return weather.select(
            "origin",
            *(pl.col(c).alias(f"{c}_{hours}h_ago") for c in columns),
            observed_at=pl.col("observed_at") + timedelta(hours=hours),
        )

    region = weather.group_by("observed_at").agg(
        region_visibility_mi=pl.col("visibility_mi").min(),
        region_wind_speed_mph=pl.col("wind_speed_mph").max(),
        region_precip_in=pl.col("precip_in").max(),
    )
    on = ["origin", "observed_at"]
    return (
        weather.join(ago(1, "precip_in"), on=on, how="left")
        .join(ago(2, "precip_in"), on=on, how="left")
        .join(ago(3, "pressure_mb", "temp_f", "wind_speed_mph", "visibility_mi"), on=on, how="left")
        .join(region, on="observed_at", how="left")
        .select(
            "origin",
            event_time="observed_at",
            temp_f="temp_f",
            dew_point_f="dew_point_f",
            humidity_pct="humidity_pct",
            wind_dir_deg="wind_dir_deg",
            wind_speed_mph="wind_speed_mph",
            wind_gust_mph="wind_gust_mph",
            precip_in="precip_in",
            precip_3h_in=pl.col("precip_in").fill_null(0)
            + pl.col("precip_in_1h_ago").fill_null(0)
            + pl.col("precip_in_2h_ago").fill_null(0),
            pressure_mb="pressure_mb",
            visibility_mi="visibility_mi",
            temp_change_3h_f=pl.col("temp_f") - pl.col("temp_f_3h_ago"),
            pressure_change_3h_mb=pl.col("pressure_mb") - pl.col("pressure_mb_3h_ago"),
            wind_change_3h_mph=pl.col("wind_speed_mph") - pl.col("wind_speed_mph_3h_ago"),
            visibility_change_3h_mi=pl.col("visibility_mi") - pl.col("visibility_mi_3h_ago"),
            region_visibility_mi="region_visibility_mi",
            region_wind_speed_mph="region_wind_speed_mph",
            region_precip_in="region_precip_in",
        )
    )
