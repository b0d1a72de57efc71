"""Over stdin and stdout nothing of HTTP has an effect, and each such setting is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.workspace import parse_workspace
from tests.workspace.documents import problems_of

NO_HTTP = "has no effect with mcp.transport: stdio, which has no HTTP; remove it, or set transport: http"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "127.0.0.1"),
        ("port", 8000),
        ("authentication", {"keys": ["${API_KEY}"]}),
        ("transport_security", {"dns_rebinding_protection": True}),
        ("max_request_size", 2048),
        ("ingestion", False),
        ("page", False),
        ("compression", {"algorithm": "gzip"}),
        ("cdn", {"provider": "fastly"}),
        ("cors", {"allow_origins": ["https://a.example.com"]}),
    ],
)
def test_a_setting_of_http_is_refused_by_name(name: str, value: Any) -> None:
    assert problems_of({"mcp": {"transport": "stdio", name: value}}) == [f"mcp.{name}: {NO_HTTP}"]
    assert problems_of({"mcp": {"transport": "http", name: value}}) == []


@pytest.mark.parametrize("name", ["by_api_key", "by_ip"])
def test_callers_are_not_told_apart(name: str) -> None:
    document = {"mcp": {"transport": "stdio", "rate_limiting": {name: True}}}
    reason = "has no effect with mcp.transport: stdio, which has one caller; remove it"
    assert problems_of(document) == [f"mcp.rate_limiting.{name}: {reason}"]


def test_what_takes_effect_there_is_read() -> None:
    mcp = {"transport": "stdio", "timeout": 5, "max_concurrent_requests": 2, "rate_limiting": {"burst": 2}}
    assert parse_workspace({"mcp": mcp}).mcp.transport == "stdio"


def test_a_port_of_metrics_that_nobody_serves_is_refused() -> None:
    document = {"mcp": {"transport": "stdio"}, "observability": {"metrics": {"port": 9100}}}
    assert problems_of(document) == [f"observability.metrics.port: {NO_HTTP}"]
