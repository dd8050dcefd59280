"""Time travel, graphs, the why dialog, alerts and the keymap; refusals in the past."""

from __future__ import annotations

import asyncio

import pytest
from ui_fixtures import Box, console, press, shown

from console.core.model.commands import Command, Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import Alert, MetricView, Severity
from console.core.records import replace
from console.core.trends import SPANS_S, Trends
from console.ui.keymap import (
    COMMAND_SPECS,
    RESERVED_KEYS,
    build_command_specs,
    find_keymap_errors,
    format_key,
    normalize_key,
)
from console.ui.panes import events
from console.ui.panes import trends as pane
from console.ui.panes.queue import failures_left
from console.ui.render.graphs import (
    LEGEND,
    draw_meter,
    draw_sparkline,
    draw_verdict_strip_line,
    format_round_duration,
)
from console.ui.render.styled_lines import LineStyles, styled_line
from console.ui.render.styled_lines import PaneContext as Place
from console.ui.render.styled_lines import render_strip as drawn
from screenshots.generator.animated_svg import AnimatedSvg, Frame
from screenshots.generator.fixture_night import NOW, healthy_snapshot
from screenshots.generator.fixture_story import build_scenes, snapshot_after_death
from screenshots.generator.fixture_trends import build_day_trends, trends_until


class Traveller(Box):
    """A box with graphs and a past of one event."""

    asked_for: list[tuple[float, int]]
    broken: str = ""

    async def past(self, around: Moment, way: int) -> Snapshot | None:
        if self.broken:
            raise OSError(self.broken)
        self.asked_for.append((around.at - NOW.at, way))
        gone = snapshot_after_death()
        if way < 0:
            return gone if around.at > gone.moment.at else None
        if way > 0 or around.at > NOW.at:
            return None
        return replace(gone, moment=around)

    async def trends(self, moment: Moment | None) -> Trends:
        return trends_until(moment or NOW)


def traveller(**changes: object) -> Traveller:
    box = Traveller(**changes)  # type: ignore[arg-type]
    box.asked_for = []
    return box


def wired(box: Traveller) -> dict[str, object]:
    return {"load_past": box.past, "load_trends": box.trends}


async def test_past_is_shown_with_a_banner_and_escape_returns_to_now() -> None:
    box = traveller()
    async with console(box, **wired(box)) as pilot:
        await press(pilot, "comma")
        await pilot.pause(0.05)
        text = shown(pilot)
        assert "◆ PAST 02:14:08 · 3h07m ago · Esc is now" in text or "◆ PAST " in text
        assert "what was known at" in text and "✖ DOWN" in text and "● LIVE" not in text
        await press(pilot, "escape")
        assert "● LIVE" in shown(pilot) and "PAST" not in shown(pilot)
        assert "HEALTHY" in shown(pilot)


SIZES = [(120, 40), (80, 24), (60, 12), (40, 10), (30, 6), (40, 2)]


@pytest.mark.parametrize("size", SIZES)
async def test_past_is_marked_at_every_size(size: tuple[int, int]) -> None:
    box = traveller()
    async with console(box, size, **wired(box), read_only=size[1] == 10) as pilot:
        await press(pilot, "k", "escape")
        if size[1] > 10:
            assert "nothing was done" in shown(pilot)
        await press(pilot, "comma")
        await pilot.pause(0.05)
        first, last = shown(pilot).splitlines()[0], shown(pilot).splitlines()[-2]
        assert "◆ PAST" in first and "nothing was done" not in shown(pilot)
        assert size[1] != 10 or " RO " in first
        assert size[1] < 6 or last.startswith(" ◆ PAST ")
        await press(pilot, "e")
        last = shown(pilot).splitlines()[-2]
        assert size[1] < 6 or last.startswith(" ◆ PAST  ✖ ")
        await press(pilot, "escape")
        assert "PAST" not in shown(pilot) and "past" not in shown(pilot)


