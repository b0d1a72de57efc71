"""The address that a request comes from, as far as it can be believed. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from starlette.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HOME_PREFIX = 64
"""One customer's IPv6 network: every host in it can take any of its addresses."""


def networks(written: Iterable[str]) -> tuple[Network, ...]:
    """The networks of a list such as ["10.0.0.0/8"]. Raises ValueError."""
    return tuple(ipaddress.ip_network(one) for one in written)


def client_address(scope: Scope, proxies: Sequence[Network]) -> str:
    """The address as the name of a bucket: an IPv4 address, or the /64 of an IPv6 one.

    X-Forwarded-For is read from its end, only as long as what wrote it is one of `proxies`: a client may write
    anything into it, but not behind the address that the last proxy of ours adds.
    """
    peer = scope.get("client")
    address = _address(peer[0]) if peer else None
    if address is None:
        return "unknown"
    hops = _forwarded(scope)
    while hops and _within(address, proxies):
        nearer = _address(hops.pop())
        if nearer is None:
            break
        address = nearer
    return _bucket(address)


def _forwarded(scope: Scope) -> list[str]:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [hop.strip() for hop in ",".join(values).split(",") if hop.strip()]


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _within(address: Address, proxies: Sequence[Network]) -> bool:
    return any(address in network for network in proxies)


def _bucket(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _HOME_PREFIX), strict=False))
