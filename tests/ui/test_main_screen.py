"""The main screen: verdict, filter, freeze, zoom, sizes, feeds, and repaints of changed cells."""

from __future__ import annotations

import asyncio
import re
from itertools import combinations, product
from typing import Any

import pytest
from textual.geometry import Region
from textual.screen import Screen
from ui_fixtures import Box, console, press, settle, shown

from console.core.model.processes import Identity, LookAlike
from console.core.model.roles import RoleState
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.records import replace
from console.core.text.formatting import format_clock
from console.core.trends import Trends
from console.ui import app as app_module
from console.ui.dialogs.confirm import ConfirmDialog
from console.ui.panes import PaneModule, discover, pane_name
from console.ui.ports import Publish
from console.ui.render.graphs import draw_time_axis
from console.ui.render.layout import SLOTS, PaneRequest, arrange_panes
from console.ui.render.styled_lines import (
    LineStyles,
    PaneContext,
    Selection,
    diff_strips,
    render_strip,
    styled_line,
)
from console.ui.widgets.line_view import LineView
from screenshots.generator.fixture_night import healthy_snapshot, make_worker
from screenshots.generator.fixture_trends import trends_until
from screenshots.generator.fixture_trouble import down_snapshot

SIZES = [(160, 50), (120, 40), (100, 30), (80, 24), (60, 20), (40, 10), (20, 5), (5, 3), (1, 1)]


async def test_first_two_rows_show_the_box_and_its_verdict() -> None:
    async with console(Box(down_snapshot())) as pilot:
        first, second = shown(pilot).splitlines()[:2]
        assert "robot-7" in first and "invoices" in first and "● LIVE" in first
        assert second.startswith(" ✖ DOWN ")
        assert "worker: not running; backoff" in second and "since 05:2" in second.replace(
            "05:1", "05:2"
        )


async def test_stale_snapshot_makes_the_verdict_unknown() -> None:
    box = Box()
    async with console(box) as pilot:
        box.late = 65.0
        assert box.app is not None
        box.app.redraw()
        await settle(pilot)
        assert "? STALE 1m" in shown(pilot)
        assert "? UNKNOWN" in shown(pilot)
        assert "no news for 1m; last seen: healthy" in shown(pilot)


async def test_screen_without_a_snapshot_submits_nothing() -> None:
    async def silent(publish: Publish) -> None:
        await asyncio.Event().wait()

    box = Box()
    async with console(box, feeds={"silent": silent}) as pilot:
        assert "waiting for the first look" in shown(pilot)
        await press(pilot, "e", "k", "question_mark", "escape", "f", "z", "l")
        assert box.asked == []
        assert "nothing has been seen yet" in shown(pilot) or "no role" in shown(pilot)


async def test_filter_shows_the_match_count_and_clears() -> None:
    async with console(Box()) as pilot:
        await press(pilot, "8", "slash", *"408")
        assert "3 of 13" in shown(pilot)
        assert "baseline-started" not in shown(pilot)
        await press(pilot, "enter")
        assert "filter in Events: 408" in shown(pilot)
        await press(pilot, "escape")
        assert "3 of 13" not in shown(pilot)
        assert "baseline-started" in shown(pilot)


async def test_footer_hides_letter_keys_while_a_filter_is_typed() -> None:
    async with console(Box()) as pilot:
        assert "k kill" in shown(pilot)
        await press(pilot, "slash")
        assert "Enter keep  Esc clear" in shown(pilot) and "k kill" not in shown(pilot)
        await press(pilot, "enter")
        assert "k kill" in shown(pilot) and "Enter keep" not in shown(pilot)


async def test_filter_shows_pasted_control_characters_escaped() -> None:
    from textual import events

    async with console(Box()) as pilot:
        await press(pilot, "slash")
        pilot.app.screen.focused.post_message(events.Paste("a\x1b]0;pwn\x07\nb"))  # type: ignore[union-attr]
        await settle(pilot)
        assert "a\\x1b]0;pwn\\x07" in shown(pilot)


