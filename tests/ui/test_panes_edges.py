"""Edge cases of panes: adjacent texts, overdue times, ended baselines, task ages."""

from __future__ import annotations

import pytest

from console.core.model.samples import Health, HealthState
from console.core.records import replace
from console.ui.panes import baseline, monitors, queue
from console.ui.render.styled_lines import PaneContext
from screenshots.generator.fixture_night import healthy_snapshot


def test_monitors_summary_separates_failing_monitors() -> None:
    healthy = healthy_snapshot()
    bad = tuple(replace(one, health=Health(HealthState.FAILING, "x")) for one in healthy.monitors)
    said = monitors.summary(replace(healthy, monitors=bad), PaneContext(200, 1)).text
    assert "failing  " in said
    for one in bad:
        assert f"failing{one.name}" not in said


@pytest.mark.parametrize("width", [50, 76, 120])
def test_monitor_due_time_is_separated_from_its_result(width: int) -> None:
    healthy = healthy_snapshot()
    late = tuple(
        replace(one, next_run=healthy.moment.plus(-5), result="97.7 % of 44")
        for one in healthy.monitors
    )
    text = "\n".join(
        one.text for one in monitors.view(replace(healthy, monitors=late), PaneContext(width, 20))
    )
    assert "due <10s ago " in text


def test_ended_baseline_shows_at_most_its_planned_duration() -> None:
    healthy = healthy_snapshot()
    base = healthy.baseline
    assert base.started is not None
    ended = replace(base, state="passed", checkpoint=base.started.plus(180))
    later = replace(healthy, baseline=ended, moment=base.started.plus(540))
    text = "\n".join(one.text for one in baseline.view(later, PaneContext(80, 20)))
    assert "3m of 3m" in text and "ended " in text
    early = replace(healthy, baseline=ended, moment=base.started.plus(60))
    text = "\n".join(one.text for one in baseline.view(early, PaneContext(80, 20)))
    assert "1m of 3m" in text and "ends " in text


def test_task_ages_include_the_time_since_the_sample() -> None:
    healthy = healthy_snapshot()
    look = replace(
        healthy.queue, seen=healthy.moment.plus(-14), lease_s=50.0, oldest_s=110.0, size=2
    )
    text = "\n".join(
        one.text
        for one in queue.view(
            replace(healthy, queue=replace(look, inflight=1)), PaneContext(76, 20)
        )
    )
    assert "for 1m" in text and "oldest 2m" in text
