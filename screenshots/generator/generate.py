"""Draws the screenshots: runs the console on fixed snapshots and saves the screen as SVG."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from textual.pilot import Pilot
from textual.strip import Strip

from console.core.model.commands import Command, Outcome
from console.core.model.logs import LogPage
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.records import replace
from console.core.trends import Trends
from console.ui.app import ConsoleApp
from console.ui.dialogs.confirm import ConfirmDialog
from console.ui.ports import ConsolePorts, LogReader, Publish
from console.ui.render.styled_lines import render_strip, styled_line
from screenshots.generator.animated_svg import AnimatedSvg, Frame
from screenshots.generator.fixture_night import healthy_snapshot
from screenshots.generator.fixture_story import build_scenes, snapshot_after_death
from screenshots.generator.fixture_trends import trends_for_snapshot, trends_until
from screenshots.generator.fixture_trouble import down_snapshot


def build_fixed_ports(
    snapshot: Snapshot, theme: str = "dark", ascii_only: bool = False
) -> ConsolePorts:
    """Return console ports that publish only `snapshot`, with the clock fixed at its moment."""

    async def feed(publish: Publish) -> None:
        publish(snapshot)
        await asyncio.Event().wait()

    async def submit(command: Command) -> Outcome:
        view = snapshot.role(command.role)
        processes = (
            [process for instance in view.instances for process in instance.processes]
            if view
            else []
        )
        names = ", ".join(f"PID {process.pid} ({process.command[:40]}…)" for process in processes)
        return Outcome(command.dry_run, f"{command.role}: would end {names}")

    async def read_log(role: str, stream: str, offset: int | None) -> LogPage:
        return LogPage(f"{role}.{stream}.log")

    async def trends(moment: Moment | None) -> Trends:
        return trends_for_snapshot(snapshot) if moment is None else trends_until(moment)

    return ConsolePorts(
        {"picture": feed},
        submit,
        LogReader(read_log),
        lambda: snapshot.moment,
        theme=theme,
        ascii=ascii_only,
        load_trends=trends,
    )


async def draw_screenshot(
    snapshot: Snapshot,
    path: Path,
    size: tuple[int, int],
    theme: str = "dark",
    keys: tuple[str, ...] = (),
) -> None:
    """Save the screen of the console for `snapshot`, after `keys`, as an SVG file."""
    app = ConsoleApp(build_fixed_ports(snapshot, theme))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        frame = await _capture_frame(pilot, 1.0)
    picture = AnimatedSvg(_background_colour(app)).render([frame])
    await asyncio.to_thread(path.write_text, picture, encoding="utf-8")


async def _capture_frame(pilot: Pilot[int], seconds: float) -> Frame:
    """Return the screen once it is complete: a confirm dialog shows its keys last."""
    await pilot.pause(0.1)
    while isinstance(screen := pilot.app.screen, ConfirmDialog) and not screen.is_readable:
        await pilot.pause(0.1)
    return Frame(tuple(screen._compositor.render_strips()), seconds)


def _background_colour(app: ConsoleApp) -> str:
    """Return the background of a screenshot; black if the theme leaves it to the terminal."""
    theme = app.themes[app.theme_name]
    return "#0c0c0c" if theme.is_ansi else theme.colours["background"]


async def draw_animation(path: Path, size: tuple[int, int] = (120, 36)) -> None:
    """Run the scripted night in the console, and save it as an animated SVG file."""
    scenes, frames = build_scenes(), []
    ports = build_fixed_ports(scenes[0].snapshot)
    shown = [scenes[0].snapshot]

    async def past(around: Moment, way: int) -> Snapshot | None:
        return snapshot_after_death()

    async def trends(moment: Moment | None) -> Trends:
        return trends_until(moment or shown[0].moment)

    def clock() -> Moment:
        return shown[0].moment

    app = ConsoleApp(replace(ports, clock=clock, load_past=past, load_trends=trends))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for scene in scenes:
            shown[0] = scene.snapshot
            await app.time_travel.refresh_trends()
            app.publish(scene.snapshot)
            app.redraw()  # do not wait for the console's next frame
            await pilot.press(*scene.keys)
            frames.append(await _capture_frame(pilot, scene.duration_s))
        await pilot.press("q")
    frames.append(Frame(_farewell_strips(app, size), 3.0))
    picture = AnimatedSvg(_background_colour(app)).render(frames)
    await asyncio.to_thread(path.write_text, picture, encoding="utf-8")


def _farewell_strips(app: ConsoleApp, size: tuple[int, int]) -> tuple[Strip, ...]:
    """Return the screen after the exit: the shell, with the console's exit message."""
    texts = ("$ rpa-console", app.exit_message, "$ ")
    lines = [styled_line(f" {text}") for text in texts] + [styled_line()] * (size[1] - len(texts))
    return tuple(render_strip(line, size[0], app.line_styles) for line in lines)


SCREEN_SIZES = ((40, 10), (80, 24), (100, 30), (120, 40), (160, 50))
THEME_NAMES = ("dark", "light", "high-contrast", "colour-blind-safe", "sixteen")


async def draw_all(directory: Path) -> None:
    """Save all screenshots of the README in a directory.

    They are the animated session, the healthy night in each size and in each theme, the box in
    trouble, and the question of the `k` key.
    """
    await draw_animation(directory / "session.svg")
    for columns, rows in SCREEN_SIZES:
        path = directory / f"console-{columns}x{rows}-dark.svg"
        await draw_screenshot(healthy_snapshot(), path, (columns, rows))
    for theme in THEME_NAMES[1:]:
        await draw_screenshot(
            healthy_snapshot(), directory / f"console-120x40-{theme}.svg", (120, 40), theme
        )
    await draw_screenshot(down_snapshot(), directory / "trouble-120x40-dark.svg", (120, 40))
    await draw_screenshot(
        healthy_snapshot(), directory / "kill-120x40-dark.svg", (120, 40), keys=("k",)
    )


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(draw_all(target))
