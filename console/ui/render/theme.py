"""Reads themes from `*.toml` files. The files are untrusted: one that is not valid in every part
yields a notice instead of a theme.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.style import Style
from textual.theme import BUILTIN_THEMES
from textual.theme import Theme as TextualTheme

from console.core.errors import ConsoleError
from console.core.records import Record
from console.core.text.formatting import sanitize_text

COLOUR_NAMES = (
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
_BASE_ANSI_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
ANSI_COLOURS = ("default", *_BASE_ANSI_COLOURS, *(f"bright_{name}" for name in _BASE_ANSI_COLOURS))
_HEX_PATTERN = re.compile(r"#[0-9a-fA-F]{6}")
_NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_MAX_FILE_BYTES = 64_000


class ThemeError(ConsoleError):
    """A theme file is invalid; the message names the key."""


class Theme(Record, frozen=True):
    """Ten colours, and whether the background is dark."""

    name: str
    dark: bool
    colours: Mapping[str, str]

    @property
    def is_ansi(self) -> bool:
        """Return True if the theme uses the 16 colours, whose shades the terminal defines."""
        return self.colours["text"] in ANSI_COLOURS

    def styles(self, colourless: bool = False) -> dict[str, Style]:
        """Return every style that a pane may name.

        `text`, `panel`, `select`, `border`, `focus` and the chips have a background, the others
        have none.
        """
        if colourless:
            return _colourless_styles()
        c = self.colours
        styles = {name: Style(color=c[name]) for name in COLOUR_NAMES[2:9]}
        for name in ("ok", "warn", "bad", "unknown"):
            # A terminal with 16 colours may show bold as bright: black would become grey and
            # unreadable.
            bold = not self.is_ansi
            styles[f"chip-{name}"] = Style(
                color=self._contrasting_colour(c[name]), bgcolor=c[name], bold=bold
            )
        return styles | {
            "text": Style(color=c["text"], bgcolor=c["background"]),
            "panel": Style(color=c["text"], bgcolor=c["panel"]),
            "select": self._selection_style(),
            "strong": Style(color=c["text"], bold=True),
            "key": Style(color=c["accent"], bold=True),
            "border": Style(color=c["muted"], bgcolor=c["background"], dim=self.is_ansi),
            "focus": Style(color=c["accent"], bgcolor=c["background"]),
        }

    def _selection_style(self) -> Style:
        if self.is_ansi:  # no pair of the 16 colours is readable in every terminal
            return Style(reverse=True)
        return Style(color=self.colours["text"], bgcolor=self.colours["selection"])

    def _contrasting_colour(self, background: str) -> str:
        if self.is_ansi:
            return "bright_white" if background in ("red", "blue", "magenta", "black") else "black"
        red, green, blue = (int(background[i : i + 2], 16) for i in (1, 3, 5))
        return "#000000" if red * 299 + green * 587 + blue * 114 > 110_000 else "#ffffff"

    def to_textual(self) -> TextualTheme:
        """Return the same colours as a theme for Textual's own widgets."""
        c = {key: f"ansi_{value}" if self.is_ansi else value for key, value in self.colours.items()}
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
            ansi=self.is_ansi,
            variables=dict(BUILTIN_THEMES["ansi-dark"].variables) if self.is_ansi else {},
        )


def _colourless_styles() -> dict[str, Style]:
    plain = dict.fromkeys(("text", "panel", "accent", "ok", "unknown", "focus"), Style())
    strong = dict.fromkeys(("strong", "key", "warn", "bad"), Style(bold=True))
    soft = dict.fromkeys(("muted", "border"), Style(dim=True))
    chips = {f"chip-{name}" for name in ("ok", "warn", "bad", "unknown")}
    inverse = dict.fromkeys((*chips, "select"), Style(reverse=True))
    return plain | strong | soft | inverse | {"focus": Style(bold=True)}


FALLBACK_THEME = Theme(
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
"""The theme that is used if no theme file can be read."""


def shipped_themes_path() -> Path:
    """Return the folder of the shipped themes: inside the package in a wheel, beside it in a
    checkout.
    """
    package = Path(__file__).resolve().parents[2]
    packaged = package / "themes"
    return packaged if packaged.is_dir() else package.parent / "themes"


def load_theme(path: Path) -> Theme:
    """Read one theme file. Raises ThemeError, which names the key."""
    if not path.is_file():  # opening a FIFO blocks until it has a writer
        raise ThemeError("is no regular file")
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
        if len(raw) > _MAX_FILE_BYTES:
            raise ThemeError("larger than a theme can be")
        data = tomllib.loads(raw.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ThemeError(sanitize_text(str(error) or type(error).__name__, 120)) from error
    return parse_theme(data)


def parse_theme(data: Mapping[str, Any]) -> Theme:
    """Return the theme that a parsed TOML table describes. Raises ThemeError."""
    for key in data:
        if key not in ("name", "dark", "colours"):
            raise ThemeError(f"{sanitize_text(key, 40)}: unknown key")
    name, dark, colours = data.get("name"), data.get("dark"), data.get("colours")
    if not isinstance(name, str) or not _NAME_PATTERN.fullmatch(name):
        raise ThemeError("name: must be small letters, digits and dashes")
    if not isinstance(dark, bool):
        raise ThemeError("dark: must be true or false")
    if not isinstance(colours, dict):
        raise ThemeError("colours: must be a table")
    for key in colours:
        if key not in COLOUR_NAMES:
            raise ThemeError(f"colours.{sanitize_text(key, 40)}: unknown key")
    checked = {key: _check_colour(key, colours.get(key)) for key in COLOUR_NAMES}
    if len({value in ANSI_COLOURS for value in checked.values()}) > 1:
        raise ThemeError("colours: either all #rrggbb or all names of the 16 colours")
    return Theme(name, dark, checked)


def _check_colour(key: str, value: object) -> str:
    if isinstance(value, str) and (value in ANSI_COLOURS or _HEX_PATTERN.fullmatch(value)):
        return value
    problem = "is missing" if value is None else f"{sanitize_text(repr(value), 40)} is not a colour"
    raise ThemeError(f"colours.{key}: {problem} (#rrggbb or a name of the 16 colours)")


def load_themes(directories: Iterable[Path]) -> tuple[dict[str, Theme], list[str]]:
    """Read all themes of the directories; return them by name, and a notice for each invalid file.

    A theme replaces a theme of the same name from an earlier directory.
    """
    themes = {FALLBACK_THEME.name: FALLBACK_THEME}
    notices = []
    for directory in directories:
        try:
            paths = sorted(directory.glob("*.toml"))
        except OSError as error:
            notices.append(f"themes: {sanitize_text(str(error), 200)}")
            continue
        for path in paths:
            try:
                theme = load_theme(path)
            except ThemeError as error:
                notices.append(f"theme {sanitize_text(str(path), 200)}: {error}")
            else:
                themes[theme.name] = theme
    return themes, notices
