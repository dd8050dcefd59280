"""Pictures of the screen, drawn by the program itself from a snapshot."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from console.core.model import Command, LogPage, Moment, Outcome, Snapshot
from console.core.trends import Trends
from console.ui.app import ConsoleApp
from console.ui.scripted import night, trouble
from console.ui.scripted_day import day
from console.ui.wiring import Publish, Wiring


def still(snapshot: Snapshot, theme: str = "dark", ascii: bool = False) -> Wiring:
    """A wiring whose only news is `snapshot`, at whose moment the clock stands still."""

    async def feed(publish: Publish) -> None:
        publish(snapshot)
        await asyncio.Event().wait()

    async def submit(command: Command) -> Outcome:
        return Outcome(False, "this is a picture", 1)

    async def read_log(role: str, stream: str, offset: int | None) -> LogPage:
        return LogPage(f"{role}.{stream}.log")

    async def trends(until: Moment | None) -> Trends:
        return day()

    return Wiring(
        {"picture": feed},
        submit,
        read_log,
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
        await pilot.pause()
        picture = app.export_screenshot(title="rpa-console")
    await asyncio.to_thread(path.write_text, picture, encoding="utf-8")


SIZES = ((80, 24), (120, 40), (160, 50))
THEMES = ("dark", "light", "high-contrast", "colour-blind-safe", "sixteen")


async def draw_all(directory: Path) -> None:
    """The README's pictures: one night at each size, in each theme, and what `k` asks."""
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
