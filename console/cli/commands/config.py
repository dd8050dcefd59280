"""`config`: writes, shows, checks and describes the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, print_json, print_message, print_redacted
from console.core.exit_codes import FAILURE, USAGE

if TYPE_CHECKING:
    from console.system.config.schema import Settings

CONFIG_TEMPLATE = """\
# rpa-console: what to watch, and how to start it. Every line is optional.
# `rpa-console config validate` checks this file, `config schema` describes every key.

# Where the automation's status files are.
# outputs = "~/agi/outputs"

# Refuse everything that would change something.
# read_only = false

[queue]
# url = "http://127.0.0.1:8091"
# timeout_s = 3.0
# Credentials, sent and never shown: http://user:password@host, token_env = NAME, token_file = PATH
# lease_s = 120         # a task in work for longer is queued again by the server

[roles.worker]
# The base name of the script: a command line that merely mentions it does not count.
match = "rpa_worker.py"
# Without a command it can be watched and ended, not started.
# command = ["python", "rpa_worker.py", "--server", "http://127.0.0.1:8091", "--interval", "0.5"]
# cwd     = "~/agi"
# count   = 1           # how many are wanted
# keep    = "oldest"    # which one stays when there are too many: oldest, newest
# grace_s = 10          # from the polite signal to the one that cannot be refused
# autostart = true      # the daemon starts it when it has never run here
# settle_s = 0.5        # a new worker counts as started when it has outlived this
# match_args = ["worker"]   # words among the script's own arguments: one script, several roles
# match_cwd = "~/agi"   # tell two boxes on one machine apart by working directory,
# match_env = { RPA_BOX = "a" }   # or by environment

# [roles.worker.restart]
# enabled = true
# backoff_s = 5         # doubling, up to
# backoff_max_s = 60
# limit = 3             # automatic restarts within
# window_s = 600        # and then it is parked until a person acts
# stalled = "report"    # alive, but evidently doing no work: report it, or restart it

[roles.watchdog]
match = "task_watchdog.py"
# command = ["python", "task_watchdog.py", "--interval", "60", "--auto-recover"]

[monitors.canary]
# enabled = true
# every_s = 1800        # a real task through the queue, every half hour
# for_s = 86400         # for a day, then it is switched off; without it: for ever
# deadline_s = 30
# slow_s = 2            # slower is failing; without it: what the last good baseline has shown

[monitors.worker]
# every_s = 300         # and at once when a worker dies

[monitors.watchdog]
# every_s = 30
# stale_s = 180         # a heartbeat older than this is no heartbeat

[monitors.queue]
# every_s = 10
# warn_above = 5        # waiting tasks worth a word, and too many; without them, and without
# fail_above = 20       # `success_rate = 90`: what the last good baseline has shown, at most 95;
                        # under 85 % of success is a warning, under 70 % critical in any case

[monitors.pipeline]
# every_s = 30
# mode = "auto"         # read: another program writes the file; collect: we do; auto: look
# stale_s = 600         # older is stale; without it: by its rhythm, its next runs or its window

[baseline]
# hours = 6             # 6 to 8
# success_rate = 95     # percent, at least
# latency_s = 5         # below
# uptime = 100          # percent of the worker
# queue_size = 10       # below
# restarts = 0          # at most
# coverage = 95         # percent of the time that must have been watched

[alerts]
# hook = ["/usr/local/bin/tell-me"]   # gets the alert as JSON on standard input
# timeout_s = 10
# retries = 2
# look_s = 5            # what is wrong in two looks in a row is an alert

[retention]
# samples_days = 14     # every look; then
# minutes_days = 60     # one figure a minute,
# hours_days = 400      # one an hour: a year stays below 150 MB
# events_days = 400     # the ledger; what is still needed of it stays

