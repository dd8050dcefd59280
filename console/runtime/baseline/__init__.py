"""Baseline runs and learned thresholds, as facts of the store and as files."""
