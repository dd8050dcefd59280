"""Handlers of the commands, by command id.

The modules of dialogs are imported when a dialog is opened, so that they do not delay the first
frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.core.model.commands import Command, Verb
from console.core.model.processes import Instance
from console.core.model.snapshot import Snapshot
from console.core.model.views import RoleView
from console.core.records import replace
from console.ui.commands.time_handlers import back, earlier, goto, later, longer, on, shorter
from console.ui.dialogs import confirm_text
from console.ui.keymap import format_key

if TYPE_CHECKING:
    from console.ui.commands.context import CommandContext
    from console.ui.dialogs.palette import PaletteItem


def _selected_role(app: CommandContext) -> str:
    selection = app.main_screen.selection
    return selection.role if selection else ""


def ensure(app: CommandContext, snapshot: Snapshot) -> None:
    """Start the selected role if it does not run; idempotent, therefore without confirmation."""
    view = snapshot.role(_selected_role(app))
    if view is None:
        app.refuse("no role is selected")
        return
    name = view.role.name
    app.submit_in_background(Command(Verb.ENSURE, name, token=view.token), f"ensuring {name}")


def restart(app: CommandContext, snapshot: Snapshot) -> None:
    """Restart the selected instance, named by identity, after a confirmation."""
    _confirm_on_instance(app, snapshot, Verb.RESTART, confirm_text.restart_question, "restarting")


def kill(app: CommandContext, snapshot: Snapshot) -> None:
    """End the selected instance, named by identity, after a confirmation."""
    _confirm_on_instance(app, snapshot, Verb.KILL, confirm_text.kill_question, "ending")


def _confirm_on_instance(
    app: CommandContext,
    snapshot: Snapshot,
    verb: Verb,
    question: Callable[[Snapshot, RoleView, Instance], confirm_text.Question],
    doing: str,
) -> None:
    """Ask about the selected instance, and submit the command bound to its identity."""
    selected = confirm_text.selected_instance(snapshot, app.main_screen.selection)
    if isinstance(selected, str):
        app.refuse(selected)
        return
    view, instance = selected
    command = Command(verb, view.role.name, target=instance.identity, token=instance.token)
    app.confirm_and_submit(
        question(snapshot, view, instance), command, f"{doing} {view.role.name} {instance.pid}"
    )


def duplicates(app: CommandContext, snapshot: Snapshot) -> None:
    """End surplus instances after a confirmation that lists which end and which stay."""
    view = snapshot.role(_selected_role(app))
    if view is None or not view.surplus:
        name = view.role.name if view else "the selection"
        app.refuse(f"{name} has no surplus instance")
        return
    command = Command(Verb.END_DUPLICATES, view.role.name, token=view.token)
    app.confirm_and_submit(
        confirm_text.end_duplicates_question(snapshot, view),
        command,
        f"ending surplus {view.role.name}",
    )


def canary(app: CommandContext, snapshot: Snapshot) -> None:
    """Send a canary now."""
    app.submit_in_background(Command(Verb.CANARY), "sending a canary")


def baseline(app: CommandContext, snapshot: Snapshot) -> None:
    """Start a baseline, or stop the running one after a confirmation."""
    if snapshot.baseline.state == "collecting":
        app.confirm_and_submit(
            confirm_text.stop_baseline_question(snapshot),
            Command(Verb.BASELINE),
            "stopping the baseline",
        )
    else:
        app.submit_in_background(Command(Verb.BASELINE), "starting the baseline")


def daemon(app: CommandContext, snapshot: Snapshot) -> None:
    """Start the daemon, unless the monitors are run already."""
    if snapshot.daemon.running or snapshot.daemon.in_this_process:
        runner = (
            "this console" if snapshot.daemon.in_this_process else f"daemon {snapshot.daemon.pid}"
        )
        app.refuse(f"the monitors are run by {runner} already")
        return
    app.submit_in_background(Command(Verb.START_DAEMON), "starting the daemon")


def log(app: CommandContext, snapshot: Snapshot) -> None:
    """Open the output of the selected role."""
    from console.ui.dialogs.log import LogDialog

    role = _selected_role(app)
    if not role:
        app.refuse("no role is selected")
        return
    app.push_screen(
        LogDialog(role, app.ports.log_reader, app.line_styles, app.time_travel.past_moment)
    )


def why(app: CommandContext, snapshot: Snapshot) -> None:
    """Explain the selected role's problem or last death, at the moment that is shown."""
    from console.ui.dialogs.why import WhyDialog

    past = app.time_travel.past_snapshot
    view = (past or snapshot).role(_selected_role(app))
    if view is None:
        app.refuse("no role is selected")
        return

    def shown() -> Snapshot:
        return past or replace(app.latest_snapshot or snapshot, moment=app.ports.clock())

    app.push_screen(WhyDialog(view.role, shown, app.line_styles))