[screen]
# box = "invoices"      # what this box is called; without it: its state directory
# theme = "dark"        # dark, light, high-contrast, colour-blind-safe, sixteen, or your own
# mouse = "auto"        # true, false; auto: not over SSH, so that text can be marked there
# redact = ['PIN: \\d+']   # shown and stored as ***; passwords and tokens are so by default
# keys = { ensure = "E", kill = "ctrl+k" }   # `rpa-console config keys` names every command
"""


@click.group()
def config() -> None:
    """The configuration: one TOML file."""


@config.command()
@pass_options
def init(options: Options) -> None:
    """Write a commented configuration. An existing one is never touched."""
    options.require_writable()
    path = Path(os.path.expanduser(options.config_path or _default_config_path())).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(CONFIG_TEMPLATE)
    except FileExistsError:
        fail(f"{path}: is there already, and stays as it is", FAILURE)
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}", FAILURE)
    print_redacted(str(path))


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@pass_options
def show(options: Options, as_json: bool) -> None:
    """Show the settings in force, defaults included."""
    import msgspec

    from console.core import secret_redaction

    settings = _load_settings(options)
    plain = secret_redaction.redact_values(_without_none(msgspec.to_builtins(settings)))
    if as_json:
        print_json(plain)
        return
    import tomli_w

    path = options.find_config()
    print_redacted(f"# from {path}" if path else "# no configuration file: these are the defaults")
    print_redacted(tomli_w.dumps(plain).rstrip())


@config.command()
@pass_options
def validate(options: Options) -> None:
    """Check the configuration, and that everything it names exists. Exit code 2: unusable."""
    from console.system import doctor_checks
    from console.system.config.loader import group_write_warning
    from console.system.doctor_checks import CheckState

    path = options.find_config()
    settings = _load_settings(options)
    if path is not None and (permission_warning := group_write_warning(path)):
        print_message(f"warning: {path}: {permission_warning}")
    has_failed = False
    for finding in doctor_checks.check_settings(settings):
        has_failed = has_failed or finding.state is CheckState.FAILS
        if finding.state is not CheckState.OK:
            mark = "error" if finding.state is CheckState.FAILS else "warning"
            print_message(f"{mark}: {path or 'defaults'}: {finding.check}: {finding.seen}")
    if has_failed:
        raise click.exceptions.Exit(USAGE)
    for name in ("RPA_CONSOLE_CONFIG", "RPA_CONSOLE_STATE_DIR"):
        if value := os.environ.get(name):
            print_message(f"{name}={value}")
    roles = ", ".join(role.name for role in settings.all_roles())
    print_redacted(f"{path or 'defaults (no file)'}: valid; roles: {roles}")


@config.command()
@pass_options
def keys(options: Options) -> None:
    """List the console's commands, each with the key in force and what it does."""
    from console.ui.keymap import COMMAND_SPECS, build_command_specs, format_key

    key_overrides = _load_settings(options).screen.keys
    for default, entry in zip(COMMAND_SPECS, build_command_specs(key_overrides), strict=True):
        key_names = " ".join(format_key(key) for key in (entry.key, *entry.other_keys))
        note = f"  (instead of {format_key(default.key)})" if entry.key != default.key else ""
        print_redacted(f"{entry.id:<12} {key_names:<10} {entry.help}{note}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    from console.system.config import loader

    print_json(loader.json_schema())


@config.command()
@pass_options
def path(options: Options) -> None:
    """Print where the configuration is, or would be."""
    print_redacted(str(options.config_path or _default_config_path()))


def _default_config_path() -> Path:
    from console.system.paths import NoHomeDirectoryError, default_config_file

    try:
        return default_config_file()
    except NoHomeDirectoryError as error:
        fail(str(error), USAGE)


def _load_settings(options: Options) -> Settings:
    from console.system.config.loader import ConfigError, load
    from console.ui.keymap import find_keymap_errors

    path = options.find_config()
    try:
        settings = load(path)
    except ConfigError as error:
        fail(str(error), USAGE)
    if keymap_errors := find_keymap_errors(settings.screen.keys):
        fail("\n".join(f"{path}: {error_text}" for error_text in keymap_errors), USAGE)
    return settings


def _without_none(value: object) -> dict[str, object]:
    """Return `value` without the keys whose value is None: TOML has no null."""

    def clean(one: object) -> object:
        if isinstance(one, dict):
            return {key: clean(inner) for key, inner in one.items() if inner is not None}
        return one

    cleaned = clean(value)
    assert isinstance(cleaned, dict)
    return cleaned
