"""Kernel locks: command lock, start lock and life lock."""
