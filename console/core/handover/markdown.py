"""Renders a hand-over as Markdown that is readable as plain text, and safe when rendered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo

from console.core.handover.model import Claim, Handover, HandoverFinding, TimeFormatter
from console.core.handover.timeline import TimelineEntry
from console.core.model.views import Severity
from console.core.text import command_hint
from console.core.text.formatting import format_clock, format_date_time, sanitize_text

MAX_LISTED_IDS = 6
MAX_TIMELINE_ENTRIES = 200
_MARKUP_PATTERN = re.compile(
    r"[\\`*\[|]|<(?=[A-Za-z/!?])|(?<![^\W_])_|_(?![^\W_])|~(?=~)|&(?=[#\w])"
)
_BLOCK_START_PATTERN = re.compile(r"^([#\-+=>]|\d+(?=[.)](\s|$)))")
_LINK_PATTERN = re.compile(r"(?i)\b(https?|ftp)(?=://)|\bwww(?=\.)")


def escape_markdown(text: str) -> str:
    """Return text as Markdown that shows it literally: no markup, no links, no line breaks."""
    safe = _MARKUP_PATTERN.sub(lambda found: "\\" + found[0], sanitize_text(text))
    return _LINK_PATTERN.sub(lambda found: found[0] + "\\", safe)


def _escape_list_item(text: str) -> str:
    """Return text escaped for the beginning of a list item, where `#`, `-`, `1.` are markup too."""
    return _BLOCK_START_PATTERN.sub(
        lambda found: _escape_block_start(found[0]), escape_markdown(text)
    )


def _escape_block_start(start: str) -> str:
    return f"{start}\\" if start[0].isdigit() else f"\\{start}"


def format_evidence(event_ids: Sequence[int], sample_ids: Sequence[int] = ()) -> str:
    """Return the evidence as ` (#12, #15)`, samples as ` (look 7)`, or "" if there is none.

    More than `MAX_LISTED_IDS` events are given by their first and last id and their number.
    """
    ids = sorted(set(filter(None, event_ids)))
    references = [f"#{event_id}" for event_id in ids]
    if len(ids) > MAX_LISTED_IDS:
        references = [f"#{ids[0]} to #{ids[-1]}, {len(ids)} lines"]
    references += [f"look {sample_id}" for sample_id in sample_ids if sample_id]
    return f" ({', '.join(references)})" if references else ""


def render_markdown(document: Handover, zone: tzinfo | None = None) -> str:
    """Return the whole document as Markdown; times are in `zone` (the machine's own if None)."""
    times = TimeFormatter(document.at, zone)
    return "\n".join(_document_lines(document, times)).rstrip() + "\n"


def _document_lines(document: Handover, times: TimeFormatter) -> Iterator[str]:
    at = format_date_time(document.at, times.zone)
    yield f"# Hand-over: {escape_markdown(document.host)}, {at[:16]}"
    yield ""
    yield (
        f"Box {escape_markdown(document.box)}. What happened is told since "
        f"{times.format_time(document.since)}."
    )
    yield (
        f"`#n` is a line of the ledger (`{command_hint.format_command('events')}`), "
        f"`look n` a monitor's sample (`{command_hint.format_command('events --look n')}`)."
    )
    yield from _section_lines("In short", _claim_list(document.summary))
    yield from _section_lines("Background jobs", _job_table(document))
    yield from _section_lines(
        "Workers", [*_claim_list(document.workers), *_death_chain_lists(document, times)]
    )
    yield from _section_lines("Watchdog", _claim_list(document.watchdog))
    yield from _section_lines("Realtime pipeline", _claim_list(document.pipeline))
    yield from _section_lines("Queue", _claim_list(document.queue))
    yield from _section_lines(
        "Baseline", [*_claim_list(document.baseline), *_metric_table(document)]
    )
    yield from _section_lines("Findings", _finding_list(document.findings))
    yield from _section_lines("Conditions", _condition_list(document))
    since = f"What happened since {times.format_time(document.since)}"
    yield from _section_lines(since, _timeline_list(document.timeline, times))
    yield from _section_lines("Next", _claim_list(document.upcoming))
    yield from _section_lines("Not known", _claim_list(document.unknown, "Nothing that should be."))


def _section_lines(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield from lines


def _claim_item(claim: Claim) -> str:
    return f"{_escape_list_item(claim.text)}{format_evidence(claim.event_ids, claim.sample_ids)}"


def _claim_cell(claim: Claim) -> str:
    return f"{escape_markdown(claim.text)}{format_evidence(claim.event_ids, claim.sample_ids)}"


def _claim_list(claims: Sequence[Claim], empty_text: str = "Nothing.") -> Iterator[str]:
    if not claims:
        yield empty_text
    for claim in claims:
        yield f"- {_claim_item(claim)}"


def _job_table(document: Handover) -> Iterator[str]:
    yield "| job | state | every | last look | next | what it found |"
    yield "|---|---|---|---|---|---|"
    for job in document.jobs:
        cells = (job.name, job.state, job.interval, job.last_run, job.next_run)
        yield (
            f"| {' | '.join(escape_markdown(cell) for cell in cells)} | {_claim_cell(job.result)} |"
        )


def _death_chain_lists(document: Handover, times: TimeFormatter) -> Iterator[str]:
    for role, steps in document.death_chains:
        yield from ("", f"Why {escape_markdown(role)} last went:", "")
        for step in steps:
            when = f"{times.format_time(step.moment)} " if step.moment else ""
            yield (
                f"- {when}**{step.part}**: "
                f"{escape_markdown(step.text)}{format_evidence(step.event_ids)}"
            )


def _metric_table(document: Handover) -> Iterator[str]:
    if not document.metrics:
        return
    yield ""
    yield "| metric | value | target | n | verdict | remark |"
    yield "|---|---|---|---|---|---|"
    for metric in document.metrics:
        cells = (metric.name, metric.value, metric.target, str(metric.n), metric.verdict)
        yield (
            f"| {' | '.join(escape_markdown(cell) for cell in cells)} "
            f"| {_claim_cell(metric.note)} |"
        )


def _finding_list(findings: Sequence[HandoverFinding]) -> Iterator[str]:
    if not findings:
        yield "None."
    number = 0
    for severity in Severity:
        of_severity = [finding for finding in findings if finding.severity is severity]
        if of_severity:
            yield from (*([""] if number else []), f"### {severity.value.capitalize()}", "")
        for finding in of_severity:
            number += 1
            state = "" if finding.is_open else " (over)"
            remedy = f" Cure: {finding.remedy}." if finding.remedy else ""
            yield (
                f"{number}. **{escape_markdown(finding.title)}**{state}: "
                f"{_claim_item(finding.claim)}.{remedy}"
            )


def _condition_list(document: Handover) -> Iterator[str]:
    for condition in document.conditions:
        box = "x" if condition.met else " "
        word = ": not known yet" if condition.met is None else "" if condition.met else ": **no**"
        yield f"- [{box}] {_claim_item(condition.claim)}{word}"


def _timeline_list(entries: Sequence[TimelineEntry], times: TimeFormatter) -> Iterator[str]:
    if not entries:
        yield "Nothing."
    if len(entries) > MAX_TIMELINE_ENTRIES:
        omitted_count = len(entries) - MAX_TIMELINE_ENTRIES
        yield (
            f"{omitted_count} earlier lines are left out: "
            f"`{command_hint.format_command('events')}`."
        )
        yield ""
    day = ""
    for entry in entries[-MAX_TIMELINE_ENTRIES:]:
        if (today := times.format_date(entry.at)) != day:
            yield from (*([""] if day else []), f"**{today}**", "")
            day = today
        yield f"- {_timeline_item(entry, times)}"


def _timeline_item(entry: TimelineEntry, times: TimeFormatter) -> str:
    when = format_clock(entry.at, times.zone)
    if entry.until is not None and entry.count > 1:
        when += f" to {format_clock(entry.until, times.zone)}"
    count_text = f", {entry.count} times" if entry.count > 1 else ""
    return f"{when} {escape_markdown(entry.text)}{count_text}{format_evidence(entry.event_ids)}"
