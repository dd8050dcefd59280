"""Explains a verdict, a role or a death as a chain of evidence."""
