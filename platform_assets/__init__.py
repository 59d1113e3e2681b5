"""Features, training datasets, models, predictions and monitors as Dagster assets in Delta Lake tables."""
