"""A cut SSH connection ends its console and nothing else."""

from __future__ import annotations

import getpass
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from console.demo.environment import create_box, find_free_port
from console.demo.reaper import stop_and_remove_box

ROOT = Path(__file__).resolve().parents[2]
SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
KEYGEN = shutil.which("ssh-keygen")

pytestmark = pytest.mark.skipif(
    SSHD is None or KEYGEN is None, reason="openssh-server is not installed"
)

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
ClientAliveInterval 0
"""


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until the condition holds, checking it every 20 ms."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@dataclass
class Server:
    """A test sshd, and the client command that reaches it."""

    port: int
    directory: Path

    def client(self, command: list[str]) -> list[str]:
        return [
            "ssh", "-tt", "-F", "none", "-p", str(self.port), "-i", str(self.directory / "user"),
            "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={self.directory}/known",
            "-o", "LogLevel=ERROR", f"{getpass.getuser()}@127.0.0.1", *command,
        ]  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    directory = tmp_path / "ssh"
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)],
            check=True,
            timeout=30,
        )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = find_free_port()
    config = directory / "config"
    config.write_text(CONFIG.format(port=port, directory=directory), encoding="utf-8")
    assert SSHD is not None
    with subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE) as sshd:
        try:
            until(lambda: answers(port), 10, "sshd listens")
            yield Server(port, directory)
        finally:
            sshd.terminate()
            sshd.communicate(timeout=10)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def box(tmp_path: Path) -> Iterator[list[str]]:
    """A box with a worker and its queue server. Yields the console's command line for it."""
    directory = tmp_path / "box"
    config = create_box(directory, find_free_port())
    command = [
        "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "console",
        "--config", str(config), "--state-dir", str(directory / "state"),
    ]  # fmt: skip
    try:
        for role in ("queue", "worker"):
            subprocess.run([*command, "ensure", role], check=True, timeout=60)
        yield command
    finally:
        stop_and_remove_box(directory)


class Session:
    """One SSH login with the console open in it."""

    def __init__(self, server: Server, command: list[str]) -> None:
        self.master, slave = pty.openpty()
        self.seen = b""
        self.client = subprocess.Popen(
            server.client(["TERM=xterm-256color", *command]),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def read(self) -> bytes:
        while select.select([self.master], [], [], 0)[0]:
            try:
                chunk = os.read(self.master, 65_536)
            except OSError:
                break
            if not chunk:
                break
            self.seen += chunk
        return self.seen

    def shows(self, text: bytes) -> None:
        until(lambda: text in self.read(), 30, f"{text!r} on the screen: {self.seen[-2000:]!r}")

    def cut(self) -> None:
        """Cut the connection by killing the client."""
        self.client.send_signal(signal.SIGKILL)
        self.client.wait(timeout=10)
        os.close(self.master)


def consoles(state: str) -> list[psutil.Process]:
    """Return this box's consoles, found by a command line without a command."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        argv = process.info["cmdline"] or []
        if argv[1:3] == ["-m", "console"] and argv[-1] == state:
            found.append(process)
    return found


def daemon_pid(command: list[str]) -> int | None:
    ran = subprocess.run(
        [*command, "daemon", "status", "--json"], capture_output=True, timeout=60, check=False
    )
    pid = json.loads(ran.stdout)["pid"]
    return int(pid) if pid is not None else None


def test_cut_connection_ends_the_console_and_not_the_daemon(server: Server, box: list[str]) -> None:
    state = box[-1]
    first = Session(server, box)
    first.shows(b"worker")
    until(lambda: daemon_pid(box) is not None, 20, "the console has started the daemon")
    daemon = daemon_pid(box)
    assert len(consoles(state)) == 1
    first.cut()
    until(lambda: not consoles(state), 2, "the console is gone after the cut")
    assert daemon_pid(box) == daemon

    second = Session(server, box)
    second.shows(b"LIVE")
    assert daemon_pid(box) == daemon
    second.cut()
    until(lambda: not consoles(state), 2, "the second console is gone after the cut")
    subprocess.run([*box, "daemon", "stop"], check=True, timeout=60)