async def test_freeze_holds_the_screen_and_targets_the_newest_snapshot() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "f")
        assert "FROZEN" in shown(pilot)
        box.news(verdict=Verdict.DOWN, roles=(replace(box.snapshot.roles[0], instances=()),))
        box.late = 300.0
        assert box.app is not None
        box.app.redraw()
        await settle(pilot)
        assert "HEALTHY" in shown(pilot) and "DOWN" not in shown(pilot)
        assert "FROZEN 5m" in shown(pilot)
        await press(pilot, "r")
        assert box.asked == []
        assert "has no instance" in shown(pilot) or "is gone" in shown(pilot)
        await press(pilot, "escape")
        assert "FROZEN" not in shown(pilot)


async def test_zoom_shows_one_pane_until_escape() -> None:
    async with console(Box()) as pilot:
        await press(pilot, "8", "z")
        assert "8 Events" in shown(pilot) and "2 Monitors" not in shown(pilot)
        await press(pilot, "6")
        assert "6 Baseline" in shown(pilot) and "8 Events" not in shown(pilot)
        await press(pilot, "escape")
        assert "2 Monitors" in shown(pilot)


async def test_folded_pane_unfolds_when_focused() -> None:
    async with console(Box(), size=(80, 24)) as pilot:
        assert "╭─ 6 Baseline" not in shown(pilot)
        await press(pilot, "6")
        assert "╭─ 6 Baseline" in shown(pilot)
        await press(pilot, "1", "tab", "tab")
        assert "╭─ 3 Queue" in shown(pilot)


def hung() -> Snapshot:
    """Return a snapshot without a baseline, with failures that need an extra line per pane."""
    healthy = healthy_snapshot()
    return replace(
        healthy,
        baseline=type(healthy.baseline)(),
        queue=replace(healthy.queue, state=HealthState.FAILING, reason="nothing finished for 4m"),
        watchdog=replace(healthy.watchdog, state=HealthState.FAILING, reason="silent for 4m"),
    )


@pytest.mark.parametrize("size", [(100, 30), (120, 40), (160, 50)])
async def test_panes_show_all_their_rows_when_others_have_spare_rows(size: tuple[int, int]) -> None:
    async with console(Box(hung()), size=size) as pilot:
        panes = pilot.app.screen.panes
        for name in ("queue", "watchdog", "processes"):
            assert panes[name].visible_row_count >= len(panes[name].rows), name


async def test_focused_baseline_pane_shows_every_metric() -> None:
    async with console(Box(), size=(80, 24)) as pilot:
        await press(pilot, "6")
        shows = pilot.app.screen.panes["baseline"]
        assert shows.visible_row_count >= len(shows.rows) and "restarts" in shown(pilot)
        assert "worker      ● READY" in shown(pilot)


async def test_zoomed_graphs_fill_the_screen_and_unzoom_restores_the_layout() -> None:
    box = Box()

    async def day(moment: object) -> Trends:
        return trends_until(box.snapshot.moment)

    async with console(box, size=(160, 50), load_trends=day) as pilot:
        await settle(pilot)
        trends = pilot.app.screen.panes["trends"]
        assert trends.visible_row_count == 10
        before = {name: pane.region for name, pane in pilot.app.screen.panes.items()}
        await press(pilot, "7", "z")
        assert len(trends.rows) == trends.visible_row_count > 40
        await press(pilot, "z", "1")
        assert before == {name: pane.region for name, pane in pilot.app.screen.panes.items()}


async def test_first_pane_regains_its_height_when_focused_again() -> None:
    healthy = healthy_snapshot()
    roles = tuple(
        replace(healthy.roles[0], role=replace(healthy.roles[0].role, name=f"worker{number}"))
        for number in range(6)
    )
    async with console(Box(replace(healthy, roles=roles)), size=(80, 24)) as pilot:
        first = pilot.app.screen.panes["processes"]
        before = first.size.height
        await press(pilot, "8")
        assert first.size.height < before
        await press(pilot, "1")
        assert first.size.height == before


def test_focused_pane_unfolds_when_the_first_pane_is_long() -> None:
    wishes = [PaneRequest(pane_name(pane), pane.SLOT, *pane.ROWS) for pane in discover()]
    wishes[0] = replace(wishes[0], wished=20)
    assert arrange_panes(wishes, 80, 19, "processes")["processes"].height == 12
    for wish in wishes[1:]:
        places = arrange_panes(wishes, 80, 19, wish.name)
        assert places[wish.name].height >= min(wish.least + 2, 9)
        assert places["processes"].height >= 4


