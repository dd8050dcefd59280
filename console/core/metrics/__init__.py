"""Figures derived from samples: rates, rollups, outcomes of tasks, stalls."""
