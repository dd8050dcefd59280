"""Kernel locks: of commands, of starts and of a worker's life."""
