"""The real program with every protection switched on, for tests that send it what nobody should."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.support.sibyl import Serving, serving

KEY = "k" * 40
HEADERS = {"X-API-Key": KEY}
WORKSPACE = {
    "name": "docs",
    "providers": {"vector_store": {"main": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}}},
    "mcp": {
        "authentication": {"type": "api_key", "keys": ["${API_KEY}"]},
        "rate_limiting": {"requests_per_minute": 1_000_000, "burst": 1_000_000, "trusted_proxies": ["127.0.0.1"]},
        "compression": {"enabled": True, "min_size": 100},
        "cors": {"allow_origins": ["https://app.example.com"]},
        "cdn": {"provider": "cloudflare"},
        "max_request_size": 300_000,
    },
}


@contextmanager
def hardened(directory: Path, dsn: str) -> Iterator[Serving]:
    """A server over this database, empty."""
    file = directory / "workspace.yaml"
    file.write_text(yaml.safe_dump(WORKSPACE))
    with serving(file, environ={"DATABASE_URL": dsn, "API_KEY": KEY}) as server:
        yield server