@pytest.mark.parametrize("size", SIZES)
async def test_screen_draws_at_every_size(size: tuple[int, int]) -> None:
    async with console(Box(down_snapshot()), size=size) as pilot:
        text = shown(pilot)
        width, height = size
        if width >= 40 and height >= 10:
            assert "DOWN" in text
            assert "? help" in text and "q leave" in text
        for name in discover():
            assert name.TITLE in text or width < 40 or height < 10
        assert all(len(row) <= width for row in text.splitlines())
        if width <= 40:
            await press(pilot, "k", "escape", "question_mark", "escape", "colon", "escape", "l")


async def test_dialogs_show_their_keys_on_a_small_screen() -> None:
    async with console(Box(), size=(40, 10)) as pilot:
        await press(pilot, "r")
        assert "Restart worker 40864?" in shown(pilot)
        assert "more than fits" in shown(pilot) and "y  restart" in shown(pilot)
        await press(pilot, "escape", "colon", *["down"] * 99)
        assert "theme: sixteen" in shown(pilot) and "Enter  choose" in shown(pilot)


async def test_change_under_a_dialog_is_painted_at_most_four_times() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "r")
        painted = 0

        def count() -> None:
            nonlocal painted
            painted += 1

        pilot.app.post_display_hook = count  # type: ignore[method-assign]
        box.news(watchdog=replace(box.snapshot.watchdog, pid=27429))
        await pilot.pause(0.3)
        assert "PID 27429" in shown(pilot)
        assert 1 <= painted <= 4


async def test_dialog_is_never_painted_without_its_text() -> None:
    async with console(Box()) as pilot:
        frames: list[str] = []

        def keep() -> None:
            screen = pilot.app.screen
            if isinstance(screen, ConfirmDialog) and screen.line_view.size.height:
                strips = screen._compositor.render_strips()
                frames.append("\n".join(strip.text for strip in strips))

        pilot.app.post_display_hook = keep  # type: ignore[method-assign]
        await press(pilot, "r")
        assert frames and all("Restart worker 40864?" in frame for frame in frames)


async def test_snapshot_under_a_dialog_does_not_drop_dialog_updates() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "r")
        dialog, painted = pilot.app.screen, set[int]()

        def keep(screen: Screen[None], update: object) -> None:
            whole = [(y, 0, 0) for y in range(40)]
            painted.update(y for y, _, _ in getattr(update, "spans", whole))

        pilot.app._display = keep  # type: ignore[method-assign, assignment]
        for number in range(20):
            painted.clear()
            dialog.line_view.set_lines([styled_line(f"news {number}")])
            box.news(watchdog=replace(box.snapshot.watchdog, pid=27000 + number))
            async with asyncio.timeout(5):
                while dialog.line_view.region.y + 1 not in painted:
                    await pilot.pause(0.01)


async def test_repeated_resizes_end_in_the_right_layout() -> None:
    async with console(Box()) as pilot:
        for width, height in [(30, 8), (200, 60), (1, 1), (80, 24), (120, 40)]:
            await pilot.resize_terminal(width, height)
        await settle(pilot)
        assert "╭─ 8 Events" in shown(pilot)


@pytest.mark.parametrize("width", [40, 80, 99, 100, 120, 160])
def test_panes_never_overlap_or_leave_the_area(width: int) -> None:
    wishes = [PaneRequest(pane_name(pane), pane.SLOT, *pane.ROWS) for pane in discover()]
    for height, focused in product(range(60), ("", "events", "baseline")):
        places = list(arrange_panes(wishes, width, height, focused).values())
        for place in places:
            assert place.x + place.width <= width and place.y + place.height <= height
            assert place.height >= 1
        for one, other in combinations(places, 2):
            beside = one.x + one.width <= other.x or other.x + other.width <= one.x
            assert beside or one.y + one.height <= other.y or other.y + other.height <= one.y


@pytest.mark.parametrize("width", [100, 120, 160])
def test_full_width_pane_folds_before_the_columns(width: int) -> None:
    wishes = [PaneRequest(pane_name(pane), pane.SLOT, *pane.ROWS) for pane in discover()]
    high, low = arrange_panes(wishes, width, 60), arrange_panes(wishes, width, 20)
    assert high["events"].width == width and high["events"].height >= 5
    assert low["events"].height == 1 and low["processes"].height > 3
    assert arrange_panes(wishes, width, 20, "events")["events"].height >= 5


