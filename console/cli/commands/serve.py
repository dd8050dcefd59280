"""`serve`: serves the console to browsers, on the loopback interface only."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, print_message, print_raw
from console.core.exit_codes import FAILURE, USAGE


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, show_default="any free one",
    help="The port on 127.0.0.1.",
)  # fmt: skip
@click.option("--writable", is_flag=True, help="Allow what changes the box; else it only looks.")
@pass_options
@click.pass_context
def serve(context: click.Context, options: Options, port: int, writable: bool) -> None:
    """Show the console in a browser, read-only, to every user who has the printed address.

    It listens on 127.0.0.1 alone; from another machine, forward the port over SSH. Needs the
    extra `web`.
    """
    if find_spec("aiohttp") is None:
        fail("serve needs the extra 'web': pip install 'rpa-console[web]'", USAGE)
    with options.open_box(ephemeral=True) as box:  # reports an unusable box before serving
        if writable:
            options.require_writable(box)
    import asyncio

    from console.web.server import serve as serve_until_signal

    def announce(address: str, bound: int) -> None:
        print_raw(address)
        access = "WRITABLE" if writable else "read-only"
        print_message(f"{access} for whoever has this address; Ctrl-C ends it")
        print_message("from another machine, run this there, then open the address there:")
        print_message(f"  {_ssh_forward_command(bound)}")

    try:
        console = _console_command(context, options, writable)
        asyncio.run(serve_until_signal(console, port, announce, print_message))
    except OSError as error:
        fail(f"127.0.0.1:{port}: {error.strerror or error}", FAILURE)


def _console_command(context: click.Context, options: Options, writable: bool) -> list[str]:
    """Return the command line of the served console: this program with the options given here."""
    params = context.find_root().params
    from console.system.daemon_role import program_command

    command = [*program_command(), "--state-dir", str(options.find_state_dir())]
    config: Path | None = options.find_config()
    if config is not None:
        command += ["--config", str(config)]
    if not writable:
        command.append("--read-only")
    if params["no_daemon"]:
        command.append("--no-daemon")
    if params["theme"]:
        command += ["--theme", params["theme"]]
    if params["ascii_only"]:
        command.append("--ascii")
    if params["mouse"] is not None:
        command.append("--mouse" if params["mouse"] else "--no-mouse")
    return command


def _ssh_forward_command(port: int) -> str:
    """Return the SSH command that forwards another machine's port to this machine's loopback."""
    import getpass
    import platform

    try:
        user = f"{getpass.getuser()}@"
    except (OSError, KeyError):
        user = ""
    return f"ssh -N -L {port}:127.0.0.1:{port} {user}{platform.node()}"
