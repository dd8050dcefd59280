"""Untrusted text, themes and terminals: escaped when shown, never interpreted."""

from __future__ import annotations

import ast
import unicodedata
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.color import Color, ColorSystem
from textual.pilot import Pilot
from ui_fixtures import Box, console, press, settle, shown, themes

from console.core.model.commands import Outcome
from console.core.model.events import Event, EventKind
from console.core.model.logs import LogPage
from console.core.model.processes import Instance
from console.core.model.snapshot import Snapshot
from console.core.model.views import Alert, Severity
from console.core.records import asdict, replace
from console.ui.render.styled_lines import _sanitize
from console.ui.render.theme import (
    COLOUR_NAMES,
    FALLBACK_THEME,
    ThemeError,
    load_themes,
    parse_theme,
    shipped_themes_path,
)
from screenshots.generator.fixture_night import NOW, healthy_snapshot, make_process
from screenshots.generator.fixture_trouble import down_snapshot

PAYLOADS = [
    "\x1b]0;pwn\x07",
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x9b31m\x90q\x9c",
    "nul\x00bs\x08bel\x07vt\x0bdel\x7f",
    "rlo \u202egnp.exe\u202c lri \u2066x\u2069",
    "zero\u200bwidth\u200d\ufeff \u2028\u2029",
    "[/] [red]markup[/red] [@click=app.quit]x[/]",
    "tag \U000e0041 private \ue000 surrogate \udcff",
    "漢字テスト🎉 wide",
    "e\u0301 combining " + "a" + "\u0300" * 30,
    "\r\n\t two\nlines",
]


def hostile(text: str) -> Snapshot:
    """Return a snapshot with the same untrusted text in every field that can carry such text."""
    healthy = healthy_snapshot()
    base = make_process(40864, 1, "x", 100.0)
    instance = Instance("worker", (replace(base, argv=("python", text)),))
    view = replace(
        healthy.roles[0],
        instances=(instance,),
        reason=text,
        role=replace(healthy.roles[0].role, name=text),
        lease=replace(healthy.roles[0].lease, reason=text),
        last_death=Event(EventKind.DIED, NOW, text, text, text),
    )
    return replace(
        healthy,
        host=text,
        box=text,
        reasons=(text, text),
        roles=(view,),
        queue=replace(healthy.queue, url=text, reason=text),
        watchdog=replace(healthy.watchdog, reason=text, anomalies=(text, text)),
        pipeline=replace(
            healthy.pipeline,
            mode=text,
            reason=text,
            anomalies=(text,),
            channels=((text, 1.0, text),),
            next_runs={text: text},
        ),
        baseline=replace(
            healthy.baseline,
            reason=text,
            metrics=(replace(healthy.baseline.metrics[0], name=text, unit=text, target=text),),
        ),
        monitors=(replace(healthy.monitors[0], name=text, result=text),),
        events=(Event(EventKind.REFUSED, NOW, text, text, text),),
        notices=(text,),
        alerts=(Alert(text, Severity.CRITICAL, text, text, NOW, text),),
    )


def raw(pilot: Pilot[int]) -> str:
    """Return every control or invisible character that would reach the terminal."""
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co"}
    return "".join(
        char
        for screen in pilot.app.screen_stack
        for strip in screen._compositor.render_strips()
        for char in strip.text
        if unicodedata.category(char) in bad
    )


async def test_control_characters_do_not_reach_the_terminal() -> None:
    box = Box()
    async with console(box, size=(160, 50)) as pilot:
        for text in map("".join, zip(PAYLOADS[::2], [*PAYLOADS[1::2], ""], strict=True)):
            box.outcome = Outcome(False, text, 1)
            box.pages = [LogPage(text, (text, text), 0, 9, 9), LogPage(text, error=text)]
            snapshot = hostile(text)
            box.news(**asdict(snapshot))
            assert raw(pilot) == ""
            for keys in (("home", "e", "r"), ("escape", "l"), ("escape", "w"), ("escape",)):
                await press(pilot, *keys)
                assert raw(pilot) == ""
            assert pilot.app.return_code is None
            strips = pilot.app.screen._compositor.render_strips()
            assert {cell_len(strip.text) for strip in strips} == {160}


