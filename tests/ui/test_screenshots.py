"""The README's screenshots are equal to newly drawn ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DRAW = """
import asyncio, sys
from pathlib import Path
from screenshots.generator.generate import draw_screenshot
from screenshots.generator.fixture_night import healthy_snapshot
from screenshots.generator.fixture_trouble import down_snapshot
place = Path(sys.argv[1])
asyncio.run(draw_screenshot(healthy_snapshot(), place / "console-80x24-dark.svg", (80, 24)))
asyncio.run(draw_screenshot(down_snapshot(), place / "trouble-120x40-dark.svg", (120, 40)))
"""


def words(picture: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)<", picture.read_text(encoding="utf-8"))


def test_screenshots_are_up_to_date(tmp_path: Path) -> None:
    told = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    subprocess.run(
        [sys.executable, "-c", DRAW, str(tmp_path)], check=True, env={**told, "TZ": "UTC"}
    )
    for drawn in tmp_path.iterdir():
        assert words(drawn) == words(ROOT / "screenshots" / drawn.name), "make screenshots"


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "screenshots").glob("*.svg")), ids=lambda p: p.name
)
def test_every_screenshot_is_linked_from_the_readme(picture: Path) -> None:
    assert f"screenshots/{picture.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
