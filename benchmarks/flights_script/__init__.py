"""The flights without the platform: what a data scientist would write with Polars, Feast, LightGBM, MLflow and Evidently.

A sequence of steps, each a function that reads files and writes files, as a scheduler would call them. The features are
the platform's by definition and so is their arithmetic; what differs is what stands around it. It imports nothing of the
platform.
"""
