"""What stood too close together, or went beyond its end, in the panes."""

from __future__ import annotations

import pytest

from console.core.frozen import replace
from console.core.model.samples import Health, HealthState
from console.ui.panes import baseline, monitors, queue
from console.ui.render.styled_lines import PaneContext
from screenshots.generator.fixture_night import healthy_snapshot


def test_monitors_that_fail_are_told_apart_in_one_line() -> None:
    calm = healthy_snapshot()
    bad = tuple(replace(one, health=Health(HealthState.FAILING, "x")) for one in calm.monitors)
    said = monitors.summary(replace(calm, monitors=bad), PaneContext(200, 1)).text
    assert "failing  " in said
    for one in bad:
        assert f"failing{one.name}" not in said


@pytest.mark.parametrize("width", [50, 76, 120])
def test_when_a_monitor_is_due_stands_apart_from_what_it_found(width: int) -> None:
    calm = healthy_snapshot()
    late = tuple(
        replace(one, next_run=calm.moment.plus(-5), result="97.7 % of 44") for one in calm.monitors
    )
    text = "\n".join(
        one.text for one in monitors.view(replace(calm, monitors=late), PaneContext(width, 20))
    )
    assert "due <10s ago " in text


def test_a_baseline_that_has_ended_took_its_time_and_no_more() -> None:
    calm = healthy_snapshot()
    base = calm.baseline
    assert base.started is not None
    ended = replace(base, state="passed", checkpoint=base.started.plus(180))
    later = replace(calm, baseline=ended, moment=base.started.plus(540))
    text = "\n".join(one.text for one in baseline.view(later, PaneContext(80, 20)))
    assert "3m of 3m" in text and "ended " in text
    early = replace(calm, baseline=ended, moment=base.started.plus(60))
    text = "\n".join(one.text for one in baseline.view(early, PaneContext(80, 20)))
    assert "1m of 3m" in text and "ends " in text


def test_a_task_in_work_is_as_old_as_it_is_by_now() -> None:
    calm = healthy_snapshot()
    look = replace(calm.queue, seen=calm.moment.plus(-14), lease_s=50.0, oldest_s=110.0, size=2)
    text = "\n".join(
        one.text
        for one in queue.view(replace(calm, queue=replace(look, inflight=1)), PaneContext(76, 20))
    )
    assert "for 1m" in text and "oldest 2m" in text
