"""What a valid document should still be told: settings that are switched off, and secrets that stand in it.

Neither is refused. A section that one overlay switches off keeps the settings that the others share, and a document on
a laptop may hold the password of a database on that laptop. But nobody should have to guess either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import Lines, Location, Problem, problem_at
from sibyl_runtime.workspace.literals import literal_secrets
from sibyl_runtime.workspace.shops import canonical_shop

# Rates of single tools and keys count callers, and keep their buckets, as mcp.rate_limiting says.
_SHARED_BY_RATES: Final = frozenset({"by_api_key", "by_ip", "trusted_proxies", "storage", "redis_url"})
# What says whether anything is kept.
_KEPT: Final = frozenset({"enabled", "cache_generations", "cache_embeddings", "cache_retrievals"})
_Off = tuple[Location, str, Collection[str]]


def notices(workspace: Workspace, raw: Mapping[str, Any], lines: Lines | None = None) -> tuple[Problem, ...]:
    """Everything of that kind, in the order of the document's sections. No message shows a secret."""
    told = [problem_at(at, message, lines) for at, message in _idle_sections(workspace, raw)]
    told += [problem_at(at, literal_notice(held, at), lines) for at, held in literal_secrets(raw)]
    return tuple(told)


def literal_notice(held: str, at: Location) -> str:
    """What to do about a secret at this place; `held` as `literal_secrets` has it."""
    digest = ", or the digest that `sibyl key hash` prints" if at[:3] == ("mcp", "authentication", "keys") else ""
    return f"holds a literal {held} (not shown here); write ${{NAME}} and set it in the environment{digest}"


def _idle_sections(workspace: Workspace, raw: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    for at, reason, idle in (*_shops_off(workspace, raw), *_server_off(workspace), *_metrics_off(workspace)):
        if idle:
            names = ", ".join(sorted(idle))
            effect = "setting has no effect" if len(idle) == 1 else "settings have no effect"
            yield at, f"is off ({reason}); {len(idle)} {effect}: {names}"


def _server_off(workspace: Workspace) -> Iterator[_Off]:
    mcp = workspace.mcp
    for name in ("compression", "cdn", "cors"):
        section = getattr(mcp, name)
        if section is not None and not section.enabled:
            yield ("mcp", name), "enabled: false", _written(section)
    if mcp.rate_limiting is not None and not mcp.rate_limiting.enabled:
        used = _SHARED_BY_RATES if _has_other_rates(workspace) else frozenset()
        yield ("mcp", "rate_limiting"), "enabled: false", _written(mcp.rate_limiting) - used
    if not mcp.transport_security.dns_rebinding_protection:
        idle = _written(mcp.transport_security) - {"dns_rebinding_protection"}
        yield ("mcp", "transport_security"), "dns_rebinding_protection: false", idle
    if not mcp.enabled and mcp.tools:
        yield ("mcp",), "enabled: false", {"tools"}


def _metrics_off(workspace: Workspace) -> Iterator[_Off]:
    metrics = workspace.observability.metrics
    if not metrics.enabled:
        yield ("observability", "metrics"), "enabled: false", _written(metrics)


def _shops_off(workspace: Workspace, raw: Mapping[str, Any]) -> Iterator[_Off]:
    written = raw.get("shops")
    spellings = {canonical_shop(name): name for name in written} if isinstance(written, Mapping) else {}
    for name, shop in workspace.shops.items():
        at: Location = ("shops", spellings.get(name, name))
        if not shop.enabled:
            yield at, "enabled: false", _written(shop)
        elif name == "infrastructure":
            yield from _caches_off(workspace, shop.config.get("caching"), (*at, "config", "caching"))


def _caches_off(workspace: Workspace, written: object, at: Location) -> Iterator[_Off]:
    caching = workspace.caching
    settings = set(written) if isinstance(written, Mapping) else set()
    if not caching.enabled:
        reason = "enabled: false" if "enabled" in settings else "enabled: true is not written"
        yield at, reason, settings - {"enabled"}
        return
    if not (caching.keeps_answers or caching.keeps_embeddings or caching.keeps_retrievals):
        yield (
            at,
            "nothing is kept: cache_generations, cache_embeddings and cache_retrievals are false",
            settings - _KEPT,
        )
        return
    if not any((caching.memory_level, caching.redis_level, caching.disk_level)):
        yield at, "nothing is kept: every level is off", settings
        return
    for name in ("memory", "redis", "disk", "semantic"):
        level = getattr(caching, name)
        if level is not None and not level.enabled:
            yield (*at, name), "enabled: false", _written(level)


def _has_other_rates(workspace: Workspace) -> bool:
    authentication = workspace.mcp.authentication
    keys = authentication.key_metadata.values() if authentication is not None else ()
    tools = workspace.effective_tools.values()
    return any(tool.rate_limit is not None for tool in tools) or any(key.rate_limit is not None for key in keys)


def _written(section: BaseModel) -> set[str]:
    return section.model_fields_set - {"enabled"}
