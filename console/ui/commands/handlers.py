"""What each command of the table does, by the command's id.

A dialog is imported when it is opened: the first frame is not to wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.core.frozen import replace
from console.core.model import Command, Snapshot, Verb
from console.ui.commands.time_handlers import back, earlier, goto, later, longer, on, shorter
from console.ui.dialogs import confirm_text
from console.ui.keymap import symbol

if TYPE_CHECKING:
    from console.ui.commands.context import CommandContext
    from console.ui.dialogs.palette import Offer


def _role(app: CommandContext) -> str:
    choice = app.board.choice
    return choice.role if choice else ""


def ensure(app: CommandContext, now: Snapshot) -> None:
    """Idempotent, so it does not ask."""
    view = now.role(_role(app))
    if view is None:
        app.refuse("no role is selected")
        return
    name = view.role.name
    app.order(Command(Verb.ENSURE, name, token=view.token), f"ensuring {name}")


def restart(app: CommandContext, now: Snapshot) -> None:
    """Asks, bound to the selected identity."""
    found = confirm_text.chosen(now, app.board.choice)
    if isinstance(found, str):
        app.refuse(found)
        return
    view, one = found
    command = Command(Verb.RESTART, view.role.name, target=one.identity, token=one.token)
    app.ask(confirm_text.restart(now, view, one), command, f"restarting {view.role.name} {one.pid}")


def kill(app: CommandContext, now: Snapshot) -> None:
    """Asks, bound to the selected identity."""
    found = confirm_text.chosen(now, app.board.choice)
    if isinstance(found, str):
        app.refuse(found)
        return
    view, one = found
    command = Command(Verb.KILL, view.role.name, target=one.identity, token=one.token)
    app.ask(confirm_text.kill(now, view, one), command, f"ending {view.role.name} {one.pid}")


def duplicates(app: CommandContext, now: Snapshot) -> None:
    """Asks, listing which end and which stay."""
    view = now.role(_role(app))
    if view is None or not view.surplus:
        name = view.role.name if view else "the selection"
        app.refuse(f"{name} has no surplus instance")
        return
    command = Command(Verb.END_DUPLICATES, view.role.name, token=view.token)
    app.ask(confirm_text.duplicates(now, view), command, f"ending surplus {view.role.name}")


def canary(app: CommandContext, now: Snapshot) -> None:
    """A canary at once."""
    app.order(Command(Verb.CANARY), "sending a canary")


def baseline(app: CommandContext, now: Snapshot) -> None:
    """Starts at once; stopping asks."""
    if now.baseline.state == "collecting":
        app.ask(confirm_text.stop_baseline(now), Command(Verb.BASELINE), "stopping the baseline")
    else:
        app.order(Command(Verb.BASELINE), "starting the baseline")


def daemon(app: CommandContext, now: Snapshot) -> None:
    """Only when nobody runs the monitors."""
    if now.daemon.running or now.daemon.here:
        who = "this console" if now.daemon.here else f"daemon {now.daemon.pid}"
        app.refuse(f"the monitors are run by {who} already")
        return
    app.order(Command(Verb.START_DAEMON), "starting the daemon")


def log(app: CommandContext, now: Snapshot) -> None:
    """Opens the selected role's output."""
    from console.ui.dialogs.log import Log

    role = _role(app)
    if not role:
        app.refuse("no role is selected")
        return
    app.push_screen(Log(role, app.wiring.logs, app.look, app.travel.away))


def why(app: CommandContext, now: Snapshot) -> None:
    """What is wrong with the selected role, or how it last died, at the moment that is shown."""
    from console.ui.dialogs.why import Why

    past = app.travel.past
    view = (past or now).role(_role(app))
    if view is None:
        app.refuse("no role is selected")
        return

    def shown() -> Snapshot:
        return past or replace(app.latest or now, moment=app.wiring.clock())

    app.push_screen(Why(view.role, shown, app.look))


def handover(app: CommandContext, now: Snapshot) -> None:
    """The hand-over of the moment that is shown."""
    from console.ui.dialogs.handover import HandOver

    tell, shown = app.wiring.handover, app.travel.past or now
    if tell is None:
        app.refuse("there is no ledger here to tell from")
        return
    looked = app.wiring.looked
    app.push_screen(HandOver(lambda since: tell(shown, since), shown.moment, looked, app.look))


def acknowledge(app: CommandContext, now: Snapshot) -> None:
    """The alert that the header names; the next one at the next press."""
    fresh = [alert for alert in now.alerts if not alert.acknowledged]
    if not fresh:
        app.refuse("every alert is noted already" if now.alerts else "no alert stands")
        return
    app.order(Command(Verb.ACKNOWLEDGE, fresh[0].key), f"noting: {fresh[0].title}")


def filter(app: CommandContext, now: Snapshot) -> None:
    """Opens the filter line."""
    app.board.ask_filter(app.refuse)


def sort(app: CommandContext, now: Snapshot) -> None:
    """By the next thing that there is to sort by."""
    order = app.board.sort()
    app.say(f"instances sorted by {order}" if order else "instances as they were found")


def freeze(app: CommandContext, now: Snapshot) -> None:
    """Holds the picture, or lets it go."""
    app.freeze()


def redraw(app: CommandContext, now: Snapshot) -> None:
    """Sends the whole screen again."""
    app.repaint()


def zoom(app: CommandContext, now: Snapshot) -> None:
    """One pane alone."""
    app.board.zoom()


def theme(app: CommandContext, now: Snapshot) -> None:
    """The palette's themes, each worn while it is lit."""
    _offer(app, _themes(app), "Themes")


def help(app: CommandContext, now: Snapshot) -> None:
    """The focused pane's text first."""
    from console.ui.dialogs.help import Help

    module = app.board.modules.get(app.board.focus_name)
    panes = tuple(app.board.modules.values())
    app.push_screen(Help(app.entries, panes, module.TITLE if module else "", app.look))


def palette(app: CommandContext, now: Snapshot) -> None:
    """Commands, and themes previewed while they are lit."""
    from console.ui.dialogs.palette import Offer

    offers = [Offer(one.id, one.label, one.help, symbol(one.key)) for one in app.entries]
    _offer(app, [*offers, *_themes(app)])


def _themes(app: CommandContext) -> list[Offer]:
    from console.ui.dialogs.palette import Offer

    names = sorted(app.themes, key=lambda name: (name != app.theme_name, name))
    worn = {app.theme_name: "worn now"}
    return [Offer(f"theme:{name}", f"theme: {name}", worn.get(name, "")) for name in names]


def _offer(app: CommandContext, offers: Sequence[Offer], title: str = "Palette") -> None:
    from console.ui.dialogs.palette import Palette

    worn = app.theme_name

    def lit(id: str) -> None:
        app.wear(id.removeprefix("theme:") if id.startswith("theme:") else worn)
        screen.pane.look = app.look

    def done(id: str | None) -> None:
        if id is None or not id.startswith("theme:"):
            app.wear(worn)
        else:
            keep = f'theme = "{app.theme_name}" under [screen] keeps it'
            app.say(f"theme: {app.theme_name}; {keep}")
        if id is not None and not id.startswith("theme:"):
            app.call_later(app.action_command, id)

    screen = Palette(offers, app.look, lit, title)
    app.push_screen(screen, done)


def leave(app: CommandContext, now: Snapshot) -> None:
    """Ends the console and nothing else."""
    app.leave()


DEEDS: dict[str, Callable[[CommandContext, Snapshot], None]] = {
    deed.__name__: deed
    for deed in (
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
