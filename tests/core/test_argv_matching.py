"""Command lines that run a script, and command lines that only mention it."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.model.processes import Identity, Process
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.processes.argv_matching import (
    MAX_CODE_CHARS,
    in_directory,
    match_error,
    resolve_script_path,
    runs_role,
    runs_script,
    split_match,
)
from console.core.records import replace

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
python -I rpa_worker.py
python -Im package.rpa_worker
python -uX dev rpa_worker.py
python -Werror rpa_worker.py
bash -o pipefail -x rpa_worker.py
bash -c|python 'rpa_worker.py'
bash -c|python "/my bots/rpa_worker.py" --fast
deno run --allow-net rpa_worker.py
/bin/sh /usr/bin/xvfb-run -a python rpa_worker.py
/usr/bin/python3 /venv/bin/poetry run python rpa_worker.py
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
bash -c|cd /agi # ; python rpa_worker.py
bash -c|echo 'a; python rpa_worker.py'
bash -c|echo "a; python rpa_worker.py"
bash -c|echo a\\; python rpa_worker.py
ruby -I rpa_worker.py other.rb
node -r rpa_worker.py other.js
python -X rpa_worker.py other.py
/bin/sh /usr/bin/xvfb-run -a vim rpa_worker.py
python /opt/python other.py rpa_worker.py
""".strip().splitlines()


POWERSHELL = """
pwsh -NoProfile -ExecutionPolicy Bypass -File /x/Start-Worker.ps1
pwsh -nop -ep Bypass -f Start-Worker.ps1 -Interval 5
pwsh -NOLOGO -NonInteractive -EX Bypass -FILE ./Start-Worker.ps1
pwsh Start-Worker.ps1
pwsh -NoExit /opt/bots/Start-Worker.ps1
pwsh -WorkingDirectory /opt -File Start-Worker.ps1
pwsh --NoProfile --File Start-Worker.ps1
pwsh-preview -File Start-Worker.ps1
powershell.exe -WindowStyle Hidden -File C:\\bots\\Start-Worker.ps1
powershell.exe -Version 5.1 -File C:\\bots\\Start-Worker.ps1
PowerShell.EXE /NoProfile /File C:\\bots\\Start-Worker.ps1
pwsh -Command|& '/opt/my bots/Start-Worker.ps1' -Interval 5
pwsh -c|cd /opt; . ./Start-Worker.ps1
pwsh -Command /opt/Start-Worker.ps1 -Interval 5
pwsh -Command & /opt/Start-Worker.ps1 -Interval 5
python3 /opt/pwsh -NoProfile -ExecutionPolicy Bypass -File /x/Start-Worker.ps1
sudo -u rpa pwsh -NoProfile -File Start-Worker.ps1
cmd /c powershell -File Start-Worker.ps1
""".strip().splitlines()

NO_POWERSHELL = """
pwsh -NoProfile -File Other.ps1 Start-Worker.ps1
pwsh -ExecutionPolicy Start-Worker.ps1 -File Other.ps1
pwsh -WorkingDirectory Start-Worker.ps1 -File Other.ps1
pwsh -EncodedCommand Start-Worker.ps1
pwsh -Command|Get-Content Start-Worker.ps1
pwsh -Command Get-Content Start-Worker.ps1
pwsh -File
pwsh -
vim Start-Worker.ps1
""".strip().splitlines()

BATCHES = """
cmd /c start-worker.bat 1 2
cmd.exe /C C:\\bots\\start-worker.bat
CMD.EXE /d /s /c|C:\\bots\\start-worker.bat --fast
cmd /c|call "C:\\my bots\\start-worker.bat" --fast
cmd /c call start-worker.bat
C:\\Windows\\System32\\cmd.exe /k start-worker.bat
""".strip().splitlines()


def argv(line: str) -> tuple[str, ...]:
    """Split a line into words. The text after `|` is one word."""
    head, bar, last = line.partition("|")
    return (*head.split(), last) if bar else tuple(head.split())


@pytest.mark.parametrize("line", WORKERS)
def test_runs_script_accepts_commands_that_run_the_script(line: str) -> None:
    assert runs_script(argv(line), "rpa_worker.py")


@pytest.mark.parametrize("line", IMPOSTORS)
def test_runs_script_rejects_commands_that_only_mention_the_script(line: str) -> None:
    assert not runs_script(argv(line), "rpa_worker.py")


@pytest.mark.parametrize("line", POWERSHELL)
def test_runs_script_accepts_powershell_commands(line: str) -> None:
    assert runs_script(argv(line), "Start-Worker.ps1")


