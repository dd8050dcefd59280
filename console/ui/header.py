"""The first five seconds: which box, is it live, one verdict, why, since when; and the foot."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from console.core.frozen import frozen
from console.core.model import HealthState, Moment, Severity, Snapshot, Verdict
from console.core.text import clock, coarse
from console.core.trends import Trends
from console.ui.commands import Entry, symbol
from console.ui.graph import strip_line
from console.ui.paint import Line, Span, both, line
from console.ui.words import VERDICTS, ago, calm, since

STALE_S = 15.0
"""Data older than this says nothing about now."""
STUCK_S = 300.0
"""Tasks wait and none was finished for so long: alive, and doing nothing?"""


@frozen
class Freshness:
    """How old the shown data is, and whether the operator froze it."""

    age: float
    frozen_for: float | None = None
    past: Moment | None = None
    """The moment that is shown instead of now, and how long ago it was."""
    ago: float = 0.0

    @property
    def stale(self) -> bool:
        return self.frozen_for is None and self.age > STALE_S

    @property
    def words(self) -> object:
        """What is said of it: equal as long as that reads the same."""
        return self.stale, _liveness(self), coarse(self.age) if self.stale else ""


def header(
    snapshot: Snapshot,
    fresh: Freshness,
    read_only: bool,
    width: int,
    trends: Trends | None = None,
) -> list[Line]:
    """Where, the verdict, what lives behind it, and the last day where it is known."""
    badge: list[Span] = [(" READ-ONLY ", "chip-unknown"), (" ", "")] if read_only else []
    where = line(
        (" rpa-console", "key"),
        f"  {snapshot.host}",
        (f" · {snapshot.box}", "muted"),
        base="panel",
    )
    live = Line((*badge, *_liveness(fresh)), "panel")
    night = [] if trends is None else [Line((*strip_line(trends, width),), "panel")]
    vitals = _vitals(snapshot, width)
    return [both(where, live, width), _verdict(snapshot, fresh, width), vitals, *night]


def _liveness(fresh: Freshness) -> tuple[Span, ...]:
    if fresh.past is not None:
        text = f" ◆ PAST {clock(fresh.past)} · {coarse(fresh.ago)} ago · Esc is now "
        return ((text, "chip-warn"), (" ", ""))
    if fresh.frozen_for is not None:
        text = f" FROZEN {calm(fresh.frozen_for)} · f goes on "
        return ((text, "chip-warn"), (" ", ""))
    if fresh.stale:
        return ((f" ? STALE {coarse(fresh.age)} ", "chip-unknown"), (" ", ""))
    # Under ten seconds the age is said once: a digit that ticks each second costs a slow link.
    age = "" if fresh.age < 10 else f" {coarse(fresh.age)}"
    return (("● LIVE", "ok"), (f"{age} ", "muted"))


def _verdict(snapshot: Snapshot, fresh: Freshness, width: int) -> Line:
    verdict = Verdict.UNKNOWN if fresh.stale else snapshot.verdict
    shape, style = VERDICTS[verdict]
    chip: Span = (f" {shape} {verdict.value.upper()} ", f"chip-{style}")
    if fresh.stale:
        text = f"no news for {coarse(fresh.age)}; last seen: {snapshot.verdict.value}"
        return line(chip, (f"  {text}", "strong"), base="panel")
    reasons = " · ".join(snapshot.reasons) or _calm(snapshot)
    left = Line((chip, (f"  {reasons}", "strong")), "panel")
    right = line((f"{since(snapshot.moment, snapshot.since)} ", "muted"), base="panel")
    return both(left, right, width) if width >= 60 else left


def _calm(snapshot: Snapshot) -> str:
    if snapshot.verdict is not Verdict.HEALTHY:
        return "no reason was given"
    counts = (
        f"{view.role.name} {view.found}/{view.role.count} {view.state.value.lower()}"
        for view in snapshot.roles
    )
    return " · ".join(counts) or "nothing is wrong"


def _vitals(snapshot: Snapshot, width: int) -> Line:
    """Green but stuck? The heartbeat beside the last finished task; who watches; what stands."""
    queue, now = snapshot.queue, snapshot.moment
    idle = now.since(queue.finished) if queue.finished else None
    stuck = bool(queue.size) and (idle is None or idle > STUCK_S)
    done = f"last task {ago(now, queue.finished)}" if queue.finished else "no task seen done"
    waits = f" while {queue.size} wait" if stuck else ""
    left = line(
        (f" heartbeat {ago(now, snapshot.watchdog.heartbeat)}", "muted"),
        (" · ", "muted"),
        (f"▲ stuck? {done}{waits}" if stuck else done, "warn" if stuck else "muted"),
        (" · ", "muted"),
        _watchers(snapshot),
        base="panel",
    )
    return both(left, Line((_alerts(snapshot), (" ", "")), "panel"), width)


def _watchers(snapshot: Snapshot) -> Span:
    """Who watches the watchers: the monitors that look when they should."""
    if not (snapshot.daemon.running or snapshot.daemon.here):
        return "▲ nobody runs the monitors", "bad"
    on = [one for one in snapshot.monitors if one.health.state is not HealthState.OFF]
    late = [
        one.name for one in on if one.health.state in (HealthState.OVERDUE, HealthState.UNKNOWN)
    ]
    if late:
        return f"▲ blind: {', '.join(late)}", "warn"
    return f"{len(on)} monitors on time", "muted"


def _alerts(snapshot: Snapshot) -> Span:
    """What stands, and whether somebody has taken note of it."""
    stand = snapshot.alerts
    if not stand:
        return "no alert", "muted"
    fresh = [alert for alert in stand if not alert.acknowledged]
    count = f"{len(stand)} alert{'s' if len(stand) > 1 else ''}"
    if not fresh:
        return f" {count}, noted ", "chip-unknown"
    worst = "bad" if fresh[0].severity is Severity.CRITICAL else "warn"
    noted = f", {len(stand) - len(fresh)} noted" if len(fresh) < len(stand) else ""
    return f" ▲ {count}{noted}: {fresh[0].title} ", f"chip-{worst}"


def footer(entries: Sequence[Entry], width: int) -> Line:
    """As many keys as fit; help and leave always."""
    always = [entry for entry in entries if entry.id in ("help", "leave")]
    shown = [entry for entry in entries if entry.footer]
    while _length(shown) > width and len(shown) > len(always):
        shown.remove(next(entry for entry in reversed(shown) if entry not in always))
    spans: list[Span] = []
    for entry in shown:
        spans += [(f" {symbol(entry.key)}", "key"), (f" {entry.label} ", "muted")]
    if len(shown) < len(entries) and _length(shown) < width:
        spans.append(("…", "muted"))
    return Line(tuple(spans), "panel")


def _length(entries: Sequence[Entry]) -> int:
    return sum(cell_len(f" {symbol(entry.key)} {entry.label} ") for entry in entries)
