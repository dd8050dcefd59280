"""Baseline runs: coverage, evaluation against targets, learnt thresholds."""
