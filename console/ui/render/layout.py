"""Which pane stands where: pure arithmetic, so that every size can be tried."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.frozen import frozen

TWO_COLUMNS = 100
"""From this width on, panes stand in two columns, and what is long to read under both."""
SLOTS = ("left", "right", "bottom")
MOST = 12
"""Lines that the first pane gets before any other is unfolded."""
RIGHT = 46
"""Cells of the right column: the queue's figures and the baseline's meters fit in whole."""
FIRST = 4
"""Rows of the first pane while another one is looked at."""


@frozen
class Wish:
    """What a pane would like: lines inside its border."""

    name: str
    slot: str
    least: int
    wished: int


@frozen
class Place:
    """A rectangle in cells. One row high: folded."""

    x: int
    y: int
    width: int
    height: int


def tops(height: int, graphs: bool) -> int:
    """Lines of the header: the verdict first, then where, then what lives, then the last day."""
    if height <= 2:
        return min(1, height)
    return 2 if height < 20 else 3 if height < 30 or not graphs else 4


def arrange(wishes: Sequence[Wish], width: int, height: int, focused: str = "") -> dict[str, Place]:
    """Places in an area of `width` by `height`. A pane that found no room is left out."""
    if width < TWO_COLUMNS:
        return _column(wishes, 0, width, height, focused)
    left = min(width * 6 // 10, width - RIGHT)
    slots = {slot: [one for one in wishes if one.slot == slot] for slot in SLOTS}
    below = _below(slots, height, focused)
    high = height - below
    return (
        _column(slots["left"], 0, left, high, focused)
        | _column(slots["right"], left, width - left, high, focused)
        | _column(slots["bottom"], 0, width, below, focused, high)
    )


def _below(slots: dict[str, list[Wish]], height: int, focused: str) -> int:
    """Rows for what stands under both columns: what these leave; one if that is no pane's worth."""
    bottom = slots["bottom"]
    if not bottom or height <= len(bottom):
        return 0
    columns = slots["left"], slots["right"]
    wished = max(sum(one.wished + 2 for one in column) for column in columns)
    needed = max(sum(one.least + 2 for one in column) for column in columns)
    least = sum(one.least + 2 for one in bottom)
    if height - needed >= least:
        return max(least, height - wished, height // 5)
    return min(least, height // 2) if focused in [one.name for one in bottom] else len(bottom)


def _column(
    wishes: Sequence[Wish], x: int, width: int, height: int, focused: str, y: int = 0
) -> dict[str, Place]:
    """Fold all, then unfold by importance, then give what is left to the last."""
    shown = list(wishes[: max(0, height)])
    if focused and focused not in [wish.name for wish in shown] and shown:
        shown[-1:] = [wish for wish in wishes if wish.name == focused] or shown[-1:]
    rows = {wish.name: 1 for wish in shown}
    spare = height - len(shown)
    order = sorted(shown, key=lambda wish: wish.name != focused)
    chosen = [wish for wish in order[:1] if wish.name == focused]
    order = shown[:1] + [wish for wish in order if wish is not shown[0]] if shown else []
    # What is looked at shows its least, and of the first pane two lines stay. That one gets all it
    # wishes before any other is unfolded.
    for goal, some, kept, most in (
        ("least", chosen, 0 if chosen == order[:1] else FIRST - 1, height),
        ("wished", order[:1], 0, MOST),
        ("least", order, 0, height),
        ("wished", order, 0, height),
    ):
        for wish in some:
            more = min(min(getattr(wish, goal), most) + 2 - rows[wish.name], spare - kept)
            # A border around a single line says less than that line alone.
            if more > 0 and rows[wish.name] + more >= min(4, wish.least + 2):
                rows[wish.name] += more
                spare -= more
    if shown and spare > 0:
        unfolded = [wish.name for wish in shown if rows[wish.name] > 1]
        rows[unfolded[-1] if unfolded else shown[0].name] += spare
    places = {}
    for wish in shown:
        places[wish.name] = Place(x, y, width, rows[wish.name])
        y += rows[wish.name]
    return places
