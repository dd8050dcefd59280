"""Schedules the monitors and collects their samples."""
