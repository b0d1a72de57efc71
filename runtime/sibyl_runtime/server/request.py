"""Facts about the request being answered, carried in its ASGI scope, and its id in a context variable for the log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from starlette.types import Scope

REQUEST_ID: ContextVar[str | None] = ContextVar("sibyl_request_id", default=None)
# What is echoed into headers and logs comes from strangers: short, and nothing that could end a line.
_SANE_ID = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")
_KEY = "sibyl.request"


@dataclass
class RequestFacts:
    """What is known about a request; `status` is set when the answer starts. `started` in perf_counter seconds."""

    id: str
    started: float
    status: int | None = None
    tool: str | None = None
    cache: str | None = None
    cache_kind: str | None = None
    similarity: float | None = None
    caller: str | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
    trace_id: str | None = None
    """Set where the call is traced."""


def request_id(offered: bytes | None) -> str:
    """The id that the client offered when it is sane, else a new one."""
    if offered is not None:
        text = offered.decode("latin-1")
        if _SANE_ID.fullmatch(text):
            return text
    return uuid4().hex


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a header; `name` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def attach(scope: Scope, facts: RequestFacts) -> None:
    """Keep the facts with the request."""
    scope[_KEY] = facts


def facts_of(scope: Scope) -> RequestFacts:
    """The facts attached by Telemetry, which wraps every application here."""
    facts: Any = scope[_KEY]
    assert isinstance(facts, RequestFacts)
    return facts
