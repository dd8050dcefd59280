"""Changes of Textual's own behaviour."""
