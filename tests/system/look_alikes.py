"""Short-lived processes of another user that run a script of the same name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from guard_harness import Arena

OTHER = 65534
LIFE_S = 0.4

CHURN = f"""
import os, signal, subprocess, sys, time
script, living = sys.argv[1], []
while True:
    living.append(subprocess.Popen([script, "600"], executable="/bin/sleep"))
    time.sleep({LIFE_S} / 4)
    if len(living) > 3:
        first = living.pop(0)
        first.kill()
        first.wait()
"""


@contextmanager
def look_alikes(a: Arena) -> Iterator[None]:
    """Run three look-alikes at a time during the block, ten new ones a second.

    Without root there are none.
    """
    if os.geteuid() != 0:
        yield
        return
    churn = subprocess.Popen(
        ["/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable,
         "-c", CHURN, str(a.script)],
        user=OTHER, group=OTHER, extra_groups=[], cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        yield
        assert churn.poll() is None, "the look-alikes came to an end too early"
    finally:
        os.killpg(churn.pid, signal.SIGKILL)
        churn.wait()
