"""`demo`: runs the console on a temporary box of real processes.

A separate reaper process removes the box when the demo ends, even by SIGKILL.
"""

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

from console.cli.context import Options, current_actor, pass_options
from console.cli.output import fail, print_message, print_redacted
from console.core.exit_codes import FAILURE, USAGE

if TYPE_CHECKING:
    from console.system.box import Box

ROLES_AFTER_QUEUE = ("worker", "watchdog", "pipeline", "trickle")


@click.command()
@click.option("--fault", metavar="NAME", help="Inject what operators meet; `list` names them.")
@click.option("--headless", is_flag=True, help="No console: keep the box until end of input.")
@pass_options
def demo(options: Options, fault: str | None, headless: bool) -> None:
    """Open the console on an embedded box with real processes.

    Queue server, worker, watchdog, pipeline and a trickle of tasks run in a directory of their
    own, on a free loopback port; all of it is gone when the demo ends.
    """
    from console.cli.commands.tui import terminal_refusal
    from console.demo.faults import FAULTS

    if fault == "list":
        for name, fault_entry in FAULTS.items():
            print_redacted(f"{name:<16} {fault_entry.summary}")
        return
    if fault is not None and fault not in FAULTS:
        fail(f"there is no fault {fault!r}; there are: {', '.join(FAULTS)}", USAGE)
    if not headless and (refusal := terminal_refusal()):
        fail(f"{refusal}; try: rpa-console demo --headless", USAGE)
    with _self_cleaning_directory() as directory:
        code = _run_demo(directory, options, fault, headless)
    raise click.exceptions.Exit(code)


@contextmanager
def _self_cleaning_directory() -> Iterator[Path]:
    """Yield a new directory for a box.

    A reaper process ends the box and removes the directory when this process ends, even by
    SIGKILL.
    """
    from console.demo import reaper

    directory = Path(tempfile.mkdtemp(prefix="rpa-console-demo-"))
    read_fd, write_fd = os.pipe()
    reaper_process = subprocess.Popen(
        [
            sys.executable, reaper.__file__, "--directory", str(directory),
            "--life-fd", str(read_fd),
        ],
        env={**os.environ, "PYTHONPATH": ""},
        pass_fds=(read_fd,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    os.close(read_fd)
    try:
        yield directory
    finally:
        print_message("ending the demo's box …")
        os.close(write_fd)
        reaper_process.wait()


def _run_demo(directory: Path, options: Options, fault: str | None, headless: bool) -> int:
    from console.demo.environment import create_box, find_free_port
    from console.system.box import open_box
    from console.system.config.loader import load

    config = create_box(directory, find_free_port())
    print_message(f"the demo's box: {directory}")
    with open_box(load(config), directory / "state", config) as box:
        _start_roles(box)
        if fault is not None:
            _inject_fault(fault, directory)
        if headless:
            print_redacted(f"rpa-console --config {config} --state-dir {directory / 'state'}")
            sys.stdout.flush()
            sys.stdin.read()
            return 0
        from console.cli.commands.tui import run_console

        return run_console(box, options.read_only, False, None, False)


def _start_roles(box: Box) -> None:
    """Start the box's roles and its daemon with the commands that an operator uses.

    Prints each outcome. Ends the program if one of them fails.
    """
    from concurrent.futures import ThreadPoolExecutor

    from console.core.model.commands import Command, Outcome, Verb
    from console.runtime.commands import start_daemon
    from console.system.guard.guard import Guard

    guard, actor = Guard(box), current_actor("demo")

    def ensure(name: str) -> Outcome:
        return guard.carry_out(Command(Verb.ENSURE, name, actor))

    outcomes = [ensure("queue")]  # first: the other roles connect to its port
    with ThreadPoolExecutor() as pool:
        outcomes += pool.map(ensure, ROLES_AFTER_QUEUE)
    outcomes.append(start_daemon(box, actor))
    for outcome in outcomes:
        print_message(outcome.message)
    if not all(outcome.done for outcome in outcomes):
        fail("the demo's box cannot be started", FAILURE)


def _inject_fault(fault: str, directory: Path) -> None:
    from console.demo import faults

    try:
        print_message(faults.inject(fault, directory))
    except faults.ProcessNotRunning as error:
        print_message(f"fault not injected: {error}")