async def test_markup_is_shown_as_text() -> None:
    async with console(Box(hostile("[/] [@click=app.quit]x[/]")), size=(200, 50)) as pilot:
        assert "[/] [@click=app.quit]x[/]" in shown(pilot)


async def test_screen_handles_long_command_lines_and_300_instances() -> None:
    healthy = healthy_snapshot()
    many = tuple(
        Instance(
            "worker", (make_process(1000 + n, 1, "python rpa_worker.py " + "x" * 10_000, n + 1.0),)
        )
        for n in range(300)
    )
    surplus = tuple(one.identity for one in many[1:])
    view = replace(healthy.roles[0], instances=many, surplus=surplus)
    box = Box(replace(healthy, roles=(view,)))
    async with console(box) as pilot:
        assert "300/1" in shown(pilot) and "more" in shown(pilot)
        await press(pilot, "end")
        assert "▸    1299" in shown(pilot)
        assert "╭─ 2 Monitors" in shown(pilot)
        await press(pilot, "x")
        assert "Cancel" in shown(pilot) and "y  end them" in shown(pilot)
        await press(pilot, "escape", "slash", *"1234")
        assert "1 of" in shown(pilot)


async def test_truncated_text_ends_in_an_ellipsis() -> None:
    async with console(Box(hostile("x" * 500)), size=(80, 24)) as pilot:
        for row in shown(pilot).splitlines():
            if "xxxx" in row:
                assert "…" in row


@pytest.mark.parametrize(
    "snapshot", [healthy_snapshot(), down_snapshot()], ids=["night", "trouble"]
)
async def test_ascii_mode_draws_only_ascii(snapshot: Snapshot) -> None:
    async with console(Box(snapshot), ascii=True, size=(80, 24)) as pilot:
        assert shown(pilot).isascii()
        assert "o READY" in shown(pilot) and "+- 1 Processes" in shown(pilot)
        for keys in (("k",), ("escape", "question_mark"), ("escape", "colon"), ("escape", "l")):
            await press(pilot, *keys)
            assert shown(pilot).isascii()


def test_every_screen_glyph_has_an_ascii_replacement() -> None:
    """No glyph of the screen is replaced with `?`, because `?` means unknown."""
    for path in (Path(__file__).parents[2] / "console" / "ui").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                shown_so = _sanitize(node.value, True)
                assert shown_so.count("?") == node.value.count("?"), (path, node.value)


async def test_ascii_mode_keeps_wide_text_aligned() -> None:
    async with console(Box(hostile("漢字")), ascii=True) as pilot:
        assert shown(pilot).isascii()
        assert "????" in shown(pilot)


async def test_no_color_uses_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with console(Box()) as pilot:
        for strip in pilot.app.screen._compositor.render_strips():
            for segment in strip:
                style = segment.style
                assert style is None or style.color is None or style.color.is_default
                assert style is None or style.bgcolor is None or style.bgcolor.is_default
        rows = [
            segment.text
            for strip in pilot.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style and segment.style.reverse
        ]
        assert any("HEALTHY" in row for row in rows) and any("40864" in row for row in rows)


# --- themes ---------------------------------------------------------------------------------


def test_shipped_themes_load_without_notices() -> None:
    found, notices = load_themes([shipped_themes_path()])
    assert notices == []
    assert set(found) == {"dark", "light", "high-contrast", "colour-blind-safe", "sixteen"}
    assert found["dark"] == FALLBACK_THEME
    assert found["sixteen"].is_ansi


async def test_every_theme_can_be_previewed_and_selected() -> None:
    box = Box()
    async with console(box, theme="sixteen") as pilot:
        assert box.app is not None
        for name in box.app.themes:
            await press(pilot, "t", *name[:4])
            assert box.app.theme_name == name  # previewed while highlighted
            await press(pilot, "enter", "k")
            assert f'theme: {name}; theme = "{name}" under [screen] keeps it' in shown(pilot)
            assert "Kill worker" in shown(pilot) and "HEALTHY" in shown(pilot)
            await press(pilot, "escape")
        await press(pilot, "t", *"light", "escape")
        assert box.app.theme_name == name


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("name", ["dark", "light", "high-contrast", "colour-blind-safe"])
@pytest.mark.parametrize("ground", ["background", "panel", "selection"])
@pytest.mark.parametrize("system", [ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT])
def test_theme_colours_have_enough_contrast(name: str, ground: str, system: ColorSystem) -> None:
    """The contrast holds in true colour and after rounding to 256 colours."""
    theme = load_themes([shipped_themes_path()])[0][name]
    colours = {
        key: Color.parse(value).downgrade(system).get_truecolor().hex
        for key, value in theme.colours.items()
    }
    for ink in ("text", "muted", "accent", "ok", "warn", "bad", "unknown"):
        pair = sorted((_luminance(colours[ink]), _luminance(colours[ground])))
        contrast = (pair[1] + 0.05) / (pair[0] + 0.05)
        assert contrast >= (3.0 if ground == "selection" else 4.5), (ink, round(contrast, 2))


