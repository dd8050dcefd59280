"""A mount that hangs: a FUSE file system whose server reads every request and answers none."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_INIT, _DIES_WITH_PARENT, _DETACH = 26, 1, 2
needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/fuse", os.W_OK), reason="needs root and /dev/fuse"
)


@contextmanager
def hung(directory: Path) -> Iterator[None]:
    """Mount a hanging file system on a directory until the block ends."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        try:
            if said.strip() != "mounted":
                pytest.skip(f"no FUSE mount here: {said}")
            yield
        finally:
            ctypes.CDLL(None).umount2(os.fsencode(directory), _DETACH)
            server.kill()  # closes its descriptor, so the hanging requests fail


def _serve(directory: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_DIES_WITH_PARENT, 9, 0, 0, 0)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"hung", os.fsencode(directory), b"fuse", 0, options.encode()):
        os.write(1, f"{os.strerror(ctypes.get_errno())}\n".encode())
        return
    os.write(1, b"mounted\n")
    while True:
        request = os.read(device, 1 << 20)
        _, operation, unique = struct.unpack_from("<IIQ", request)
        if operation == _INIT:
            answer = struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 0, 0, 65536, 0, 0, 0, 0)
            os.write(device, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)


if __name__ == "__main__":
    _serve(sys.argv[1])
