"""File access inside and outside the state directory."""
