"""The hand-over document: timeline, findings, and its formats."""
