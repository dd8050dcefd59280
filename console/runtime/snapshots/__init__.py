"""Reads the store and composes snapshots of now or of an earlier moment."""
