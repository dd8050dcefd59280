"""Baseline runs and learnt thresholds as facts and files."""
