"""Tests of the daemon's memory reduction."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import subprocess
import sys
import threading

import pytest

from console.system.host.process_memory import RenewingExecutor

LEAN = "from console.system.host.process_memory import reduce_memory\nreduce_memory()\n"
THREADS = """
import threading
together = threading.Barrier(5)
def work():
    held = [bytes(5_000) for _ in range(20)]
    together.wait(10)
threads = [threading.Thread(target=work) for _ in range(4)]
for one in threads: one.start()
together.wait(10)
for one in threads: one.join()
def length(line):
    begin, end = line.split()[0].split("-")
    return int(end, 16) - int(begin, 16)
reserved = [line for line in open("/proc/self/maps") if "---p" in line and line.split()[4] == "0"]
print(sum(60 << 20 < length(line) <= 64 << 20 for line in reserved))
"""
"""Prints the number of heaps that the C library made for threads. Each reserves 64 MB."""
TLS = """
import asyncio, sys
asyncio.run(asyncio.sleep(0))
assert "ssl" not in sys.modules and "_ssl" not in sys.modules
from console.system.host.json_http import HttpError, fetch_json
try:
    fetch_json(sys.argv[1])
except HttpError as error:
    print(error)
"""
RINGS = """
import gc, sys, weakref
from console.system.host.process_memory import freeze_gc, collect_garbage
class Ring:
    def __init__(self): self.itself = self
kept = [Ring() for _ in range(10_000)]
freeze_gc()
gc.set_threshold(1_000_000)
ring = weakref.ref(Ring())
tuples = [tuple([n]) * 7 for n in range(5_000)]
del tuples
before = sys.getallocatedblocks()
collect_garbage()
print(ring() is None, len(gc.get_objects()) < 1_000 < gc.get_freeze_count(), sep="\\n")
print(before - sys.getallocatedblocks() > 1_500)
"""
KEEPING = """
import asyncio, ctypes, threading
from console.system.host.process_memory import RenewingExecutor
class Figures(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena b c d e f g used free keep".split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Figures
together = threading.Barrier(4)
def work():
    together.wait(10)
    for length in range(520, 1_000, 16):
        pieces = [bytes(length) for _ in range(10)]
        del pieces
async def main():
    threads = RenewingExecutor(asyncio.get_running_loop())
    threads.renew()
    used = [libc.mallinfo2().used]
    for _ in range(20):
        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(4)))
    used.append(libc.mallinfo2().used)
    threads.renew()
    for _ in range(1_000):
        if threading.active_count() > 1:
            await asyncio.sleep(0.01)
    used.append(libc.mallinfo2().used)
    print(*(one - used[0] for one in used[1:]))
asyncio.run(main())
"""
"""Prints the heap bytes in use with four idle threads, and those left after the threads end."""
HANDSHAKE = b"\x16"


def run(script: str, *words: str) -> str:
    line = [sys.executable, "-c", script, *words]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as glibc does it")
def test_reduced_memory_mode_shares_one_heap_among_threads() -> None:
    if run(THREADS) == "0":
        pytest.skip("this C library makes no heaps for threads")
    assert run(LEAN + THREADS) == "0"


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="as glibc counts it")
def test_renewed_executor_frees_the_heap_of_its_old_threads() -> None:
    kept, left = map(int, run(LEAN + KEEPING).split())
    assert kept > 400_000 > 40_000 > left


async def test_running_task_finishes_after_the_executor_is_renewed() -> None:
    threads, released, began = (
        RenewingExecutor(asyncio.get_running_loop()),
        threading.Event(),
        threading.Event(),
    )

    def work() -> threading.Thread:
        began.set()
        released.wait(30)
        return threading.current_thread()

    threads.renew()
    first = asyncio.create_task(asyncio.to_thread(work))
    assert await asyncio.to_thread(began.wait, 30)
    threads.renew()
    assert await asyncio.to_thread(threading.current_thread) is not threading.main_thread()
    released.set()
    (await first).join(30)
    assert not (await first).is_alive()


def test_ssl_is_loaded_by_the_first_https_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        line = [sys.executable, "-c", LEAN + TLS, url]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
            server.settimeout(30)
            connection, _ = server.accept()
            with connection:
                connection.settimeout(30)
                assert connection.recv(1) == HANDSHAKE
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                said, wrong = asking.communicate(timeout=30)
        assert asking.returncode == 0, wrong
        assert b"wrong version number" in said.lower(), said


def test_collect_garbage_frees_cycles_and_skips_frozen_objects() -> None:
    assert run(RINGS).split() == ["True"] * 3


def test_commands_do_not_import_typing_extensions() -> None:
    loaded = "import sys; from console.cli.main import rpa_console\n"
    loaded += "rpa_console.get_command(None, 'status')\nprint({0!r} in sys.modules)"
    assert run(loaded.format("msgspec")) == "True"
    assert run(loaded.format("typing_extensions")) == "False"