async def test_late_outcome_keeps_the_past_banner() -> None:
    box = traveller(hold=asyncio.Event())
    async with console(box, (40, 10), **wired(box)) as pilot:
        await press(pilot, "c", "comma")
        await pilot.pause(0.05)
        assert shown(pilot).splitlines()[-2].startswith(" ◆ PAST  ▲ sending a canary")
        assert box.hold is not None
        box.hold.set()
        await pilot.pause(0.05)
        assert shown(pilot).splitlines()[-2].startswith(" ◆ PAST  ● done as asked")


async def test_steps_are_relative_to_the_shown_moment_and_end_at_now() -> None:
    box = traveller()
    async with console(box, **wired(box)) as pilot:
        await press(pilot, "less_than_sign")
        await pilot.pause(0.05)
        await press(pilot, "less_than_sign")
        await pilot.pause(0.05)
        await press(pilot, "greater_than_sign")
        await pilot.pause(0.05)
        assert box.asked_for == [(-600.0, 0), (-1200.0, 0), (-600.0, 0)]
        await press(pilot, "full_stop")
        await pilot.pause(0.05)
        assert "this is now" in shown(pilot) and "● LIVE" in shown(pilot)
        await press(pilot, "comma")
        await pilot.pause(0.05)
        await press(pilot, "comma")
        await pilot.pause(0.05)
        assert "nothing is known of what was before" in shown(pilot)


async def test_goto_key_jumps_to_the_entered_moment() -> None:
    box = traveller()
    async with console(box, **wired(box)) as pilot:
        await press(pilot, "g", *"25:99", "enter")
        assert "is no time" in shown(pilot) and box.asked_for == []
        await press(pilot, *["backspace"] * 5, *"3h")
        assert "what was known at " in shown(pilot)
        await press(pilot, "enter")
        await pilot.pause(0.05)
        assert box.asked_for == [(-10_800.0, 0)]
        assert "◆ PAST" in shown(pilot).splitlines()[0]
        await press(pilot, "g", "escape", "g", "enter")
        assert len(box.asked_for) == 1 and "◆ PAST" in shown(pilot)


async def test_footer_lists_the_time_keys_in_the_past() -> None:
    box = traveller()
    async with console(box, **wired(box)) as pilot:
        await press(pilot, "comma")
        await pilot.pause(0.05)
        foot = shown(pilot).splitlines()[-1]
        assert foot.startswith(" Esc now  , earlier  . later  < 10 min back  > 10 min on  g go to")
        assert "restart" not in foot and "kill" not in foot and "? help" in foot
        await press(pilot, "escape")
        foot = shown(pilot).splitlines()[-1]
        assert "e ensure" in foot and "Esc" not in foot


async def test_commands_are_refused_in_the_past() -> None:
    box = traveller()
    async with console(box, **wired(box)) as pilot:
        await press(pilot, "comma")
        await pilot.pause(0.05)
        for entry in COMMAND_SPECS:
            if entry.changes_box:
                await press(pilot, entry.key, "y")
                assert f": {entry.label} was not sent; Esc is now" in shown(pilot), entry.id
        assert box.asked == []
        await press(pilot, "f")
        assert "stands still already" in shown(pilot)
        box.news(host="elsewhere")
        assert "elsewhere" not in shown(pilot)


async def test_unreadable_past_shows_the_error() -> None:
    box = traveller()
    box.broken = "disk \x1b[2J gone"
    async with console(box, **wired(box)) as pilot:
        await press(pilot, "comma")
        await pilot.pause(0.05)
        assert "the past cannot be read: disk \\x1b[2J gone" in shown(pilot)
        assert "● LIVE" in shown(pilot)


async def test_time_keys_do_nothing_without_a_past() -> None:
    async with console(Box()) as pilot:
        await press(pilot, "comma", "full_stop")
        assert "● LIVE" in shown(pilot) and "nothing is known of the past yet" in shown(pilot)


