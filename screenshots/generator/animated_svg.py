"""Renders a session as one animated SVG.

Every distinct row is defined once; a frame is a list of references to rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.cells import cell_len
from rich.color import ColorType
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME
from textual.strip import Strip

from console.core.records import Component, Record, field

CELL_WIDTH_PX, ROW_HEIGHT_PX, MARGIN_PX = 8.4, 17, 14
DEFAULT_FOREGROUND = "#d5dbe5"
FONT = "ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace"


class Frame(Record, frozen=True):
    """One frame: the screen, and how many seconds it is shown."""

    strips: tuple[Strip, ...]
    duration_s: float


class AnimatedSvg(Component):
    """An SVG document under construction: each distinct row and style is defined once."""

    background: str
    css_classes: dict[str, str] = field(default_factory=dict)
    row_definitions: dict[str, str] = field(default_factory=dict)

    def render(self, frames: Sequence[Frame]) -> str:
        """Return the SVG document. Without animation, or in print, it shows the first frame."""
        columns = max(strip.cell_length for frame in frames for strip in frame.strips)
        row_count = max(len(frame.strips) for frame in frames)
        frame_rows = [
            "".join(self._row_reference(strip, y) for y, strip in enumerate(frame.strips))
            for frame in frames
        ]
        width_px, height_px = (
            columns * CELL_WIDTH_PX + 2 * MARGIN_PX,
            row_count * ROW_HEIGHT_PX + 2 * MARGIN_PX,
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width_px:.0f} {height_px:.0f}"'
            ' xml:space="preserve">'
            f"<style>{self._stylesheet(frames)}</style>"
            f'<rect width="100%" height="100%" rx="8" fill="{self.background}"/>'
            f"<defs>{''.join(self.row_definitions.values())}</defs>"
            f'<g transform="translate({MARGIN_PX} {MARGIN_PX})">'
            + "".join(f'<g class="f f{n}">{rows}</g>' for n, rows in enumerate(frame_rows))
            + "</g></svg>\n"
        )

    def _row_reference(self, strip: Strip, y: int) -> str:
        markup = self._row_markup(strip)
        if not markup:
            return ""
        name = f"r{len(self.row_definitions)}"
        if markup not in self.row_definitions:
            self.row_definitions[markup] = f'<g id="{name}">{markup}</g>'
        name = self.row_definitions[markup].split('"', 2)[1]
        return f'<use href="#{name}" y="{y * ROW_HEIGHT_PX}"/>'

    def _row_markup(self, strip: Strip) -> str:
        parts, x = [], 0
        for segment in strip.simplify():
            cells = cell_len(segment.text)
            style = segment.style or Style.null()
            fill = (
                _hex_colour(style.color, DEFAULT_FOREGROUND)
                if style.reverse
                else self._background_of(style)
            )
            if fill != self.background:
                left, wide = x * CELL_WIDTH_PX, cells * CELL_WIDTH_PX
                path = f"M{left:.1f} 0h{wide:.1f}v{ROW_HEIGHT_PX}H{left:.1f}z"
                parts.append(f'<path fill="{fill}" d="{path}"/>')
            text = segment.text.rstrip()
            lead = len(text) - len(text.lstrip())
            if text.strip():
                left, wide = (x + lead) * CELL_WIDTH_PX, cell_len(text.strip()) * CELL_WIDTH_PX
                parts.append(
                    f'<text class="{self._css_class(style)}" x="{left:.1f}" y="13"'
                    f' textLength="{wide:.1f}">{escape(text.strip(), quote=False)}</text>'
                )
            x += cells
        return "".join(parts)

    def _background_of(self, style: Style) -> str:
        return _hex_colour(style.bgcolor, self.background)

    def _css_class(self, style: Style) -> str:
        colour = (
            self._background_of(style)
            if style.reverse
            else _hex_colour(style.color, DEFAULT_FOREGROUND)
        )
        css = f"fill:{colour}" + (";font-weight:bold" if style.bold else "")
        return self.css_classes.setdefault(css, f"c{len(self.css_classes)}")

    def _stylesheet(self, frames: Sequence[Frame]) -> str:
        total_s = sum(frame.duration_s for frame in frames)
        css = [f"text{{font:14px {FONT};white-space:pre}}"]
        css += [f".{name}{{{rule}}}" for rule, name in self.css_classes.items()]
        if len(frames) == 1:
            return "".join(css)
        css.append(f".f{{visibility:hidden;animation:{total_s:g}s step-end infinite}}")
        css.append(".f0{visibility:visible}")
        start_s = 0.0
        for number, frame in enumerate(frames):
            start, end = (
                100 * start_s / total_s,
                100 * (start_s + frame.duration_s) / total_s,
            )
            start_s += frame.duration_s
            css.append(
                f".f{number}{{animation-name:k{number}}}@keyframes k{number}"
                f"{{0%{{visibility:{'visible' if number == 0 else 'hidden'}}}"
                f"{start:.2f}%{{visibility:visible}}"
                f"{end:.2f}%{{visibility:{'visible' if end >= 100 else 'hidden'}}}}}"
            )
        return "".join(css)


def _hex_colour(colour: object, default: str) -> str:
    from rich.color import Color

    if not isinstance(colour, Color) or colour.type is ColorType.DEFAULT:
        return default
    if colour.number == 0:
        return "#000000"  # the black of SVG_EXPORT_THEME is a grey
    return colour.get_truecolor(SVG_EXPORT_THEME).hex
