"""How each part of a runtime is, found by asking the part itself, and never by waiting long for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sibyl_runtime.errors import CacheUnreachable, SibylError

Details = Mapping[str, Any]
Check = Callable[[], Awaitable[Details]]

PATIENCE = 0.75
"""Seconds for each check; all run at once. Less than the second that kubelet and the server's own probe wait."""

MAX_AGE = 1.0


class RedisPing:
    """Asks a Redis whether it is there, on a connection of its own: the cache itself hides a Redis that is not."""

    def __init__(self, url: str) -> None:
        self._client: Redis = Redis.from_url(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
        )

    async def __call__(self) -> None:
        """Raises CacheUnreachable."""
        try:
            await self._client.ping()
        except (RedisError, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CacheUnreachable(f"Redis does not answer, answers are not shared: {reason}") from error

    async def close(self) -> None:
        """Release the connection."""
        await self._client.aclose()


class HealthChecks:
    """Named checks, each returning details or raising. A result is kept for a second, whoever asks."""

    def __init__(self, checks: Mapping[str, Check], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: tuple[float, Mapping[str, Any]] | None = None

    async def results(self) -> Mapping[str, Any]:
        """By name: {status: healthy | unhealthy | disabled, latency_ms, details}."""
        async with self._lock:
            if self._kept is None or self._clock() - self._kept[0] > MAX_AGE:
                found = await asyncio.gather(*(self._one(check) for check in self._checks.values()))
                self._kept = (self._clock(), dict(zip(self._checks, found, strict=True)))
            return self._kept[1]

    async def _one(self, check: Check) -> Mapping[str, Any]:
        started = self._clock()
        status = "healthy"
        try:
            async with asyncio.timeout(PATIENCE):
                details = dict(await check())
            status = details.pop("status", status)
        except TimeoutError:
            status, details = "unhealthy", {"error": f"no answer within {PATIENCE} s"}
        except SibylError as error:
            status, details = "unhealthy", {"error": error.message, "code": error.code}
        return {"status": status, "latency_ms": round((self._clock() - started) * 1000, 2), "details": details}


def overall(checks: Mapping[str, Mapping[str, Any]]) -> str:
    """`degraded` when any part is unhealthy, else `healthy`."""
    return "degraded" if any(check["status"] == "unhealthy" for check in checks.values()) else "healthy"
