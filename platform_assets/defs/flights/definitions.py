"""The flights project as a Dagster code location."""

import dagster as dg

from platform_assets.defs.flights.catalogue import CATALOGUE
from platform_assets.orchestration.definitions import build_definitions


@dg.definitions
def flights() -> dg.Definitions:
    """A year of flights out of New York, from landed files to predictions."""
    return build_definitions(CATALOGUE)
