"""Fencing tokens: a number for each start of a role, higher than all before it.

It must rise whatever becomes of the store, so it lies beside the lock, in a file of fixed size that
is overwritten in place: a disk that is full takes it all the same. Owner records and the store
know the last one too, should the file be lost.
"""

from __future__ import annotations

import contextlib
import os
import time

from console.system import clock
from console.system.locks import ofd_lock
from console.system.locks.lease import read_owner
from console.system.locks.ofd_lock import LeaseError
from console.system.paths import Paths
from console.system.store.store import Store, StoreError

PATIENCE_S = 5.0
WIDTH = 20
MOST = 2**53
"""A start each microsecond takes 285 years to come so far."""


def grant(paths: Paths, store: Store, role: str) -> int:
    """The role's next token. Call it while holding one of the role's leases.

    Raises LeaseError where it cannot be kept: then it could be given to another one as well.
    """
    floor = max([0, *_claimed(paths, role)])
    with contextlib.suppress(StoreError):
        floor = max(floor, _credible(store.token(role)))
    token = _rise(paths, role, floor)
    with contextlib.suppress(StoreError):
        store.keep_token(role, token)
    return token


def _claimed(paths: Paths, role: str) -> list[int]:
    """The tokens of those who own the role's leases, or were the last to."""
    records = (paths.owner(role), *paths.locks.glob(paths.owner(f"{role}.*").name))
    return [_credible(known[0].token) for known in map(read_owner, records) if known is not None]


def _credible(token: int) -> int:
    """The token, or 0 where no counting can have reached it: the number is damaged."""
    return token if token <= MOST else 0


def _rise(paths: Paths, role: str, floor: int) -> int:
    path = paths.token(role)
    descriptor = ofd_lock.open_lock(path)
    try:
        _alone(descriptor)
        known = os.pread(descriptor, WIDTH, 0)
        token = 1 + max(floor, _credible(int(known)) if known.isdigit() else 0)
        os.pwrite(descriptor, b"%0*d" % (WIDTH, token), 0)
        os.fsync(descriptor)
    except OSError as error:
        raise LeaseError(f"{path}: the token cannot be kept: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return token


def _alone(descriptor: int) -> None:
    """Wait for the others who are at the file for a moment: a role may have several leases."""
    deadline = clock.tick() + PATIENCE_S
    while not ofd_lock.lock(descriptor):
        if clock.tick() > deadline:
            raise BlockingIOError(0, f"others have kept it locked for {PATIENCE_S:g} s")
        time.sleep(0.001)
