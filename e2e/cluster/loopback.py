"""One loopback address for each pod, so that pods listen on the same port without meeting each other."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from dataclasses import dataclass

from e2e.cluster.errors import ClusterError
from e2e.cluster.ports import is_free

_FIRST, _LAST = 2, 254
# Holding this UDP port marks an address as taken for every process on the machine; the kernel gives it back.
_CLAIM_PORT = 10250


@dataclass(frozen=True)
class LoopbackAddress:
    """An address of the range 127.0.0.2 to 127.0.0.254 that is ours until `release`."""

    address: str
    claim: socket.socket

    def release(self) -> None:
        """Give the address back. Safe to call again."""
        self.claim.close()


class LoopbackRange:
    """Hands out addresses in turn: one that was just given back is used last, as late requests may still go to it."""

    def __init__(self) -> None:
        self._next = _FIRST

    def claim(self, ports: Collection[int] = ()) -> LoopbackAddress:
        """A free address on which nobody listens on any of `ports`. Raises ClusterError where there is none."""
        size = _LAST - _FIRST + 1
        for step in range(size):
            number = _FIRST + (self._next - _FIRST + step) % size
            claim = _claim(f"127.0.0.{number}", ports)
            if claim is not None:
                self._next = number + 1
                return claim
        wanted = ", ".join(map(str, sorted(ports))) or "any"
        raise ClusterError(
            f"no address from 127.0.0.{_FIRST} to 127.0.0.{_LAST} has the port {wanted} free: "
            "end the program that listens on this port on all addresses (0.0.0.0)"
        )


def _claim(address: str, ports: Collection[int]) -> LoopbackAddress | None:
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind((address, _CLAIM_PORT))
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ClusterError(
                f"this machine does not answer on {address}; on macOS add it first: sudo ifconfig lo0 alias {address}"
            ) from error
        return None
    if all(is_free(address, port) for port in ports):
        return LoopbackAddress(address, claim)
    claim.close()
    return None
