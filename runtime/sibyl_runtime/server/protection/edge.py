"""What caches in front of the server may keep: static files, and never an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sibyl_runtime.workspace import Cdn

PRIVATE_PATHS: Final = ("/openapi.json",)
"""What is the same until the next start, for everybody who has a key where one is needed."""
OPEN_PATHS: Final = ("/page/page.css", "/page/page.js")
"""What is the same until the next start, and needs no key."""
BROWSER_SECONDS: Final = 300
SHARED_SECONDS: Final = 3600
_SHARED_HEADERS: Final[Mapping[str, str]] = {
    "cloudflare": "Cloudflare-CDN-Cache-Control",
    "fastly": "Surrogate-Control",
}


class CacheHeaders:
    """Pure ASGI: each answer says whether it may be kept. `private`: a key is needed, so that no shared cache may keep
    what is not open."""

    def __init__(self, app: ASGIApp, cdn: Cdn, *, private: bool) -> None:
        self._app = app
        self._static = {
            **dict.fromkeys(PRIVATE_PATHS, static_headers(cdn, private=private)),
            **dict.fromkeys(OPEN_PATHS, static_headers(cdn, private=False)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers added, unless the route has set its own."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        static = self._static.get(scope["path"]) if scope["method"] in ("GET", "HEAD") else None

        async def send_with_cache_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "cache-control" not in headers:
                    kept = static if message["status"] in (200, 304) else None
                    headers.update(kept or {"Cache-Control": "no-store"})
            await send(message)

        await self._app(scope, receive, send_with_cache_headers)


def static_headers(cdn: Cdn, *, private: bool) -> dict[str, str]:
    """What a static file is sent with."""
    if private or not cdn.cache_static:
        return {"Cache-Control": f"private, max-age={BROWSER_SECONDS}"}
    own = _SHARED_HEADERS.get(cdn.provider)
    if own is not None:
        return {"Cache-Control": f"public, max-age={BROWSER_SECONDS}", own: f"max-age={SHARED_SECONDS}"}
    return {"Cache-Control": f"public, max-age={BROWSER_SECONDS}, s-maxage={SHARED_SECONDS}"}
