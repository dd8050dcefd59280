"""Pictures of the screen, drawn by the program itself from a snapshot."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from textual.pilot import Pilot
from textual.strip import Strip

from console.core.frozen import replace
from console.core.model import Command, LogPage, Moment, Outcome, Snapshot
from console.core.trends import Trends
from console.ui.app import ConsoleApp
from console.ui.dialogs.confirm import Confirm
from console.ui.ports import Logs, Publish, Wiring
from console.ui.render.styled_lines import line, strip
from screenshots.generator.animated_svg import Film, Frame
from screenshots.generator.fixture_night import night
from screenshots.generator.fixture_story import killed, story
from screenshots.generator.fixture_trends import told, until
from screenshots.generator.fixture_trouble import trouble


def still(snapshot: Snapshot, theme: str = "dark", ascii: bool = False) -> Wiring:
    """A wiring whose only news is `snapshot`, at whose moment the clock stands still."""

    async def feed(publish: Publish) -> None:
        publish(snapshot)
        await asyncio.Event().wait()

    async def submit(command: Command) -> Outcome:
        view = snapshot.role(command.role)
        ends = [one for instance in view.instances for one in instance.processes] if view else []
        named = ", ".join(f"PID {one.pid} ({one.command[:40]}…)" for one in ends)
        return Outcome(command.dry_run, f"{command.role}: would end {named}")

    async def read_log(role: str, stream: str, offset: int | None) -> LogPage:
        return LogPage(f"{role}.{stream}.log")

    async def trends(moment: Moment | None) -> Trends:
        return told(snapshot) if moment is None else until(moment)

    return Wiring(
        {"picture": feed},
        submit,
        Logs(read_log),
        lambda: snapshot.moment,
        theme=theme,
        ascii=ascii,
        trends=trends,
    )


async def draw(
    snapshot: Snapshot,
    path: Path,
    size: tuple[int, int],
    theme: str = "dark",
    keys: tuple[str, ...] = (),
) -> None:
    """Save what the console shows of `snapshot`, after `keys`, as an SVG file."""
    app = ConsoleApp(still(snapshot, theme))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        frame = await _frame(pilot, 1.0)
    picture = Film(_ground(app)).svg([frame])
    await asyncio.to_thread(path.write_text, picture, encoding="utf-8")


async def _frame(pilot: Pilot[int], seconds: float) -> Frame:
    """What is on the screen when all of it is: a question's keys come last."""
    await pilot.pause(0.1)
    while isinstance(screen := pilot.app.screen, Confirm) and not screen.ready:
        await pilot.pause(0.1)
    return Frame(tuple(screen._compositor.render_strips()), seconds)


def _ground(app: ConsoleApp) -> str:
    """What a picture is drawn on; for a theme that leaves that to the terminal, black."""
    theme = app.themes[app.theme_name]
    return "#0c0c0c" if theme.ansi else theme.colours["background"]


async def film(path: Path, size: tuple[int, int] = (120, 36)) -> None:
    """Save the scripted night as an animated picture, played on the console itself."""
    scenes, frames = story(), []
    stage = still(scenes[0].snapshot)
    shown = [scenes[0].snapshot]

    async def past(around: Moment, way: int) -> Snapshot | None:
        return killed()

    async def trends(moment: Moment | None) -> Trends:
        return until(moment or shown[0].moment)

    def clock() -> Moment:
        return shown[0].moment

    app = ConsoleApp(replace(stage, clock=clock, past=past, trends=trends))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for scene in scenes:
            shown[0] = scene.snapshot
            await app.travel.refresh()
            app.publish(scene.snapshot)
            app.redraw()  # a film does not wait for the next frame of its own
            await pilot.press(*scene.keys)
            frames.append(await _frame(pilot, scene.seconds))
        await pilot.press("q")
    frames.append(Frame(_farewell(app, size), 3.0))
    picture = Film(_ground(app)).svg(frames)
    await asyncio.to_thread(path.write_text, picture, encoding="utf-8")


def _farewell(app: ConsoleApp, size: tuple[int, int]) -> tuple[Strip, ...]:
    """The shell again, with the console's last words."""
    words = ("$ rpa-console", app.farewell, "$ ")
    lines = [line(f" {text}") for text in words] + [line()] * (size[1] - len(words))
    return tuple(strip(one, size[0], app.look) for one in lines)


SIZES = ((40, 10), (80, 24), (100, 30), (120, 40), (160, 50))
THEMES = ("dark", "light", "high-contrast", "colour-blind-safe", "sixteen")


async def draw_all(directory: Path) -> None:
    """The README's pictures: one night at each size, in each theme, what `k` asks, a session."""
    await film(directory / "session.svg")
    for columns, rows in SIZES:
        path = directory / f"console-{columns}x{rows}-dark.svg"
        await draw(night(), path, (columns, rows))
    for theme in THEMES[1:]:
        await draw(night(), directory / f"console-120x40-{theme}.svg", (120, 40), theme)
    await draw(trouble(), directory / "trouble-120x40-dark.svg", (120, 40))
    await draw(night(), directory / "kill-120x40-dark.svg", (120, 40), keys=("k",))


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(draw_all(target))
