"""Explains deaths by a reboot: every process of an earlier boot is dead."""

from __future__ import annotations

from console.core.model.processes import Identity
from console.core.model.time import Moment
from console.system import clock


def find_reboot(identity: Identity) -> Moment | None:
    """Return the start of the current boot if the process belongs to an earlier one, else None."""
    if identity.boot == clock.boot_id():
        return None
    now = clock.now()
    return now.plus(-now.tick)


def explain_death(
    identity: Identity, started: Moment, default_reason: str
) -> tuple[str, dict[str, object]]:
    """Return the reason of a process's death, and the data for its event.

    `default_reason`: the reason if the machine was not restarted since `started`.
    """
    boot_start = find_reboot(identity)
    uptime_s = (boot_start.at - started.at) if boot_start else clock.now().since(started)
    data: dict[str, object] = {"exit_code": None, "signal": None}
    data["uptime_s"] = round(max(0.0, uptime_s), 3)
    if boot_start is None:
        return default_reason, data
    from console.core.text.formatting import format_date_time  # rarely needed

    return f"the machine was restarted at {format_date_time(boot_start)}", data | {
        "restarted_at": boot_start.at
    }
