"""Messages that are no request of JSON-RPC, or no call of a tool, refused in words that say what to send instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from sibyl_runtime.server.responses import JSON

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
_KINDS: Mapping[type, str] = {
    dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number",
    type(None): "null",
}  # fmt: skip

# What the parameters of a method must hold: the kind, and how a message says it.
_OBJECT: Final = (dict, "an object")
_REQUIRED: Mapping[str, Mapping[str, tuple[type, str]]] = {
    "tools/call": {"name": (str, "the name of a tool that tools/list lists")},
    "initialize": {"protocolVersion": (str, "text, a date"), "capabilities": _OBJECT, "clientInfo": _OBJECT},
}
_OPTIONAL: Mapping[str, Mapping[str, tuple[type, str]]] = {
    "tools/call": {"arguments": (dict, "an object of names and values")},
    "tools/list": {"cursor": (str, "text, as an earlier answer held it")},
}

Fault = tuple[str | int | None, int, str]
"""The id of the message, as far as it can be read, the code of the error, and what is wrong."""


def refusal(body: bytes) -> JSON | None:
    """The answer to such a message; None where the library has to answer, as it does to what is no JSON at all."""
    fault = line_fault(body)
    if fault is None or fault[1] == PARSE_ERROR:
        return None
    identity, code, message = fault
    error = {"code": code, "message": message}
    return JSON({"jsonrpc": "2.0", "id": identity, "error": error}, status_code=400)


def line_fault(line: bytes) -> Fault | None:
    """What is wrong with such a message; None for one that the library may read."""
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return None, PARSE_ERROR, f"a message is one JSON object on one line: {error}"
    if not isinstance(message, dict):
        return None, INVALID_REQUEST, f"a message is one JSON object, and not a batch; found {_kind(message)}"
    identity = message.get("id") if type(message.get("id")) in (str, int) else None
    fault = _request_fault(message)
    if fault is not None:
        return identity, INVALID_REQUEST, fault
    fault = _params_fault(message)
    return None if fault is None else (identity, INVALID_PARAMS, fault)


def _request_fault(message: Mapping[str, Any]) -> str | None:
    if message.get("jsonrpc") != "2.0":
        return '`jsonrpc` must be "2.0"' + (", found another value" if "jsonrpc" in message else ", which is missing")
    if "method" in message and not isinstance(message["method"], str):
        return f"`method` must be text, found {_kind(message['method'])}"
    if not message.keys() & {"method", "result", "error"}:
        return "`method` is missing; tools are listed by tools/list and called by tools/call"
    for name in ("result", "error"):
        if not isinstance(message.get(name, {}), dict):
            return f"`{name}` must be an object, found {_kind(message[name])}"
    return _identity_fault(message)


def _identity_fault(message: Mapping[str, Any]) -> str | None:
    """A request whose `id` cannot be read would be taken for a notification, and its sender wait for an answer."""
    if "id" not in message or type(message["id"]) in (str, int):
        return None
    if message["id"] is None and message.get("method", "").startswith("notifications/"):
        return None
    found = "a number with a fraction" if isinstance(message["id"], float) else _kind(message["id"])
    return f"`id` must be text or a whole number, found {found}; only a notification has none"


def _params_fault(message: Mapping[str, Any]) -> str | None:
    params = message.get("params")
    if params is None:  # as some clients write what they leave out
        params = {}
    if not isinstance(params, dict):
        return f"`params` must be an object, found {_kind(params)}"
    method = message.get("method", "")
    for name, (kind, wanted) in _REQUIRED.get(method, {}).items():
        if not isinstance(params.get(name), kind):
            found = f"found {_kind(params[name])}" if name in params else "which is missing"
            return f"`params.{name}` must be {wanted}, {found}"
    for name, (kind, wanted) in {**_OPTIONAL.get(method, {}), "_meta": _OBJECT}.items():
        if params.get(name) is not None and not isinstance(params[name], kind):
            return f"`params.{name}` must be {wanted}, found {_kind(params[name])}"
    return None


def _kind(value: object) -> str:
    return _KINDS[type(value)]