async def test_failed_feed_is_reported_and_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "FEED_RETRY_DELAY_S", 0.02)
    runs = 0
    box = Box()

    async def flaky(publish: Publish) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("disk [/] \x1b[2J gone")
        await again.wait()
        publish(box.snapshot)
        await asyncio.Event().wait()

    again = asyncio.Event()
    async with console(box, feeds={"all": box.feed, "canary": flaky}) as pilot:
        await pilot.pause(0.2)
        assert runs == 3
        assert "monitor canary failed: disk [/] \\x1b[2J gone" in shown(pilot)
        assert "HEALTHY" in shown(pilot)
        names = {worker.name for worker in pilot.app.workers if worker.group == "monitors"}
        assert names == {"all", "canary"}
        again.set()
        await settle(pilot)
        assert "monitor canary failed" not in shown(pilot)


async def test_click_selects_a_row_and_focuses_its_pane() -> None:
    async with console(Box()) as pilot:
        await press(pilot, "3")
        row = next(y for y, text in enumerate(shown(pilot).splitlines()) if " 27428 " in text)
        await pilot.click(offset=(10, row))
        await settle(pilot)
        assert "▸   27428" in shown(pilot)


async def test_pane_error_leaves_the_other_panes_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from console.ui.panes import queue

    monkeypatch.setattr(queue, "view", lambda snapshot, frame: 1 / 0)
    async with console(Box()) as pilot:
        assert "cannot be drawn: ZeroDivisionError" in shown(pilot)
        assert "8 Events" in shown(pilot)


