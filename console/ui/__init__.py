"""The only room that draws. It is handed snapshots and a `submit`, and asks nobody else."""
