"""Contents of panes: failed tasks, the reason for an idle queue, details of a pipeline file."""

from __future__ import annotations

from typing import Any

from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import PipelineView, QueueView, WatchdogView
from console.ui.panes import pipeline, queue, watchdog
from console.ui.render.styled_lines import PaneContext

NOW = Moment(1_000_000.0, 5000.0, "b")


def drawn(pane: Any, **views: Any) -> list[str]:
    snapshot = Snapshot("h", "b", NOW, Verdict.DOWN, **views)
    return [line.text for line in pane.view(snapshot, PaneContext(100, 12))]


def test_queue_pane_lists_failures_by_task_type() -> None:
    failures = (("ocr", "no window", 8), ("?", "Unsupported task type: x", 2))
    view = QueueView("http://q", HealthState.FAILING, "10 failed", size=0, failures=failures)
    lines = drawn(queue, queue=view)
    assert any("8 ×" in one and "ocr: no window" in one for one in lines)
    assert any("2 ×" in one and "  Unsupported task type: x" in one for one in lines)
    noted = drawn(queue, queue=QueueView("http://q", results_error="results too many to read"))
    assert "results too many to read" in noted


def test_queue_pane_gives_no_estimate_while_the_worker_is_down() -> None:
    view = QueueView("http://q", HealthState.OK, size=3, idle_reason="the worker is stalled")
    (waiting,) = [one for one in drawn(queue, queue=view) if one.startswith("waiting")]
    assert "the worker is stalled" in waiting and "empty in" not in waiting


def test_pipeline_pane_shows_the_details_of_a_healthy_file() -> None:
    about = (("seeds", "a 0.5"), ("series", "28 values, the last 0.4"))
    once = PipelineView(HealthState.OK, mode="read", ran_once=True, details=about)
    lines = drawn(pipeline, pipeline=once)
    assert "ran once" in lines[0] and any("seeds" in one and "a 0.5" in one for one in lines)
    ours = PipelineView(HealthState.OK, mode="collect", has_no_other_writer=True)
    assert "the box's own pipeline has not been seen" in drawn(pipeline, pipeline=ours)


def test_watchdog_pane_shows_recommendations() -> None:
    view = WatchdogView(HealthState.FAILING, recommendations=("restart the queue server",))
    assert any("restart the queue server" in one for one in drawn(watchdog, watchdog=view))
