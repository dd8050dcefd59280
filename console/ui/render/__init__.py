"""Rendering without widgets: styled lines, graphs, themes, header and footer."""
