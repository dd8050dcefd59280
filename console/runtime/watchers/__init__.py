"""Waits for changes of the store, exits of processes and jumps of the clock."""
