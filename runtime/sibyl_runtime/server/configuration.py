"""GET /config: what this process loaded, so that nobody has to trust that a change arrived. Secrets are redacted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sibyl_runtime import __version__
from sibyl_runtime.server.responses import JSON
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.workspace import redact


def configuration(runtime: ServedRuntime) -> Mapping[str, Any]:
    """The configuration in force as anybody may see it. References such as ${DATABASE_URL} are shown, values never."""
    return {
        "hash": runtime.config_hash,
        "version": __version__,
        "embedder": runtime.services.embedder.tag,
        "document": redact(runtime.source.raw),
    }


def configuration_route(runtime: ServedRuntime) -> BaseRoute:
    """GET /config."""
    document = configuration(runtime)

    async def show(_: Request) -> Response:
        return JSON(document)

    return Route("/config", show, methods=["GET"])
