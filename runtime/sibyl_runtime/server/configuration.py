"""GET /config: what this process loaded, so that nobody has to trust that a change arrived. Secrets are redacted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sibyl_runtime import __version__
from sibyl_runtime.errors import SibylError
from sibyl_runtime.opening import shown_embedder
from sibyl_runtime.server.responses import JSON
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.workspace import notices, redact

INDEX_PATIENCE = 0.5
"""Seconds to wait for the database to tell of its index: the configuration itself must be told in any case."""
IndexReader = Callable[[], Awaitable[Any]]


class Configuration:
    """The configuration in force as anybody may see it. References such as ${DATABASE_URL} are shown, values never.

    `index` reads the vector index as it is; it is null when it cannot be read.
    """

    def __init__(self, runtime: ServedRuntime, index: IndexReader | None) -> None:
        self._index = index
        self._fixed = {
            "hash": runtime.config_hash,
            "version": __version__,
            "embedder": shown_embedder(runtime.services),
            "document": redact(runtime.source.raw),
            "warnings": [str(notice) for notice in notices(runtime.workspace, runtime.source.raw)],
        }

    def route(self) -> BaseRoute:
        """GET /config."""
        return Route("/config", self.show, methods=["GET"])

    async def show(self, _: Request) -> Response:
        """Hash, version, embedder, document, warnings, index."""
        return JSON(self._fixed | {"index": await self._read_index()})

    async def _read_index(self) -> Any:
        if self._index is None:
            return None
        try:
            async with asyncio.timeout(INDEX_PATIENCE):
                return await self._index()
        except (SibylError, TimeoutError):
            return None
