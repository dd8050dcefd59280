"""Reads the process table and the worker records of a user."""
