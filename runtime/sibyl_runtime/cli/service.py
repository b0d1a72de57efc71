"""A running service as the command line asks it: with its key, and patiently while it is busy or away for a moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from sibyl_runtime.cli.client import check_server
from sibyl_runtime.errors import (
    DatabaseUnavailable,
    DeadlineExceeded,
    Forbidden,
    InvalidParameters,
    NotFound,
    Overloaded,
    RequestTooLarge,
    SibylError,
    StartupError,
    Unauthorized,
)

PATIENCE = 60.0
"""Seconds that one request waits in all, between its attempts, before the command gives up."""
LONGEST_PAUSE = 15.0
FIRST_PAUSE = 0.5
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
RETRIED = frozenset({429, 502, 503})
Sleep = Callable[[float], Awaitable[None]]
_BY_STATUS: Mapping[int, type[SibylError]] = {
    400: InvalidParameters,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: RequestTooLarge,
    429: Overloaded,
    503: Overloaded,
    504: DeadlineExceeded,
}


@dataclass(frozen=True)
class Service:
    """Where it is, and the key that it wants."""

    url: str
    api_key: str | None
    api_key_header: str


class ServiceClient:
    """Sends requests, one connection for all. `sleep` takes seconds."""

    def __init__(self, service: Service, *, sleep: Sleep = asyncio.sleep) -> None:
        check_server(service.url, service.api_key)
        self._url = service.url.rstrip("/")
        self._sleep = sleep
        headers = {service.api_key_header: service.api_key} if service.api_key else {}
        self._http = httpx2.AsyncClient(headers=headers, timeout=_timeout(ANSWER_SECONDS))

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._http.aclose()

    def wait_for(self, seconds: float) -> None:
        """Let answers take as long as the service says that they may."""
        self._http.timeout = _timeout(seconds + ANSWER_SECONDS)

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        """The answer, a JSON object. Raises as `post` does."""
        return await self._answer(lambda: self._http.get(f"{self._url}{path}", params=params))

    async def post(self, path: str, body: bytes) -> dict[str, Any]:
        """The answer to a JSON body, a JSON object.

        Raises RequestTooLarge, DeadlineExceeded, the error of a refusal, or StartupError, DatabaseUnavailable and
        Overloaded when the service could not be reached or was busy for too long.
        """
        headers = {"Content-Type": "application/json"}
        return await self._answer(lambda: self._http.post(f"{self._url}{path}", content=body, headers=headers))

    async def _answer(self, ask: Callable[[], Awaitable[httpx2.Response]]) -> dict[str, Any]:
        waited, pause = 0.0, FIRST_PAUSE
        while True:
            try:
                response = await ask()
            except httpx2.TransportError as error:
                reason = str(error) or type(error).__name__
                failure: SibylError = StartupError(
                    f"cannot reach {self._url}: {reason}; is `sibyl serve` running there?"
                )
                wanted = None
            else:
                if response.status_code not in RETRIED:
                    return self._read(response)
                failure, wanted = self._refusal(response), _retry_after(response)
            # Some of it by chance: clients that were refused together must not come back together.
            rest = min(LONGEST_PAUSE, pause if wanted is None else wanted) * random.uniform(1.0, 1.25)
            waited += rest
            if waited > PATIENCE:
                raise failure
            await self._sleep(rest)
            pause *= 2

    def _read(self, response: httpx2.Response) -> dict[str, Any]:
        if response.status_code != 200:
            raise self._refusal(response)
        try:
            value = response.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise StartupError(f"{self._url} does not answer as a Sibyl server: the reply is no JSON object")
        return value

    def _refusal(self, response: httpx2.Response) -> SibylError:
        kind: type[SibylError] = _BY_STATUS.get(response.status_code, StartupError)
        try:
            error = response.json()["error"]
            message, code = str(error["message"]), error["code"]
        except (ValueError, KeyError, TypeError):
            return kind(f"{self._url} answered {response.status_code} {response.reason_phrase}")
        return DatabaseUnavailable(message) if code == DatabaseUnavailable.code else kind(message)


def _timeout(seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, connect=CONNECT_SECONDS)


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds; None when the header is missing or a date."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
