"""Everything the flights project declares."""

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.defs.flights.features.history import carrier_today, flight_number_history, route_history
from platform_assets.defs.flights.features.rotation import aircraft_rotation
from platform_assets.defs.flights.features.traffic import destination_traffic, origin_carrier_traffic, origin_traffic
from platform_assets.defs.flights.features.weather import origin_weather
from platform_assets.defs.flights.outcome import flight_outcome
from platform_assets.defs.flights.sources import SOURCES
from platform_assets.defs.flights.view import (
    flights_asked,
    late_arrival_backtest,
    late_arrival_drift,
    late_arrival_model,
    late_arrival_outcomes,
    late_arrival_performance,
    late_arrival_prediction_drift,
    late_arrival_predictions,
    late_arrival_promotion,
    late_arrival_retraining,
    late_arrivals,
)

CATALOGUE = Catalogue(
    name="flights",
    declarations=[
        *SOURCES,
        origin_traffic,
        origin_carrier_traffic,
        destination_traffic,
        carrier_today,
        aircraft_rotation,
        flight_number_history,
        route_history,
        origin_weather,
        flight_outcome,
        flights_asked,
        late_arrivals,
        late_arrival_model,
        late_arrival_backtest,
        late_arrival_promotion,
        late_arrival_predictions,
        late_arrival_outcomes,
        late_arrival_drift,
        late_arrival_prediction_drift,
        late_arrival_performance,
        late_arrival_retraining,
    ],
)
