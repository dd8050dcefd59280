"""Pure core: no I/O, no clock, no randomness, no third-party package. The caller passes `now`."""