def handover(app: CommandContext, snapshot: Snapshot) -> None:
    """Open the hand-over of the moment that is shown."""
    from console.ui.dialogs.handover import HandoverDialog

    build, shown = app.ports.build_handover, app.time_travel.past_snapshot or snapshot
    if build is None:
        app.refuse("there is no ledger here to tell from")
        return
    last_viewed = app.ports.last_viewed
    app.push_screen(
        HandoverDialog(
            lambda since: build(shown, since), shown.moment, last_viewed, app.line_styles
        )
    )


def acknowledge(app: CommandContext, snapshot: Snapshot) -> None:
    """Acknowledge the alert that the header names, which is the first open one without a note."""
    fresh = [alert for alert in snapshot.alerts if not alert.acknowledged]
    if not fresh:
        app.refuse("every alert is noted already" if snapshot.alerts else "no alert stands")
        return
    app.submit_in_background(Command(Verb.ACKNOWLEDGE, fresh[0].key), f"noting: {fresh[0].title}")


def filter(app: CommandContext, snapshot: Snapshot) -> None:
    """Open the filter line."""
    app.main_screen.open_filter(app.refuse)


def sort(app: CommandContext, snapshot: Snapshot) -> None:
    """Sort the instances in the next sort order."""
    order = app.main_screen.cycle_sort_order()
    app.show_message(f"instances sorted by {order}" if order else "instances as they were found")


def freeze(app: CommandContext, snapshot: Snapshot) -> None:
    """Freeze the shown snapshot, or return to the current one."""
    app.toggle_freeze()


def redraw(app: CommandContext, snapshot: Snapshot) -> None:
    """Send the whole screen again."""
    app.repaint()


def zoom(app: CommandContext, snapshot: Snapshot) -> None:
    """Zoom the focused pane, or end the zoom."""
    app.main_screen.toggle_zoom()


def theme(app: CommandContext, snapshot: Snapshot) -> None:
    """Open the list of themes; the highlighted theme is applied as a preview."""
    _open_palette(app, _theme_items(app), "Themes")


def help(app: CommandContext, snapshot: Snapshot) -> None:
    """Open the help, with the text of the focused pane first."""
    from console.ui.dialogs.help import HelpDialog

    module = app.main_screen.pane_modules.get(app.main_screen.focused_pane_name)
    panes = tuple(app.main_screen.pane_modules.values())
    app.push_screen(
        HelpDialog(app.command_specs, panes, module.TITLE if module else "", app.line_styles)
    )


def palette(app: CommandContext, snapshot: Snapshot) -> None:
    """Open the list of commands and themes; a highlighted theme is applied as a preview."""
    from console.ui.dialogs.palette import PaletteItem

    items = [
        PaletteItem(entry.id, entry.label, entry.help, format_key(entry.key))
        for entry in app.command_specs
    ]
    _open_palette(app, [*items, *_theme_items(app)])


def _theme_items(app: CommandContext) -> list[PaletteItem]:
    from console.ui.dialogs.palette import PaletteItem

    names = sorted(app.themes, key=lambda name: (name != app.theme_name, name))
    notes = {app.theme_name: "worn now"}
    return [PaletteItem(f"theme:{name}", f"theme: {name}", notes.get(name, "")) for name in names]


def _open_palette(
    app: CommandContext, items: Sequence[PaletteItem], title: str = "Palette"
) -> None:
    from console.ui.dialogs.palette import PaletteDialog

    previous_theme = app.theme_name

    def lit(id: str) -> None:
        app.apply_theme(id.removeprefix("theme:") if id.startswith("theme:") else previous_theme)
        screen.line_view.line_styles = app.line_styles

    def done(id: str | None) -> None:
        if id is None or not id.startswith("theme:"):
            app.apply_theme(previous_theme)
        else:
            hint = f'theme = "{app.theme_name}" under [screen] keeps it'
            app.show_message(f"theme: {app.theme_name}; {hint}")
        if id is not None and not id.startswith("theme:"):
            app.call_later(app.action_command, id)

    screen = PaletteDialog(items, app.line_styles, lit, title)
    app.push_screen(screen, done)


def leave(app: CommandContext, snapshot: Snapshot) -> None:
    """End the console; the roles and the daemon go on."""
    app.exit_console()


HANDLERS: dict[str, Callable[[CommandContext, Snapshot], None]] = {
    handler.__name__: handler
    for handler in (
        help,
        ensure,
        restart,
        kill,
        log,
        leave,
        duplicates,
        canary,
        baseline,
        filter,
        sort,
        why,
        handover,
        acknowledge,
        earlier,
        later,
        back,
        on,
        goto,
        shorter,
        longer,
        freeze,
        redraw,
        zoom,
        palette,
        theme,
        daemon,
    )
}
