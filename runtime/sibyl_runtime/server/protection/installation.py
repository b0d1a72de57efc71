"""Puts a workspace's protections around the application and its runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from sibyl_runtime.server.protection.addresses import networks
from sibyl_runtime.server.protection.buckets import Buckets, MemoryBuckets
from sibyl_runtime.server.protection.callers import Authenticator
from sibyl_runtime.server.protection.edge import CacheHeaders
from sibyl_runtime.server.protection.guard import GuardedRuntime
from sibyl_runtime.server.protection.keys import api_keys
from sibyl_runtime.server.protection.middleware import AccessControl, Rates
from sibyl_runtime.server.protection.preflights import Preflights
from sibyl_runtime.server.protection.redis_buckets import RedisBuckets
from sibyl_runtime.server.protection.tokens import tokens
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.workspace import Mcp, written_keys

GZIP_LEVEL = 6
"""Of 9: a level more saves less than a hundredth of an answer, and takes longer."""
EXPOSED_HEADERS = (
    "Retry-After",
    "X-Execution-Time-Ms",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
    "X-Sibyl-Cache",
)


@dataclass(frozen=True)
class Protection:
    """The protections of one workspace. `runtime` is what routes may use, in place of the bare one."""

    runtime: GuardedRuntime
    _settings: Mcp
    _authenticator: Authenticator | None
    _rates: Rates
    _buckets: Buckets

    def surround(self, app: FastAPI) -> None:
        """Add the middlewares. The last one added sees a request first."""
        settings = self._settings
        app.add_middleware(AccessControl, authenticator=self._authenticator, rates=self._rates)
        if settings.cdn is not None and settings.cdn.enabled:
            app.add_middleware(CacheHeaders, cdn=settings.cdn, private=self._authenticator is not None)
        compression = settings.compression
        if compression is not None and compression.enabled:
            app.add_middleware(GZipMiddleware, minimum_size=compression.min_size, compresslevel=GZIP_LEVEL)
        cors = settings.cors
        if cors is not None and cors.enabled:
            authentication = settings.authentication
            own_header = [authentication.header] if authentication is not None else []
            # Outermost: a browser asks without a key whether it may send one, and must be able to read a refusal.
            app.add_middleware(
                Preflights,
                allow_origins=cors.allow_origins,
                allow_methods=cors.allow_methods,
                allow_headers=[*cors.allow_headers, *own_header],
                allow_credentials=cors.allow_credentials,
                expose_headers=EXPOSED_HEADERS,
                max_age=cors.max_age,
            )

    async def close(self) -> None:
        """Release connections."""
        if self._authenticator is not None:
            await self._authenticator.close()
        await self._buckets.close()


def protection_of(runtime: ServedRuntime, refused: Callable[[], None]) -> Protection:
    """The protections that a workspace asks for. `refused` is called for each request over its rate.

    Raises StartupError for keys that would let everybody or nobody in, and for what is not installed.
    """
    settings = runtime.workspace.mcp
    limiting = settings.rate_limiting
    buckets = buckets_of(runtime)
    proxies = networks(limiting.trusted_proxies) if limiting is not None else ()
    rates = Rates(limiting, buckets, proxies, refused)
    return Protection(GuardedRuntime(runtime, rates), settings, _authenticator(runtime), rates, buckets)


def buckets_of(runtime: ServedRuntime) -> Buckets:
    """Where the buckets of a workspace are kept. Raises StartupError for an address that is none."""
    limiting = runtime.workspace.mcp.rate_limiting
    if limiting is None or limiting.storage == "memory" or limiting.redis_url is None:
        return MemoryBuckets()
    return RedisBuckets(limiting.redis_url, namespace=runtime.workspace.name)


def _authenticator(runtime: ServedRuntime) -> Authenticator | None:
    settings = runtime.workspace.mcp.authentication
    if settings is None:
        return None
    return tokens(settings) if settings.type == "jwt" else api_keys(settings, written_keys(runtime.source.raw))
