"""A session as one animated SVG: every different row is drawn once, frames are lists of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from html import escape

from rich.cells import cell_len
from rich.color import ColorType
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME
from textual.strip import Strip

from console.core.frozen import frozen, slotted

CELL, ROW, EDGE = 8.4, 17, 14
INK = "#d5dbe5"
FONT = "ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace"


@frozen
class Frame:
    """What the screen showed, and for how many seconds."""

    strips: tuple[Strip, ...]
    seconds: float


@slotted
class Film:
    """Rows and colours, each told once."""

    ground: str
    classes: dict[str, str] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)

    def svg(self, frames: Sequence[Frame]) -> str:
        """The whole picture; without animation, or in print, its first frame."""
        columns = max(strip.cell_length for frame in frames for strip in frame.strips)
        height = max(len(frame.strips) for frame in frames)
        shown = [
            "".join(self._use(strip, y) for y, strip in enumerate(frame.strips)) for frame in frames
        ]
        width, tall = columns * CELL + 2 * EDGE, height * ROW + 2 * EDGE
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {tall:.0f}"'
            ' xml:space="preserve">'
            f"<style>{self._sheet(frames)}</style>"
            f'<rect width="100%" height="100%" rx="8" fill="{self.ground}"/>'
            f'<defs>{"".join(self.rows.values())}</defs><g transform="translate({EDGE} {EDGE})">'
            + "".join(f'<g class="f f{n}">{rows}</g>' for n, rows in enumerate(shown))
            + "</g></svg>\n"
        )

    def _use(self, strip: Strip, y: int) -> str:
        drawn = self._row(strip)
        if not drawn:
            return ""
        name = f"r{len(self.rows)}"
        if drawn not in self.rows:
            self.rows[drawn] = f'<g id="{name}">{drawn}</g>'
        name = self.rows[drawn].split('"', 2)[1]
        return f'<use href="#{name}" y="{y * ROW}"/>'

    def _row(self, strip: Strip) -> str:
        parts, x = [], 0
        for segment in strip.simplify():
            cells = cell_len(segment.text)
            style = segment.style or Style.null()
            ground = _colour(style.color, INK) if style.reverse else self._ground(style)
            if ground != self.ground:
                left, wide = x * CELL, cells * CELL
                path = f"M{left:.1f} 0h{wide:.1f}v{ROW}H{left:.1f}z"
                parts.append(f'<path fill="{ground}" d="{path}"/>')
            text = segment.text.rstrip()
            lead = len(text) - len(text.lstrip())
            if text.strip():
                left, wide = (x + lead) * CELL, cell_len(text.strip()) * CELL
                parts.append(
                    f'<text class="{self._class(style)}" x="{left:.1f}" y="13"'
                    f' textLength="{wide:.1f}">{escape(text.strip(), quote=False)}</text>'
                )
            x += cells
        return "".join(parts)

    def _ground(self, style: Style) -> str:
        return _colour(style.bgcolor, self.ground)

    def _class(self, style: Style) -> str:
        ink = self._ground(style) if style.reverse else _colour(style.color, INK)
        css = f"fill:{ink}" + (";font-weight:bold" if style.bold else "")
        return self.classes.setdefault(css, f"c{len(self.classes)}")

    def _sheet(self, frames: Sequence[Frame]) -> str:
        whole = sum(frame.seconds for frame in frames)
        css = [f"text{{font:14px {FONT};white-space:pre}}"]
        css += [f".{name}{{{rule}}}" for rule, name in self.classes.items()]
        if len(frames) == 1:
            return "".join(css)
        css.append(f".f{{visibility:hidden;animation:{whole:g}s step-end infinite}}")
        css.append(".f0{visibility:visible}")
        begins = 0.0
        for number, frame in enumerate(frames):
            first, last = 100 * begins / whole, 100 * (begins + frame.seconds) / whole
            begins += frame.seconds
            css.append(
                f".f{number}{{animation-name:k{number}}}@keyframes k{number}"
                f"{{0%{{visibility:{'visible' if number == 0 else 'hidden'}}}"
                f"{first:.2f}%{{visibility:visible}}"
                f"{last:.2f}%{{visibility:{'visible' if last >= 100 else 'hidden'}}}}}"
            )
        return "".join(css)


def _colour(colour: object, default: str) -> str:
    from rich.color import Color

    if not isinstance(colour, Color) or colour.type is ColorType.DEFAULT:
        return default
    if colour.number == 0:
        return "#000000"  # the export's own black is a grey
    return colour.get_truecolor(SVG_EXPORT_THEME).hex
