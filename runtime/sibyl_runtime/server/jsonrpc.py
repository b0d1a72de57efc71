"""Messages that are no request of JSON-RPC, or no call of a tool, refused in words that say what to send instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from sibyl_runtime.server.responses import JSON

INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
_KINDS: Mapping[type, str] = {
    dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number",
    type(None): "null",
}  # fmt: skip


def refusal(body: bytes) -> JSON | None:
    """The answer to such a message; None where the library has to answer, as it does to what is no JSON at all."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(message, dict):
        return _refused(None, INVALID_REQUEST, f"a message is one JSON object, and not a batch; found {_kind(message)}")
    identity = message.get("id") if isinstance(message.get("id"), str | int) else None
    fault = _request_fault(message)
    if fault is not None:
        return _refused(identity, INVALID_REQUEST, fault)
    fault = _params_fault(message)
    return None if fault is None else _refused(identity, INVALID_PARAMS, fault)


def _request_fault(message: Mapping[str, Any]) -> str | None:
    if message.get("jsonrpc") != "2.0":
        return '`jsonrpc` must be "2.0"' + (", found another value" if "jsonrpc" in message else ", which is missing")
    if "method" in message and not isinstance(message["method"], str):
        return f"`method` must be text, found {_kind(message['method'])}"
    if not message.keys() & {"method", "result", "error"}:
        return "`method` is missing; tools are listed by tools/list and called by tools/call"
    return None


def _params_fault(message: Mapping[str, Any]) -> str | None:
    params = message.get("params")
    if params is None:  # as some clients write what they leave out
        params = {}
    if not isinstance(params, dict):
        return f"`params` must be an object, found {_kind(params)}"
    if message.get("method") != "tools/call":
        return None
    if not isinstance(params.get("name"), str):
        found = f", found {_kind(params['name'])}" if "name" in params else ", which is missing"
        return f"`params.name` must be the name of a tool{found}; tools are listed by tools/list"
    arguments = params.get("arguments")
    if arguments is not None and not isinstance(arguments, dict):
        return f"`params.arguments` must be an object of names and values, found {_kind(arguments)}"
    return None


def _kind(value: object) -> str:
    return _KINDS[type(value)]


def _refused(identity: str | int | None, code: int, message: str) -> JSON:
    error = {"code": code, "message": message}
    return JSON({"jsonrpc": "2.0", "id": identity, "error": error}, status_code=400)
