"""The realtime pipeline's file: how old, what it measured, what comes next."""

from __future__ import annotations

from datetime import datetime

from console.core.model import PipelineView, Snapshot
from console.ui.panes.watchdog import anomalies
from console.ui.render.state_labels import ago, health
from console.ui.render.styled_lines import Frame, Line, fit, line, whole

TITLE = "Pipeline"
KEY = "5"
SLOT = "right"
ROWS = (2, 2)
HELP = (
    "The realtime pipeline: `read` when another program writes its file, `collect` when the "
    "monitors do, as the box's own pipeline has not been seen. Newest value of each channel, "
    "anomalies, the next runs, what else the file tells. Stale by its rhythm, next runs or window."
)
_MODES = {"read": "read from its file", "collect": "collected here"}
_WORST = {"critical": "bad", "fail": "bad", "warning": "warn", "warn": "warn", "ok": "ok"}


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """State, channels, anomalies, next runs."""
    pipe = snapshot.pipeline
    age = f"generated {ago(snapshot.moment, pipe.generated)}"
    how = "ran once" if pipe.once else _MODES.get(pipe.mode, pipe.mode)
    facts = ((age, ""), (how, "muted"))
    lines = [line(*whole((health(pipe.state), ("  ", "")), facts, frame.width))]
    if pipe.reason:
        lines.append(line((pipe.reason, "warn")))
    if pipe.unseen:
        lines.append(line(("the box's own pipeline has not been seen", "muted")))
    lines += _channels(pipe)
    lines += anomalies(pipe.anomalies)
    if pipe.next_runs:
        runs = " · ".join(f"{name} {_time(when)}" for name, when in pipe.next_runs.items())
        lines.append(line((fit("next", 12), "muted"), (runs, "muted")))
    lines += [line((fit(what, 12), "muted"), words, item=True) for what, words in pipe.about]
    return lines


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """State, age and the number of anomalies."""
    pipe = snapshot.pipeline
    return line(
        health(pipe.state),
        f"  generated {ago(snapshot.moment, pipe.generated)} · anomalies {len(pipe.anomalies)}",
        (f"  {pipe.reason}", "warn"),
    )


def _time(text: str) -> str:
    """A timestamp as hours, minutes and seconds here; anything else as it is."""
    if "T" not in text:
        return text
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError):
        return text


def _figure(value: float | None) -> str:
    """With as many decimals each time: a point that jumps cannot be read at a glance."""
    if value is None:
        return "?"
    return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.3g}"


def _channels(pipe: PipelineView) -> list[Line]:
    return [
        line(
            (fit(name, 18), "muted"),
            (fit(_figure(value), 10, right=True), ""),
            (f"  {verdict}", _WORST.get(verdict, "muted")),
            item=True,
        )
        for name, value, verdict in pipe.channels
    ]
