"""The shim: the small process that starts a worker and holds its life lock."""