async def test_only_changed_cells_are_repainted(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box()
    async with console(box):
        regions: list[Region] = []
        whole: list[str] = []

        def refresh(self: LineView, *areas: Region, **options: object) -> LineView:
            regions.extend(areas)
            if not areas:
                whole.append(str(self.id))
            return self

        monkeypatch.setattr(LineView, "refresh", refresh)
        box.news()
        assert (regions, whole) == ([], [])
        box.news(watchdog=replace(box.snapshot.watchdog, pid=27429))
        assert whole == []
        assert [(area.width, area.height) for area in regions] == [(1, 1)]


def test_diff_never_splits_a_wide_character() -> None:
    look = LineStyles()
    before, after = (
        render_strip(styled_line("ab漢字cd"), 12, look),
        render_strip(styled_line("ab漢子cd"), 12, look),
    )
    assert diff_strips(before, after) == [(4, 2)]
    assert diff_strips(before, before) == []
    assert diff_strips(
        render_strip(styled_line("漢"), 4, look), render_strip(styled_line("a"), 4, look)
    ) == [(0, 2)]


def test_diff_skips_long_unchanged_gaps() -> None:
    look = LineStyles()
    before = render_strip(styled_line("│" + " " * 30 + "│"), 32, look)
    assert diff_strips(before, render_strip(styled_line("|" + " " * 30 + "|"), 32, look)) == [
        (0, 1),
        (31, 1),
    ]
    near = render_strip(styled_line("a" + " " * 5 + "b"), 32, look)
    assert diff_strips(before, near) == [(0, 7), (31, 1)]


@pytest.mark.parametrize("pane", discover(), ids=pane_name)
class TestPaneContract:
    """The requirements on every pane module."""

    def test_module_constants_are_valid(self, pane: PaneModule) -> None:
        assert pane.TITLE and pane.HELP and pane.SLOT in SLOTS
        assert len(pane.KEY) == 1 and pane.KEY.isdigit()
        assert 1 <= pane.ROWS[0] <= pane.ROWS[1]
        assert sum(other.KEY == pane.KEY for other in discover()) == 1

    @pytest.mark.parametrize("width", [1, 20, 40, 70, 150])
    def test_draws_every_snapshot_at_every_width(self, pane: PaneModule, width: int) -> None:
        empty = replace(
            healthy_snapshot(),
            roles=(),
            monitors=(),
            events=(),
            queue=type(healthy_snapshot().queue)(""),
        )
        bare = replace(
            empty,
            watchdog=type(healthy_snapshot().watchdog)(),
            pipeline=type(healthy_snapshot().pipeline)(),
            baseline=type(healthy_snapshot().baseline)(),
            daemon=type(healthy_snapshot().daemon)(),
        )
        for snapshot in (healthy_snapshot(), down_snapshot(), empty, bare):
            for choice in (None, Selection("worker"), Selection("worker", make_worker(7).identity)):
                lines = pane.view(snapshot, PaneContext(width, 5, choice))
                assert lines and pane.summary(snapshot, PaneContext(width, 1)).text.strip()
                for one in [*lines, pane.summary(snapshot, PaneContext(width, 1))]:
                    assert render_strip(one, width, LineStyles()).cell_length == width

    def test_view_is_deterministic(self, pane: PaneModule) -> None:
        assert pane.view(healthy_snapshot(), PaneContext(70, 9)) == pane.view(
            healthy_snapshot(), PaneContext(70, 9)
        )


async def test_every_role_state_is_shown_as_a_word_and_a_symbol() -> None:
    box = Box()
    async with console(box) as pilot:
        for state in RoleState:
            box.news(roles=(replace(healthy_snapshot().roles[0], state=state),))
            await settle(pilot)
            assert any(f"{shape} {state.value}" in shown(pilot) for shape in "●▲✖?")


@pytest.mark.parametrize(
    ("text", "said"),
    [("06:00", "06:00"), ("soon", "soon"), ("9999-12-31T23:59:59-12:00", None), ("", "")],
)
def test_pipeline_pane_formats_valid_next_run_times(text: str, said: str | None) -> None:
    from console.ui.panes import pipeline

    healthy = healthy_snapshot()
    box = replace(healthy, pipeline=replace(healthy.pipeline, next_runs={"report": text}))
    last = pipeline.view(box, PaneContext(70, 9))[-1].text
    assert f"report {text if said is None else said}" in last


def test_processes_pane_shows_commands_from_the_script_on() -> None:
    from console.ui.panes import processes

    rows = [row.text for row in processes.view(healthy_snapshot(), PaneContext(120, 9))]
    assert any("48M  rpa_worker.py --server" in row for row in rows)


@pytest.mark.parametrize(
    ("width", "found"),
    [
        (100, "answered in 1.17 s: 0.31 queue, 0.86 work"),
        (76, "1.17 s: 0.31 queue, 0.86 work"),
        (66, "1.17 s: 0.31 queue"),
        (59, "1.17 s: 0.31 queue"),
        (46, "1.17 s"),
    ],
)
def test_canary_timing_is_shortened_to_fit_the_width(width: int, found: str) -> None:
    from console.ui.panes import monitors

    rows = [row.text for row in monitors.view(healthy_snapshot(), PaneContext(width, 9))]
    (canary,) = [row for row in rows if row.startswith("canary")]
    assert canary.endswith(f"  {found}") and len(canary) <= width


async def test_initial_snapshot_is_shown_without_feeds() -> None:
    box = Box()
    async with console(box, feeds={}, initial_snapshot=box.snapshot) as pilot:
        assert "waiting for the first look" not in shown(pilot)
        assert box.snapshot.verdict.value.upper() in shown(pilot)


async def test_feeds_start_after_the_initial_snapshot_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box, drawn, asked = Box(), [], []

    def display(app: app_module.ConsoleApp, _screen: object, update: Any) -> None:
        drawn.append(update.render_segments(app.console) if update else "")

    async def feed(_publish: Publish) -> None:
        asked.append("".join(drawn))
        await asyncio.Event().wait()

    monkeypatch.setattr(app_module.ConsoleApp, "_display", display)
    async with console(box, feeds={"one": feed}, initial_snapshot=box.snapshot):
        (drawn_before,) = asked
        assert box.snapshot.verdict.value.upper() in drawn_before


async def test_same_snapshot_from_two_feeds_is_published_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box, drawn = Box(), []
    publish = app_module.ConsoleApp.publish

    def counted(app: app_module.ConsoleApp, snapshot: Snapshot) -> None:
        drawn.append(snapshot)
        publish(app, snapshot)

    monkeypatch.setattr(app_module.ConsoleApp, "publish", counted)
    async with console(box, feeds={"one": box.feed, "two": box.feed}):
        assert drawn == [box.snapshot]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_latency_percentiles_are_shown_at_first(size: tuple[int, int]) -> None:
    box = Box()

    async def day(moment: object) -> Trends:
        return trends_until(box.snapshot.moment)

    async with console(box, size=size, load_trends=day) as pilot:
        await settle(pilot)
        trends = pilot.app.screen.panes["trends"]
        told = "\n".join(strip.text for strip in trends._strips)
        assert trends.is_folded == (size == (80, 24))
        assert "p50 " in told and re.search(r"p95 \d\.\d\d 6h", told)


async def test_hundred_columns_show_the_key_figures() -> None:
    async with console(Box(), size=(100, 30)) as pilot:
        text = shown(pilot)
        for fact in ("oldest 40s", "empty in 1m", "6 left", "latency 1.31 s", "ends 10:52"):
            assert fact in text, fact
        assert text.count("┃") >= 5


async def test_folded_panes_summarize_their_key_figures() -> None:
    async with console(Box(), size=(80, 24)) as pilot:
        text = shown(pilot)
        assert "waiting 3 · oldest 40s · empty in 1m · 6 may fail" in text
        assert "1 undecided · 2h28m of 8h · ends 10:52 · gaps 1 %" in text


def test_failing_queue_pane_begins_with_the_failure() -> None:
    from console.ui.panes import queue

    well, ill = (queue.view(one, PaneContext(43, 5)) for one in (healthy_snapshot(), hung()))
    assert "waiting" in well[0].text and "● ok" in well[-1].text
    assert "✖ failing" in ill[0].text and "nothing finished" in ill[1].text


def test_number_columns_are_aligned() -> None:
    from console.ui.panes import pipeline, processes

    healthy = healthy_snapshot()
    role = healthy.roles[0]
    young = make_worker(99, age_s=30.0, leased=False)
    pair = replace(healthy, roles=(replace(role, instances=(make_worker(), young), usage={}),))
    rows = [row.text for row in processes.view(pair, PaneContext(51, 9))]
    heads, old, new = rows[0], rows[2], rows[3]
    assert heads.index("PID") + 3 == old.index("40864") + 5 == new.index(" 99") + 3
    assert heads.index("UP") + 2 == old.index("3h07m") + 5 == new.index("30s") + 3
    assert "?" not in old  # a missing measurement is left blank
    held = replace(role, instances=(young,), surplus=frozenset({young.identity}))
    told = processes.view(replace(healthy, roles=(held,)), PaneContext(51, 9))
    assert any("surplus adopted" in row.text for row in told)

    channels = (("a", 278.6, "ok"), ("b", 343.338, "ok"), ("c", 3.0, "ok"))
    drawn = pipeline.view(
        replace(healthy, pipeline=replace(healthy.pipeline, channels=channels)), PaneContext(43, 9)
    )
    assert len({row.text.index(".") for row in drawn if row.is_item}) == 1


@pytest.mark.parametrize("cells", range(40))
def test_time_axis_labels_are_never_cut(cells: int) -> None:
    words = draw_time_axis(0.0, 60.0, cells)
    assert len(words) == cells
    assert all(re.fullmatch(r"╵\d\d:\d\d", word) for word in words.split())
    assert bool(words.strip()) == (cells >= 6)


async def test_baseline_pane_shows_the_longest_gap() -> None:
    healthy = healthy_snapshot()
    gap = (healthy.moment.plus(-5400.0), 720.0)
    async with console(
        Box(replace(healthy, baseline=replace(healthy.baseline, longest_gap=gap)))
    ) as pilot:
        assert f"longest gap {format_clock(gap[0])[:5]}, for 12m" in shown(pilot)


async def test_look_alikes_are_listed_as_not_counted() -> None:
    identity = Identity(4711, 1, "boot")
    beside = LookAlike(identity, "mallory", "another user's process", "python rpa_worker.py")
    box = Box()
    first, *rest = box.snapshot.roles
    box.snapshot = replace(box.snapshot, roles=(replace(first, look_alikes=(beside,) * 5), *rest))
    async with console(box) as pilot:
        text = shown(pilot)
    assert "not counted: PID 4711 of mallory, another user's process" in text
    assert "not counted: 2 more" in text
