"""Fencing tokens: a number for each start of a role, higher than all previous ones.

The token must increase even if the store is lost. So it is kept beside the lock, in a file of fixed
size that is overwritten in place, which works on a full disk. Owner records and the store contain
the last token too, in case the file is lost.
"""

from __future__ import annotations

import contextlib
import os
import time

from console.system import clock
from console.system.locks import ofd_lock
from console.system.locks.lease import read_owner
from console.system.locks.ofd_lock import LockFileError
from console.system.paths import Paths
from console.system.store.store import Store, StoreError

LOCK_TIMEOUT_S = 5.0
TOKEN_DIGITS = 20
MAX_TOKEN = 2**53
"""At one start per microsecond, 285 years pass before this token."""


def next_token(paths: Paths, store: Store, role: str) -> int:
    """Return the role's next token. The caller holds one of the role's leases.

    Raises LockFileError if the token cannot be saved, because it could then be issued twice.
    """
    floor = max([0, *_tokens_in_owner_records(paths, role)])
    with contextlib.suppress(StoreError):
        floor = max(floor, _valid_or_zero(store.token(role)))
    token = _increment(paths, role, floor)
    with contextlib.suppress(StoreError):
        store.save_token(role, token)
    return token


def _tokens_in_owner_records(paths: Paths, role: str) -> list[int]:
    """Return the tokens of the current or last owners of the role's leases."""
    records = (paths.owner(role), *paths.locks.glob(paths.owner(f"{role}.*").name))
    return [
        _valid_or_zero(record[0].token) for record in map(read_owner, records) if record is not None
    ]


def _valid_or_zero(token: int) -> int:
    """Return the token, or 0 if it is above `MAX_TOKEN` and therefore damaged."""
    return token if token <= MAX_TOKEN else 0


def _increment(paths: Paths, role: str, floor: int) -> int:
    path = paths.token(role)
    descriptor = ofd_lock.open_lock(path)
    try:
        _lock_exclusive(descriptor)
        digits = os.pread(descriptor, TOKEN_DIGITS, 0)
        token = 1 + max(floor, _valid_or_zero(int(digits)) if digits.isdigit() else 0)
        os.pwrite(descriptor, b"%0*d" % (TOKEN_DIGITS, token), 0)
        os.fsync(descriptor)
    except OSError as error:
        raise LockFileError(f"{path}: the token cannot be kept: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return token


def _lock_exclusive(descriptor: int) -> None:
    """Lock the file; holders of the role's other leases may use it too. Raises OSError."""
    deadline = clock.tick() + LOCK_TIMEOUT_S
    while not ofd_lock.try_lock(descriptor):
        if clock.tick() > deadline:
            raise BlockingIOError(0, f"others have kept it locked for {LOCK_TIMEOUT_S:g} s")
        time.sleep(0.001)
