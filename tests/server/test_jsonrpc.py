"""What is no request of MCP is refused in our own words, with the id that it had and the code of JSON-RPC."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sibyl_runtime.server.jsonrpc import refusal

NO_IDENTITY = "`id` must be text or a whole number, found {}; only a notification has none"


def call(**params: Any) -> dict[str, Any]:
    return asked("tools/call", **params)


def asked(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


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
            "`params.name` must be the name of a tool that tools/list lists, which is missing",
        ),
        (
            call(name=5),
            7,
            -32602,
            "`params.name` must be the name of a tool that tools/list lists, found a number",
        ),
        (
            call(name="a", arguments=[]),
            7,
            -32602,
            "`params.arguments` must be an object of names and values, found a list",
        ),
        ({**call(name="a"), "id": None}, None, -32600, NO_IDENTITY.format("null")),
        ({**call(name="a"), "id": True}, None, -32600, NO_IDENTITY.format("true or false")),
        ({**call(name="a"), "id": 1.5}, None, -32600, NO_IDENTITY.format("a number with a fraction")),
        ({**call(name="a"), "id": {}}, None, -32600, NO_IDENTITY.format("an object")),
        (call(name="a", _meta=[]), 7, -32602, "`params._meta` must be an object, found a list"),
        (
            asked("tools/list", cursor=4),
            7,
            -32602,
            "`params.cursor` must be text, as an earlier answer held it, found a number",
        ),
        (asked("initialize"), 7, -32602, "`params.protocolVersion` must be text, a date, which is missing"),
        (
            asked("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo="me"),
            7,
            -32602,
            "`params.clientInfo` must be an object, found text",
        ),
        ({"jsonrpc": "2.0", "id": 1, "result": 5}, 1, -32600, "`result` must be an object, found a number"),
        ({"jsonrpc": "2.0", "id": 1, "error": "no"}, 1, -32600, "`error` must be an object, found text"),
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
        orjson.dumps({"jsonrpc": "2.0", "id": None, "method": "notifications/initialized"}),
        orjson.dumps(asked("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "a"})),
        orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": None}),
        orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}),
    ],
)
def test_all_else_is_the_librarys(body: bytes) -> None:
    assert refusal(body) is None
