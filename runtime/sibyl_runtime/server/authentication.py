"""API keys: who may ask. Health stays open, because kubelet has no key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from sibyl_runtime.errors import StartupError, Unauthorized
from sibyl_runtime.server.request import header
from sibyl_runtime.server.responses import error_response

OPEN_PATHS = ("/health",)


class ApiKeys:
    """The keys in force, held as sha256 digests. `header_name` as the workspace writes it."""

    def __init__(self, header_name: str, keys: Iterable[str]) -> None:
        self.header_name = header_name
        self._digests = tuple(_digest(key.encode()) for key in keys)
        if not self._digests or _digest(b"") in self._digests:
            raise StartupError(
                "mcp.authentication.keys: an empty key would let everybody in. "
                "Give each key a value, or remove mcp.authentication to serve without keys."
            )

    def check(self, presented: bytes | None) -> None:
        """Raises Unauthorized. Takes the same time whichever key matches, and however much of one."""
        if presented is None:
            raise Unauthorized(f"This server needs an API key: send it in the header {self.header_name}.")
        digest = _digest(presented)
        known = False
        for candidate in self._digests:
            known |= hmac.compare_digest(digest, candidate)
        if not known:
            raise Unauthorized(f"The API key in the header {self.header_name} is not one that this server knows.")


class Authentication:
    """Pure ASGI: refuses requests without a known key, except to `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys
        self._header = keys.header_name.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "http" and not _is_open(scope["path"]):
            try:
                self._keys.check(header(scope, self._header))
            except Unauthorized as error:
                challenge = {"WWW-Authenticate": f'ApiKey header="{self._keys.header_name}"'}
                await error_response(scope, error, challenge)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_open(path: str) -> bool:
    return any(path == prefix or path.startswith(prefix + "/") for prefix in OPEN_PATHS)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
