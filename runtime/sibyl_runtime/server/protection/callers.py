"""Who asks: the holder of a key or token, or a stranger at an address. Carried with the request to where tools run."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from starlette.types import Scope

from sibyl_runtime.workspace import RateLimit


@dataclass(frozen=True)
class Caller:
    """Somebody who proved who he is. `id` is no secret; None when it does not tell two callers apart.

    `permissions` are patterns of tool names; `rate` is the caller's own.
    """

    id: str | None
    name: str | None = None
    permissions: tuple[str, ...] = ("*",)
    rate: RateLimit | None = None

    def may_call(self, tool: str) -> bool:
        """True when a pattern fits the tool."""
        return any(fnmatchcase(tool, pattern) for pattern in self.permissions)


@dataclass(frozen=True)
class Requester:
    """Who a request is from. `bucket` names the one whose calls are counted together."""

    caller: Caller | None
    bucket: str


class Authenticator(Protocol):
    """Tells who asks."""

    @property
    def challenge(self) -> str:
        """The WWW-Authenticate of a refusal."""

    async def identify(self, scope: Scope) -> Caller:
        """The caller. Raises Unauthorized, or Overloaded while it cannot be told."""

    async def close(self) -> None:
        """Release connections."""


REQUESTER: ContextVar[Requester | None] = ContextVar("sibyl_requester", default=None)
"""Set for the task of each HTTP request, and for the tasks that it starts; None where nobody asks over HTTP."""