GOOD = {"name": "mine", "dark": True, "colours": dict.fromkeys(COLOUR_NAMES, "#123456")}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": 3}, "name"),
        ({"name": "../x"}, "name"),
        ({"dark": "yes"}, "dark"),
        ({"colours": "red"}, "colours"),
        ({"colours": {**GOOD["colours"], "ok": "grün"}}, "colours.ok"),  # type: ignore[dict-item]
        ({"colours": {**GOOD["colours"], "ok": 1}}, "colours.ok"),  # type: ignore[dict-item]
        ({"colours": {**GOOD["colours"], "okay": "red"}}, "colours.okay"),  # type: ignore[dict-item]
        ({"colours": {"ok": "#123456"}}, "colours.background: is missing"),
        ({"colours": {**GOOD["colours"], "ok": "red"}}, "either all"),  # type: ignore[dict-item]
        ({"extra": 1}, "extra"),
    ],
)
def test_invalid_theme_error_names_the_key(change: dict[str, object], named: str) -> None:
    with pytest.raises(ThemeError, match=named):
        parse_theme({**GOOD, **change})


@pytest.mark.parametrize(
    "text",
    ["", "name = ", "\x00", "a = " + "[" * 9000, "name = 'x'\n" * 9000, "[colours]\nok = 'red'\n"],
)
def test_invalid_theme_file_is_a_notice(tmp_path: Path, text: str) -> None:
    found, notices = load_themes(themes(tmp_path, "mine.toml", text))
    assert set(found) == {"dark"}
    assert len(notices) == 1 and "mine.toml: " in notices[0] and len(notices[0]) < 500


async def test_default_theme_is_used_when_the_chosen_one_is_invalid(tmp_path: Path) -> None:
    where = themes(tmp_path, "mine.toml", "[colours]\nok = 'red'\n")
    async with console(Box(), theme_directories=where, theme="mine", size=(200, 40)) as pilot:
        assert "mine.toml" in shown(pilot)
        assert pilot.app.theme == "console-dark"
        await settle(pilot)
        assert "HEALTHY" in shown(pilot)


def test_unreadable_theme_paths_are_notices_and_missing_directories_not(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "d.toml").mkdir()
    found, notices = load_themes([tmp_path / "nowhere", tmp_path])
    assert set(found) == {"dark"}
    assert len(notices) == 2


async def test_operator_theme_replaces_a_shipped_theme(tmp_path: Path) -> None:
    colours = "\n".join(f'{key} = "#0000{number:02x}"' for number, key in enumerate(COLOUR_NAMES))
    where = themes(tmp_path, "dark.toml", f'name = "dark"\ndark = true\n[colours]\n{colours}\n')
    box = Box()
    async with console(box, theme_directories=where):
        assert box.app is not None
        assert box.app.themes["dark"].colours["ok"] == "#000005"


async def test_palette_previews_themes_and_restores_the_old_one() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "ctrl+p", *"theme: l")
        assert pilot.app.theme == "console-light"
        await press(pilot, "escape")
        assert pilot.app.theme == "console-dark"
        await press(pilot, "colon", *"theme: l", "enter")
        assert pilot.app.theme == "console-light"


async def test_palette_runs_commands() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "colon", *"ensure", "enter")
        assert [command.verb.value for command in box.asked] == ["ensure"]
        await press(pilot, "colon", "down", "down", "enter")
        assert "Restart worker 40864?" in shown(pilot)
        await press(pilot, "escape", "colon", *"no such thing", "enter")
        assert "no such command" in shown(pilot)
