"""Checks requests: the Host must be a loopback name, the Origin this server, and the key correct.

The key is in the fragment of the page's URL, which browsers do not send, and the page sends it in
the WebSocket handshake. It is not a cookie, because all ports of a host share cookies: browsers
would send it to every other service on the loopback interface.
"""

from __future__ import annotations

import hmac
import re
import secrets

SUBPROTOCOL = "rpa-console"
LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)


def make_key() -> str:
    """Return a random 256-bit key that is valid in URLs and in headers."""
    return secrets.token_urlsafe(32)


def page_refusal(host: str | None, origin: str | None) -> str | None:
    """Return why a request is refused, or None.

    The Host header reveals a foreign name that resolves to this machine (DNS rebinding), the Origin
    header a foreign page. The port is not checked, since an SSH tunnel may use another one.
    """
    if host is None or not LOOPBACK_HOST.fullmatch(host):
        return "this is not a name of this machine's loopback"
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return "another page asks"
    return None


def console_refusal(origin: str | None, subprotocols: str | None, key: str) -> str | None:
    """Return why a WebSocket handshake is refused, or None.

    `subprotocols`: the Sec-WebSocket-Protocol header, which must contain the key.
    """
    if origin is None:
        return "no page asks"
    offered = (subprotocols or "").replace(" ", "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(offered, f"{SUBPROTOCOL},{key}".encode()):
        return "the key is missing or wrong"
    return None
