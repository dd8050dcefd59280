"""Metrics derived from samples: rates, rollups, task outcomes, stalls."""
