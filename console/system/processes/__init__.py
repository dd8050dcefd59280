"""Reads the process table, and the records of a user's workers."""
