"""What is no request of MCP is refused in our own words, with the id that it had and the code of JSON-RPC."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sibyl_runtime.server.jsonrpc import refusal


def call(**params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}


@pytest.mark.parametrize(
    ("message", "identity", "code", "text"),
    [
        ([], None, -32600, "a message is one JSON object, and not a batch; found a list"),
        ("a", None, -32600, "a message is one JSON object, and not a batch; found text"),
        (None, None, -32600, "a message is one JSON object, and not a batch; found null"),
        ({"id": 1, "method": "ping"}, 1, -32600, '`jsonrpc` must be "2.0", which is missing'),
        ({"id": "a", "jsonrpc": 2, "method": "ping"}, "a", -32600, '`jsonrpc` must be "2.0", found another value'),
        ({"id": [1], "jsonrpc": "2.0", "method": 3}, None, -32600, "`method` must be text, found a number"),
        (
            {"jsonrpc": "2.0", "id": 1},
            1,
            -32600,
            "`method` is missing; tools are listed by tools/list and called by tools/call",
        ),
        ({**call(), "params": []}, 7, -32602, "`params` must be an object, found a list"),
        (
            call(),
            7,
            -32602,
            "`params.name` must be the name of a tool, which is missing; tools are listed by tools/list",
        ),
        (
            call(name=5),
            7,
            -32602,
            "`params.name` must be the name of a tool, found a number; tools are listed by tools/list",
        ),
        (
            call(name="a", arguments=[]),
            7,
            -32602,
            "`params.arguments` must be an object of names and values, found a list",
        ),
    ],
)
def test_a_message_is_refused(message: Any, identity: Any, code: int, text: str) -> None:
    refused = refusal(orjson.dumps(message))
    assert refused is not None
    assert refused.status_code == 400
    assert orjson.loads(bytes(refused.body)) == {
        "jsonrpc": "2.0",
        "id": identity,
        "error": {"code": code, "message": text},
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        orjson.dumps(call(name="a")),
        orjson.dumps(call(name="a", arguments=None)),
        orjson.dumps(call(name="a", arguments={"query": "x"})),
        orjson.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": None}),
        orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}),
    ],
)
def test_all_else_is_the_librarys(body: bytes) -> None:
    assert refusal(body) is None
