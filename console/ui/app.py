"""The Textual application: receives snapshots from feeds, draws them, and submits commands."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Awaitable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.screen import Screen

from console.core.model.commands import Command, Outcome, Verb
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.records import replace
from console.core.text.command_hint import format_command
from console.core.text.formatting import format_clock, sanitize_text
from console.ui.commands.handlers import HANDLERS
from console.ui.dialogs.confirm import ConfirmDialog
from console.ui.dialogs.confirm_text import Question
from console.ui.keymap import build_command_specs
from console.ui.main_screen import MainScreen
from console.ui.ports import ConsolePorts, Feed, Publish
from console.ui.redraw.render_cache import AgeTracker, is_same_content
from console.ui.redraw.throttle import AGE_REDRAW_DELAY_S, throttle_delay_s, urgent_state
from console.ui.render.status_line import StatusLine
from console.ui.render.styled_lines import LineStyles, StyledLine, styled_line
from console.ui.render.theme import FALLBACK_THEME, load_themes, shipped_themes_path
from console.ui.textual_ext.key_queue import KeyQueueApp
from console.ui.time_travel import TimeTravel

__all__ = ["ConsoleApp", "ConsolePorts", "Feed", "Publish"]

FEED_RETRY_DELAY_S = 5.0
"""Delay from the end of a feed to its restart."""
MAX_REDRAW_INTERVAL_S = 10.0
"""Without a new snapshot the screen is redrawn when an age on it changes, or after this time."""


class ConsoleApp(KeyQueueApp):
    """The console application. It acts on the machine only through `ports.submit`."""

    CSS_PATH: ClassVar[Path] = Path(__file__).with_name("console.tcss")
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    TITLE = "rpa-console"

    def __init__(self, ports: ConsolePorts) -> None:
        self.ports = ports
        self.colourless = bool(os.environ.get("NO_COLOR"))
        super().__init__(ansi_color=True if self.colourless else None)
        self.animation_level = "none"
        self.themes, notices = load_themes((shipped_themes_path(), *ports.theme_directories))
        for theme in self.themes.values():
            self.register_theme(theme.to_textual())
        if ports.theme not in self.themes:
            notices.append(f"there is no theme called {ports.theme}: {FALLBACK_THEME.name} is worn")
        self.theme_name = ports.theme if ports.theme in self.themes else FALLBACK_THEME.name
        self.theme = f"console-{self.theme_name}"
        self.command_specs = build_command_specs(ports.key_overrides, ports.read_only)
        self.main_screen = MainScreen(
            self.line_styles, self.command_specs, ports.read_only, ports.load_trends is not None
        )
        self.latest_snapshot = ports.initial_snapshot
        self.time_travel = TimeTravel(ports, self.show_message, self.redraw, self.redraw_soon)
        self._redraw_timer: asyncio.TimerHandle | None = None
        self.exit_message = ""
        self.crash_report = ""
        self.status_line = StatusLine(startup_notices=notices)
        for entry in build_command_specs(ports.key_overrides):
            for key in (entry.key, *entry.other_keys):
                priority = key.startswith("ctrl+")
                self._bindings.bind(key, f"command('{entry.id}')", show=False, priority=priority)

    @property
    def line_styles(self) -> LineStyles:
        """Return the styles of the current theme."""
        styles = self.themes[self.theme_name].styles(self.colourless)
        return LineStyles(styles, self.ports.ascii)

    def get_default_screen(self) -> Screen[None]:
        """Return the main screen, which is under every dialog."""
        return self.main_screen

    def on_mount(self) -> None:
        self._last_drawn_at = self.ports.clock()
        self._schedule_redraw(MAX_REDRAW_INTERVAL_S)
        self.call_after_refresh(self._start_workers)
        self.redraw()

    def _start_workers(self) -> None:
        """Start the feeds and the graphs' refresh; the initial snapshot is drawn before that."""
        for name, feed in self.ports.feeds.items():
            coroutine = self._run_feed(name, feed)
            self.run_worker(coroutine, name=name, group="monitors", exit_on_error=False)
        self.run_worker(self.time_travel.run_trends_refresh(), group="trends", exit_on_error=False)

    # --- feeds and frames ---------------------------------------------------------------------

    async def _run_feed(self, name: str, feed: Feed) -> None:
        """Run one feed forever; restart it when it ends or raises."""

        def publish(snapshot: Snapshot) -> None:
            had_failed = self.status_line.failed_feeds.pop(name, None) is not None
            if snapshot is not self.latest_snapshot:  # all feeds publish the same whole snapshot
                self.publish(snapshot)
            if had_failed:
                self.redraw_soon()

        while True:
            try:
                await feed(publish)
                reason = "ended"
            except Exception as error:
                reason = f"failed: {str(error) or type(error).__name__}"
            self.status_line.failed_feeds[name] = (
                f"monitor {name} {reason}; again every {FEED_RETRY_DELAY_S:.0f} s"
            )
            self.redraw_soon()
            await asyncio.sleep(FEED_RETRY_DELAY_S)

    def publish(self, snapshot: Snapshot) -> None:
        """Take a snapshot from a feed and draw it at once, soon, or not at all.

        A snapshot with the same content as the one before is not drawn; the ages on the screen
        are redrawn when they change.
        """
        previous, self.latest_snapshot = self.latest_snapshot, snapshot
        if isinstance(self.screen, ConfirmDialog):
            self.screen.recheck(snapshot)
        if previous is not None and is_same_content(snapshot, previous):
            return
        if previous is None or urgent_state(snapshot) != urgent_state(previous):
            self.redraw()
        else:
            self.redraw_soon()

    def redraw_soon(self, warning: str = "") -> None:
        """Redraw, but not earlier than MIN_REDRAW_INTERVAL_S after the last frame.

        During startup redraw at once.

        `warning`: a message for the notice line.
        """
        if warning:
            self.status_line.set_message(self.ports.clock(), warning, "warn")
        delay_s = (
            throttle_delay_s(self._last_drawn_at, self.ports.clock())
            if self.main_screen.settled
            else 0.0
        )
        if delay_s:
            self._schedule_redraw(delay_s)
        else:
            self.redraw()

    def redraw(self) -> None:
        """Draw the current view with the ages of now, and schedule the next redraw."""
        now = AgeTracker.from_moment(self.ports.clock())
        view = self.time_travel.current_view(self.latest_snapshot, now)
        if view is None:
            empty = styled_line((" waiting for the first look at the box …", "muted"))
            self.main_screen.notice_view.set_lines([self._current_notice(now) or empty])
            return
        self.main_screen.trends, self.main_screen.span_s = (
            self.time_travel.trends,
            self.time_travel.span_s,
        )
        self.main_screen.show_snapshot(*view, self._current_notice(now) or styled_line())
        due_s = min(
            MAX_REDRAW_INTERVAL_S,
            min(now.valid_for_s, self.main_screen.valid_for_s(now)) + AGE_REDRAW_DELAY_S,
        )
        self._last_drawn_at = self.ports.clock()
        self._schedule_redraw(due_s)

    def _schedule_redraw(self, delay_s: float) -> None:
        """Redraw after a delay; this replaces the redraw that was scheduled before.

        One timer is enough: every frame draws everything, and a new snapshot is never due later
        than an age.
        """
        if self._redraw_timer is not None:
            self._redraw_timer.cancel()
        # A Textual timer is a task of its own and costs several times as much, at every frame.
        self._redraw_timer = asyncio.get_running_loop().call_later(
            delay_s, self.call_later, self.redraw
        )

    def _current_notice(self, now: Moment) -> StyledLine | None:
        quiet = (
            self.latest_snapshot is None
            or self.main_screen.filter_input.row_filter
            or self.time_travel.past_moment
        )
        notices = () if quiet or self.latest_snapshot is None else self.latest_snapshot.notices
        return self.status_line.current_line(now, notices, self.time_travel.banner())

    def show_message(self, text: str, style: str = "text") -> None:
        """Show a message in the notice line."""
        self.status_line.set_message(self.ports.clock(), text, style)
        self.redraw()

    def refuse(self, reason: str) -> None:
        """Show the reason why a command was not submitted."""
        self.show_message(f"✖ {reason}", "warn")

    # --- commands -------------------------------------------------------------------------------

    def action_command(self, command_id: str) -> None:
        """Run a command of COMMAND_SPECS, or refuse it.

        Commands that change the box are refused in the past, in read-only mode, and before the
        first snapshot. While a dialog is open, only `leave` and `redraw` run.
        """
        if self.screen is not self.main_screen and command_id not in ("leave", "redraw"):
            return
        entry = next(entry for entry in build_command_specs({}) if entry.id == command_id)
        past = self.time_travel.past_moment
        if entry.changes_box and past is not None:
            self.refuse(
                f"this is the past ({format_clock(past)}): {entry.label} was not sent; Esc is now"
            )
        elif entry.changes_box and self.ports.read_only:
            self.refuse(f"read-only: {entry.label} was not sent")
        elif entry.changes_box and self.latest_snapshot is None:
            self.refuse("nothing has been seen yet")
        else:
            now = self.ports.clock()  # a dialog shows the same ages as the panes
            empty = Snapshot("", "", now, Verdict.UNKNOWN)
            HANDLERS[command_id](
                self, replace(self.latest_snapshot, moment=now) if self.latest_snapshot else empty
            )

    def confirm_and_submit(self, question: Question, command: Command, progress_text: str) -> None:
        """Ask the operator, and submit the command if the answer is yes and still valid.

        The answer is invalid if the snapshot has changed in a way that the question depends on.
        """

        def answered(yes: bool | None) -> None:
            if not yes or self.latest_snapshot is None:
                self.show_message("nothing was done")
            elif reason := question.invalid_reason(self.latest_snapshot):
                self.refuse(f"not sent: {reason}")
            else:
                self.submit_in_background(command, progress_text)

        def rehearse() -> Awaitable[Outcome]:
            return self.ports.submit(replace(command, dry_run=True, actor=self.ports.actor))

        if self.latest_snapshot is not None:
            dry_run = rehearse if command.verb in (Verb.RESTART, Verb.KILL) else None
            self.push_screen(
                ConfirmDialog(question, self.latest_snapshot, self.line_styles, dry_run), answered
            )

    def submit_in_background(self, command: Command, progress_text: str) -> None:
        """Submit a command in the background; show its progress text until it has an outcome.

        A second command with the same verb and role is refused while the first runs.
        """
        key = (command.verb.value, command.role)
        if key in self.status_line.running_commands:
            self.refuse(f"still {self.status_line.running_commands[key]}")
            return
        self.status_line.running_commands[key] = progress_text
        coroutine = self._submit(replace(command, actor=self.ports.actor), key)
        self.run_worker(coroutine, group="commands", exit_on_error=False)
        self.redraw()

    async def _submit(self, command: Command, key: tuple[str, str]) -> None:
        try:
            outcome = await self.ports.submit(command)
        except Exception as error:
            outcome = Outcome(False, f"failed: {str(error) or type(error).__name__}", 3)
        finally:
            self.status_line.running_commands.pop(key, None)
        if outcome.done:
            self.show_message(f"● {outcome.message}", "ok")
        else:
            self.show_message(f"✖ {command.verb.value} {outcome.message}", "bad")

    # --- view -----------------------------------------------------------------------------------

    def toggle_freeze(self) -> None:
        """Freeze the shown snapshot, or return to the current one."""
        self.time_travel.toggle_freeze(self.latest_snapshot)

    def move_in_time(
        self, direction: int, offset_s: float = 0.0, target: Moment | None = None
    ) -> None:
        """Show another moment; the last message is removed, because it was about the one before."""
        self.status_line.last_message = None
        self.run_worker(
            self.time_travel.move(direction, offset_s, target), group="travel", exit_on_error=False
        )

    def action_thaw(self) -> None:
        """Return to the current snapshot."""
        if self.time_travel.past_moment is not None:
            self.status_line.last_message = None
        self.time_travel.return_to_now()

    def apply_theme(self, name: str) -> None:
        """Apply a theme."""
        self.theme_name = name
        self.theme = f"console-{name}"
        self.main_screen.apply_styles(self.line_styles)

    # --- the end --------------------------------------------------------------------------------

    async def action_quit(self) -> None:
        """End the console (key: Ctrl-Q)."""
        self.exit_console()

    def action_help_quit(self) -> None:
        """End the console (key: Ctrl-C)."""
        self.exit_console()

    def exit_console(self) -> None:
        """End the console. `terminal.run` prints `exit_message` afterwards."""
        daemon = self.latest_snapshot.daemon if self.latest_snapshot else None
        if daemon is None:
            self.exit_message = ""
        elif daemon.in_this_process:
            self.exit_message = "the monitors ran in this console and end with it"
        elif daemon.running:
            self.exit_message = f"monitoring goes on: daemon PID {daemon.pid}"
        else:
            self.exit_message = f"nobody runs the monitors; `{format_command('daemon start')}` does"
        if self.status_line.running_commands:
            self.exit_message += f"; left while {self.status_line.running_summary}"
        self.exit(0)

    def _fatal_error(self) -> None:
        """Record the last frames of the traceback; Textual would print every local variable."""
        error = self._exception
        if not self.crash_report and error is not None:
            lines = "".join(traceback.format_exception(error, limit=-8)).splitlines()
            self.crash_report = "\n".join(sanitize_text(text, 300) for text in lines)
            self._exit_renderables.append(Text(self.crash_report))
        self._close_messages_no_wait()
