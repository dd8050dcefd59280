"""What a colleague who takes over must know; first, what has happened since anybody looked."""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import tzinfo
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.core.explain.death_chain import Step
from console.core.handover.markdown import MOST_LINES, evidence
from console.core.handover.model import Claim, Condition, Finding, Handover, Job, Metric, Times
from console.core.handover.timeline import Line as Happened
from console.core.model import Moment, Severity
from console.core.text.command_hint import step
from console.core.text.formatting import clock, visible
from console.core.text.time_parsing import DAY_S, ago
from console.ui.dialogs.base import Sheet
from console.ui.render.styled_lines import Line, Look, line

_MARKS = {
    Severity.CRITICAL: ("✖", "bad"),
    Severity.WARNING: ("▲", "warn"),
    Severity.INFO: ("·", "muted"),
}
_MET = {True: ("●", "ok", "met"), False: ("✖", "bad", "not met"), None: ("·", "muted", "not known")}
Item = tuple[str, str, str]
"""Mark, its style, text."""


class HandOver(Sheet[None]):
    """The document of `rpa-console report`, as of the moment that the screen shows."""

    WIDE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,h,enter", "dismiss(None)", show=False),
        Binding("d", "whole_day", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-20)", show=False),
        Binding("pagedown,space", "scroll(20)", show=False),
        Binding("home", "scroll(-100000)", show=False),
        Binding("end", "scroll(100000)", show=False),
    ]

    def __init__(
        self,
        tell: Callable[[Moment], Awaitable[Handover]],
        now: Moment,
        looked: Moment | None,
        look: Look,
    ) -> None:
        super().__init__("Hand-over", look)
        self._tell, self._now = tell, now
        self.looked = looked if looked is not None and looked.at < now.at else None
        self.since = self.looked or ago(DAY_S, now)
        self._told: Handover | None = None
        self._error = ""

    def on_mount(self) -> None:
        self._read()

    def content(self) -> list[Line]:
        """Every section, wrapped to the width."""
        if self._told is None:
            return [line((self._error or "reading the ledger", "bad" if self._error else "muted"))]
        return view(self._told, max(16, self.size.width - 5))

    def draw(self) -> None:
        """Show it, and since when it tells."""
        times, by_look = Times(self._now), self.since == self.looked
        what = "since you last looked" if by_look else "the last day, since"
        self.pane.title = f"Hand-over · {what} {times.ago(self.since)}"
        other = "d the last day   " if by_look else "d since you last looked   "
        self.pane.foot = f"{other if self.looked else ''}↑↓ scroll   Esc close"
        super().draw()

    def action_scroll(self, by: int) -> None:
        self.pane.scroll_by(by)

    def action_whole_day(self) -> None:
        """The last day, or what happened since somebody looked."""
        if self.looked is not None:
            self.since = ago(DAY_S, self._now) if self.since == self.looked else self.looked
            self._read()

    def _read(self) -> None:
        self._told, self._error, self.pane.offset_y = None, "", 0
        self.draw()
        self.run_worker(self._fetch(), exclusive=True, exit_on_error=False)

    async def _fetch(self) -> None:
        try:
            self._told = await self._tell(self.since)
        except Exception as error:
            self._error = f"the ledger cannot be read: {visible(str(error), 300)}"
        self.draw()


def view(told: Handover, width: int, zone: tzinfo | None = None) -> list[Line]:
    """The document in lines of at most `width` cells: what happened right after what is so."""
    lines: list[Line] = []
    for title, items in _sections(told, Times(told.at, zone)):
        lines += [line(), *(line((part, "strong")) for part in textwrap.wrap(title, width))]
        for mark, style, text in list(items) or [("·", "muted", "nothing")]:
            wrapped = textwrap.wrap(visible(text, 2000), width - 2, break_on_hyphens=False) or [""]
            lines.append(line((f"{mark} ", style), wrapped[0]))
            lines += [line("  ", more) for more in wrapped[1:]]
    return lines[1:]


def _sections(told: Handover, times: Times) -> Iterator[tuple[str, Iterable[Item]]]:
    yield "In short", _claims(told.summary)
    yield f"What happened since {times.at(told.since)}", _happened(told.happened, times)
    yield "Findings", map(_finding, sorted(told.findings, key=_order))
    for role, steps in told.causes:
        yield f"Why {visible(role, 40)} last went", (_step(step, times) for step in steps)
    yield "Next", _claims(told.next)
    yield "Not known", _claims(told.unknown)
    yield "Workers", _claims(told.workers)
    yield "Queue", _claims(told.queue)
    yield "Watchdog", _claims(told.watchdog)
    yield "Realtime pipeline", _claims(told.pipeline)
    yield "Baseline", [*_claims(told.baseline), *map(_metric, told.metrics)]
    yield "Conditions", map(_condition, told.conditions)
    yield "Background jobs", map(_job, told.jobs)


def _claims(claims: Iterable[Claim]) -> Iterator[Item]:
    return (("·", "muted", _said(claim)) for claim in claims)


def _said(claim: Claim) -> str:
    return f"{claim.text}{evidence(claim.events, claim.looks)}"


def _happened(lines: tuple[Happened, ...], times: Times) -> Iterator[Item]:
    if len(lines) > MOST_LINES:
        left = len(lines) - MOST_LINES
        yield "·", "muted", f"{left} earlier lines are left out: {step('events')}"
    for one in lines[-MOST_LINES:]:
        when = times.at(one.at)
        if one.until is not None and one.count > 1:
            when += f" to {clock(one.until, times.zone)}"
        often = f", {one.count} times" if one.count > 1 else ""
        yield "·", "muted", f"{when}  {one.text}{often}{evidence(one.events)}"


def _order(finding: Finding) -> int:
    return list(Severity).index(finding.severity)


def _finding(one: Finding) -> Item:
    mark, style = _MARKS[one.severity]
    over, cure = "" if one.stands else " (over)", f" Cure: {one.cure}." if one.cure else ""
    return mark, style, f"{one.severity.value}{over}: {one.title}: {_said(one.claim)}.{cure}"


def _step(step: Step, times: Times) -> Item:
    when = f"{times.at(step.moment)}  " if step.moment else ""
    return "·", "muted", f"{when}{step.part}: {step.text}{evidence(step.events)}"


def _condition(one: Condition) -> Item:
    mark, style, word = _MET[one.met]
    return mark, style, f"{word}: {_said(one.claim)}"


def _metric(one: Metric) -> Item:
    text = f"{one.name} {one.value}, target {one.target}, n {one.n}: {one.verdict}"
    return "·", "muted", f"{text}; {_said(one.note)}" if one.note.text else text


def _job(one: Job) -> Item:
    text = f"{one.name}: {one.state}, every {one.every}, last look {one.last}, next {one.next}"
    return "·", "muted", f"{text}: {_said(one.found)}"