async def test_graphs_change_their_time_span() -> None:
    box = traveller()
    async with console(box, **wired(box)) as pilot:
        assert "1h [ ]" in shown(pilot) and " 6h " in shown(pilot)
        assert "·" * 12 in shown(pilot)
        await press(pilot, "right_square_bracket", "right_square_bracket", "right_square_bracket")
        assert "24h [ ]" in shown(pilot)
        assert "p50 " in shown(pilot) and "p95" in shown(pilot)
        strip = shown(pilot).splitlines()[3]
        assert all(shape in strip for shape in "▁▅·R")
        await press(pilot, *["left_square_bracket"] * 4)
        assert "1h [ ]" in shown(pilot)


async def test_graphs_are_drawn_in_ascii() -> None:
    box = traveller()
    async with console(box, ascii=True, **wired(box)) as pilot:
        assert shown(pilot).isascii()
        strip = shown(pilot).splitlines()[3]
        assert all(shape in strip for shape in "_=.R")


@pytest.mark.parametrize("span", SPANS_S)
@pytest.mark.parametrize("width", [1, 30, 57, 69, 93])
@pytest.mark.parametrize("height", [1, 4, 12])
def test_the_trends_pane_fits(span: float, width: int, height: int) -> None:
    place = Place(width, height, None, build_day_trends(), span)
    for one in [*pane.view(healthy_snapshot(), place), pane.summary(healthy_snapshot(), place)]:
        assert drawn(one, width, LineStyles()).cell_length == width
    if width >= 57:
        for one in pane.view(healthy_snapshot(), place):
            assert len(one.text) <= width, one.text
    assert len(draw_verdict_strip_line(build_day_trends(), width)) >= 1


def test_sparkline_bars_are_visible_and_never_reach_the_top() -> None:
    assert draw_sparkline((0, None, 5, 10), 0, 10) == ["▁ ▄▇"]
    assert draw_sparkline((0, 10), 0, 10, 2) == [" ▇", "▁█"]
    assert draw_sparkline((3, 3), 3, 3) == ["▁▁"]
    assert "R restarted" in LEGEND


@pytest.mark.parametrize(
    ("metric", "picture"),
    [
        (MetricView("success_rate", 98.2, "%", ">= 95", "pass", 9), "━━━━┃━━━──"),
        (MetricView("latency_s", 1.3, "s", "< 5", "pass", 9), "━───┃─────"),
        (MetricView("latency_s", 40.0, "s", "< 5", "fail", 9), "━━━━┃━━━━━"),
        (MetricView("restarts", 0.0, "", "<= 0", "undecided", 0), "┃─────────"),
        (MetricView("uptime", None, "%", ">= 100", "undecided", 0), "─────────┃"),
        (MetricView("odd", 1.0, "", "soon", "undecided", 0), "──────────"),
    ],
)
def test_meters_mark_their_target(metric: MetricView, picture: str) -> None:
    assert "".join(text for text, _ in draw_meter(metric, 10)) == picture


@pytest.mark.parametrize(
    ("value", "n", "target", "left"),
    [
        (98.2, 212, ">= 95", 6),
        (100.0, 20, ">= 95", 1),
        (90.0, 20, ">= 95", -1),
        (None, 0, ">= 95", None),
        (98.0, 100, "< 5", None),
        (98.0, 100, "later", None),
    ],
)
def test_failures_left_counts_the_remaining_allowed_failures(
    value: float | None, n: int, target: str, left: int | None
) -> None:
    assert failures_left(MetricView("success_rate", value, "%", target, "pass", n)) == left


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(21_600.000004, "6h"), (21_599.999996, "6h"), (900.0, "15m"), (90.2, "90s"), (0.0, "0s")],
)
def test_durations_are_rounded(seconds: float, said: str) -> None:
    assert format_round_duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "figure"),
    [(0.13051, "0.131"), (1.30512, "1.305"), (99.954, "99.95"), (100.0, "100"), (1786.0, "1786")],
)
def test_metric_values_take_at_most_five_cells(value: float, figure: str) -> None:
    assert MetricView("latency_s", value, "s", "< 5", "pass", 9).formatted_value == figure


