"""Redaction replaces secrets in all output and keeps ordinary text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core import secret_redaction
from console.core.model.processes import Identity, Process
from console.core.model.time import Moment
from console.core.text.formatting import sanitize_text

SECRET = "Hunter2x9"


@pytest.mark.parametrize(
    "text",
    [
        f"--token={SECRET}",
        f"bot.py --password {SECRET} --interval 5",
        f"--api-key={SECRET}",
        f"-token={SECRET}",
        f"DB_PASSWORD={SECRET}",
        f'PGPASSWORD="{SECRET} {SECRET}" psql',
        f"accessToken={SECRET}&x=1",
        f"clientSecret='{SECRET}'",
        f"MYSQL_PASS={SECRET}",
        f"http://bot:{SECRET}@host:80/path",
        f"postgres://bot:p@{SECRET}@host/db",
        f"Authorization: Bearer {SECRET}",
        f"Authorization: Digest username=x, response={SECRET}",
        f"curl -H 'Authorization: Basic {SECRET}' http://h",
        f"X-Api-Key: {SECRET}",
        f"Cookie: session={SECRET}",
        f"sent bearer {SECRET} to it",
        f'{{"user": "bot", "password": "{SECRET}"}}',
        f"{{'secret': '{SECRET}'}}",
        f"login failed, password: {SECRET}",
        f"curl -u bot:{SECRET} http://h",
        f"sshpass -p {SECRET} ssh host",
        f"mysqldump -ubot -p{SECRET} db",
        f"https://account.blob.example/x?sv=1&sig={SECRET}%3D",
        f"ghp_{SECRET * 4}",
        f"xoxb-12345678-{SECRET}",
        f"eyJhbGciOiJI.eyJzdWIiOiIx.{SECRET}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_redact_replaces_secrets(text: str) -> None:
    shown = secret_redaction.redact(text)
    assert SECRET not in shown
    assert secret_redaction.MASK in shown
    assert secret_redaction.redact(shown) == shown
    assert SECRET not in sanitize_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "started: PID 15, token 1",
        "its lease is held under token 3",
        "--token-file=/run/secrets/x --password-file /run/y",
        "max_tokens=100 tokenizer=fast author=ana authored=yes",
        "PWD=/home/robot OLDPWD=/ python bot.py",
        "no answer: 401: authorization required",
        "bearer presented",
        "c.toml: roles.worker.password: expected a string",
        "http://127.0.0.1:8091/api/health",
        "2026-11-28 10:00:00 5=3+2 key=value x-y: z",
        "python W.py --interval 5 --no-auth --verbose",
        "AKIA is a prefix",
        "비밀번호 = 없음",
    ],
)
def test_redact_keeps_ordinary_text(text: str) -> None:
    assert secret_redaction.redact(text) == text
    assert secret_redaction.redact_command_line(text.split(" ")) == text


def test_redact_argv_replaces_separate_values_with_spaces() -> None:
    argv = ["python", "bot.py", "--password", "a b c", "--secret", "--quick", "TOKEN=a b", "-v"]
    assert secret_redaction.redact_argv(argv) == [
        "python", "bot.py", "--password", "***", "--secret", "--quick", "TOKEN=***", "-v",
    ]  # fmt: skip
    assert secret_redaction.redact_argv(["/usr/bin/curl", "-u", "bot:a b", "u"]) == [
        "/usr/bin/curl", "-u", "bot:***", "u",
    ]  # fmt: skip


def test_redact_values_uses_the_names_of_keys() -> None:
    document: Any = {
        "env": {"API_KEY": "k", "LANG": "C"},
        "command": ["x", "--token", "y"],
        "token": 3,
        "deep": [{"password": "p"}, 1, None, "http://a:b@c"],
    }
    assert secret_redaction.redact_values(document) == {
        "env": {"API_KEY": "***", "LANG": "C"},
        "command": ["x", "--token", "***"],
        "token": 3,
        "deep": [{"password": "***"}, 1, None, "http://a:***@c"],
    }


def test_process_keeps_raw_argv_and_displays_a_redacted_command() -> None:
    argv = ("python", "bot.py", f"--token={SECRET}")
    process = Process(Identity.parse("5:6:boot"), 1, argv, Moment(0.0), "S")
    assert process.argv[2].endswith(SECRET)
    assert process.command == "python bot.py --token=***"


def test_sanitize_text_redacts_before_truncating() -> None:
    token = "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl"
    assert sanitize_text(f"x {token}", 12) == "x ***"
    assert (
        sanitize_text("x" * 20 + f" --token={SECRET} " + "y" * 40, 30) == "x" * 20 + " --token=*…"
    )


def test_extra_redactor_can_be_set_and_removed() -> None:
    try:
        secret_redaction.set_extra_redactor(lambda text: text.replace("blue", "***"))
        assert secret_redaction.redact("a blue word") == "a *** word"
        assert sanitize_text("a blue word") == "a *** word"
    finally:
        secret_redaction.set_extra_redactor(None)
    assert secret_redaction.redact("a blue word") == "a blue word"


@given(st.text("abT token=-:/@\"'&;.*eyJ", max_size=200))
def test_redact_accepts_any_text(text: str) -> None:
    shown = secret_redaction.redact(text)
    assert isinstance(shown, str)
    assert secret_redaction.redact_command_line(text.split(" ")) is not None


@pytest.mark.parametrize(
    "piece", ["-token ", "a-", "token", "://", "x://a:", "curl -u ", "a_b.auth", '"', "password='"]
)
def test_redact_takes_bounded_time(piece: str) -> None:
    text = piece * (20_000 // len(piece))
    began = time.process_time()
    secret_redaction.redact(text)
    assert time.process_time() - began < 2.0
