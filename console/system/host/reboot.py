"""What a restart of the machine explains: every process of an earlier boot is dead."""

from __future__ import annotations

from console.core.model import Identity, Moment
from console.system import clock


def restarted(identity: Identity) -> Moment | None:
    """When this boot began, if the process belongs to an earlier one."""
    if identity.boot == clock.boot_id():
        return None
    now = clock.now()
    return now.plus(-now.tick)


def end(identity: Identity, began: Moment, otherwise: str) -> tuple[str, dict[str, object]]:
    """Why a process that `began` then is dead, and what the ledger keeps of it.

    `otherwise`: the reason where the machine was not restarted since.
    """
    ended = restarted(identity)
    ran_s = (ended.at - began.at) if ended else clock.now().since(began)
    data: dict[str, object] = {"exit_code": None, "signal": None}
    data["uptime_s"] = round(max(0.0, ran_s), 3)
    if ended is None:
        return otherwise, data
    from console.core.text.formatting import day_clock  # a shim needs none of it

    return f"the machine was restarted at {day_clock(ended)}", data | {"restarted_at": ended.at}
