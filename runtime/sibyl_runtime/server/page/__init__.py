"""The page at `/`: ask the workspace a question in a browser, and see where the answer came from and what it cost.

Three files, no build step, nothing from other hosts. They hold no secret and need no key: whoever asks gives one in the
page. The policy in the headers lets nothing run but these files, whatever a document or an answer holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sibyl_runtime.workspace import Workspace

PATHS: Final = ("/", "/page/page.css", "/page/page.js")
_KINDS: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_SAFETY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    cache_control: str | None

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    def answer(self, request: Request) -> Response:
        headers = {**_SAFETY, "ETag": self.tag}
        if self.cache_control is not None:
            headers["Cache-Control"] = self.cache_control
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.kind, headers=headers)


def page_routes(workspace: Workspace) -> list[BaseRoute]:
    """The routes of the page's files, none when `mcp.page` is false, or when no tool is offered."""
    if not (workspace.mcp.page and workspace.mcp.enabled):
        return []
    served = _files(workspace)

    async def serve(request: Request) -> Response:
        return served[request.url.path].answer(request)

    return [Route(path, serve, methods=["GET"]) for path in PATHS]


def _files(workspace: Workspace) -> Mapping[str, _File]:
    """Browsers ask again each time, unless `mcp.cdn` says otherwise: its headers are set around all routes."""
    cdn = workspace.mcp.cdn
    assets = None if cdn is not None and cdn.enabled else "no-cache"
    return {
        "/": _File(_filled_in(_read("index.html").decode(), workspace).encode(), _KINDS["html"], "no-cache"),
        **{path: _File(_read(path.rpartition("/")[2]), _kind(path), assets) for path in PATHS[1:]},
    }


def _filled_in(html: str, workspace: Workspace) -> str:
    authentication = workspace.mcp.authentication
    token = authentication is not None and authentication.type == "jwt"
    server = workspace.mcp.server
    values = {
        "name": server.name if "name" in server.model_fields_set else workspace.name,
        "description": server.description or workspace.description or "",
        "authentication": "none" if authentication is None else authentication.type,
        "header": "Authorization" if authentication is None or token else authentication.header,
    }
    for name, value in values.items():
        html = html.replace(f"[[{name}]]", escape(value))
    return html


def _read(name: str) -> bytes:
    return (files(__name__) / name).read_bytes()


def _kind(path: str) -> str:
    return _KINDS[path.rpartition(".")[2]]
