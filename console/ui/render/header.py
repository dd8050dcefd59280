"""The first five seconds: which box, is it live, one verdict, why, since when; and the foot."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from console.core.frozen import frozen
from console.core.model import HealthState, Moment, Severity, Snapshot, Verdict
from console.core.text.formatting import clock, coarse, visible
from console.core.trends import Trends
from console.ui.keymap import NOW, URGENT, Entry, symbol
from console.ui.render.graphs import strip_line
from console.ui.render.layout import TWO_COLUMNS
from console.ui.render.state_labels import LATE, VERDICTS, ago, calm, since
from console.ui.render.styled_lines import Line, Span, both, fit, line

STALE_S = 15.0
"""Data older than this says nothing about now."""
CHIP = 15
"""Cells that the widest verdict takes, and the gaps beside it."""
WIDE = 72
"""Cells; under that the mark of the past is its time alone."""
NARROW = 60
"""Cells; under that there is no room for the verdict, its reason and its age in one row."""
PAST = "◆ PAST"
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
    rows: int = 3,
    trends: Trends | None = None,
    starts: str = "",
) -> list[Line]:
    """Where, the verdict, what lives behind it, and the last day; on one row the verdict alone.

    `starts`: the key that starts the monitors' daemon, where it may be pressed.
    """
    if rows < 2:
        mark = f" {PAST} " if fresh.past else ""
        told = _verdict(snapshot, fresh, width - len(mark))
        return [Line(((mark, "chip-warn"), *told.spans), "panel")]
    if width < NARROW:
        return _narrow(snapshot, fresh, read_only, width)
    badge: list[Span] = [(" READ-ONLY ", "chip-unknown"), (" ", "")] if read_only else []
    where = line(
        (" rpa-console", "key"),
        f"  {snapshot.host}",
        (f" · {snapshot.box}", "muted"),
        base="panel",
    )
    live = Line((*badge, *(_nobody(snapshot, fresh, starts) or _liveness(fresh, width))), "panel")
    night = [] if trends is None else [Line((*strip_line(trends, width),), "panel")]
    vitals = _vitals(snapshot, width)
    return [both(where, live, width), _verdict(snapshot, fresh, width), vitals, *night]


def _narrow(snapshot: Snapshot, fresh: Freshness, read_only: bool, width: int) -> list[Line]:
    """The verdict beside the host, so that its reason has a row of its own."""
    chip, text = _judged(snapshot, fresh, width - 2)
    badge: list[Span] = [(" RO ", "chip-unknown"), (" ", "")] if read_only else []
    where = line(chip, f"  {snapshot.host}", base="panel")
    live = Line((*badge, *(_nobody(snapshot, fresh) or _liveness(fresh, width))), "panel")
    return [both(where, live, width), line((f" {text}", "strong"), base="panel")]


def _nobody(snapshot: Snapshot, fresh: Freshness, starts: str = "") -> tuple[Span, ...]:
    """What is shown now is no news of monitors that nobody runs; nothing where somebody does."""
    watched = snapshot.daemon.running or snapshot.daemon.here
    if watched or fresh.stale or fresh.past is not None or fresh.frozen_for is not None:
        return ()
    key = f" · {starts} starts" if starts else ""
    return ((f" ✖ NOBODY WATCHES{key} ", "chip-bad"), (" ", ""))


def _liveness(fresh: Freshness, width: int = WIDE) -> tuple[Span, ...]:
    """Whether this is now: in few words where there is little room, but never left out."""
    if fresh.past is not None:
        text = f" {PAST} {clock(fresh.past)} "
        if width >= WIDE:
            text += f"· {coarse(fresh.ago)} ago · Esc is now "
        return ((text, "chip-warn"), (" ", ""))
    if fresh.frozen_for is not None:
        text = f" FROZEN {calm(fresh.frozen_for)} "
        return ((text + "· f goes on " * (width >= WIDE), "chip-warn"), (" ", ""))
    if fresh.stale:
        return ((f" ? STALE {coarse(fresh.age)} ", "chip-unknown"), (" ", ""))
    # Under ten seconds the age is said once: a digit that ticks each second costs a slow link.
    age = "" if fresh.age < 10 else f" {coarse(fresh.age)}"
    return (("● LIVE", "ok"), (f"{age} ", "muted"))


def _verdict(snapshot: Snapshot, fresh: Freshness, width: int) -> Line:
    told = "" if fresh.stale or width < NARROW else _lasting(snapshot, width)
    right = line((f"{told} ", "muted"), base="panel")
    chip, text = _judged(snapshot, fresh, width - len(told) - CHIP)
    left = Line((chip, (f"  {text}", "strong")), "panel")
    return both(left, right, width) if told else left


def _lasting(snapshot: Snapshot, width: int) -> str:
    if width >= TWO_COLUMNS or snapshot.since is None:
        return since(snapshot.moment, snapshot.since)
    return f"for {coarse(snapshot.moment.since(snapshot.since))}"


def _judged(snapshot: Snapshot, fresh: Freshness, room: int) -> tuple[Span, str]:
    """The verdict as shape, word and colour, and in `room` its reasons: whole, then a number."""
    verdict = Verdict.UNKNOWN if fresh.stale else snapshot.verdict
    shape, style = VERDICTS[verdict]
    chip: Span = (f" {shape} {verdict.value.upper()} ", f"chip-{style}")
    if fresh.stale:
        return chip, f"no news for {coarse(fresh.age)}; last seen: {snapshot.verdict.value}"
    reasons = list(snapshot.reasons) or [_calm(snapshot)]
    for count in range(len(reasons), 1, -1):
        more = _more(len(reasons) - count, room)
        text = " · ".join(map(visible, reasons[:count])) + more
        if cell_len(text) <= room:
            return chip, text
    more = _more(len(reasons) - 1, room)
    return chip, fit(reasons[0], max(1, room - len(more))).rstrip() + more


def _more(count: int, room: int) -> str:
    return f" · +{count}{' more' if room > NARROW - CHIP else ''}" if count else ""


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
    if any(one.health.state is HealthState.OVERDUE for one in on):
        return f"{LATE} blind: {', '.join(late)}", "bad"
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


def footer(entries: Sequence[Entry], width: int, pane: str = "") -> Line:
    """The keys that serve in the focused pane first, whole, as many as fit; help and leave always.

    What found no room is behind help.
    """
    if pane == "past":
        entries = [NOW, *(entry for entry in entries if not entry.changes)]
    known = {entry.id: entry for entry in entries}
    always = [known[id] for id in ("help", "leave") if id in known]
    order = dict.fromkeys((*URGENT.get(pane, ()), *known))
    wanted = [known[id] for id in order if id in known and known[id] not in always]
    room = width - _length(always)
    shown = []
    for entry in wanted:
        room -= _length([entry])
        if room < 0:
            break
        shown.append(entry)
    spans: list[Span] = []
    for entry in (*shown, *always):
        spans += [(f" {symbol(entry.key)}", "key"), (f" {entry.label} ", "muted")]
    return Line(tuple(spans), "panel")


def _length(entries: Sequence[Entry]) -> int:
    return sum(cell_len(f" {symbol(entry.key)} {entry.label} ") for entry in entries)
