"""Lines of styled text, and how they become a terminal's cells: the last gate before the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from console.core.frozen import frozen
from console.core.model import Identity
from console.core.text.formatting import visible
from console.core.trends import DAY_S, Trends

Span = tuple[str, str]
"""Text and the name of its style."""

_ASCII = str.maketrans(
    dict(
        zip(
            "●▲✖○■◆▸›…·–—→↑↓▓░━─│╭╮╰╯≥≤┃▾╵×▁▂▃▄▅▆▇█",
            "o!x.=*>>~.--" + ">^v#.=-|++++><|v'x_,:-=+*#",
            strict=True,
        )
    )
)


@frozen
class Choice:
    """What the operator has selected: a role, or one instance of it by identity."""

    role: str
    identity: Identity | None = None


@frozen
class Line:
    """One line of a pane."""

    spans: tuple[Span, ...] = ()
    base: str = "text"
    key: Choice | None = None
    """Set on lines that can be selected; they leave their first cell to the cursor."""
    item: bool = False
    """A line of a list: the filter applies to it and counts it."""

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


@frozen
class Frame:
    """What a pane needs to know to draw itself, besides the snapshot."""

    width: int
    height: int
    lost: Choice | None = None
    """The selected instance, if it is no more."""
    trends: Trends | None = None
    span_s: float = DAY_S
    """How much of the day the graphs show."""
    order: str = ""
    """By what the instances of a role are sorted; nothing: as they were found."""

    @property
    def folded(self) -> int:
        """Cells of a folded pane's line beside its name; it has no border."""
        return max(1, self.width - 11)


EDGES = ("border", "focus")
"""What stands around a line, and is no part of it when it is selected."""


@frozen
class Look:
    """Style names to styles, and whether the terminal shows ASCII only."""

    styles: Mapping[str, Style] = field(default_factory=dict)
    ascii: bool = False

    def style(self, base: str, name: str) -> Style:
        """The style called `name` on the ground called `base`."""
        ground = self.styles.get("text" if name in EDGES else base, Style.null())
        if ground.reverse:  # colours turned inside out would be patches nobody can read
            return ground
        return ground + self.styles.get(name, Style.null())


NEAR = 12
"""Cells between two changes that cost less to write again than to jump over."""


def line(
    *parts: str | Span, base: str = "text", key: Choice | None = None, item: bool = False
) -> Line:
    """A line from plain strings and (text, style name) pairs."""
    spans = tuple((part, "") if isinstance(part, str) else part for part in parts)
    return Line(spans, base, key, item)


def chosen(one: Line) -> Line:
    """A line that is selected: with the cursor, and on a ground of its own."""
    (text, style), *rest = one.spans
    return Line(((f"▸{text[1:]}", style), *rest), "select", one.key, one.item)


def fit(text: object, width: int, right: bool = False) -> str:
    """`text`, harmless, in exactly `width` cells; what is cut is marked."""
    clean = visible(str(text), 2000)
    length = cell_len(clean)
    if length > width:
        return set_cell_size(clean, width - 1) + "…" if width > 0 else ""
    return " " * (width - length) + clean if right else clean + " " * (width - length)


def both(left: Line, right: Line, width: int) -> Line:
    """One line with `right` at its end; `left` gives way, with a mark, and goes if it must."""
    room = width - sum(cell_len(visible(text)) for text, _ in right.spans) - 1
    if room < 1:
        return Line(right.spans, left.base)
    return Line((*crop(left, room), (" ", ""), *right.spans), left.base)


def whole(first: Sequence[Span], facts: Sequence[Span], width: int) -> list[Span]:
    """`first`, then the facts that fit whole, most important first; a mark where one did not.

    The first fact is there in any case: nothing would be said without it.
    """
    spans, told = list(first), [fact for fact in facts if fact[0]]
    room = width - sum(cell_len(visible(text)) for text, _ in spans)
    for number, (text, style) in enumerate(told):
        between = " · " if number else ""
        room -= cell_len(between + visible(text))
        if number and room < (2 if number < len(told) - 1 else 0):
            return [*spans, (" …", "muted")]
        spans += [(between, "muted"), (text, style)]
    return spans


def crop(line: Line, width: int, ascii: bool = False) -> list[Span]:
    """The spans of `line` in exactly `width` cells; a mark where something was cut."""
    spans = [(_clean(text, ascii), name) for text, name in line.spans]
    whole = cell_len("".join(text for text, _ in spans).rstrip()) <= width
    room = width if whole else width - 1
    kept: list[Span] = []
    for text, name in spans:
        taken = min(cell_len(text), max(0, room))
        kept.append((set_cell_size(text, taken), name))
        room -= taken
    if not whole and width > 0:
        mark = "~" if ascii else "…"
        kept.append((mark, next((name for text, name in reversed(kept) if text), "")))
    kept.append((" " * max(0, room), ""))
    return kept


def _clean(text: str, ascii: bool) -> str:
    clean = visible(text)
    if not ascii or clean.isascii():
        return clean
    mapped = clean.translate(_ASCII)
    return "".join(char if char.isascii() else "?" * cell_len(char) for char in mapped)


def strip(line: Line, width: int, look: Look) -> Strip:
    """`line` as exactly `width` cells. Every character passes `visible` here, whoever drew it."""
    segments = [
        Segment(text, look.style(line.base, name))
        for text, name in crop(line, width, look.ascii)
        if text
    ]
    return Strip(segments).simplify().adjust_cell_length(width, look.style(line.base, ""))


def changed(old: Strip, new: Strip) -> list[tuple[int, int]]:
    """Where two strips of one width differ: first cell and number of cells of each run."""
    if old == new:
        return []
    before, after = _cells(old), _cells(new)
    if len(before) != len(after):
        return [(0, max(old.cell_length, new.cell_length))]
    runs: list[tuple[int, int]] = []
    for x, (was, now) in enumerate(zip(before, after, strict=True)):
        if was == now or (runs and x < runs[-1][1]):
            continue
        first, last = x, x + 1
        while first > 0 and "" in (before[first][0], after[first][0]):
            first -= 1
        while last < len(after) and "" in (before[last][0], after[last][0]):
            last += 1
        if runs and first - runs[-1][1] < NEAR:
            first = runs.pop()[0]
        runs.append((first, last))
    return [(first, last - first) for first, last in runs]


def _cells(strip: Strip) -> list[tuple[str, Style | None]]:
    """One entry per cell; the second half of a wide character is empty."""
    cells: list[tuple[str, Style | None]] = []
    for segment in strip:
        if segment.text.isascii():  # as most are, and each is one cell wide
            cells.extend((char, segment.style) for char in segment.text)
            continue
        for char in segment.text:
            width = cell_len(char)
            if width == 0 and cells:
                cells[-1] = (cells[-1][0] + char, cells[-1][1])
            else:
                cells.append((char, segment.style))
                cells.extend([("", segment.style)] * (width - 1))
    return cells
