"""Where an address points to is read without what opens it."""

from __future__ import annotations

import pytest

from sibyl_operator.observed import Endpoint
from sibyl_operator.reconcile.addresses import endpoints

FOUND = [
    ("postgresql://sibyl:pa%40ss@db.data.svc:6432/rag?sslmode=require", [("db.data.svc", 6432)]),
    ("postgres://db/rag", [("db", 5432)]),
    ("postgresql://u:p@one:5433,two:5434/rag", [("one", 5433), ("two", 5434)]),
    ("postgresql://u:p@one,two/rag", [("one", 5432), ("two", 5432)]),
    ("host=db.example.com port=5433 user=sibyl password=secret", [("db.example.com", 5433)]),
    ("host=db.example.com hostaddr=10.0.0.7 dbname=rag", [("10.0.0.7", 5432)]),
    ("postgresql://[2001:db8::7]:5432/rag", [("2001:db8::7", 5432)]),
    ("redis://:secret@cache:6380/0", [("cache", 6380)]),
    ("rediss://user:secret@cache.example.com/0\n", [("cache.example.com", 6379)]),
    ("https://models.example.com/v1", [("models.example.com", 443)]),
    ("http://models.llm.svc", [("models.llm.svc", 80)]),
    # What is no address tells nothing.
    ("sk-live-0123456789", []),
    ("user=sibyl", []),
    ("host=/var/run/postgresql", []),
    ("host=one,two port=5433,5434,5435", []),
    ("redis://cache:99999/0", []),
    ("https://", []),
    ("ftp://files", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "found"), FOUND)
def test_host_and_port_are_all_that_is_read(text: str, found: list[tuple[str, int]]) -> None:
    assert endpoints(text) == tuple(Endpoint(host, port) for host, port in found)
