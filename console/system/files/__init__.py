"""Reads and writes files, in and outside the state directory."""
