"""Pure ASGI: tells who asks, refuses strangers, and counts requests against their rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sibyl_runtime.errors import RateLimited, SibylError, Unauthorized
from sibyl_runtime.server.protection.addresses import Network, client_address
from sibyl_runtime.server.protection.buckets import Buckets, Taken
from sibyl_runtime.server.protection.callers import REQUESTER, Authenticator, Caller, Requester
from sibyl_runtime.server.request import facts_of
from sibyl_runtime.server.responses import error_response
from sibyl_runtime.workspace import RateLimit, RateLimiting

_Counted = tuple[RateLimit, Taken] | None
OPEN_PATHS = ("/health", "/page")
"""For kubelet, which has no key and must not be told to come back later; and the page, which asks for the key."""
_OPEN = ("/", *OPEN_PATHS)
_BELOW_OPEN = tuple(f"{path}/" for path in OPEN_PATHS)


class Rates:
    """How often each requester may ask. `refused` is called for each request that asks too often."""

    def __init__(
        self, limiting: RateLimiting | None, buckets: Buckets, proxies: Sequence[Network], refused: Callable[[], None]
    ) -> None:
        self._limiting = limiting or RateLimiting(enabled=False)
        self._buckets = buckets
        self._proxies = proxies
        self._refused = refused
        general = RateLimit(requests_per_minute=self._limiting.requests_per_minute, burst=self._limiting.burst)
        self._general = general if self._limiting.enabled else None

    def requester(self, scope: Scope, caller: Caller | None) -> Requester:
        """Who a request is from."""
        known = caller is not None and caller.id is not None
        if known and caller is not None and (self._limiting.by_api_key or caller.rate is not None):
            return Requester(caller, str(caller.id))
        if self._limiting.by_ip:
            return Requester(caller, f"ip:{client_address(scope, self._proxies)}")
        return Requester(caller, "all")

    async def take(self, requester: Requester) -> tuple[RateLimit, Taken] | None:
        """Count one request; None where no rate applies. Raises RateLimited."""
        rate = (requester.caller.rate if requester.caller is not None else None) or self._general
        if rate is None:
            return None
        return rate, await self._take(f"request:{requester.bucket}", rate, "requests")

    async def take_call(self, requester: Requester, tool: str, rate: RateLimit) -> None:
        """Count one call of a tool that has a rate of its own. Raises RateLimited."""
        await self._take(f"tool:{tool}:{requester.bucket}", rate, f'calls of "{tool}"')

    async def _take(self, name: str, rate: RateLimit, what: str) -> Taken:
        taken = await self._buckets.take(name, rate)
        if not taken.allowed:
            self._refused()
            raise RateLimited(
                f"Too many {what}: {rate.requests_per_minute} a minute are allowed, {rate.burst} at once; "
                f"try again in {math.ceil(taken.retry_after)} s.",
                details={
                    "requests_per_minute": rate.requests_per_minute,
                    "burst": rate.burst,
                    "full_after": math.ceil(taken.full_after),
                },
                retry_after=taken.retry_after,
            )
        return taken


class AccessControl:
    """Lets requests through whose sender may ask now, except to `OPEN_PATHS`, which everybody may."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator | None, rates: Rates) -> None:
        self._app = app
        self._authenticator = authenticator
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401, 429 or 503."""
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._identify(scope)
            requester = self._rates.requester(scope, caller)
            counted = await self._rates.take(requester)
        except _Stranger as stranger:
            refused = error_response(scope, stranger.error, self._challenge())
            await refused(scope, receive, _with_rate(stranger.counted, send))
            return
        except SibylError as error:
            await error_response(scope, error)(scope, receive, send)
            return
        if caller is not None:
            facts_of(scope).caller = caller.name or caller.id
        # For the task of this request and those that it starts; the server starts each request in a context anew.
        REQUESTER.set(requester)
        await self._app(scope, receive, _with_rate(counted, send))

    def _challenge(self) -> dict[str, str]:
        return {"WWW-Authenticate": self._authenticator.challenge} if self._authenticator is not None else {}

    async def _identify(self, scope: Scope) -> Caller | None:
        if self._authenticator is None:
            return None
        try:
            return await self._authenticator.identify(scope)
        except Unauthorized as error:
            # Guesses are counted too, by address: else a rate would bind everybody but who has no key.
            raise _Stranger(error, await self._rates.take(self._rates.requester(scope, None))) from None


class _Stranger(Exception):
    """Nobody that is known, and what came of counting the guess."""

    def __init__(self, error: Unauthorized, counted: _Counted) -> None:
        super().__init__(error.message)
        self.error = error
        self.counted = counted


def _with_rate(counted: _Counted, send: Send) -> Send:
    """`send` that tells of the bucket, unless the answer tells of the narrower one of a tool that refused it."""
    if counted is None:
        return send
    rate, taken = counted
    headers = [
        (b"x-ratelimit-limit", b"%d" % rate.burst),
        (b"x-ratelimit-remaining", b"%d" % taken.remaining),
        (b"x-ratelimit-reset", b"%d" % math.ceil(taken.full_after)),
    ]

    async def send_with_rate(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = list(message.get("headers", ()))
            told = any(name.lower() == headers[0][0] for name, _ in sent)
            message["headers"] = sent if told else [*sent, *headers]
        await send(message)

    return send_with_rate


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_BELOW_OPEN)
