"""The terminal user interface. ConsolePorts is its only access to snapshots, logs and commands."""