# --- event rows -----------------------------------------------------------------------------


def test_event_row_separates_the_actor_from_the_reason() -> None:
    for actor in ("console:root@pts/0", "console:margarethe@pts/12"):
        one = Event(EventKind.BASELINE_STARTED, NOW, "", actor, "6 h")
        text = events._event_row(one, 120).text
        assert text.endswith(" 6 h") and f"{actor[:17]}" in text


@pytest.mark.parametrize(
    ("verdict", "word", "style"),
    [("healthy", "● HEALTHY", "ok"), ("down", "✖ DOWN", "bad"), ("degraded", "▲ DEGRADED", "warn")],
)
def test_verdict_event_shows_the_verdict_in_its_colour(verdict: str, word: str, style: str) -> None:
    data = {"verdict": verdict}
    one = Event(EventKind.VERDICT_CHANGED, NOW, "", "daemon", "all roles run", data=data)
    row = events._event_row(one, 120)
    assert f"{word}: all roles run" in row.text
    assert {name for text, name in row.spans if verdict in text.lower() or "-ch" in text} == {style}
    odd = replace(one, data={"verdict": ["\x1b"]})
    assert "all roles run" in events._event_row(odd, 120).text


# --- why and alerts -------------------------------------------------------------------------


async def test_why_dialog_shows_the_causal_chain() -> None:
    async with console(Box()) as pilot:
        await press(pilot, "w")
        text = shown(pilot)
        for part in ("Why · worker", "symptom", "detector", "rule", "action", "outcome"):
            assert part in text
        assert "PID 39120 was gone: killed by signal 9" in text
        await press(pilot, "pagedown", "escape")
        assert "Why · worker" not in shown(pilot)


async def test_why_dialog_shows_the_current_failure() -> None:
    one = healthy_snapshot().roles[0].instances[0]
    stall = Event(
        EventKind.STALLED, NOW.plus(-300.0), "worker", "daemon", "4 wait, none was taken",
        one.identity, 41, id=99,
    )  # fmt: skip
    box = Box(replace(healthy_snapshot(), events=(*healthy_snapshot().events, stall)))
    async with console(box) as pilot:
        await press(pilot, "w")
        text = shown(pilot)
        assert "PID 40864 lives and does no work: 4 wait, none was taken" in text
        assert "ledger #99" in text and "a person must act" in text


async def test_why_dialog_updates_with_the_box() -> None:
    before = healthy_snapshot()
    dead = Event(
        EventKind.DIED, NOW.plus(-1.0), "worker", "shim", "killed by signal 9",
        before.roles[0].instances[0].identity, 41, {"uptime_s": 900.0}, id=98,
    )  # fmt: skip
    box = Box(replace(before, events=(*before.events, dead)))
    async with console(box) as pilot:
        await press(pilot, "w")
        assert "due in 4s" in shown(pilot)
        box.late = 2.0
        async with asyncio.timeout(10):
            while "due in 2s" not in shown(pilot):
                await pilot.pause(0.05)
        again = Event(EventKind.STARTED, NOW.plus(4.0), "worker", "policy", "restart 1 of 3",
                      Identity(50_001, 9, "b"), 42, id=99)  # fmt: skip
        box.late = 6.0
        box.news(events=(*box.snapshot.events, again))
        async with asyncio.timeout(10):
            while "policy started PID 50001" not in shown(pilot):
                await pilot.pause(0.05)
        assert "due in" not in shown(pilot) and "PID 50001 runs" in shown(pilot)


