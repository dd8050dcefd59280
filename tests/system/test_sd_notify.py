"""The sd_notify protocol, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from console.system.host.sd_notify import notify, watchdog_ping_interval_s


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        address = str(tmp_path / "notify")
        listener.bind(address)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listener


def test_notify_sends_the_state_to_the_service_manager(manager: socket.socket) -> None:
    assert notify("READY=1", "STATUS=running")
    assert manager.recv(1024) == b"READY=1\nSTATUS=running"


def test_notify_accepts_an_abstract_socket_address(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"rpa-console-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert notify("WATCHDOG=1")
        assert listener.recv(1024) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_notify_returns_false_without_a_listener(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("limit", "pid", "expected"),
    [
        ("", "", None),
        ("0", "", None),
        ("soon", "", None),
        ("30000000", "", 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
    ],
)
def test_ping_interval_is_half_the_watchdog_timeout(
    limit: str, pid: str, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert watchdog_ping_interval_s() == expected
