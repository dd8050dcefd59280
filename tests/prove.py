"""The long proof of the guard: `python tests/prove.py [ROUNDS] [SECONDS]`.

Runs contention, contention with kills, the real command, and contention from four state directories
amid another user's look-alikes. Then runs a mixed load of commands for SECONDS, PID reuse, and a
daemon killed while it writes. Two old start strategies serve as contrast and must show duplicates.
Exits 1 if a count that must be zero is not, or if the contrast shows no duplicates.
"""

from __future__ import annotations

import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "system"), str(HERE / "e2e")]

from contention import fight  # noqa: E402
from contention_counts import Tally  # noqa: E402
from daemon_kills import murder, scene  # noqa: E402
from guard_harness import Arena, arena  # noqa: E402
from look_alikes import look_alikes  # noqa: E402
from mixed_load import mixed  # noqa: E402
from start_strategies import (  # noqa: E402
    by_command_line,
    by_guard,
    by_looking,
    by_mutex,
    by_state_directories,
    write_config,
)

HEADS = ("what", "rounds", "callers", "kills", "starts", "rounds with two", "most at once",
         "most daemons", "split answers", "unclear answers", "not healed", "unexplained",
         "seconds")  # fmt: skip


def row(name: str, tally: Tally) -> tuple[str, ...]:
    """Return a row of the table as text."""
    values = (
        tally.rounds, tally.callers, tally.killed.total(), tally.starts, tally.duplicate_rounds,
        tally.most_at_once, tally.most_daemons, tally.split_answers, tally.unclear,
        tally.not_healed, len(tally.unexplained), round(tally.seconds),
    )  # fmt: skip
    return (name, *map(str, values))


def say(cells: tuple[str, ...]) -> None:
    """Print a row of the table and flush it."""
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


def wrapped(a: Arena) -> Arena:
    """Put the worker behind a wrapper that takes 0.3 s before it execs the worker."""
    a.settings.roles["worker"].command[:] = a.shell("sleep 0.3")
    return a


def configured(a: Arena) -> Arena:
    """Write a configuration file for the real command line."""
    write_config(a)
    return a


def beside(a: Arena, fought: Callable[..., Tally], *how: Any, **more: Any) -> Tally:
    """Run a contention test amid another user's look-alikes of the worker."""
    with look_alikes(a):
        return fought(a, *how, **more)


def battle(
    name: str, fought: Callable[[Arena], Tally], ready: Callable[[Arena], Arena], settle_s: float,
    modes: str = "",
) -> Tally:  # fmt: skip
    """Run a contention test in an arena of its own and print its row."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        with arena(Path(place) / "a", settle_s=settle_s, modes=modes) as a:
            tally = fought(ready(a))
    say(row(name, tally))
    if tally.killed:
        sys.stderr.write(f"  killed: {dict(tally.killed)}\n")
    for note in (*tally.notes, *tally.unexplained)[:10]:
        sys.stderr.write(f"  {note}\n")
    return tally


def strangers(rounds: int) -> bool:
    """Force PID reuse; return True if no signal reached a process it was not meant for."""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--fork", "--pid", "--mount-proc",
         sys.executable, str(HERE / "system" / "pid_reuse.py"), str(rounds)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    words = done.stdout.split() or ["not possible here:", done.stderr.strip()]
    sys.stdout.write(f"\nPID given away again: {' '.join(words)}\n")
    return words[:4] == ["reused", str(rounds), "hit", "0"]


def daemon_killed(kills: int, dice: random.Random) -> bool:
    """Kill the daemon while it writes; return True if no data was lost."""
    with tempfile.TemporaryDirectory() as place, scene(Path(place) / "box") as made:
        toll = murder(made, kills, dice)
    sys.stdout.write(f"\nThe daemon killed: {toll.words()}\n")
    return toll.clean


def main(rounds: int, seconds: float) -> int:
    """Run the whole proof. Return 0 if every count is as required, else 1."""
    seed = int(os.environ.get("RPA_BATTLE_SEED", str(int(time.time()))))
    some = max(1, rounds // 10)
    sys.stdout.write(
        f"{time.strftime('%Y-%m-%d')}, {platform.release()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPUs, seed {seed}\n\n"
    )
    say(HEADS)
    say(tuple("---" for _ in HEADS))

    def same(a: Arena) -> Arena:
        return a

    dice = random.Random(seed)
    good = [
        battle("contention", lambda a: fight(a, by_guard, rounds), same, 0.1),
        battle("contention, wrapper", lambda a: fight(a, by_guard, some), wrapped, 0.5),
        battle("murder", lambda a: fight(a, by_guard, rounds, murder=dice), same, 0.1),
        battle("murder, wrapper", lambda a: fight(a, by_guard, some, murder=dice), wrapped, 0.5),
        battle("the real command", lambda a: fight(a, by_command_line, some), configured, 0.1),
        battle(
            "contention, four state directories",
            lambda a: beside(a, fight, by_state_directories, rounds),
            same,
            0.1,
        ),
        battle(
            "murder, four state directories",
            lambda a: beside(a, fight, by_state_directories, rounds, murder=dice),
            same,
            0.1,
        ),
        battle(
            "murder, workers that change their name",
            lambda a: beside(a, fight, by_state_directories, some, murder=dice),
            same,
            0.1,
            "turn",
        ),
        battle("mixed", lambda a: mixed(a, seconds, dice), same, 0.1),
    ]
    bad = [
        battle("contrast: look, then start", lambda a: fight(a, by_looking, some), wrapped, 0.5),
        battle("contrast: mutex given up", lambda a: fight(a, by_mutex, some), wrapped, 0.5),
    ]
    known = strangers(5 * rounds)
    kept = daemon_killed(rounds, dice)
    clean = all(
        t.duplicate_rounds == 0 == t.not_healed + t.split_answers + t.unclear + len(t.unexplained)
        and max(t.most_at_once, t.most_daemons) <= 1
        for t in good
    )
    return 0 if clean and known and kept and all(t.duplicate_rounds for t in bad) else 1


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    sys.exit(main(int(given.get(1, 200)), float(given.get(2, 600))))
