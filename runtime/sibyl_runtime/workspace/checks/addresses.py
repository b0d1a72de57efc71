"""Checks of addresses that hold for all of them, whatever is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.text import refers_to_environment

LAST_PORT: Final = 65_535
_NO_PORT: Final = f"names a port that is none; a port is a number from 1 to {LAST_PORT}"
_UNREADABLE: Final = (
    f"is no address that can be read: a port is a number from 1 to {LAST_PORT}, an IPv6 address stands in [ ], and "
    "in a password / ? # are written %2F %3F %23"
)
# Up to the port, if there is one: scheme, credentials, host. What reads otherwise is judged by who connects.
_PORT: Final = re.compile(r"[a-z+]+://(?:[^/@]*@)?(?:\[[^\]]*\]|[^/?#:@,\[]+):(\d+)(?:[/?#]|$)", re.IGNORECASE)


def addresses_can_be_read(context: Context) -> Iterator[Finding]:
    """A port is a number of 16 bits. An address is not shown: it may hold a password."""
    for at, address in (*_addresses(context.workspace), *_loaded_databases(context)):
        if address is None or refers_to_environment(address):
            continue
        fault = _database_fault(address) if at[-1] == "dsn" else _url_fault(address)
        if fault is not None:
            yield Finding(context.as_written(at), fault)


def _url_fault(address: str) -> str | None:
    try:
        parts = urlsplit(address)
    except ValueError:
        return _UNREADABLE
    try:
        return _NO_PORT if parts.port == 0 else None
    except ValueError:
        return _NO_PORT if parts.netloc.rpartition(":")[2].isdecimal() else _UNREADABLE


def _database_fault(address: str) -> str | None:
    """Read with less: PostgreSQL takes lists of hosts, and more characters in a password than a URL may have."""
    written = _PORT.match(address)
    # With an @ further on, what looks like a host and a port may be a user and a password.
    if written is None or "@" in address[written.end(1) :]:
        return None
    in_range = len(written[1]) <= len(str(LAST_PORT)) and 1 <= int(written[1]) <= LAST_PORT
    return None if in_range else _NO_PORT


def _addresses(workspace: Workspace) -> Iterator[tuple[Location, str | None]]:
    providers = workspace.providers
    for name, model in providers.llm.items():
        yield ("providers", "llm", name, "base_url"), model.base_url
    for name, embedding in providers.embedding.items():
        yield ("providers", "embedding", name, "base_url"), embedding.base_url
    for name, store in providers.vector_store.named.items():
        at: Location = ("providers", "vector_store", name)
        yield (*at, "dsn"), store.dsn
        for index, replica in enumerate(store.replicas):
            yield (*at, "replicas", index, "dsn"), replica.dsn
    redis = workspace.caching.redis
    yield ("shops", "infrastructure", "config", "caching", "redis", "url"), redis.url if redis is not None else None
    mcp = workspace.mcp
    if mcp.rate_limiting is not None:
        yield ("mcp", "rate_limiting", "redis_url"), mcp.rate_limiting.redis_url
    if mcp.authentication is not None:
        yield ("mcp", "authentication", "jwks_url"), mcp.authentication.jwks_url
    if workspace.observability.tracing is not None:
        yield ("observability", "tracing", "endpoint"), workspace.observability.tracing.endpoint


def _loaded_databases(context: Context) -> Iterator[tuple[Location, str | None]]:
    for used in context.steps():
        address = used.step.config.get("dsn")
        if isinstance(address, str):
            yield (*used.at, "config", "dsn"), address
