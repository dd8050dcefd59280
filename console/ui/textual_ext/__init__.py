"""Changes to Textual's behaviour: minimal updates, blocking input, one key at a time."""
