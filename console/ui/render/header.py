"""Renders the header (host, freshness, verdict with reasons and age, vitals) and the footer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import Severity
from console.core.records import Record
from console.core.text.formatting import format_clock, format_coarse_duration, sanitize_text
from console.core.trends import Trends
from console.ui.keymap import PANE_COMMANDS, RETURN_TO_NOW, CommandSpec, format_key
from console.ui.render.graphs import draw_verdict_strip_line
from console.ui.render.layout import TWO_COLUMNS_MIN_CELLS
from console.ui.render.state_labels import (
    LATE,
    VERDICT_LABELS,
    format_age,
    format_ago,
    format_since,
)
from console.ui.render.styled_lines import Span, StyledLine, join_justified, pad_text, styled_line

STALE_AFTER_S = 15.0
"""Data older than this is stale: the verdict is shown as unknown."""
VERDICT_CELLS = 15
"""Cells of the widest verdict and of the gaps beside it."""
WIDE_MIN_CELLS = 72
"""On a narrower screen the label of the past contains its time only."""
NARROW_MAX_CELLS = 60
"""On a narrower screen the verdict, its reason and its age do not fit in one row."""
PAST_LABEL = "◆ PAST"
STUCK_AFTER_S = 300.0
"""The header warns "stuck?" if tasks wait and none was finished for this time."""


class Freshness(Record, frozen=True):
    """Age of the shown data, and whether it is frozen or of the past."""

    age_s: float
    frozen_for_s: float | None = None
    past_moment: Moment | None = None
    """The past moment that is shown; None: now."""
    past_age_s: float = 0.0

    @property
    def is_stale(self) -> bool:
        return self.frozen_for_s is None and self.age_s > STALE_AFTER_S

    @property
    def cache_key(self) -> object:
        """Return a value that compares equal as long as the rendered text is the same."""
        return (
            self.is_stale,
            _freshness_spans(self),
            format_coarse_duration(self.age_s) if self.is_stale else "",
        )


def render_header(
    snapshot: Snapshot,
    freshness: Freshness,
    read_only: bool,
    width: int,
    rows: int = 3,
    trends: Trends | None = None,
    daemon_start_key: str = "",
) -> list[StyledLine]:
    """Return the lines of the header: host, verdict, vitals, and a strip of the last day.

    With one row only the verdict is returned; without `trends` there is no strip.
    `daemon_start_key`: the key that starts the daemon of the monitors; "" if it is not available.
    """
    if rows < 2:
        mark = f" {PAST_LABEL} " if freshness.past_moment else ""
        verdict = _verdict_line(snapshot, freshness, width - len(mark))
        return [StyledLine(((mark, "chip-warn"), *verdict.spans), "panel")]
    if width < NARROW_MAX_CELLS:
        return _render_narrow_header(snapshot, freshness, read_only, width)
    badge: list[Span] = [(" READ-ONLY ", "chip-unknown"), (" ", "")] if read_only else []
    host = styled_line(
        (" rpa-console", "key"),
        f"  {snapshot.host}",
        (f" · {snapshot.box}", "muted"),
        base_style="panel",
    )
    live = StyledLine(
        (
            *badge,
            *(
                _unmonitored_warning(snapshot, freshness, daemon_start_key)
                or _freshness_spans(freshness, width)
            ),
        ),
        "panel",
    )
    strip = (
        [] if trends is None else [StyledLine((*draw_verdict_strip_line(trends, width),), "panel")]
    )
    vitals = _vitals_line(snapshot, width)
    return [
        join_justified(host, live, width),
        _verdict_line(snapshot, freshness, width),
        vitals,
        *strip,
    ]


def _render_narrow_header(
    snapshot: Snapshot, freshness: Freshness, read_only: bool, width: int
) -> list[StyledLine]:
    """Return two lines: verdict and host in the first, so that the reasons have the second."""
    chip, text = _verdict_with_reasons(snapshot, freshness, width - 2)
    badge: list[Span] = [(" RO ", "chip-unknown"), (" ", "")] if read_only else []
    host = styled_line(chip, f"  {snapshot.host}", base_style="panel")
    live = StyledLine(
        (
            *badge,
            *(_unmonitored_warning(snapshot, freshness) or _freshness_spans(freshness, width)),
        ),
        "panel",
    )
    return [
        join_justified(host, live, width),
        styled_line((f" {text}", "strong"), base_style="panel"),
    ]


def _unmonitored_warning(
    snapshot: Snapshot, freshness: Freshness, daemon_start_key: str = ""
) -> tuple[Span, ...]:
    """Return a warning if no process runs the monitors and live data is shown.

    Otherwise return an empty tuple.
    """
    monitored = snapshot.daemon.running or snapshot.daemon.in_this_process
    if (
        monitored
        or freshness.is_stale
        or freshness.past_moment is not None
        or freshness.frozen_for_s is not None
    ):
        return ()
    key = f" · {daemon_start_key} starts" if daemon_start_key else ""
    return ((f" ✖ NOBODY WATCHES{key} ", "chip-bad"), (" ", ""))


def _freshness_spans(freshness: Freshness, width: int = WIDE_MIN_CELLS) -> tuple[Span, ...]:
    """Return the label that says whether the data is live, stale, frozen or of the past.

    The label is shorter on a narrow screen, but never omitted.
    """
    if freshness.past_moment is not None:
        text = f" {PAST_LABEL} {format_clock(freshness.past_moment)} "
        if width >= WIDE_MIN_CELLS:
            text += f"· {format_coarse_duration(freshness.past_age_s)} ago · Esc is now "
        return ((text, "chip-warn"), (" ", ""))
    if freshness.frozen_for_s is not None:
        text = f" FROZEN {format_age(freshness.frozen_for_s)} "
        return ((text + "· f goes on " * (width >= WIDE_MIN_CELLS), "chip-warn"), (" ", ""))
    if freshness.is_stale:
        return ((f" ? STALE {format_coarse_duration(freshness.age_s)} ", "chip-unknown"), (" ", ""))
    # Below ten seconds the age is omitted: over a slow link a digit that changes every second
    # is expensive.
    age = "" if freshness.age_s < 10 else f" {format_coarse_duration(freshness.age_s)}"
    return (("● LIVE", "ok"), (f"{age} ", "muted"))


def _verdict_line(snapshot: Snapshot, freshness: Freshness, width: int) -> StyledLine:
    age = "" if freshness.is_stale or width < NARROW_MAX_CELLS else _verdict_age(snapshot, width)
    right = styled_line((f"{age} ", "muted"), base_style="panel")
    chip, text = _verdict_with_reasons(snapshot, freshness, width - len(age) - VERDICT_CELLS)
    left = StyledLine((chip, (f"  {text}", "strong")), "panel")
    return join_justified(left, right, width) if age else left


def _verdict_age(snapshot: Snapshot, width: int) -> str:
    if width >= TWO_COLUMNS_MIN_CELLS or snapshot.since is None:
        return format_since(snapshot.moment, snapshot.since)
    return f"for {format_coarse_duration(snapshot.moment.since(snapshot.since))}"


def _verdict_with_reasons(
    snapshot: Snapshot, freshness: Freshness, max_cells: int
) -> tuple[Span, str]:
    """Return the verdict as shape, word and style, and its reasons in `max_cells` cells.

    As many whole reasons as fit are returned, then the number of the others. If not even the first
    fits, it is cut.
    """
    verdict = Verdict.UNKNOWN if freshness.is_stale else snapshot.verdict
    shape, style = VERDICT_LABELS[verdict]
    chip: Span = (f" {shape} {verdict.value.upper()} ", f"chip-{style}")
    if freshness.is_stale:
        return (
            chip,
            f"no news for {format_coarse_duration(freshness.age_s)}; "
            f"last seen: {snapshot.verdict.value}",
        )
    reasons = list(snapshot.reasons) or [_state_summary(snapshot)]
    for count in range(len(reasons), 1, -1):
        more = _more_suffix(len(reasons) - count, max_cells)
        text = " · ".join(map(sanitize_text, reasons[:count])) + more
        if cell_len(text) <= max_cells:
            return chip, text
    more = _more_suffix(len(reasons) - 1, max_cells)
    return chip, pad_text(reasons[0], max(1, max_cells - len(more))).rstrip() + more


def _more_suffix(count: int, max_cells: int) -> str:
    return (
        f" · +{count}{' more' if max_cells > NARROW_MAX_CELLS - VERDICT_CELLS else ''}"
        if count
        else ""
    )


def _state_summary(snapshot: Snapshot) -> str:
    if snapshot.verdict is not Verdict.HEALTHY:
        return "no reason was given"
    counts = (
        f"{view.role.name} {view.instance_count}/{view.role.count} {view.state.value.lower()}"
        for view in snapshot.roles
    )
    return " · ".join(counts) or "nothing is wrong"


def _vitals_line(snapshot: Snapshot, width: int) -> StyledLine:
    """Return one line: heartbeat, last finished task, monitors and open alerts.

    The heartbeat is beside the last finished task, to show a process that is alive and does no
    work.
    """
    queue, now = snapshot.queue, snapshot.moment
    idle = now.since(queue.last_finished) if queue.last_finished else None
    stuck = bool(queue.size) and (idle is None or idle > STUCK_AFTER_S)
    done = (
        f"last task {format_ago(now, queue.last_finished)}"
        if queue.last_finished
        else "no task seen done"
    )
    waits = f" while {queue.size} wait" if stuck else ""
    left = styled_line(
        (f" heartbeat {format_ago(now, snapshot.watchdog.heartbeat)}", "muted"),
        (" · ", "muted"),
        (f"▲ stuck? {done}{waits}" if stuck else done, "warn" if stuck else "muted"),
        (" · ", "muted"),
        _monitors_span(snapshot),
        base_style="panel",
    )
    return join_justified(left, StyledLine((_alerts_span(snapshot), (" ", "")), "panel"), width)


def _monitors_span(snapshot: Snapshot) -> Span:
    """Return the number of monitors on time, or the names of the monitors that are late."""
    if not (snapshot.daemon.running or snapshot.daemon.in_this_process):
        return "▲ nobody runs the monitors", "bad"
    active = [
        monitor for monitor in snapshot.monitors if monitor.health.state is not HealthState.OFF
    ]
    late = [
        monitor.name
        for monitor in active
        if monitor.health.state in (HealthState.OVERDUE, HealthState.UNKNOWN)
    ]
    if any(monitor.health.state is HealthState.OVERDUE for monitor in active):
        return f"{LATE} blind: {', '.join(late)}", "bad"
    if late:
        return f"▲ blind: {', '.join(late)}", "warn"
    return f"{len(active)} monitors on time", "muted"


def _alerts_span(snapshot: Snapshot) -> Span:
    """Return the number of open alerts, how many are acknowledged, and the first that is not."""
    alerts = snapshot.alerts
    if not alerts:
        return "no alert", "muted"
    fresh = [alert for alert in alerts if not alert.acknowledged]
    count = f"{len(alerts)} alert{'s' if len(alerts) > 1 else ''}"
    if not fresh:
        return f" {count}, noted ", "chip-unknown"
    style = "bad" if fresh[0].severity is Severity.CRITICAL else "warn"
    noted = f", {len(alerts) - len(fresh)} noted" if len(fresh) < len(alerts) else ""
    return f" ▲ {count}{noted}: {fresh[0].title} ", f"chip-{style}"


def render_footer(
    command_specs: Sequence[CommandSpec], width: int, key_context: str = ""
) -> StyledLine:
    """Return the line of keys: those of the focused pane first, as many as fit whole.

    The keys for help and leave are always shown. The help dialog lists the keys that do not fit.
    """
    if key_context == "past":
        command_specs = [
            RETURN_TO_NOW,
            *(entry for entry in command_specs if not entry.changes_box),
        ]
    by_id = {entry.id: entry for entry in command_specs}
    always = [by_id[id] for id in ("help", "leave") if id in by_id]
    order = dict.fromkeys((*PANE_COMMANDS.get(key_context, ()), *by_id))
    wanted = [by_id[id] for id in order if id in by_id and by_id[id] not in always]
    room = width - _keys_width(always)
    shown = []
    for entry in wanted:
        room -= _keys_width([entry])
        if room < 0:
            break
        shown.append(entry)
    spans: list[Span] = []
    for entry in (*shown, *always):
        spans += [(f" {format_key(entry.key)}", "key"), (f" {entry.label} ", "muted")]
    return StyledLine(tuple(spans), "panel")


def _keys_width(command_specs: Sequence[CommandSpec]) -> int:
    return sum(cell_len(f" {format_key(entry.key)} {entry.label} ") for entry in command_specs)
