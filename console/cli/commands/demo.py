"""`demo`: the console on a box of its own: real processes, gone when it ends, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.context import Options, actor, pass_options
from console.cli.output import fail, put, say
from console.core.exit_codes import FAILURE, USAGE

if TYPE_CHECKING:
    from console.system.box import Box

ROLES = ("worker", "watchdog", "pipeline", "trickle")


@click.command()
@click.option("--fault", metavar="NAME", help="Inject what operators meet; `list` names them.")
@click.option("--headless", is_flag=True, help="No console: keep the box until end of input.")
@pass_options
def demo(options: Options, fault: str | None, headless: bool) -> None:
    """Open the console on an embedded box with real processes.

    Queue server, worker, watchdog, pipeline and a trickle of tasks run in a directory of their
    own, on a free loopback port; all of it is gone when the demo ends.
    """
    from console.cli.commands.tui import refuse_terminal
    from console.demo.faults import FAULTS

    if fault == "list":
        for name, known in FAULTS.items():
            put(f"{name:<16} {known.summary}")
        return
    if fault is not None and fault not in FAULTS:
        fail(f"there is no fault {fault!r}; there are: {', '.join(FAULTS)}", USAGE)
    if not headless and (refusal := refuse_terminal()):
        fail(f"{refusal}; try: rpa-console demo --headless", USAGE)
    with _kept_directory() as directory:
        code = _run(directory, options, fault, headless)
    raise click.exceptions.Exit(code)


@contextmanager
def _kept_directory() -> Iterator[Path]:
    """A directory whose box a keeper ends when this process ends, even by SIGKILL."""
    from console.demo import reaper

    directory = Path(tempfile.mkdtemp(prefix="rpa-console-demo-"))
    reading, writing = os.pipe()
    watcher = subprocess.Popen(
        [
            sys.executable, reaper.__file__, "--directory", str(directory),
            "--life-fd", str(reading),
        ],
        env={**os.environ, "PYTHONPATH": ""},
        pass_fds=(reading,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    os.close(reading)
    try:
        yield directory
    finally:
        say("ending the demo's box …")
        os.close(writing)
        watcher.wait()


def _run(directory: Path, options: Options, fault: str | None, headless: bool) -> int:
    from console.demo.environment import free_port, write_box
    from console.system.box import open_box
    from console.system.config.loader import load

    config = write_box(directory, free_port())
    say(f"the demo's box: {directory}")
    with open_box(load(config), directory / "state", config) as box:
        _start(box)
        if fault is not None:
            _inject(fault, directory)
        if headless:
            put(f"rpa-console --config {config} --state-dir {directory / 'state'}")
            sys.stdout.flush()
            sys.stdin.read()
            return 0
        from console.cli.commands.tui import show

        return show(box, options.read_only, False, None, False)


def _start(box: Box) -> None:
    """Start the box's roles the way an operator would."""
    from concurrent.futures import ThreadPoolExecutor

    from console.core.model import Command, Outcome, Verb
    from console.runtime.commands import start_daemon
    from console.system.guard.guard import Guard

    guard, who = Guard(box), actor("demo")

    def ensure(name: str) -> Outcome:
        return guard.carry_out(Command(Verb.ENSURE, name, who))

    outcomes = [ensure("queue")]  # or the others would meet a closed port first
    with ThreadPoolExecutor() as pool:
        outcomes += pool.map(ensure, ROLES)
    outcomes.append(start_daemon(box, who))
    for outcome in outcomes:
        say(outcome.message)
    if not all(outcome.done for outcome in outcomes):
        fail("the demo's box cannot be started", FAILURE)


def _inject(fault: str, directory: Path) -> None:
    from console.demo import faults

    try:
        say(faults.inject(fault, directory))
    except faults.NotThere as error:
        say(f"fault not injected: {error}")
