"""Pipeline pane: age, channels, anomalies and next runs from the pipeline's status document."""

from __future__ import annotations

from datetime import datetime

from console.core.model.snapshot import Snapshot
from console.core.model.views import PipelineView
from console.ui.panes.watchdog import anomaly_lines
from console.ui.render.state_labels import format_ago, health_label
from console.ui.render.styled_lines import PaneContext, StyledLine, fit_facts, pad_text, styled_line

TITLE = "Pipeline"
KEY = "5"
SLOT = "right"
ROWS = (2, 2)
HELP = (
    "The realtime pipeline: `read` when another program writes its file, `collect` when the "
    "monitors do, as the box's own pipeline has not been seen. Newest value of each channel, "
    "anomalies, the next runs, what else the file tells. Stale by its rhythm, next runs or window."
)
_MODE_LABELS = {"read": "read from its file", "collect": "collected here"}
_VERDICT_STYLES = {"critical": "bad", "fail": "bad", "warning": "warn", "warn": "warn", "ok": "ok"}


def view(snapshot: Snapshot, context: PaneContext) -> list[StyledLine]:
    """Return the lines: state and age, channels, anomalies, next runs, other details."""
    pipe = snapshot.pipeline
    age = f"generated {format_ago(snapshot.moment, pipe.generated)}"
    how = "ran once" if pipe.ran_once else _MODE_LABELS.get(pipe.mode, pipe.mode)
    facts = ((age, ""), (how, "muted"))
    lines = [styled_line(*fit_facts((health_label(pipe.state), ("  ", "")), facts, context.width))]
    if pipe.reason:
        lines.append(styled_line((pipe.reason, "warn")))
    if pipe.has_no_other_writer:
        lines.append(styled_line(("the box's own pipeline has not been seen", "muted")))
    lines += _channel_rows(pipe)
    lines += anomaly_lines(pipe.anomalies)
    if pipe.next_runs:
        runs = " · ".join(f"{name} {_format_time(time)}" for name, time in pipe.next_runs.items())
        lines.append(styled_line((pad_text("next", 12), "muted"), (runs, "muted")))
    lines += [
        styled_line((pad_text(label, 12), "muted"), text, is_item=True)
        for label, text in pipe.details
    ]
    return lines


def summary(snapshot: Snapshot, context: PaneContext) -> StyledLine:
    """Return one line: state, age and number of anomalies."""
    pipe = snapshot.pipeline
    return styled_line(
        health_label(pipe.state),
        f"  generated {format_ago(snapshot.moment, pipe.generated)}"
        f" · anomalies {len(pipe.anomalies)}",
        (f"  {pipe.reason}", "warn"),
    )


def _format_time(text: str) -> str:
    """Return an ISO 8601 timestamp as HH:MM:SS in local time, or any other text unchanged."""
    if "T" not in text:
        return text
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError):
        return text


def _format_value(value: float | None) -> str:
    """Return a value with a fixed number of decimals, so that the decimal point does not move.

    None is formatted as "?".
    """
    if value is None:
        return "?"
    return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.3g}"


def _channel_rows(pipeline: PipelineView) -> list[StyledLine]:
    return [
        styled_line(
            (pad_text(name, 18), "muted"),
            (pad_text(_format_value(value), 10, align_right=True), ""),
            (f"  {verdict}", _VERDICT_STYLES.get(verdict, "muted")),
            is_item=True,
        )
        for name, value, verdict in pipeline.channels
    ]
