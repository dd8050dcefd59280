"""Themes from `*.toml`: untrusted files, each either a whole theme or a notice."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.style import Style
from textual.theme import BUILTIN_THEMES
from textual.theme import Theme as TextualTheme

from console.core.frozen import frozen
from console.core.text.formatting import visible

COLOURS = (
    "background",
    "panel",
    "text",
    "muted",
    "accent",
    "ok",
    "warn",
    "bad",
    "unknown",
    "selection",
)
_BASIC = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
ANSI = ("default", *_BASIC, *(f"bright_{name}" for name in _BASIC))
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LIMIT = 64_000


class ThemeError(Exception):
    """A theme file that is not one; the text names the key."""


@frozen
class Theme:
    """Ten colours and whether the ground is dark."""

    name: str
    dark: bool
    colours: Mapping[str, str]

    @property
    def ansi(self) -> bool:
        """It leaves the shades of the 16 colours to the terminal."""
        return self.colours["text"] in ANSI

    def styles(self, colourless: bool = False) -> dict[str, Style]:
        """Every style that a pane may name: grounds carry a background, the others do not."""
        if colourless:
            return _colourless()
        c = self.colours
        styles = {name: Style(color=c[name]) for name in COLOURS[2:9]}
        for name in ("ok", "warn", "bad", "unknown"):
            # Among 16 colours bold may mean bright: black would turn grey, and unreadable.
            bold = not self.ansi
            styles[f"chip-{name}"] = Style(color=self._ink(c[name]), bgcolor=c[name], bold=bold)
        return styles | {
            "text": Style(color=c["text"], bgcolor=c["background"]),
            "panel": Style(color=c["text"], bgcolor=c["panel"]),
            "select": self._selected(),
            "strong": Style(color=c["text"], bold=True),
            "key": Style(color=c["accent"], bold=True),
            "border": Style(color=c["muted"], bgcolor=c["background"], dim=self.ansi),
            "focus": Style(color=c["accent"], bgcolor=c["background"]),
        }

    def _selected(self) -> Style:
        if self.ansi:  # no pair of the 16 colours can be read in every terminal's shades
            return Style(reverse=True)
        return Style(color=self.colours["text"], bgcolor=self.colours["selection"])

    def _ink(self, ground: str) -> str:
        if self.ansi:
            return "bright_white" if ground in ("red", "blue", "magenta", "black") else "black"
        red, green, blue = (int(ground[i : i + 2], 16) for i in (1, 3, 5))
        return "#000000" if red * 299 + green * 587 + blue * 114 > 110_000 else "#ffffff"

    def textual(self) -> TextualTheme:
        """The same colours for Textual's own widgets."""
        c = {key: f"ansi_{value}" if self.ansi else value for key, value in self.colours.items()}
        return TextualTheme(
            name=f"console-{self.name}",
            primary=c["accent"],
            accent=c["accent"],
            foreground=c["text"],
            background=c["background"],
            surface=c["panel"],
            panel=c["panel"],
            success=c["ok"],
            warning=c["warn"],
            error=c["bad"],
            dark=self.dark,
            ansi=self.ansi,
            variables=dict(BUILTIN_THEMES["ansi-dark"].variables) if self.ansi else {},
        )


def _colourless() -> dict[str, Style]:
    plain = dict.fromkeys(("text", "panel", "accent", "ok", "unknown", "focus"), Style())
    strong = dict.fromkeys(("strong", "key", "warn", "bad"), Style(bold=True))
    soft = dict.fromkeys(("muted", "border"), Style(dim=True))
    chips = {f"chip-{name}" for name in ("ok", "warn", "bad", "unknown")}
    inverse = dict.fromkeys((*chips, "select"), Style(reverse=True))
    return plain | strong | soft | inverse | {"focus": Style(bold=True)}


FALLBACK = Theme(
    "dark",
    True,
    {
        "background": "#11151c",
        "panel": "#20242b",
        "text": "#d5dbe5",
        "muted": "#8a94a3",
        "accent": "#6fb3ff",
        "ok": "#5fd38d",
        "warn": "#f2b84b",
        "bad": "#ff6b6b",
        "unknown": "#b79cff",
        "selection": "#343b46",
    },
)
"""Worn when no theme file can be read."""


def shipped_themes() -> Path:
    """The folder of the themes that come with the program: in the wheel, or in a checkout."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"


def load(path: Path) -> Theme:
    """Read one theme file. Raises ThemeError, which names the key."""
    if not path.is_file():  # to open a FIFO waits for a writer
        raise ThemeError("is no regular file")
    try:
        with path.open("rb") as file:
            raw = file.read(_LIMIT + 1)
        if len(raw) > _LIMIT:
            raise ThemeError("larger than a theme can be")
        data = tomllib.loads(raw.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ThemeError(visible(str(error) or type(error).__name__, 120)) from error
    return parse(data)


def parse(data: Mapping[str, Any]) -> Theme:
    """A theme from its table. Raises ThemeError."""
    for key in data:
        if key not in ("name", "dark", "colours"):
            raise ThemeError(f"{visible(key, 40)}: unknown key")
    name, dark, colours = data.get("name"), data.get("dark"), data.get("colours")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ThemeError("name: must be small letters, digits and dashes")
    if not isinstance(dark, bool):
        raise ThemeError("dark: must be true or false")
    if not isinstance(colours, dict):
        raise ThemeError("colours: must be a table")
    for key in colours:
        if key not in COLOURS:
            raise ThemeError(f"colours.{visible(key, 40)}: unknown key")
    checked = {key: _colour(key, colours.get(key)) for key in COLOURS}
    if len({value in ANSI for value in checked.values()}) > 1:
        raise ThemeError("colours: either all #rrggbb or all names of the 16 colours")
    return Theme(name, dark, checked)


def _colour(key: str, value: object) -> str:
    if isinstance(value, str) and (value in ANSI or _HEX.fullmatch(value)):
        return value
    found = "is missing" if value is None else f"{visible(repr(value), 40)} is not a colour"
    raise ThemeError(f"colours.{key}: {found} (#rrggbb or a name of the 16 colours)")


def load_all(directories: Iterable[Path]) -> tuple[dict[str, Theme], list[str]]:
    """Themes by name, later directories over earlier ones, and a notice for each broken file."""
    themes = {FALLBACK.name: FALLBACK}
    notices = []
    for directory in directories:
        try:
            paths = sorted(directory.glob("*.toml"))
        except OSError as error:
            notices.append(f"themes: {visible(str(error), 200)}")
            continue
        for path in paths:
            try:
                theme = load(path)
            except ThemeError as error:
                notices.append(f"theme {visible(str(path), 200)}: {error}")
            else:
                themes[theme.name] = theme
    return themes, notices
