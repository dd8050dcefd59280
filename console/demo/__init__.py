"""A complete small box: queue server, worker, watchdog, pipeline, and faults to inject."""
