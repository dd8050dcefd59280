"""Baseline runs: coverage, evaluation against targets, and learnt thresholds."""
