"""Styled lines and their conversion to terminal cells, which sanitizes every character."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from console.core.model.processes import Identity
from console.core.records import Record, field
from console.core.text.formatting import sanitize_text
from console.core.trends import DAY_S, Trends

Span = tuple[str, str]
"""Text and the name of its style."""

_ASCII_FALLBACKS = str.maketrans(
    dict(
        zip(
            "●▲✖○■◆▸›…·–—→↑↓▓░━─│╭╮╰╯≥≤┃▾╵×▁▂▃▄▅▆▇█",
            "o!x.=*>>~.--" + ">^v#.=-|++++><|v'x_,:-=+*#",
            strict=True,
        )
    )
)


class Selection(Record, frozen=True):
    """The operator's selection: a role, or one instance of it by identity."""

    role: str
    identity: Identity | None = None


class StyledLine(Record, frozen=True):
    """One line of text as spans of (text, style name)."""

    spans: tuple[Span, ...] = ()
    base_style: str = "text"
    row_key: Selection | None = None
    """Set on lines that can be selected; the cursor is drawn in their first cell."""
    is_item: bool = False
    """The line belongs to a list: the filter applies to it and counts it."""

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


class PaneContext(Record, frozen=True):
    """The input of a pane's rendering besides the snapshot."""

    width: int
    height: int
    lost_selection: Selection | None = None
    """The selected instance, if it has ended."""
    trends: Trends | None = None
    span_s: float = DAY_S
    """Time span of the graphs, in seconds."""
    sort_order: str = ""
    """Sort order of a role's instances; "": the order of the snapshot."""

    @property
    def summary_width(self) -> int:
        """Return the cells for the summary of a folded pane, beside its name; it has no border."""
        return max(1, self.width - 11)


BORDER_STYLES = ("border", "focus")
"""Styles of the border, which keeps its background when its line is selected."""


class LineStyles(Record, frozen=True):
    """A mapping of style names to styles, and whether the terminal shows ASCII only."""

    styles: Mapping[str, Style] = field(default_factory=dict)
    ascii_only: bool = False

    def resolve_style(self, base_style: str, name: str) -> Style:
        """Return the style `name` on the background of the style `base_style`."""
        base = self.styles.get("text" if name in BORDER_STYLES else base_style, Style.null())
        if base.reverse:  # reversed colours of single spans would be unreadable
            return base
        return base + self.styles.get(name, Style.null())


MAX_MERGED_GAP_CELLS = 12
"""Two changes with fewer cells between them are sent as one: a cursor movement costs more bytes."""


def styled_line(
    *parts: str | Span,
    base_style: str = "text",
    row_key: Selection | None = None,
    is_item: bool = False,
) -> StyledLine:
    """Return a StyledLine of plain strings and (text, style name) pairs."""
    spans = tuple((part, "") if isinstance(part, str) else part for part in parts)
    return StyledLine(spans, base_style, row_key, is_item)


def highlight_line(line: StyledLine) -> StyledLine:
    """Return the line with the cursor and with the background of the selection."""
    (text, style), *rest = line.spans
    return StyledLine(((f"▸{text[1:]}", style), *rest), "select", line.row_key, line.is_item)


def pad_text(text: object, width: int, align_right: bool = False) -> str:
    """Return `text` sanitized, in exactly `width` cells; cut text ends with an ellipsis."""
    clean = sanitize_text(str(text), 2000)
    length = cell_len(clean)
    if length > width:
        return set_cell_size(clean, width - 1) + "…" if width > 0 else ""
    return " " * (width - length) + clean if align_right else clean + " " * (width - length)


def join_justified(left: StyledLine, right: StyledLine, width: int) -> StyledLine:
    """Return one line with `right` at its end.

    `left` is cut, with a mark, if both do not fit, and omitted if no cell remains for it.
    """
    room = width - sum(cell_len(sanitize_text(text)) for text, _ in right.spans) - 1
    if room < 1:
        return StyledLine(right.spans, left.base_style)
    return StyledLine((*truncate_line(left, room), (" ", ""), *right.spans), left.base_style)


def fit_facts(prefix: Sequence[Span], facts: Sequence[Span], width: int) -> list[Span]:
    """Return `prefix` and the facts that fit whole, most important first.

    If a fact does not fit, an ellipsis ends the line. Empty facts are skipped. The first fact is
    included even if it does not fit.
    """
    spans, present = list(prefix), [fact for fact in facts if fact[0]]
    room = width - sum(cell_len(sanitize_text(text)) for text, _ in spans)
    for number, (text, style) in enumerate(present):
        between = " · " if number else ""
        room -= cell_len(between + sanitize_text(text))
        if number and room < (2 if number < len(present) - 1 else 0):
            return [*spans, (" …", "muted")]
        spans += [(between, "muted"), (text, style)]
    return spans


def truncate_line(line: StyledLine, width: int, ascii_only: bool = False) -> list[Span]:
    """Return the spans of `line` in exactly `width` cells; cut text ends with a mark."""
    spans = [(_sanitize(text, ascii_only), name) for text, name in line.spans]
    fits = cell_len("".join(text for text, _ in spans).rstrip()) <= width
    room = width if fits else width - 1
    kept: list[Span] = []
    for text, name in spans:
        taken = min(cell_len(text), max(0, room))
        kept.append((set_cell_size(text, taken), name))
        room -= taken
    if not fits and width > 0:
        mark = "~" if ascii_only else "…"
        kept.append((mark, next((name for text, name in reversed(kept) if text), "")))
    kept.append((" " * max(0, room), ""))
    return kept


def _sanitize(text: str, ascii_only: bool) -> str:
    clean = sanitize_text(text)
    if not ascii_only or clean.isascii():
        return clean
    mapped = clean.translate(_ASCII_FALLBACKS)
    return "".join(char if char.isascii() else "?" * cell_len(char) for char in mapped)


def render_strip(line: StyledLine, width: int, line_styles: LineStyles) -> Strip:
    """Return `line` as exactly `width` cells. Every character passes `sanitize_text` here."""
    segments = [
        Segment(text, line_styles.resolve_style(line.base_style, name))
        for text, name in truncate_line(line, width, line_styles.ascii_only)
        if text
    ]
    return (
        Strip(segments)
        .simplify()
        .adjust_cell_length(width, line_styles.resolve_style(line.base_style, ""))
    )


def diff_strips(old: Strip, new: Strip) -> list[tuple[int, int]]:
    """Return the runs of cells in which two strips of equal width differ.

    Each run is (first cell, number of cells). A run contains both cells of a wide character.
    """
    if old == new:
        return []
    before, after = _split_cells(old), _split_cells(new)
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
        if runs and first - runs[-1][1] < MAX_MERGED_GAP_CELLS:
            first = runs.pop()[0]
        runs.append((first, last))
    return [(first, last - first) for first, last in runs]


def _split_cells(strip: Strip) -> list[tuple[str, Style | None]]:
    """Return one (text, style) entry per cell; the second cell of a wide character is empty."""
    cells: list[tuple[str, Style | None]] = []
    for segment in strip:
        if segment.text.isascii():  # the common case: each character is one cell wide
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
