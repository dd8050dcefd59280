"""Builds the snapshot that every view shows."""
