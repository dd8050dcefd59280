"""A whole small box to run against: queue server, worker, watchdog, pipeline, and their faults."""
