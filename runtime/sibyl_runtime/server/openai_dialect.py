"""What clients of OpenAI's API take for granted under /v1: a key as bearer token, and errors in their own form."""

from __future__ import annotations

import gzip

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sibyl_runtime.server.openai_shapes import error
from sibyl_runtime.server.request import header
from sibyl_runtime.workspace import Mcp

PREFIX = "/v1/"
_BEARER = b"bearer "


class OpenAIDialect:
    """Pure ASGI. Whatever refuses a request below, it is refused in the form that the client reads."""

    def __init__(self, app: ASGIApp, settings: Mcp) -> None:
        self._app = app
        authentication = settings.authentication
        by_key = authentication is not None and authentication.type == "api_key"
        self._key_header = authentication.header.lower().encode("latin-1") if authentication and by_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        self._present_key(scope)
        await self._app(scope, receive, _Translation(send))

    def _present_key(self, scope: Scope) -> None:
        """The bearer token as the key that the workspace's own header would carry."""
        if self._key_header is None:
            return
        given = header(scope, b"authorization")
        if given is None or not given.lower().startswith(_BEARER):
            return
        if self._key_header == b"authorization" or header(scope, self._key_header) is None:
            others = [pair for pair in scope["headers"] if pair[0] != self._key_header]
            scope["headers"] = [*others, (self._key_header, given[len(_BEARER) :].strip())]


class _Translation:
    """Holds the start of an error back until its body is there, since its length changes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            more = bool(message.get("more_body"))
            if not more or self._body:
                await self._answer(self._start, more=more)

    async def _answer(self, start: Message, *, more: bool) -> None:
        """Errors are written in one part; what may follow is the end of an answer that lingers."""
        compressed = (b"content-encoding", b"gzip") in start["headers"]
        told = gzip.decompress(self._body) if compressed else self._body
        body = orjson.dumps(error(orjson.loads(told), start["status"]))
        headers = [pair for pair in start["headers"] if pair[0].lower() not in (b"content-length", b"content-encoding")]
        self._start, self._body = None, b""
        await self._send({**start, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
