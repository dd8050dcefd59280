"""Generates the screenshots of the README."""