async def test_alerts_are_counted_and_acknowledged_one_by_one() -> None:
    stand = (
        Alert("worker.down", Severity.CRITICAL, "worker is down", "gone", NOW),
        Alert("queue.long", Severity.WARNING, "the queue is too long", "30 wait", NOW),
    )
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "a")
        assert "no alert stands" in shown(pilot)
        box.news(alerts=stand)
        assert "▲ 2 alerts: worker is down" in shown(pilot)
        assert "▲ the queue is too long for 2s: 30 wait" in shown(pilot)
        await press(pilot, "a")
        assert box.asked == [Command(Verb.ACKNOWLEDGE, "worker.down", "console:ana@pts/3")]
        box.news(alerts=(replace(stand[0], acknowledged="ana"), stand[1]))
        assert "▲ 2 alerts, 1 noted: the queue is too long" in shown(pilot)
        box.news(alerts=(replace(stand[0], acknowledged="ana"),))
        assert "1 alert, noted" in shown(pilot) and "noted by ana: gone" in shown(pilot)
        await press(pilot, "a")
        assert "every alert is noted already" in shown(pilot)


async def test_idle_queue_with_waiting_tasks_shows_stuck() -> None:
    healthy = healthy_snapshot()
    idle = replace(healthy.queue, last_finished=NOW.plus(-900.0))
    async with console(Box(replace(healthy, queue=idle))) as pilot:
        assert "▲ stuck? last task 15m ago while 3 wait" in shown(pilot)


# --- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ensur": "E"}, "screen.keys.ensur: no such command"),
        ({"kill": "delete"}, "screen.keys.kill: 'delete' erases"),
        ({"restart": "backspace"}, "screen.keys.restart: 'backspace' erases"),
        ({"log": "5"}, "screen.keys.log: '5' always"),
        ({"log": "tab"}, "screen.keys.log: 'tab' always"),
        ({"why": "r"}, "screen.keys.why: 'r' is the key of restart already"),
        ({"zoom": "?"}, "screen.keys.zoom: '?' is the key of help already"),
        ({"zoom": "E", "freeze": "E"}, "'E' is the key of"),
        ({"zoom": "\x1b[2J"}, r"'\\x1b[2J' is no key"),
        ({"zoom": ""}, "is no key"),
    ],
)
def test_invalid_keymap_names_the_key(keys: dict[str, str], said: str) -> None:
    assert any(said in one for one in find_keymap_errors(keys)), find_keymap_errors(keys)


def test_valid_keymap_is_accepted() -> None:
    assert find_keymap_errors({}) == []
    assert find_keymap_errors({"ensure": "E", "kill": "ctrl+k", "zoom": "+", "filter": "f3"}) == []
    assert find_keymap_errors({"ensure": "r", "restart": "e"}) == []
    assert next(one for one in build_command_specs({"zoom": "+"}) if one.id == "zoom").key == "plus"
    assert format_key(normalize_key("?")) == "?"
    assert not set(RESERVED_KEYS) & {
        key for one in COMMAND_SPECS for key in (one.key, *one.other_keys)
    }


# --- animated SVG and the why dialog's layout -----------------------------------------------


def test_animated_svg_draws_each_row_once() -> None:
    rows = tuple(drawn(styled_line(text), 20, LineStyles()) for text in ("a <b>", "same", ""))
    other = (*rows[:1], rows[1], drawn(styled_line("new"), 20, LineStyles()))
    picture = AnimatedSvg("#000000").render([Frame(rows, 1.0), Frame(other, 3.0)])
    assert picture.count(">same<") == 1 and picture.count("a &lt;b&gt;") == 1
    assert "@keyframes k1" in picture and "25.00%{visibility:visible}" in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert len(build_scenes()) >= 6


async def test_why_dialog_wraps_text_on_a_small_screen() -> None:
    async with console(Box(), size=(40, 10)) as pilot:
        await press(pilot, "w")
        screen = pilot.app.screen
        told = [one.text for one in screen.line_view.lines]  # type: ignore[attr-defined]
        assert any(text.split()[:1] == ["symptom"] and len(text.split()) == 2 for text in told)
        assert max(len(text.rstrip()) for text in told) > 28 and len(told) < 30
