"""A browser's question whether a page may send a request, refused as everything else is refused here."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from sibyl_runtime.server.request import REQUEST_ID
from sibyl_runtime.server.responses import JSON

REFUSED: Final = "Disallowed CORS "
"""What the library's refusal begins with; the parts of the request that are refused follow."""
_CURES: Final = {
    "origin": "its origin is not in mcp.cors.allow_origins",
    "method": "its method is not in mcp.cors.allow_methods",
    "headers": "it has a header that is not in mcp.cors.allow_headers",
    "private-network": "it comes from a public network to a private one",
}


class Preflights(CORSMiddleware):
    """The library's answers; a refusal is JSON and says which setting decides."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """See CORSMiddleware."""
        response = super().preflight_response(request_headers)
        text = bytes(response.body).decode()
        if not text.startswith(REFUSED):
            return response
        refused = text.removeprefix(REFUSED).split(", ")
        message = "A page may not send this request: " + "; ".join(_CURES.get(part, part) for part in refused) + "."
        error = {"code": "cors_refused", "message": message, "details": {"refused": refused}}
        kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return JSON({"error": error, "request_id": REQUEST_ID.get()}, status_code=response.status_code, headers=kept)
