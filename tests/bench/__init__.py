"""Benchmarks of the console's costs beside those of comparable programs: `make bench`."""
