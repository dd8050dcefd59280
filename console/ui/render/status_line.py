"""The notice line: what is under way, what came of it, what is amiss."""

from __future__ import annotations

from dataclasses import field

from console.core.frozen import slotted
from console.core.model import Moment
from console.ui.render.styled_lines import Line, line

NOTICE_S = 45.0
"""How long an outcome stays."""


@slotted
class News:
    """What there is to say, most urgent first."""

    busy: dict[tuple[str, str], str] = field(default_factory=dict)
    """Verb and role of a command -> what it is doing."""
    failed: dict[str, str] = field(default_factory=dict)
    """Feed -> why it is not running."""
    standing: list[str] = field(default_factory=list)
    last: tuple[Moment, Line] | None = None

    def say(self, now: Moment, text: str, style: str) -> None:
        """An outcome."""
        self.last = now, line((f" {text}", style))

    @property
    def under_way(self) -> str:
        return ", ".join(self.busy.values())

    def line(self, now: Moment, seen: tuple[str, ...], banner: Line | None = None) -> Line | None:
        """One line; `seen` are the snapshot's own notices, a banner comes before them.

        Whatever is said, the banner's mark stands before it.
        """
        mark = banner.spans[:1] if banner is not None else ()
        if self.busy:
            return Line((*mark, (f" ▲ {self.under_way} …", "accent")))
        if self.last and now.since(self.last[0]) < NOTICE_S:
            return Line((*mark, *self.last[1].spans))
        if banner is not None:
            return banner
        notices = (*self.failed.values(), *self.standing, *seen)
        if not notices:
            return None
        more = f"  (1 of {len(notices)})" if len(notices) > 1 else ""
        return line((f" ▲ {notices[0]}", "warn"), (more, "muted"))
