"""Text input and output: formatting, escaping, times of day, and values of untrusted JSON."""
