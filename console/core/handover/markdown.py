"""A hand-over as Markdown: readable as it lies in the file, and harmless when it is rendered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo

from console.core.handover.model import Claim, Finding, Handover, Times
from console.core.handover.timeline import Line
from console.core.model import Severity
from console.core.text import command_hint
from console.core.text.formatting import clock, day_clock, visible

SHOWN_IDS = 6
MOST_LINES = 200
_MEANT = re.compile(r"[\\`*\[|]|<(?=[A-Za-z/!?])|(?<![^\W_])_|_(?![^\W_])|~(?=~)|&(?=[#\w])")
_FIRST = re.compile(r"^([#\-+=>]|\d+(?=[.)](\s|$)))")
_LINK = re.compile(r"(?i)\b(https?|ftp)(?=://)|\bwww(?=\.)")


def escape(text: str) -> str:
    """Foreign text as Markdown that shows it as it is: no markup, no links, no line breaks."""
    safe = _MEANT.sub(lambda found: "\\" + found[0], visible(text))
    return _LINK.sub(lambda found: found[0] + "\\", safe)


def _item(text: str) -> str:
    """The same at the beginning of a list's item, where more means something."""
    return _FIRST.sub(lambda found: _no_block(found[0]), escape(text))


def _no_block(start: str) -> str:
    return f"{start}\\" if start[0].isdigit() else f"\\{start}"


def evidence(events: Sequence[int], looks: Sequence[int] = ()) -> str:
    """`(#12, #15)`; a long list by its first and last; looks of monitors as `(look 7)`."""
    ids = sorted(set(filter(None, events)))
    told = [f"#{one}" for one in ids]
    if len(ids) > SHOWN_IDS:
        told = [f"#{ids[0]} to #{ids[-1]}, {len(ids)} lines"]
    told += [f"look {one}" for one in looks if one]
    return f" ({', '.join(told)})" if told else ""


def markdown(document: Handover, zone: tzinfo | None = None) -> str:
    """The whole document."""
    times = Times(document.at, zone)
    return "\n".join(_whole(document, times)).rstrip() + "\n"


def _whole(document: Handover, times: Times) -> Iterator[str]:
    at = day_clock(document.at, times.zone)
    yield f"# Hand-over: {escape(document.host)}, {at[:16]}"
    yield ""
    yield f"Box {escape(document.box)}. What happened is told since {times.at(document.since)}."
    yield (
        f"`#n` is a line of the ledger (`{command_hint.step('events')}`), "
        f"`look n` a monitor's sample (`{command_hint.step('events --look n')}`)."
    )
    yield from _section("In short", _claims(document.summary))
    yield from _section("Background jobs", _jobs(document))
    yield from _section("Workers", [*_claims(document.workers), *_causes(document, times)])
    yield from _section("Watchdog", _claims(document.watchdog))
    yield from _section("Realtime pipeline", _claims(document.pipeline))
    yield from _section("Queue", _claims(document.queue))
    yield from _section("Baseline", [*_claims(document.baseline), *_metrics(document)])
    yield from _section("Findings", _findings(document.findings))
    yield from _section("Conditions", _conditions(document))
    since = f"What happened since {times.at(document.since)}"
    yield from _section(since, _happened(document.happened, times))
    yield from _section("Next", _claims(document.next))
    yield from _section("Not known", _claims(document.unknown, "Nothing that should be."))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield from lines


def _claim(claim: Claim) -> str:
    return f"{_item(claim.text)}{evidence(claim.events, claim.looks)}"


def _cell(claim: Claim) -> str:
    return f"{escape(claim.text)}{evidence(claim.events, claim.looks)}"


def _claims(claims: Sequence[Claim], otherwise: str = "Nothing.") -> Iterator[str]:
    if not claims:
        yield otherwise
    for claim in claims:
        yield f"- {_claim(claim)}"


def _jobs(document: Handover) -> Iterator[str]:
    yield "| job | state | every | last look | next | what it found |"
    yield "|---|---|---|---|---|---|"
    for job in document.jobs:
        cells = (job.name, job.state, job.every, job.last, job.next)
        yield f"| {' | '.join(escape(cell) for cell in cells)} | {_cell(job.found)} |"


def _causes(document: Handover, times: Times) -> Iterator[str]:
    for role, steps in document.causes:
        yield from ("", f"Why {escape(role)} last went:", "")
        for step in steps:
            when = f"{times.at(step.moment)} " if step.moment else ""
            yield f"- {when}**{step.part}**: {escape(step.text)}{evidence(step.events)}"


def _metrics(document: Handover) -> Iterator[str]:
    if not document.metrics:
        return
    yield ""
    yield "| metric | value | target | n | verdict | remark |"
    yield "|---|---|---|---|---|---|"
    for one in document.metrics:
        cells = (one.name, one.value, one.target, str(one.n), one.verdict)
        yield f"| {' | '.join(escape(cell) for cell in cells)} | {_cell(one.note)} |"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        yield "None."
    number = 0
    for severity in Severity:
        chosen = [one for one in findings if one.severity is severity]
        if chosen:
            yield from (*([""] if number else []), f"### {severity.value.capitalize()}", "")
        for one in chosen:
            number += 1
            state = "" if one.stands else " (over)"
            cure = f" Cure: {one.cure}." if one.cure else ""
            yield f"{number}. **{escape(one.title)}**{state}: {_claim(one.claim)}.{cure}"


def _conditions(document: Handover) -> Iterator[str]:
    for one in document.conditions:
        box = "x" if one.met else " "
        word = ": not known yet" if one.met is None else "" if one.met else ": **no**"
        yield f"- [{box}] {_claim(one.claim)}{word}"


def _happened(lines: Sequence[Line], times: Times) -> Iterator[str]:
    if not lines:
        yield "Nothing."
    if len(lines) > MOST_LINES:
        left_out = len(lines) - MOST_LINES
        yield f"{left_out} earlier lines are left out: `{command_hint.step('events')}`."
        yield ""
    day = ""
    for line in lines[-MOST_LINES:]:
        if (today := times.day(line.at)) != day:
            yield from (*([""] if day else []), f"**{today}**", "")
            day = today
        yield f"- {_line(line, times)}"


def _line(line: Line, times: Times) -> str:
    when = clock(line.at, times.zone)
    if line.until is not None and line.count > 1:
        when += f" to {clock(line.until, times.zone)}"
    often = f", {line.count} times" if line.count > 1 else ""
    return f"{when} {escape(line.text)}{often}{evidence(line.events)}"
