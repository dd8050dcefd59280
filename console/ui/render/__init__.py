"""Styled lines, graphs, themes and the header; no widget."""
