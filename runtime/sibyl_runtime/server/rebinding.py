"""Protection from DNS rebinding: a web page must not reach this server through the browser of somebody inside.

The page's own name resolves to this server's address then, so the browser takes both for one origin, and no CORS rule
helps. What gives it away are two headers that a page cannot choose. Every browser sends Origin with a POST, and /mcp
answers nothing else; a request without it comes from a program, which may call the server by any name: a Service, a
forwarded port, an Ingress. So nothing has to be configured for programs, and every other page has to be named. Pure.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from sibyl_runtime.errors import SibylError
from sibyl_runtime.workspace.mcp import TransportSecurity

SECTION = "mcp.transport_security"
_SHOWN = 100


class MisdirectedRequest(SibylError):
    """The request calls the server by a name that is not among its own."""

    status = 421
    code = "misdirected_request"


class ForbiddenOrigin(SibylError):
    """The request comes from a web page that may not call."""

    status = 403
    code = "forbidden"


def check_origin(settings: TransportSecurity, *, host: str | None, origin: str | None) -> None:
    """Judge the headers Host and Origin. Raises MisdirectedRequest or ForbiddenOrigin, which say what to set."""
    if not settings.dns_rebinding_protection:
        return
    name = host_name(f"//{host}") if host else None
    known = name is not None and (_is_loopback(name) or _is_listed(name, settings.allowed_hosts))
    if settings.allowed_hosts and not known:
        raise MisdirectedRequest(
            f'The header Host is "{(host or "")[:_SHOWN]}", which is not a name of this server; use one of '
            f"{', '.join(settings.allowed_hosts)}, or add the name to {SECTION}.allowed_hosts."
        )
    if origin is None or origin.lower() in (allowed.lower() for allowed in settings.allowed_origins):
        return
    page = host_name(origin)
    if page is not None and (_is_loopback(page) or (known and _is_same(origin, host))):
        return
    raise ForbiddenOrigin(
        f'Web pages of the origin "{origin[:_SHOWN]}" may not call this server; add it to {SECTION}.allowed_origins '
        "when the page is yours."
    )


def host_name(address: str) -> str | None:
    """The host of an address, in small letters and without port and brackets; None when there is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_listed(name: str, allowed: list[str]) -> bool:
    listed = [entry.lower().strip("[]") for entry in allowed]
    return name in listed or any(entry.startswith("*.") and name.endswith(entry[1:]) for entry in listed)


def _is_same(origin: str, host: str | None) -> bool:
    """True for a page that this server served itself."""
    return host is not None and urlsplit(origin).netloc.lower() == host.lower()
