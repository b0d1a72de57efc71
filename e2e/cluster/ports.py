"""Free ports on loopback."""

from __future__ import annotations

import random
import socket

from e2e.cluster.errors import ClusterError

# Below the range from which Linux (32768) and macOS (49152) take the ports of outgoing connections: a port from
# that range can be taken by anyone between the look and the use.
_LOWEST, _HIGHEST = 20000, 32000


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen on this address and port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not matter
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """`count` different ports on which nobody listens. Another process may still come first: be ready to retry."""
    found: list[int] = []
    for port in random.sample(range(_LOWEST, _HIGHEST), 1000):
        if is_free(address, port):
            found.append(port)
        if len(found) == count:
            return found
    raise ClusterError(f"no {count} free ports between {_LOWEST} and {_HIGHEST} on {address}")
