"""Dialog with the hand-over document, with the events since the console was last viewed."""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import tzinfo
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.core.explain.death_chain import ExplanationStep
from console.core.handover.markdown import MAX_TIMELINE_ENTRIES, format_evidence
from console.core.handover.model import (
    BackgroundJob,
    BaselineMetric,
    Claim,
    Condition,
    Handover,
    HandoverFinding,
    TimeFormatter,
)
from console.core.handover.timeline import TimelineEntry
from console.core.model.time import Moment
from console.core.model.views import Severity
from console.core.text.command_hint import format_command
from console.core.text.formatting import format_clock, sanitize_text
from console.core.text.time_parsing import DAY_S, moment_ago
from console.ui.dialogs.base import Dialog
from console.ui.render.styled_lines import LineStyles, StyledLine, styled_line

_SEVERITY_MARKS = {
    Severity.CRITICAL: ("✖", "bad"),
    Severity.WARNING: ("▲", "warn"),
    Severity.INFO: ("·", "muted"),
}
_CONDITION_MARKS = {
    True: ("●", "ok", "met"),
    False: ("✖", "bad", "not met"),
    None: ("·", "muted", "not known"),
}
MarkedText = tuple[str, str, str]
"""(mark, style of the mark, text)."""


class HandoverDialog(Dialog[None]):
    """The document of `rpa-console report` for the moment that the screen shows."""

    FULL_SCREEN = True
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
        build_handover: Callable[[Moment], Awaitable[Handover]],
        now: Moment,
        last_viewed: Moment | None,
        line_styles: LineStyles,
    ) -> None:
        super().__init__("Hand-over", line_styles)
        self._build_handover, self._shown_at = build_handover, now
        self.last_viewed = (
            last_viewed if last_viewed is not None and last_viewed.at < now.at else None
        )
        self.since = self.last_viewed or moment_ago(DAY_S, now)
        self._handover: Handover | None = None
        self._error = ""

    def on_mount(self) -> None:
        self._reload()

    def build_lines(self) -> list[StyledLine]:
        """Return all sections, wrapped to the width."""
        if self._handover is None:
            return [
                styled_line(
                    (self._error or "reading the ledger", "bad" if self._error else "muted")
                )
            ]
        return render_handover(self._handover, max(16, self.size.width - 5))

    def redraw(self) -> None:
        """Show the document, and in the title the moment from which on it covers events."""
        times, since_viewed = TimeFormatter(self._shown_at), self.since == self.last_viewed
        period = "since you last looked" if since_viewed else "the last day, since"
        self.line_view.title = f"Hand-over · {period} {times.format_time_with_age(self.since)}"
        other = "d the last day   " if since_viewed else "d since you last looked   "
        self.line_view.footer = f"{other if self.last_viewed else ''}↑↓ scroll   Esc close"
        super().redraw()

    def action_scroll(self, by: int) -> None:
        self.line_view.scroll_by(by)

    def action_whole_day(self) -> None:
        """Switch between the last day and the time since the console was last viewed."""
        if self.last_viewed is not None:
            self.since = (
                moment_ago(DAY_S, self._shown_at)
                if self.since == self.last_viewed
                else self.last_viewed
            )
            self._reload()

    def _reload(self) -> None:
        self._handover, self._error, self.line_view.offset_y = None, "", 0
        self.redraw()
        self.run_worker(self._fetch(), exclusive=True, exit_on_error=False)

    async def _fetch(self) -> None:
        try:
            self._handover = await self._build_handover(self.since)
        except Exception as error:
            self._error = f"the ledger cannot be read: {sanitize_text(str(error), 300)}"
        self.redraw()


def render_handover(handover: Handover, width: int, zone: tzinfo | None = None) -> list[StyledLine]:
    """Return the document in lines of at most `width` cells.

    The timeline comes right after the summary.
    """
    lines: list[StyledLine] = []
    for title, items in _iter_sections(handover, TimeFormatter(handover.at, zone)):
        lines += [
            styled_line(),
            *(styled_line((part, "strong")) for part in textwrap.wrap(title, width)),
        ]
        for mark, style, text in list(items) or [("·", "muted", "nothing")]:
            wrapped = textwrap.wrap(
                sanitize_text(text, 2000), width - 2, break_on_hyphens=False
            ) or [""]
            lines.append(styled_line((f"{mark} ", style), wrapped[0]))
            lines += [styled_line("  ", continuation) for continuation in wrapped[1:]]
    return lines[1:]


