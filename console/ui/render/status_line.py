"""The notice line: running commands, the last message, and notices."""

from __future__ import annotations

from console.core.model.time import Moment
from console.core.records import Component, field
from console.ui.render.styled_lines import StyledLine, styled_line

MESSAGE_DURATION_S = 45.0
"""How long a message is shown."""


class StatusLine(Component):
    """State of the notice line: running commands, the last message, and notices."""

    running_commands: dict[tuple[str, str], str] = field(default_factory=dict)
    """(verb, role) of a running command -> its progress text."""
    failed_feeds: dict[str, str] = field(default_factory=dict)
    """Feed name -> the reason why it does not run."""
    startup_notices: list[str] = field(default_factory=list)
    last_message: tuple[Moment, StyledLine] | None = None

    def set_message(self, now: Moment, text: str, style: str) -> None:
        """Set the last message, which is shown for MESSAGE_DURATION_S."""
        self.last_message = now, styled_line((f" {text}", style))

    @property
    def running_summary(self) -> str:
        return ", ".join(self.running_commands.values())

    def current_line(
        self, now: Moment, snapshot_notices: tuple[str, ...], banner: StyledLine | None = None
    ) -> StyledLine | None:
        """Return the most urgent line, or None if there is none.

        In order of urgency: running commands, the last message, the banner, notices. The first
        span of the banner, its mark, comes before every other text.
        """
        mark = banner.spans[:1] if banner is not None else ()
        if self.running_commands:
            return StyledLine((*mark, (f" ▲ {self.running_summary} …", "accent")))
        if self.last_message and now.since(self.last_message[0]) < MESSAGE_DURATION_S:
            return StyledLine((*mark, *self.last_message[1].spans))
        if banner is not None:
            return banner
        notices = (*self.failed_feeds.values(), *self.startup_notices, *snapshot_notices)
        if not notices:
            return None
        more = f"  (1 of {len(notices)})" if len(notices) > 1 else ""
        return styled_line((f" ▲ {notices[0]}", "warn"), (more, "muted"))
