"""Builds the snapshot that all views show."""
