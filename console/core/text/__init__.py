"""Text in and out: formats, escapes, times of day, values of untrusted JSON."""
