"""Listening sockets, and what is said when there is none to be had."""

from __future__ import annotations

import socket

import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.server.sockets import bind, url_of


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartupError) as refused:
            bind("127.0.0.1", port, setting="--port or mcp.port")
    assert refused.value.message == (
        f"cannot listen on 127.0.0.1:{port}: port {port} is taken by another process; stop it, or choose another port "
        "(--port or mcp.port)"
    )


def test_an_address_that_is_not_of_this_machine_is_named() -> None:
    with pytest.raises(StartupError, match=r"cannot listen on 192\.0\.2\.1:80: .+; check mcp\.port"):
        bind("192.0.2.1", 80, setting="mcp.port")


def test_a_host_that_is_no_address_is_named() -> None:
    with pytest.raises(StartupError, match=r'cannot listen on "no such host": .+; check --host'):
        bind("no such host", 0, setting="--host")


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")])
def test_the_url_leads_there_from_this_machine(host: str, shown: str) -> None:
    listener = bind(host, 0, setting="test")
    with listener:
        assert url_of(listener) == f"http://{shown}:{listener.getsockname()[1]}"
