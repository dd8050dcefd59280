"""Event loop of the console and the daemon: monitors, supervisor, maintenance and commands.

The package imports `console.core`, `console.monitors` and `console.system`. It imports neither the
command line nor the screen: they are passed its objects.
"""
