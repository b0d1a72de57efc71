"""What a valid document is told all the same: what is switched off, and the secrets that stand in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.workspace import literal_secrets, notices, parse_workspace

KEY = "sk-very-secret"
DIGEST = "sha256:" + "ab" * 32


def told(document: dict[str, Any]) -> list[str]:
    return [str(notice) for notice in notices(parse_workspace(document), document)]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"mcp": {"cors": {"enabled": False, "allow_origins": ["https://a.example.com"], "max_age": 60}}},
            "mcp.cors: is off (enabled: false); 2 settings have no effect: allow_origins, max_age",
        ),
        (
            {"mcp": {"rate_limiting": {"enabled": False, "burst": 3, "by_ip": False}}},
            "mcp.rate_limiting: is off (enabled: false); 2 settings have no effect: burst, by_ip",
        ),
        (
            {"mcp": {"compression": {"enabled": False, "min_size": 10}}},
            "mcp.compression: is off (enabled: false); 1 setting has no effect: min_size",
        ),
        (
            {"mcp": {"cdn": {"enabled": False, "provider": "fastly"}}},
            "mcp.cdn: is off (enabled: false); 1 setting has no effect: provider",
        ),
        (
            {
                "mcp": {
                    "transport_security": {
                        "dns_rebinding_protection": False,
                        "allowed_hosts": ["docs.example.com"],
                        "allowed_origins": ["https://docs.example.com"],
                    }
                }
            },
            "mcp.transport_security: is off (dns_rebinding_protection: false); 2 settings have no effect: "
            "allowed_hosts, allowed_origins",
        ),
        (
            {"observability": {"metrics": {"enabled": False, "port": 9191}}},
            "observability.metrics: is off (enabled: false); 1 setting has no effect: port",
        ),
        (
            {"shops": {"infrastructure": {"config": {"caching": {"enabled": False, "ttl": 5, "memory": {}}}}}},
            "shops.infrastructure.config.caching: is off (enabled: false); 2 settings have no effect: memory, ttl",
        ),
        (
            {
                "shops": {
                    "infrastructure": {
                        "config": {"caching": {"memory": {"enabled": False, "ttl": 5}, "redis": {"url": "redis://h"}}}
                    }
                }
            },
            "shops.infrastructure.config.caching.memory: is off (enabled: false); 1 setting has no effect: ttl",
        ),
        (
            {"shops": {"infrastructure": {"config": {"caching": {"backend": "disk", "cache_embeddings": True}}}}},
            "shops.infrastructure.config.caching: is off (enabled: true is not written); 2 settings have no effect: "
            "backend, cache_embeddings",
        ),
        (
            {"shops": {"infrastructure": {"config": {"caching": {"cache_generations": False, "disk": {}, "ttl": 5}}}}},
            "shops.infrastructure.config.caching: is off (nothing is kept: cache_generations, cache_embeddings and "
            "cache_retrievals are false); 2 settings have no effect: disk, ttl",
        ),
        (
            {
                "shops": {
                    "infrastructure": {
                        "config": {
                            "caching": {
                                "enabled": True,
                                "disk": {"enabled": False, "path": "/data"},
                                "semantic": {"enabled": False},
                            }
                        }
                    }
                }
            },
            "shops.infrastructure.config.caching: is off (nothing is kept: every level is off); 3 settings have no "
            "effect: disk, enabled, semantic",
        ),
        (
            {
                "shops": {
                    "infrastructure": {
                        "config": {"caching": {"memory": {}, "disk": {"enabled": False, "path": "/data"}}}
                    }
                }
            },
            "shops.infrastructure.config.caching.disk: is off (enabled: false); 1 setting has no effect: path",
        ),
        (
            {"shops": {"infrastructure": {"enabled": False, "config": {"caching": {"enabled": True}}}}},
            "shops.infrastructure: is off (enabled: false); 1 setting has no effect: config",
        ),
    ],
)
def test_a_section_that_is_off_is_told_with_what_it_holds(document: dict[str, Any], expected: str) -> None:
    assert told(document) == [expected]


@pytest.mark.parametrize(
    "document",
    [
        {"mcp": {"compression": {"enabled": False}}},
        {"mcp": {"compression": {"enabled": True, "min_size": 10}}},
        {"mcp": {"transport_security": {"dns_rebinding_protection": False}}},
        {"shops": {"infrastructure": {"config": {"caching": {"enabled": False}}}}},
        {
            "shops": {
                "infrastructure": {
                    "config": {"caching": {"cache_generations": False, "cache_embeddings": True, "disk": {}}}
                }
            }
        },
        {"mcp": {"authentication": {"keys": ["${API_KEY}", DIGEST]}}},
        {"providers": {"vector_store": {"main": {"kind": "pgvector", "dsn": "postgresql://sibyl:${PW}@db/docs"}}}},
        {"providers": {"vector_store": {"main": {"kind": "pgvector", "dsn": "postgresql://sibyl@db/docs"}}}},
    ],
)
def test_a_document_without_idle_settings_and_secrets_is_told_nothing(document: dict[str, Any]) -> None:
    assert told(document) == []


def test_settings_that_rates_of_single_tools_share_are_not_idle() -> None:
    tool = {"name": "ask", "description": "Ask.", "pipeline": "search", "rate_limit": {"burst": 1}}
    document = {"mcp": {"tools": [tool], "rate_limiting": {"enabled": False, "burst": 3, "by_ip": False}}}
    tool["parameters"] = {"query": {"type": "string", "required": True}}
    assert told(document) == ["mcp.rate_limiting: is off (enabled: false); 1 setting has no effect: burst"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"providers": {"llm": {"main": {"kind": "openai", "model": "m", "api_key": KEY}}}},
            "providers.llm.main.api_key: holds a literal secret (not shown here); write ${NAME} and set it in the "
            "environment",
        ),
        (
            {"providers": {"llm": {"main": {"kind": "openai", "model": "m", "api_key": f"${{OPENAI:-{KEY}}}"}}}},
            "providers.llm.main.api_key: holds a literal secret (not shown here); write ${NAME} and set it in the "
            "environment",
        ),
        (
            {"mcp": {"authentication": {"keys": ["${API_KEY}", KEY]}}},
            "mcp.authentication.keys[1]: holds a literal secret (not shown here); write ${NAME} and set it in the "
            "environment, or the digest that `sibyl key hash` prints",
        ),
        (
            {"providers": {"vector_store": {"main": {"kind": "pgvector", "dsn": f"postgresql://u:{KEY}@h/db"}}}},
            "providers.vector_store.main.dsn: holds a literal password (not shown here); write ${NAME} and set it in "
            "the environment",
        ),
    ],
)
def test_a_secret_in_the_document_is_told_and_never_shown(document: dict[str, Any], expected: str) -> None:
    assert told(document) == [expected]


@given(st.sampled_from(["api_key", "token", "password", "dsn", "url", "top_k"]), st.text(max_size=40))
def test_what_is_told_holds_only_places(name: str, text: str) -> None:
    for at, held in literal_secrets({"a": [{name: text}]}):
        assert at == ("a", 0, name)
        assert held in ("secret", "password")
