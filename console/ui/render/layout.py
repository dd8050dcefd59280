"""Computes the place of each pane; pure functions, so that every screen size can be tested."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.records import Record

TWO_COLUMNS_MIN_CELLS = 100
"""Minimum width for two columns of panes, with the panes of the slot `bottom` under both."""
SLOTS = ("left", "right", "bottom")
FIRST_PANE_MAX_LINES = 12
"""Maximum number of lines that the first pane gets before any other pane is unfolded."""
RIGHT_COLUMN_CELLS = 46
"""Minimum width of the right column: the queue's figures and the baseline's meters fit whole."""
FIRST_PANE_MIN_ROWS = 4
"""Rows that the first pane keeps while another one is focused: two lines and the border."""


class PaneRequest(Record, frozen=True):
    """The minimum and the wished number of lines of a pane, without its border."""

    name: str
    slot: str
    least: int
    wished: int


class PaneRegion(Record, frozen=True):
    """A pane's rectangle in cells. A pane that is one row high is folded."""

    x: int
    y: int
    width: int
    height: int


def header_height(height: int, has_graphs: bool) -> int:
    """Return the number of header lines.

    With growing height these are the verdict, the host, the vitals and the strip of the last day.
    """
    if height <= 2:
        return min(1, height)
    return 2 if height < 20 else 3 if height < 30 or not has_graphs else 4


def arrange_panes(
    requests: Sequence[PaneRequest], width: int, height: int, focused: str = ""
) -> dict[str, PaneRegion]:
    """Return the regions of the panes in an area of `width` by `height` cells.

    A pane that does not fit is not in the result.
    """
    if width < TWO_COLUMNS_MIN_CELLS:
        return _stack_panes(requests, 0, width, height, focused)
    left = min(width * 6 // 10, width - RIGHT_COLUMN_CELLS)
    slots = {slot: [request for request in requests if request.slot == slot] for slot in SLOTS}
    bottom_height = _bottom_height(slots, height, focused)
    column_height = height - bottom_height
    return (
        _stack_panes(slots["left"], 0, left, column_height, focused)
        | _stack_panes(slots["right"], left, width - left, column_height, focused)
        | _stack_panes(slots["bottom"], 0, width, bottom_height, focused, column_height)
    )


def _bottom_height(
    requests_by_slot: dict[str, list[PaneRequest]], height: int, focused: str
) -> int:
    """Return the rows for the panes under both columns.

    These get the rows that the columns leave beyond their minimum. If that is less than the panes'
    own minimum, they get one row each; if one of them is focused, up to half of the height.
    """
    bottom = requests_by_slot["bottom"]
    if not bottom or height <= len(bottom):
        return 0
    columns = requests_by_slot["left"], requests_by_slot["right"]
    wished = max(sum(request.wished + 2 for request in column) for column in columns)
    needed = max(sum(request.least + 2 for request in column) for column in columns)
    least = sum(request.least + 2 for request in bottom)
    if height - needed >= least:
        return max(least, height - wished, height // 5)
    return (
        min(least, height // 2) if focused in [request.name for request in bottom] else len(bottom)
    )


def _stack_panes(
    requests: Sequence[PaneRequest], x: int, width: int, height: int, focused: str, y: int = 0
) -> dict[str, PaneRegion]:
    """Return the regions of the panes of one column, from row `y` on.

    All panes are folded first, then unfolded in the order of importance. The last unfolded pane
    gets the rest of the rows. If not all panes fit even folded, the first ones and the focused one
    are shown.
    """
    shown = list(requests[: max(0, height)])
    if focused and focused not in [request.name for request in shown] and shown:
        shown[-1:] = [request for request in requests if request.name == focused] or shown[-1:]
    rows = {request.name: 1 for request in shown}
    spare = height - len(shown)
    order = sorted(shown, key=lambda request: request.name != focused)
    chosen = [request for request in order[:1] if request.name == focused]
    order = shown[:1] + [request for request in order if request is not shown[0]] if shown else []
    # The focused pane gets its minimum, while the first pane keeps two lines. Then the first pane
    # gets its wish, up to FIRST_PANE_MAX_LINES, before any other pane is unfolded.
    for goal, group, kept, most in (
        ("least", chosen, 0 if chosen == order[:1] else FIRST_PANE_MIN_ROWS - 1, height),
        ("wished", order[:1], 0, FIRST_PANE_MAX_LINES),
        ("least", order, 0, height),
        ("wished", order, 0, height),
    ):
        for request in group:
            more = min(min(getattr(request, goal), most) + 2 - rows[request.name], spare - kept)
            # A single line inside a border shows no more than the one row of a folded pane.
            if more > 0 and rows[request.name] + more >= min(4, request.least + 2):
                rows[request.name] += more
                spare -= more
    if shown and spare > 0:
        unfolded = [request.name for request in shown if rows[request.name] > 1]
        rows[unfolded[-1] if unfolded else shown[0].name] += spare
    regions = {}
    for request in shown:
        regions[request.name] = PaneRegion(x, y, width, rows[request.name])
        y += rows[request.name]
    return regions
