"""The pure core: no I/O, no clock, no randomness, no third party; `now` is an argument."""
