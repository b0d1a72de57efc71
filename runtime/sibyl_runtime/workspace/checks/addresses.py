"""Checks of addresses that hold for all of them, whatever is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.remote_models import LAST_PORT, NO_PORT
from sibyl_runtime.workspace.text import refers_to_environment

# Up to the port, if there is one: scheme, credentials, host. What reads otherwise is judged by who connects.
_PORT: Final = re.compile(r"[a-z+]+://(?:[^/@]*@)?(?:\[[^\]]*\]|[^/?#:@,\[]+):(\d+)(?:[/?#]|$)", re.IGNORECASE)


def ports_can_be_reached(context: Context) -> Iterator[Finding]:
    """A port is a number of 16 bits. An address is not shown: it may hold a password, in which PostgreSQL takes more
    characters than a URL may have."""
    for at, address in _addresses(context.workspace):
        if address is None or refers_to_environment(address):
            continue
        written = _PORT.match(address)
        # With an @ further on, what looks like a host and a port may be a user and a password.
        if written is None or "@" in address[written.end(1) :]:
            continue
        if len(written[1]) > len(str(LAST_PORT)) or not 1 <= int(written[1]) <= LAST_PORT:
            yield Finding(context.as_written(at), NO_PORT)


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
