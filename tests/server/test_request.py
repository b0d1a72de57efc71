"""Request ids: taken over when sane, made otherwise."""

from __future__ import annotations

import re

import pytest

from sibyl_runtime.server.request import request_id
from tests.server.served import scripted, served


@pytest.mark.parametrize("offered", ["abc-123", "9f86d081-884c-7d65", "trace:1/2+3=", "a" * 128])
def test_a_sane_id_is_taken_over(offered: str) -> None:
    assert request_id(offered.encode()) == offered


@pytest.mark.parametrize("offered", [None, b"", b"a" * 129, b"two words", b"line\nbreak", b"<script>", "ü".encode()])
def test_anything_else_gets_a_new_id(offered: bytes | None) -> None:
    made = request_id(offered)
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert made != request_id(offered)


async def test_the_id_is_in_header_metadata_and_errors() -> None:
    async with served(scripted()) as server:
        answer = await server.call({"query": "x"}, **{"X-Request-ID": "mine-1"})
        assert (answer.headers["X-Request-ID"], answer.json()["metadata"]["request_id"]) == ("mine-1", "mine-1")
        error = await server.api.get("/nowhere", headers={"X-Request-ID": "mine-2"})
        assert (error.headers["X-Request-ID"], error.json()["request_id"]) == ("mine-2", "mine-2")
