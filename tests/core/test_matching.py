"""Which command lines run the worker, and which only speak of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.matching import refuse_match, runs

WORKERS = """
python rpa_worker.py --server http://127.0.0.1:8091 --interval 0.5 --log-level INFO
python3 rpa_worker.py
python3.11 ./rpa_worker.py
/usr/bin/python3.11d rpa_worker.py
pythonw.exe rpa_worker.py
C:\\venv\\Scripts\\python.exe C:\\agi\\rpa_worker.py
/home/ana/agi/.venv/bin/python rpa_worker.py
pypy3 -u rpa_worker.py
python -u -X dev -W error rpa_worker.py
python -I -S rpa_worker.py
python -- rpa_worker.py
python -m package.rpa_worker
python -m rpa_worker --interval 1
python -X importtime -m a.b.rpa_worker
python -m pdb rpa_worker.py
python -m cProfile -o out.prof rpa_worker.py
./rpa_worker.py
/opt/rpa/rpa_worker.py --interval 1
uv run rpa_worker.py
uv run --with httpx python rpa_worker.py
uv run --python 3.11 -- python rpa_worker.py
uv run -m package.rpa_worker
sh -c|python rpa_worker.py
bash -lc|cd /agi && exec python rpa_worker.py
/bin/sh -c|PYTHONUNBUFFERED=1 python rpa_worker.py; echo done
sh -ec|sleep 1; exec python rpa_worker.py >> out.log 2>&1
-bash -c|python rpa_worker.py
timeout 60 python rpa_worker.py
timeout -k 5 -s INT 60 python rpa_worker.py
timeout --signal=INT 60 python rpa_worker.py
nohup python rpa_worker.py
nice -n 10 nohup python rpa_worker.py
env python rpa_worker.py
env -i A=1 B=2 python rpa_worker.py
/usr/bin/env -u HOME python rpa_worker.py
sudo -u rpa python rpa_worker.py
sudo -E -u rpa -- env A=1 python rpa_worker.py
doas -u rpa python rpa_worker.py
runuser -u rpa -- python rpa_worker.py
setsid python rpa_worker.py
stdbuf -o L python rpa_worker.py
xvfb-run -a python rpa_worker.py
poetry run python rpa_worker.py
sudo -u rpa timeout 5 sh -c|exec python rpa_worker.py
""".strip().splitlines()

IMPOSTORS = """
vim rpa_worker.py
nano /agi/rpa_worker.py
emacs rpa_worker.py
code rpa_worker.py
less rpa_worker.py
cat rpa_worker.py
grep rpa_worker.py -r .
grep -rn rpa_worker .
tail -f rpa_worker.log
tail -F /agi/outputs/rpa_worker.py
watch python rpa_worker.py
watch ls rpa_worker.py
ssh host python rpa_worker.py
ssh host|python rpa_worker.py
scp rpa_worker.py host:
rsync rpa_worker.py host:
git log rpa_worker.py
python other.py rpa_worker.py
python other.py --script rpa_worker.py
python -m pytest rpa_worker.py
python -m black rpa_worker.py
python -m package.rpa_worker_old
python -c|import rpa_worker
python -c|open('rpa_worker.py').read() rpa_worker.py
python my_rpa_worker.py
python rpa_worker.py.bak
python rpa_worker
python rpa_worker.pyc
python /agi/rpa_worker.py/other.py
python --version
python -i
sh -c|vim rpa_worker.py
sh -c|grep rpa_worker.py log
sh -c|tail -f rpa_worker.log
bash -c|echo python rpa_worker.py
bash -c|cat "python rpa_worker.py
bash rpa_worker.py.sh
timeout 60 tail -f rpa_worker.log
sudo -u rpa vim rpa_worker.py
sudo vim rpa_worker.py
env EDITOR=vim less rpa_worker.py
man rpa_worker.py
rpa_worker
""".strip().splitlines()


def argv(line: str) -> tuple[str, ...]:
    """Words of a line; what stands after a bar is one word."""
    head, bar, last = line.partition("|")
    return (*head.split(), last) if bar else tuple(head.split())


@pytest.mark.parametrize("line", WORKERS)
def test_runs_the_worker(line: str) -> None:
    assert runs(argv(line), "rpa_worker.py")


@pytest.mark.parametrize("line", IMPOSTORS)
def test_only_mentions_it(line: str) -> None:
    assert not runs(argv(line), "rpa_worker.py")


@given(st.lists(st.text(max_size=12), max_size=8))
def test_no_command_line_breaks_it(words: list[str]) -> None:
    runs(words, "rpa_worker.py")
    runs([*words, "rpa_worker.py"], "rpa_worker.py")
    runs(["sh", "-c", " ".join([*words, "rpa_worker.py"])], "rpa_worker.py")


def test_a_path_as_match_must_agree_in_its_last_parts() -> None:
    assert runs(("python", "/home/a/agi/rpa_worker.py"), "agi/rpa_worker.py")
    assert not runs(("python", "/home/a/old/rpa_worker.py"), "agi/rpa_worker.py")
    assert not runs(("python", "rpa_worker.py"), "agi/rpa_worker.py")


@pytest.mark.parametrize(
    "match", ["", " ", "agi/ ", "*", "*.py", "python", "python3.11", "sh", "sudo", "uv", ".."]
)
def test_a_match_that_catches_everything_is_refused(match: str) -> None:
    assert refuse_match(match)


@pytest.mark.parametrize(
    "match",
    ["rpa-console", "rpa-console.py", "rpa-console.exe", "/opt/bin/rpa-console", "console",
     "console.py", " console ", "console.cli", "console.__main__", "console/__main__.py",
     "__main__.py", "__main__", "shim.py", "console/system/shim.py"],
)  # fmt: skip
def test_the_console_itself_is_refused(match: str) -> None:
    assert refuse_match(match) == "that is the console itself"


def test_usable_matches() -> None:
    for match in ("rpa_worker.py", "agi/rpa_worker.py", "console/rig/rpa_worker.py", "consoles.py"):
        assert refuse_match(match) is None
