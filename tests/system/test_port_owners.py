"""Tests of the user that listens on a loopback port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from console.system.processes.port_owners import find_listening_uids, loopback_port

OTHER = 23456
CODE = f"""
import os, socket, sys
os.setgid({OTHER}); os.setuid({OTHER})
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_listening_uid_of_an_own_server_is_found(family: str) -> None:
    kind = socket.AF_INET6 if ":" in family else socket.AF_INET
    try:
        server = socket.create_server((family, 0), family=kind)
    except OSError:
        pytest.skip(f"no {family} here")
    with server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost", "[::1]"):
            assert find_listening_uids(f"http://{host}:{port}/x") == {os.geteuid()}
        assert find_listening_uids(f"http://192.0.2.1:{port}") == set()
        assert find_listening_uids(f"http://example.test:{port}") == set()
    assert find_listening_uids(f"http://127.0.0.1:{port}") == set()


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:8091", 8091),
        ("http://127.9.9.9:1/x", 1),
        ("https://localhost", 443),
        ("http://[::1]", 80),
        ("http://localhost.example:80", None),
        ("http://127.example:80", None),
        ("http://127.0.0.1:99999", None),
        ("http://10.0.0.1:80", None),
    ],
)
def test_loopback_port_requires_a_loopback_address(url: str, port: int | None) -> None:
    assert loopback_port(url) == port


@pytest.mark.skipif(os.getuid() != 0, reason="another account takes root")
def test_doctor_names_the_uid_of_another_users_server(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        assert find_listening_uids(f"http://127.0.0.1:{port}") == {OTHER}
        config.write_text(f'[queue]\nurl = "http://127.0.0.1:{port}"\ntimeout_s = 0.2\n')
        line = [sys.executable, "-m", "console", "--config", str(config), "--state-dir"]
        ran = subprocess.run(
            [*line, str(tmp_path / "state"), "doctor"],
            capture_output=True, text=True, timeout=60, check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        assert f"a process of uid {OTHER} listens there" in ran.stdout
        server.communicate()
