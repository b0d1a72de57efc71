"""Reading a request's body: bounded, JSON, an object."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from sibyl_runtime.errors import RequestTooLarge
from sibyl_runtime.server.request import header
from sibyl_runtime.server.responses import MalformedBody, UnsupportedMediaType

LINGER_BYTES = 4 << 20
LINGER_SECONDS = 1.0
TOOL_ARGUMENTS = 'an object with the tool\'s parameters, such as {"query": "How do I ...?"}'


async def read_json_object(
    scope: Scope, receive: Receive, *, limit: int, expected: str = TOOL_ARGUMENTS
) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object. `limit` in bytes; `expected` tells what to send.

    Raises RequestTooLarge (before reading, when the length is declared), UnsupportedMediaType, MalformedBody, or
    ClientDisconnect when the client left in the middle.
    """
    body = await read_body(scope, receive, limit=limit)
    if not body:
        return {}
    require_json(header(scope, b"content-type"))
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise MalformedBody(f"The body is a JSON {_kind(value)}; send {expected}.")
    return value


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """The whole body. `limit` in bytes. Raises RequestTooLarge (before reading, when the length is declared), or
    ClientDisconnect when the client left in the middle."""
    declared = _declared_length(scope)
    if declared is not None and declared > limit:
        raise _too_large(limit)
    return await _read(receive, limit)


async def send_and_linger(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a body that will not be read, and give the client a moment to notice.

    To close a socket with unread bytes in it resets the connection, and a client that is still sending may then lose
    the answer. So the answer goes out whole, then up to LINGER_BYTES are thrown away for up to LINGER_SECONDS.
    """
    response.headers["connection"] = "close"

    async def send_unfinished(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await response(scope, receive, send_unfinished)
    dropped = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while dropped < LINGER_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body"):
                    break
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body = bytes(message.get("body", b""))
        if len(body) > limit:
            raise _too_large(limit)
        return body
    read = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        read += message.get("body", b"")
        if len(read) > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return bytes(read)
        message = await receive()


def _declared_length(scope: Scope) -> int | None:
    value = header(scope, b"content-length")
    return int(value) if value is not None and value.isdigit() else None


def require_json(content_type: bytes | None) -> None:
    """Raises UnsupportedMediaType for a body that is not declared as JSON."""
    media_type = (content_type or b"").split(b";")[0].strip().lower()
    if media_type == b"application/json" or (media_type.startswith(b"application/") and media_type.endswith(b"+json")):
        return
    found = f"is {media_type.decode('latin-1')}" if media_type else "has no Content-Type"
    raise UnsupportedMediaType(f"The body {found}; send it with the header Content-Type: application/json.")


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The body is larger than {limit:,} bytes, which is mcp.max_request_size.", details={"max_bytes": limit}
    )


def _kind(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