def _iter_sections(
    handover: Handover, times: TimeFormatter
) -> Iterator[tuple[str, Iterable[MarkedText]]]:
    yield "In short", _claim_items(handover.summary)
    yield (
        f"What happened since {times.format_time(handover.since)}",
        _timeline_items(handover.timeline, times),
    )
    yield "Findings", map(_finding_item, sorted(handover.findings, key=_severity_rank))
    for role, steps in handover.death_chains:
        yield (
            f"Why {sanitize_text(role, 40)} last went",
            (_step_item(step, times) for step in steps),
        )
    yield "Next", _claim_items(handover.upcoming)
    yield "Not known", _claim_items(handover.unknown)
    yield "Workers", _claim_items(handover.workers)
    yield "Queue", _claim_items(handover.queue)
    yield "Watchdog", _claim_items(handover.watchdog)
    yield "Realtime pipeline", _claim_items(handover.pipeline)
    yield "Baseline", [*_claim_items(handover.baseline), *map(_metric_item, handover.metrics)]
    yield "Conditions", map(_condition_item, handover.conditions)
    yield "Background jobs", map(_job_item, handover.jobs)


def _claim_items(claims: Iterable[Claim]) -> Iterator[MarkedText]:
    return (("·", "muted", _claim_text(claim)) for claim in claims)


def _claim_text(claim: Claim) -> str:
    return f"{claim.text}{format_evidence(claim.event_ids, claim.sample_ids)}"


def _timeline_items(
    entries: tuple[TimelineEntry, ...], times: TimeFormatter
) -> Iterator[MarkedText]:
    if len(entries) > MAX_TIMELINE_ENTRIES:
        omitted = len(entries) - MAX_TIMELINE_ENTRIES
        yield "·", "muted", f"{omitted} earlier lines are left out: {format_command('events')}"
    for entry in entries[-MAX_TIMELINE_ENTRIES:]:
        time = times.format_time(entry.at)
        if entry.until is not None and entry.count > 1:
            time += f" to {format_clock(entry.until, times.zone)}"
        count = f", {entry.count} times" if entry.count > 1 else ""
        yield "·", "muted", f"{time}  {entry.text}{count}{format_evidence(entry.event_ids)}"


def _severity_rank(finding: HandoverFinding) -> int:
    return list(Severity).index(finding.severity)


def _finding_item(finding: HandoverFinding) -> MarkedText:
    mark, style = _SEVERITY_MARKS[finding.severity]
    over, remedy = (
        "" if finding.is_open else " (over)",
        f" Cure: {finding.remedy}." if finding.remedy else "",
    )
    return (
        mark,
        style,
        f"{finding.severity.value}{over}: {finding.title}: {_claim_text(finding.claim)}.{remedy}",
    )


def _step_item(step: ExplanationStep, times: TimeFormatter) -> MarkedText:
    time = f"{times.format_time(step.moment)}  " if step.moment else ""
    return "·", "muted", f"{time}{step.part}: {step.text}{format_evidence(step.event_ids)}"


def _condition_item(condition: Condition) -> MarkedText:
    mark, style, word = _CONDITION_MARKS[condition.met]
    return mark, style, f"{word}: {_claim_text(condition.claim)}"


def _metric_item(metric: BaselineMetric) -> MarkedText:
    text = f"{metric.name} {metric.value}, target {metric.target}, n {metric.n}: {metric.verdict}"
    return "·", "muted", f"{text}; {_claim_text(metric.note)}" if metric.note.text else text


def _job_item(job: BackgroundJob) -> MarkedText:
    text = (
        f"{job.name}: {job.state}, every {job.interval}, "
        f"last look {job.last_run}, next {job.next_run}"
    )
    return "·", "muted", f"{text}: {_claim_text(job.result)}"