@pytest.mark.parametrize("line", NO_POWERSHELL)
def test_runs_script_rejects_powershell_that_only_names_the_script(line: str) -> None:
    assert not runs_script(argv(line), "Start-Worker.ps1")


@pytest.mark.parametrize("line", BATCHES)
def test_runs_script_accepts_cmd_batch_files(line: str) -> None:
    assert runs_script(argv(line), "start-worker.bat")
    assert not runs_script(
        argv(line.replace("start-worker.bat", "type start-worker.bat")), "start.bat"
    )
    assert not runs_script(("cmd", "/c", "type", "start-worker.bat"), "start-worker.bat")


# --- arguments of a match -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "script", "arguments"),
    [
        ("manage.py", "manage.py", ()),
        ("manage.py worker", "manage.py", ("worker",)),
        (" manage.py  worker --queue a ", "manage.py", ("worker", "--queue", "a")),
        ("/opt/my bots/w.py", "/opt/my bots/w.py", ()),
        ("/opt/my bots/w.py worker", "/opt/my bots/w.py", ("worker",)),
        ("my bot", "my bot", ()),
        ("Start.PS1 -Fast", "Start.PS1", ("-Fast",)),
    ],
)
def test_split_match_separates_script_and_arguments(
    match: str, script: str, arguments: tuple[str, ...]
) -> None:
    assert split_match(match) == (script, arguments)
    assert match_error(script) is None


ARGUMENTS = [
    ("python manage.py worker", True),
    ("python manage.py --settings prod worker -v", True),
    ("python -m manage worker", True),
    ("sh -c|exec python manage.py worker", True),
    ("env A=1 python3 -u /x/manage.py worker", True),
    ("./manage.py worker", True),
    ("python manage.py", False),
    ("python manage.py watchdog", False),
    ("python manage.py workers", False),
    ("python manage.py --name=worker", False),
    ("python -X worker manage.py", False),
    ("python other.py manage.py worker", False),
    ("sh -c|python manage.py watchdog; python other.py worker", False),
    ("sh -c|python manage.py|worker", False),
]


@pytest.mark.parametrize(("line", "fits"), ARGUMENTS)
def test_match_arguments_must_belong_to_the_script(line: str, fits: bool) -> None:
    assert runs_script(argv(line), "manage.py", ("worker",)) is fits


def test_match_arguments_keep_their_order_and_allow_gaps() -> None:
    line = ("python", "manage.py", "worker", "-v", "--queue", "a")
    assert runs_script(line, "manage.py", ("worker", "--queue", "a"))
    assert not runs_script(line, "manage.py", ("--queue", "a", "worker"))
    assert not runs_script(line, "manage.py", ("worker", "worker"))


# --- symbolic links -------------------------------------------------------------------------

HERE = Process(Identity(9, 9, "b"), 1, ("python", "bot.py"), Moment(1.0), cwd="/opt/releases/42")


def test_match_cwd_resolves_symbolic_links() -> None:
    role = Role("worker", "bot.py", match_cwd="/opt/current")
    assert not in_directory(HERE, role)
    assert in_directory(HERE, replace(role, real_cwd="/opt/releases/42"))
    assert not in_directory(HERE, replace(role, real_cwd="/opt/releases/41"))
    assert in_directory(replace(HERE, cwd="/opt/current"), role)
    assert not in_directory(replace(HERE, cwd=None), role)
    assert in_directory(replace(HERE, cwd=None), Role("worker", "bot.py"))


@pytest.mark.parametrize(
    ("words", "cwd", "fits"),
    [
        ("python bot.py", "/opt/releases/42", True),
        ("python ./bot.py", "/opt/releases/42", True),
        ("python ../42/bot.py", "/opt/releases/42", True),
        ("python ../../current/bot.py", "/opt/releases/42", True),
        ("python /opt/releases/42/bot.py", "/", True),
        ("python /opt/current/bot.py", "/", True),
        ("python bot.py", "/opt/releases/41", False),
        ("python bot.py", None, False),
        ("vim bot.py", "/opt/releases/42", False),
    ],
)
def test_absolute_match_compares_resolved_script_paths(
    words: str, cwd: str | None, fits: bool
) -> None:
    role = Role("worker", "/opt/current/bot.py", real_match="/opt/releases/42/bot.py")
    assert runs_role(replace(HERE, argv=argv(words), cwd=cwd), role) is fits


