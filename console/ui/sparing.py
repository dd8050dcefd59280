"""Write changed cells only.

Textual sends a changed line from its widget's left edge on; over a slow link that is most of the
traffic. These two classes cut the left side off as well.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor


class SparingUpdate(ChopsUpdate):
    """An update that begins at the first changed cell."""

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal."""
        written = []
        for y, first, last in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= last or end <= first:
                    continue
                left = max(x, first)
                written.append(Control.move_to(left, y).segment.text)
                written.append(strip.crop(left - x, min(end, last) - x).render(console))
        return "".join(written)


class SparingCompositor(Compositor):
    """A compositor whose partial updates are sparing."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """The changed cells, or None."""
        update = super().render_partial_update()
        return update and SparingUpdate(update.chops, update.spans, update.chop_ends)
