"""A night of faults: `python tests/night_of_faults.py [MINUTES]`; exits 1 with the reasons.

An installed package, its daemon, the rig's worker, queue, watchdog, pipeline and trickle. Clock,
package, state directory, storage and processes fail at moments that follow from a seed
(`RPA_NIGHT_SEED`). At the end there must be one worker, nothing lost, and every minute explained.
"""

from __future__ import annotations

import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "system"), str(HERE / "e2e"), str(HERE / "night")]

from night_checks import Night, faults, report, spread  # noqa: E402
from night_faults import Faults  # noqa: E402
from night_observers import Observer, Store, StoreReader, left_over, running  # noqa: E402
from night_site import EVERY_S, Service, Site, tick  # noqa: E402

READY_S = 120.0
MINUTES = 20.0


def say(*cells: str) -> None:
    """Print a line of a table, now."""
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Call the condition until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def has_begun(site: Site, reader: StoreReader) -> bool:
    """Return whether every monitor has looked, and the worker has started."""
    if not reader.stores or not site.starts():
        return False
    looked = {row[1] for row in [*reader.stores[-1].samples.values()]}
    return looked >= EVERY_S.keys()


def live(site: Site, minutes: float, dice: random.Random) -> tuple[Night, Observer, Faults]:
    """Run the night, and return the observations."""
    with ExitStack() as stack:
        stack.callback(site.clear)
        site.build()
        reader = stack.enter_context(StoreReader(site))
        observer = stack.enter_context(Observer(site))
        service = stack.enter_context(Service(site))
        injected = Faults(site, service, reader, dice)
        stack.callback(injected.mend)
        wait_for(lambda: has_begun(site, reader), READY_S, "all monitors have looked")
        began = tick()
        injected.go(minutes * 60)
        ended = tick()
        trouble = settled(site)
        night = Night(
            began, ended, site, reader.stores, service.lives, injected.acts, site.starts(),
            running(site.script), report(site),
        )  # fmt: skip
        reader.read_to_the_end()
        check(night, observer)
    if trouble:
        night.reasons.append(f"the box is not healthy at the end: {trouble}")
    if left := left_over(site.place):
        night.reasons.append(f"processes are left: {left}")
    return night, observer, injected


def settled(site: Site) -> str:
    """Wait until the box is healthy; return the reason if it does not become so."""
    deadline = time.monotonic() + READY_S
    while (seen := site.run("status")).returncode != 0:
        if time.monotonic() > deadline:
            return seen.stdout[:2000] + seen.stderr[:500]
        time.sleep(1.0)
    return ""


def check(night: Night, observer: Observer) -> None:
    """Check the parts that need the directories of the night, before those are removed."""
    night.check_workers(observer.most_workers, observer.most_daemons)
    night.check_stores()


def rows(stores: Sequence[Store]) -> str:
    """Count stores, and the samples and events that were seen committed there."""
    samples = sum(len(one.samples) for one in stores)
    events = sum(len(one.events) for one in stores)
    return f"{len(stores)}: {samples} and {events}"


def table(night: Night, observer: Observer) -> Iterator[tuple[str, str]]:
    """List the lines of the second table; each check adds its reasons to the night."""
    watched, explained, unexplained, seconds = night.check_minutes()
    back = night.back()
    kept = [store for store in night.stores if not store.lost]
    gone = [store for store in night.stores if store.lost]
    missing = sum(len(store.missing) for store in kept)
    doubles = sum(not one.alone for one in night.starts)
    looks = f"{observer.looks}; {observer.without_s:.0f}"
    yield "workers: starts, living at the end", f"{len(night.starts)}, {len(night.living)}"
    yield "most workers at once, by an observer of `/proc`", str(observer.most_workers)
    yield "looks of the observer; seconds without a worker", looks
    yield "starts beside a living worker, by the workers' own record", f"**{doubles}**"
    yield "most daemons at once", str(observer.most_daemons)
    yield "stores that exist: samples and events seen committed", rows(kept)
    yield "of these lost", f"**{missing}**"
    yield "stores that the operator deleted: samples and events seen committed", rows(gone)
    minutes = f"{watched}, {explained}, **{unexplained}**"
    yield "minutes: watched throughout, explained, unexplained", minutes
    yield "seconds unwatched, as the ledger tells", f"{seconds:.0f}"
    yield "ends of the daemon that the last report names as unknown time", str(night.check_report())
    deaths = "{}, {}".format(*night.check_deaths())
    yield "deaths of workers: with their line, while the operator had taken the state away", deaths
    every = spread([took for took, _ in back])
    yield "seconds from a worker's kill to the next start: min / median / max", every
    yield "the same while a daemon ran throughout", spread([t for t, daemon in back if daemon])
    yield "settings of the clock: made, told by the ledger", "{}, {}".format(*night.check_clock())
    yield "mounts: hung, named", "{}, {}".format(*night.check_mounts())


def main(minutes: float) -> int:
    """Run the night and print its tables; return 0 if all checks hold."""
    seed = int(os.environ.get("RPA_NIGHT_SEED", str(int(time.time()))))
    sys.stdout.write(
        f"{time.strftime('%Y-%m-%d')}, {platform.release()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPUs, {minutes:g} minutes, seed {seed}\n\n"
    )
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="night-") as place:
        night, observer, injected = live(Site(Path(place)), minutes, random.Random(seed))
    say("fault", "how often", "seconds in all")
    say(*["---"] * 3)
    for line in faults(injected.acts, injected.impossible):
        say(*line)
    sys.stdout.write("\n")
    say("finding", "")
    say(*["---"] * 2)
    for pair in table(night, observer):
        say(*pair)
    for reason in night.reasons:
        sys.stdout.write(f"\nNo proof: {reason}\n")
    return 1 if night.reasons else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended all the same
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
