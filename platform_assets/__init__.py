"""Features, training datasets, models, predictions and monitors as Dagster assets in Delta Lake tables."""

import os

# OpenMP's threads spin while they wait, and two trainings on one machine then take each other's cores: beside other work
# one took 281 s so, and 84 s with threads that sleep. OpenMP reads this when it is loaded, so it has to stand here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
