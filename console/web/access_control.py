"""Who may come in: from a page of ours, by a name of this machine, with the key.

The key travels in the address's fragment, which browsers send to nobody, and comes back in the
WebSocket's handshake. It is no cookie: cookies are shared by all ports of a host, so that every
other service on this loopback would be handed it.
"""

from __future__ import annotations

import hmac
import re
import secrets

PROTOCOL = "rpa-console"
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)


def make_key() -> str:
    """A key that nobody can guess, fit for an address and for a header."""
    return secrets.token_urlsafe(32)


def refuse_page(host: str | None, origin: str | None) -> str | None:
    """Why nothing is shown to this request, or None.

    A foreign name that leads to this machine (DNS rebinding) shows in Host, a foreign page in
    Origin. The port is left open: it is another one at the far end of an SSH connection.
    """
    if host is None or not LOOPBACK.fullmatch(host):
        return "this is not a name of this machine's loopback"
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return "another page asks"
    return None


def refuse_console(origin: str | None, offered: str | None, key: str) -> str | None:
    """Why this handshake gets no console, or None. `offered`: its subprotocols."""
    if origin is None:
        return "no page asks"
    given = (offered or "").replace(" ", "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(given, f"{PROTOCOL},{key}".encode()):
        return "the key is missing or wrong"
    return None
