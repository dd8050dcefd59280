"""A night of faults: `python tests/night_of_faults.py [MINUTES]`; exits 1 with the reasons.

The program runs an installed package, its daemon, and the demo box's worker, queue, watchdog,
pipeline and task generator. It makes clock, package, state directory, storage and processes fail at
times that follow from a seed (`RPA_NIGHT_SEED`). At the end there must be one worker, no lost row,
and an explanation of every minute.
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

from night_checks import Night, fault_rows, format_spread, read_report  # noqa: E402
from night_faults import FaultInjector  # noqa: E402
from night_observers import Observer, Store, StoreReader, find_remaining_processes, find_running  # noqa: E402
from night_site import INTERVALS_S, Service, Site, tick  # noqa: E402

READY_TIMEOUT_S = 120.0
DEFAULT_MINUTES = 20.0


def print_row(*cells: str) -> None:
    """Print a row of a table and flush it."""
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Call the condition until it holds. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def is_ready(site: Site, reader: StoreReader) -> bool:
    """Return True if every monitor has a sample and the worker has started."""
    if not reader.stores or not site.starts():
        return False
    sampled_monitors = {row[1] for row in [*reader.stores[-1].samples.values()]}
    return sampled_monitors >= INTERVALS_S.keys()


def run_night(
    site: Site, minutes: float, rng: random.Random
) -> tuple[Night, Observer, FaultInjector]:
    """Run the night. Return its results, the process observer and the injector."""
    with ExitStack() as stack:
        stack.callback(site.stop_and_remove)
        site.build()
        reader = stack.enter_context(StoreReader(site))
        observer = stack.enter_context(Observer(site))
        service = stack.enter_context(Service(site))
        injector = FaultInjector(site, service, reader, rng)
        stack.callback(injector.end_lasting_faults)
        wait_for(lambda: is_ready(site, reader), READY_TIMEOUT_S, "all monitors have a sample")
        began = tick()
        injector.run(minutes * 60)
        ended = tick()
        trouble = wait_until_healthy(site)
        night = Night(
            began, ended, site, reader.stores, service.daemon_runs, injector.faults, site.starts(),
            find_running(site.script), read_report(site),
        )  # fmt: skip
        reader.read_to_the_end()
        check_directories(night, observer)
    if trouble:
        night.reasons.append(f"the box is not healthy at the end: {trouble}")
    if left := find_remaining_processes(site.directory):
        night.reasons.append(f"processes are left: {left}")
    return night, observer, injector


def wait_until_healthy(site: Site) -> str:
    """Wait until the box is healthy. Return its status after a timeout, else an empty string."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while (status := site.run("status")).returncode != 0:
        if time.monotonic() > deadline:
            return status.stdout[:2000] + status.stderr[:500]
        time.sleep(1.0)
    return ""


def check_directories(night: Night, observer: Observer) -> None:
    """Run the checks that read the night's directories, which are removed afterwards."""
    night.check_workers(observer.most_workers, observer.most_daemons)
    night.check_stores()


def count_rows(stores: Sequence[Store]) -> str:
    """Count the stores, and the samples and events that the reader read there."""
    samples = sum(len(store.samples) for store in stores)
    events = sum(len(store.events) for store in stores)
    return f"{len(stores)}: {samples} and {events}"


def list_findings(night: Night, observer: Observer) -> Iterator[tuple[str, str]]:
    """Yield the rows of the second table. Each check adds its reasons to the night."""
    watched, explained, unexplained, seconds = night.check_minutes()
    restart_delays = night.restart_delays()
    kept = [store for store in night.stores if not store.deleted_by]
    gone = [store for store in night.stores if store.deleted_by]
    missing = sum(len(store.missing) for store in kept)
    duplicates = sum(not start.was_alone for start in night.starts)
    observations = f"{observer.observations}; {observer.workerless_s:.0f}"
    yield "workers: starts, living at the end", f"{len(night.starts)}, {len(night.living_pids)}"
    yield "most workers at once, in `/proc`", str(observer.most_workers)
    yield "observations of `/proc`; seconds without a worker", observations
    yield "starts beside a living worker, by the workers' own record", f"**{duplicates}**"
    yield "most daemons at once, in `/proc`", str(observer.most_daemons)
    yield "stores that exist: samples and events seen committed", count_rows(kept)
    yield "of these lost", f"**{missing}**"
    yield "stores that the operator deleted: samples and events seen committed", count_rows(gone)
    minutes = f"{watched}, {explained}, **{unexplained}**"
    yield "minutes: watched throughout, explained, unexplained", minutes
    yield "seconds unwatched, by the ledger", f"{seconds:.0f}"
    yield "ends of the daemon that the last report cites as unknown time", str(night.check_report())
    deaths = "{}, {}".format(*night.check_deaths())
    yield "deaths of workers: in a ledger, while the operator had removed the state", deaths
    every = format_spread([took for took, _ in restart_delays])
    yield "seconds from a worker's kill to the next start: min / median / max", every
    yield (
        "the same while a daemon ran throughout",
        format_spread([t for t, daemon in restart_delays if daemon]),
    )
    yield "settings of the clock: made, in a ledger", "{}, {}".format(*night.check_clock())
    yield "mounts: hung, named", "{}, {}".format(*night.check_mounts())


def main(minutes: float) -> int:
    """Run the night and print its tables; return 0 if all checks hold."""
    seed = int(os.environ.get("RPA_NIGHT_SEED", str(int(time.time()))))
    sys.stdout.write(
        f"{time.strftime('%Y-%m-%d')}, {platform.release()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPUs, {minutes:g} minutes, seed {seed}\n\n"
    )
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="night-") as directory:
        night, observer, injector = run_night(Site(Path(directory)), minutes, random.Random(seed))
    print_row("fault", "how often", "seconds in all")
    print_row(*["---"] * 3)
    for line in fault_rows(injector.faults, injector.impossible):
        print_row(*line)
    sys.stdout.write("\n")
    print_row("finding", "")
    print_row(*["---"] * 2)
    for pair in list_findings(night, observer):
        print_row(*pair)
    for reason in night.reasons:
        sys.stdout.write(f"\nNo proof: {reason}\n")
    return 1 if night.reasons else 0


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # runs the exit stack, which ends all processes
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_MINUTES))
