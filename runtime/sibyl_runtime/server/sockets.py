"""Listening sockets, bound before anything slow begins: a port that is taken is told at once, not after the model."""

from __future__ import annotations

import errno
import socket

from sibyl_runtime.errors import StartupError


def bind(host: str, port: int, *, setting: str) -> socket.socket:
    """A bound TCP socket that does not listen yet; port 0 takes a free one.

    Raises StartupError that names `setting`, the place where the port can be changed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise StartupError(
            f'cannot listen on "{host}": {error.strerror}; check --host, $SIBYL_HOST or mcp.host'
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StartupError(f"cannot listen on {host}:{port}: {_what_to_do(error, port, setting)}") from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a client on this machine finds it."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def _what_to_do(error: OSError, port: int, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another process; stop it, or choose another port ({setting})"
    return f"{error.strerror or error}; check {setting}"
