"""Loopback addresses for pods."""

from __future__ import annotations

import socket

import pytest

from e2e.cluster.errors import ClusterError
from e2e.cluster.loopback import LoopbackRange
from e2e.cluster.ports import free_ports, is_free


def test_two_pods_get_two_addresses_and_a_returned_one_is_used_last() -> None:
    addresses = LoopbackRange()
    first, second = addresses.claim(), addresses.claim()
    first.release()
    third = addresses.claim()
    assert len({first.address, second.address, third.address}) == 3
    second.release()
    third.release()


def test_two_nodes_on_one_machine_do_not_share_an_address() -> None:
    mine, other = LoopbackRange().claim(), LoopbackRange().claim()
    assert mine.address != other.address
    mine.release()
    other.release()


def test_an_address_whose_port_is_taken_is_passed_over() -> None:
    (port,) = free_ports(1)
    candidate = LoopbackRange().claim([port])
    candidate.release()
    with socket.create_server((candidate.address, port)):
        assert not is_free(candidate.address, port)
        passed = LoopbackRange().claim([port])
        assert passed.address != candidate.address
        passed.release()


def test_a_port_taken_on_all_addresses_is_named() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"has the port {port} free: end the program that listens"):
            LoopbackRange().claim([port])