def test_relative_match_is_resolved_from_the_command_or_cwd() -> None:
    assert resolve_script_path(Role("worker", "bot.py", ("python", "/opt/current/bot.py"))) is None
    assert resolve_script_path(Role("worker", "/x/bot.py")) == "/x/bot.py"
    role = Role("worker", "current/bot.py", ("python", "/opt/current/bot.py", "current/bot.py"))
    assert resolve_script_path(role) == "/opt/current/bot.py"
    assert resolve_script_path(replace(role, command=("python", "current/bot.py"), cwd="/opt")) == (
        "/opt/current/bot.py"
    )
    assert resolve_script_path(replace(role, command=("python", "current/bot.py"))) is None


# --- the cost of other users' command lines --------------------------------------------------

HOSTILE = [
    ("/bin/sh", "-c", "sleep 300\nexit\ntrue rpa_worker.py; " + "a 'b' \"c\" ; " * 10_500),
    ("/bin/sh", "-c", "rpa_worker.py " + '"' * 130_000),
    ("/bin/sh", "-c", "rpa_worker.py " + "\\" * 130_001),
    ("/bin/sh", "-c", "rpa_worker.py " + "'a'" * 40_000),
    ("/bin/sh", "-c", "rpa_worker.py " + "A=1 " * 30_000),
    ("/bin/sh", *["-x"] * 40_000, "rpa_worker.py"),
    ("python", *["-u"] * 40_000, "rpa_worker.py"),
    ("env", *["A=1"] * 30_000, "rpa_worker.py"),
    (*["sudo"] * 25_000, "rpa_worker.py"),
    ("pwsh", "-Command", "rpa_worker.py; " + "& a ; " * 20_000),
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_long_command_lines_are_parsed_in_bounded_time(line: tuple[str, ...]) -> None:
    runs_script(line, "rpa_worker.py")  # The first call fills caches and is not measured.
    begin = process_time()
    for number in range(60):
        runs_script((*line[:-1], line[-1].replace("300", str(number))), "rpa_worker.py")
    assert process_time() - begin < 0.6


def test_inline_code_is_searched_only_up_to_the_limit() -> None:
    rest = "; " + "echo 'more' ; " * MAX_CODE_CHARS
    assert runs_script(("sh", "-c", "python rpa_worker.py" + rest), "rpa_worker.py")
    assert not runs_script(("sh", "-c", rest[2:] + "python rpa_worker.py"), "rpa_worker.py")
    cut = "echo " + "x" * (MAX_CODE_CHARS - 6)
    assert not runs_script(("sh", "-c", f"{cut};rpa_worker.py_old"), "rpa_worker.py")


@given(st.lists(st.text(max_size=12), max_size=8))
def test_runs_script_accepts_any_command_line(words: list[str]) -> None:
    runs_script(words, "rpa_worker.py")
    runs_script([*words, "rpa_worker.py"], "rpa_worker.py")
    runs_script(["sh", "-c", " ".join([*words, "rpa_worker.py"])], "rpa_worker.py")


def test_relative_path_match_compares_trailing_components() -> None:
    assert runs_script(("python", "/home/a/agi/rpa_worker.py"), "agi/rpa_worker.py")
    assert not runs_script(("python", "/home/a/old/rpa_worker.py"), "agi/rpa_worker.py")
    assert not runs_script(("python", "rpa_worker.py"), "agi/rpa_worker.py")


@pytest.mark.parametrize(
    "match",
    ["", " ", "agi/ ", "*", "*.py", "python", "python3.11", "sh", "sudo", "uv", "..", "pwsh",
     "cmd.exe", "python x.py", "sh /opt/x.sh", "/usr/bin/python x.py", "uv run x.py"],
)  # fmt: skip
def test_match_error_refuses_overly_broad_matches(match: str) -> None:
    assert match_error(match)


@pytest.mark.parametrize(
    "match",
    ["rpa-console", "rpa-console.py", "rpa-console.exe", "/opt/bin/rpa-console", "console",
     "console.py", " console ", "console.cli.main", "console.__main__", "console/__main__.py",
     "__main__.py", "__main__", "shim.py", "console/system/shim.py"],
)  # fmt: skip
def test_match_error_refuses_the_console_itself(match: str) -> None:
    assert match_error(match) == "that is the console itself"


def test_match_error_accepts_usable_matches() -> None:
    for match in ("rpa_worker.py", "agi/rpa_worker.py", "console/rig/rpa_worker.py", "consoles.py"):
        assert match_error(match) is None
