"""The Textual application: feeds in, commands out, one frame from one snapshot."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Awaitable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.screen import Screen

from console.core.frozen import replace
from console.core.model import Command, Moment, Outcome, Snapshot, Verb, Verdict
from console.core.text.command_hint import step
from console.core.text.formatting import clock, visible
from console.ui.commands.handlers import DEEDS
from console.ui.dialogs.confirm import Confirm
from console.ui.dialogs.confirm_text import Question
from console.ui.keymap import table
from console.ui.main_screen import Board
from console.ui.ports import Feed, Publish, Wiring
from console.ui.redraw.render_cache import Ticking, alike
from console.ui.redraw.throttle import AGES_S, rest_s, weighty
from console.ui.render.status_line import News
from console.ui.render.styled_lines import Line, Look, line
from console.ui.render.theme import FALLBACK, load_all, shipped_themes
from console.ui.textual_ext.key_queue import TypeaheadApp
from console.ui.time_travel import Travel

__all__ = ["ConsoleApp", "Feed", "Publish", "Wiring"]

RETRY_S = 5.0
"""From a feed's end to its next start."""
LONGEST_S = 10.0
"""Without news the screen is drawn again when an age on it changes, or after so long."""


class ConsoleApp(TypeaheadApp):
    """The console. It shows, asks and submits; it never touches the machine."""

    CSS_PATH: ClassVar[Path] = Path(__file__).with_name("console.tcss")
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    TITLE = "rpa-console"

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.colourless = bool(os.environ.get("NO_COLOR"))
        super().__init__(ansi_color=True if self.colourless else None)
        self.animation_level = "none"
        self.themes, broken = load_all((shipped_themes(), *wiring.theme_directories))
        for theme in self.themes.values():
            self.register_theme(theme.textual())
        if wiring.theme not in self.themes:
            broken.append(f"there is no theme called {wiring.theme}: {FALLBACK.name} is worn")
        self.theme_name = wiring.theme if wiring.theme in self.themes else FALLBACK.name
        self.theme = f"console-{self.theme_name}"
        self.entries = table(wiring.keys, wiring.read_only)
        self.board = Board(self.look, self.entries, wiring.read_only, wiring.trends is not None)
        self.latest = wiring.first
        self.travel = Travel(wiring, self.say, self.redraw, self.tell)
        self._next: asyncio.TimerHandle | None = None
        self.farewell = ""
        self.crash = ""
        self.news = News(standing=broken)
        for entry in table(wiring.keys):
            for key in (entry.key, *entry.other_keys):
                urgent = key.startswith("ctrl+")
                self._bindings.bind(key, f"command('{entry.id}')", show=False, priority=urgent)

    @property
    def look(self) -> Look:
        """The worn theme's styles."""
        styles = self.themes[self.theme_name].styles(self.colourless)
        return Look(styles, self.wiring.ascii)

    def get_default_screen(self) -> Screen[None]:
        """The board is what everything else is laid over."""
        return self.board

    def on_mount(self) -> None:
        self._drawn = self.wiring.clock()
        self._redraw_in(LONGEST_S)
        self.call_after_refresh(self._begin)
        self.redraw()

    def _begin(self) -> None:
        """What has been told already is on the screen before more is asked for."""
        for name, feed in self.wiring.feeds.items():
            work = self._follow(name, feed)
            self.run_worker(work, name=name, group="monitors", exit_on_error=False)
        self.run_worker(self.travel.keep_trends(), group="trends", exit_on_error=False)

    # --- feeds and frames ---------------------------------------------------------------------

    async def _follow(self, name: str, feed: Feed) -> None:
        """Keep one feed going: whatever ends it, it is started again."""

        def publish(snapshot: Snapshot) -> None:
            again = self.news.failed.pop(name, None) is not None
            if snapshot is not self.latest:  # every feed brings the same whole
                self.publish(snapshot)
            if again:
                self.tell()

        while True:
            try:
                await feed(publish)
                reason = "ended"
            except Exception as error:
                reason = f"failed: {str(error) or type(error).__name__}"
            self.news.failed[name] = f"monitor {name} {reason}; again every {RETRY_S:.0f} s"
            self.tell()
            await asyncio.sleep(RETRY_S)

    def publish(self, snapshot: Snapshot) -> None:
        """News from a feed; what tells the same as before is drawn when an age on it changes."""
        known, self.latest = self.latest, snapshot
        if isinstance(self.screen, Confirm):
            self.screen.recheck(snapshot)
        if known is not None and alike(snapshot, known):
            return
        if known is None or weighty(snapshot) != weighty(known):
            self.redraw()
        else:
            self.tell()

    def tell(self, words: str = "") -> None:
        """News that nobody asked for: it rests until a second after a frame, the newest wins.

        `words`: what is to be said of it.
        """
        if words:
            self.news.say(self.wiring.clock(), words, "warn")
        rest = rest_s(self._drawn, self.wiring.clock()) if self.board.settled else 0.0
        if rest:
            self._redraw_in(rest)
        else:
            self.redraw()

    def redraw(self) -> None:
        """Show what is known, with the ages of this moment, and again when one of them changes."""
        now = Ticking.at_the(self.wiring.clock())
        scene = self.travel.scene(self.latest, now)
        if scene is None:
            empty = line((" waiting for the first look at the box …", "muted"))
            self.board.notice.present([self._line(now) or empty])
            return
        self.board.trends, self.board.span_s = self.travel.trends, self.travel.span
        self.board.show(*scene, self._line(now) or line())
        due_s = min(LONGEST_S, min(now.steady_s, self.board.steady_s(now)) + AGES_S)
        self._drawn = self.wiring.clock()
        self._redraw_in(due_s)

    def _redraw_in(self, seconds: float) -> None:
        """One timer: every frame shows all that is known, and no age is due before news is."""
        if self._next is not None:
            self._next.cancel()
        # A timer of Textual's is a task of its own: several times the cost, at every frame.
        self._next = asyncio.get_running_loop().call_later(seconds, self.call_later, self.redraw)

    def _line(self, now: Moment) -> Line | None:
        quiet = self.latest is None or self.board.prompt.sift or self.travel.away
        seen = () if quiet or self.latest is None else self.latest.notices
        return self.news.line(now, seen, self.travel.banner())

    def say(self, text: str, style: str = "text") -> None:
        """One line of news."""
        self.news.say(self.wiring.clock(), text, style)
        self.redraw()

    def refuse(self, reason: str) -> None:
        """Nothing was submitted, and why."""
        self.say(f"✖ {reason}", "warn")

    # --- commands -------------------------------------------------------------------------------

    def action_command(self, id: str) -> None:
        """Carry out a command of the table."""
        if self.screen is not self.board and id not in ("leave", "redraw"):
            return
        entry = next(entry for entry in table({}) if entry.id == id)
        away = self.travel.away
        if entry.changes and away is not None:
            self.refuse(f"this is the past ({clock(away)}): {entry.label} was not sent; Esc is now")
        elif entry.changes and self.wiring.read_only:
            self.refuse(f"read-only: {entry.label} was not sent")
        elif entry.changes and self.latest is None:
            self.refuse("nothing has been seen yet")
        else:
            now = self.wiring.clock()  # a dialog tells the ages that the panes tell
            nothing = Snapshot("", "", now, Verdict.UNKNOWN)
            DEEDS[id](self, replace(self.latest, moment=now) if self.latest else nothing)

    def ask(self, question: Question, command: Command, doing: str) -> None:
        """Submit only after a yes to a question that still stands."""

        def answered(yes: bool | None) -> None:
            if not yes or self.latest is None:
                self.say("nothing was done")
            elif reason := question.still(self.latest):
                self.refuse(f"not sent: {reason}")
            else:
                self.order(command, doing)

        def rehearse() -> Awaitable[Outcome]:
            return self.wiring.submit(replace(command, dry_run=True, actor=self.wiring.actor))

        if self.latest is not None:
            ends = rehearse if command.verb in (Verb.RESTART, Verb.KILL) else None
            self.push_screen(Confirm(question, self.latest, self.look, ends), answered)

    def order(self, command: Command, doing: str) -> None:
        """Submit a command in the background; its state shows until the outcome is there."""
        key = (command.verb.value, command.role)
        if key in self.news.busy:
            self.refuse(f"still {self.news.busy[key]}")
            return
        self.news.busy[key] = doing
        work = self._carry_out(replace(command, actor=self.wiring.actor), key)
        self.run_worker(work, group="commands", exit_on_error=False)
        self.redraw()

    async def _carry_out(self, command: Command, key: tuple[str, str]) -> None:
        try:
            outcome = await self.wiring.submit(command)
        except Exception as error:
            outcome = Outcome(False, f"failed: {str(error) or type(error).__name__}", 3)
        finally:
            self.news.busy.pop(key, None)
        if outcome.done:
            self.say(f"● {outcome.message}", "ok")
        else:
            self.say(f"✖ {command.verb.value} {outcome.message}", "bad")

    # --- view -----------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Hold the picture still, or let it go on."""
        self.travel.freeze(self.latest)

    def go(self, way: int, seconds: float = 0.0, to: Moment | None = None) -> None:
        """Look at another moment; what was said of the one before is no longer true."""
        self.news.last = None
        self.run_worker(self.travel.go(way, seconds, to), group="travel", exit_on_error=False)

    def action_thaw(self) -> None:
        """Back to now."""
        if self.travel.away is not None:
            self.news.last = None
        self.travel.home()

    def wear(self, name: str) -> None:
        """Put on a theme."""
        self.theme_name = name
        self.theme = f"console-{name}"
        self.board.dress(self.look)

    # --- the end --------------------------------------------------------------------------------

    async def action_quit(self) -> None:
        """Ctrl-Q."""
        self.leave()

    def action_help_quit(self) -> None:
        """Ctrl-C."""
        self.leave()

    def leave(self) -> None:
        """End the console; what it says afterwards is told by `terminal.run`."""
        daemon = self.latest.daemon if self.latest else None
        if daemon is None:
            self.farewell = ""
        elif daemon.here:
            self.farewell = "the monitors ran in this console and end with it"
        elif daemon.running:
            self.farewell = f"monitoring goes on: daemon PID {daemon.pid}"
        else:
            self.farewell = f"nobody runs the monitors; `{step('daemon start')}` does"
        if self.news.busy:
            self.farewell += f"; left while {self.news.under_way}"
        self.exit(0)

    def _fatal_error(self) -> None:
        """Textual would print every local variable: keep the frames' names only."""
        error = self._exception
        if not self.crash and error is not None:
            lines = "".join(traceback.format_exception(error, limit=-8)).splitlines()
            self.crash = "\n".join(visible(text, 300) for text in lines)
            self._exit_renderables.append(Text(self.crash))
        self._close_messages_no_wait()
