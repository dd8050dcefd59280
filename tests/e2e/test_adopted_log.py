"""The console's log view of a worker that another program started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from console.cli.commands.tui import _build_log_reader
from console.system.box import open_box
from console.system.config.loader import parse


async def test_adopted_worker_log_is_read_from_the_file_it_writes(tmp_path: Path) -> None:
    script, log = tmp_path / "rpa_worker.py", tmp_path / "bot.log"
    script.write_text("import sys\nprint('at work', file=sys.stderr, flush=True)\ninput()\n")
    settings = parse({"roles": {"worker": {"match": str(script)}}}, "test")
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with (
        open_box(settings, state) as box,
        log.open("wb") as out,
        subprocess.Popen(  # noqa: ASYNC220 - it starts at once
            [sys.executable, str(script)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=out,
        ) as worker,
    ):  # fmt: skip
        logs = _build_log_reader(box)
        while not (page := await logs.read("worker", "err", None)).lines:
            assert worker.poll() is None
        assert (page.lines, page.path, page.error) == (("at work",), str(log), None)
        found = await logs.find("worker", "err", "at work", 0, 1)
        assert found.line == 0
        none = await logs.read("worker", "out", None)
        assert none.lines == () and "no file to follow" in str(none.error)
        worker.communicate(b"\n")
        gone = await logs.read("worker", "err", None)
        assert str(state) in gone.path, "our own log again"
