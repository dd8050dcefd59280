"""`serve`: the same console in a browser, on this machine's loopback and nowhere else."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, put_raw, say
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
    """Show the console in a browser, read-only, to whoever has the printed address.

    It listens on 127.0.0.1 alone; from another machine, forward the port over SSH. Needs the
    extra `web`.
    """
    if find_spec("aiohttp") is None:
        fail("serve needs the extra 'web': pip install 'rpa-console[web]'", USAGE)
    with options.box(ephemeral=True) as box:  # what is wrong with it is said here and now
        if writable:
            options.writable(box)
    import asyncio

    from console.web.server import serve as serve_until_signal

    def announce(address: str, bound: int) -> None:
        put_raw(address)
        may = "WRITABLE" if writable else "read-only"
        say(f"{may} for whoever has this address; Ctrl-C ends it")
        say("from another machine, run this there, then open the address there:")
        say(f"  {_forward(bound)}")

    try:
        console = _console(context, options, writable)
        asyncio.run(serve_until_signal(console, port, announce, say))
    except OSError as error:
        fail(f"127.0.0.1:{port}: {error.strerror or error}", FAILURE)


def _console(context: click.Context, options: Options, writable: bool) -> list[str]:
    """The command line of the console that is served: our own, with the options we were given."""
    given = context.find_root().params
    from console.system.daemon_role import program

    command = [*program(), "--state-dir", str(options.find_state())]
    config: Path | None = options.find_config()
    if config is not None:
        command += ["--config", str(config)]
    if not writable:
        command.append("--read-only")
    if given["no_daemon"]:
        command.append("--no-daemon")
    if given["theme"]:
        command += ["--theme", given["theme"]]
    if given["ascii_only"]:
        command.append("--ascii")
    if given["mouse"] is not None:
        command.append("--mouse" if given["mouse"] else "--no-mouse")
    return command


def _forward(port: int) -> str:
    """How another machine reaches our loopback."""
    import getpass
    import platform

    try:
        user = f"{getpass.getuser()}@"
    except (OSError, KeyError):
        user = ""
    return f"ssh -N -L {port}:127.0.0.1:{port} {user}{platform.node()}"
