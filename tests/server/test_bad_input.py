"""What strangers send: each is refused, or harmless, with the exact words; none makes the server fail."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from tests.server.hardened import HEADERS, KEY, hardened
from tests.support.postgres import PostgresServer
from tests.support.sibyl import Serving

JSON = "application/json"
TOOL = "/mcp/tools/search_documents"
TOO_LARGE = "The body is larger than 300,000 bytes, which is mcp.max_request_size."


@pytest.fixture(scope="module")
def server(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    dsn = postgres_server.create_database()
    with hardened(tmp_path_factory.mktemp("hardened"), dsn) as running:
        yield running
    postgres_server.drop_database(dsn)


def nested(levels: int, start: bytes = b"[", end: bytes = b"]", inside: bytes = b"") -> bytes:
    return start * levels + inside + end * levels


class Case(NamedTuple):
    """A body, and what comes of it; `path` and `content_type` where they are not those of a tool call."""

    name: str
    body: bytes
    status: int
    message: str
    code: str = "invalid_parameters"
    details: Any = None
    path: str = TOOL
    content_type: str | None = JSON


def problems(parameter: str, message: str) -> dict[str, Any]:
    return {"problems": [{"parameter": parameter, "message": message}]}


def parameter(name: str, body: bytes, which: str, message: str) -> Case:
    return Case(name, body, 400, f"{which}: {message}", details=problems(which, message))


def not_json(name: str, body: bytes, reason: str) -> Case:
    return Case(name, body, 400, f"The body is not valid JSON: {reason}.", details={})


def not_an_object(name: str, body: bytes, kind: str) -> Case:
    expected = 'send an object with the tool\'s parameters, such as {"query": "How do I ...?"}'
    return Case(name, body, 400, f"The body is a JSON {kind}; {expected}.", details={})


def media_type(name: str, content_type: str | None, found: str, path: str = TOOL) -> Case:
    message = f"The body {found}; send it with the header Content-Type: application/json."
    return Case(name, b'{"query": "x"}', 415, message, "unsupported_media_type", {}, path, content_type)


MALFORMED = [
    not_json("cut off", b'{"query": ', "unexpected end of data: line 1 column 11 (char 10)"),
    not_json("trailing", b'{"query": "x"} x', "unexpected content after document: line 1 column 16 (char 15)"),
    not_json(
        "not UTF-8", b"\xff\xfe{}", "str is not valid UTF-8: surrogates not allowed: line 1 column 1 (char 0)"
    ),
    not_json(
        "lone surrogate, raw", b'{"query": "\xed\xa0\x80"}',
        "str is not valid UTF-8: surrogates not allowed: line 1 column 1 (char 0)",
    ),
    not_json("lone surrogate", b'{"query": "\\ud800"}', "no low surrogate in string: line 1 column 12 (char 11)"),
    not_json("NaN", b'{"query": NaN}', "unexpected character, expected a JSON value: line 1 column 11 (char 10)"),
    not_json(
        "deep nesting", b'{"query": %s}' % nested(100_000), "depth limit exceeded: line 1 column 1035 (char 1034)"
    ),
    not_json(
        "a number of 400 digits", b'{"query": "x", "top_k": %s}' % (b"9" * 400),
        "number is infinity when parsed as double: line 1 column 25 (char 24)",
    ),
    not_an_object("array", b"[]", "array"),
    not_an_object("null", b"null", "null"),
    not_an_object("text", b'"x"', "string"),
    media_type("no message of MCP", "text/plain", "is text/plain", "/mcp"),
    media_type("a form", "application/x-www-form-urlencoded", "is application/x-www-form-urlencoded"),
    media_type("plain text", "text/plain; charset=utf-8", "is text/plain"),
    media_type("no type", None, "has no Content-Type"),
    Case(
        "too large", b'{"query": "%s"}' % (b"x" * 300_000), 413, TOO_LARGE, "request_too_large",
        {"max_bytes": 300_000},
    ),
]  # fmt: skip
NUL = "must not hold the character NUL, found it at position 1; remove it"
WRONG = [
    parameter("nothing", b"", "query", "is required; give text"),
    parameter("an object as text", b'{"query": {"$ne": null}}', "query", "must be text, found a mapping"),
    parameter(
        "long", b'{"query": "%s"}' % (b"x" * 200_000), "query",
        "must be at most 8192 characters, found 200000 characters",
    ),
    parameter("negative", b'{"query": "x", "top_k": -1}', "top_k", "must be at least 1, found -1"),
    parameter(
        "huge", b'{"query": "x", "top_k": 9223372036854775807}', "top_k",
        "must be at most 100, found 9223372036854775807",
    ),
    parameter(
        "above 64 bits", b'{"query": "x", "top_k": 99999999999999999999}', "top_k",
        "must be a whole number, found 1e+20",
    ),
    parameter("true", b'{"query": "x", "top_k": true}', "top_k", "must be a whole number, found true"),
    parameter("a list of filters", b'{"query": "x", "filters": [1]}', "filters", "must be a mapping, found a list"),
    parameter("NUL in a question", b'{"query": "a\\u0000b"}', "query", NUL),
    Case(
        "blank", b'{"query": "   "}', 400, "`query` must be text that asks something, found an empty text",
        details={"field": "query"},
    ),
    Case(
        "NUL in a filter", b'{"query": "x", "filters": {"a": "\\u0000"}}', 400,
        "`filters.a` holds a NUL character; stored metadata never does", details={"field": "filters.a"},
    ),
    Case(
        "nested filters", b'{"query": "x", "filters": %s}' % nested(500, b'{"a":', b"}", b"1"), 400,
        "`filters.a.a` is no operator; allowed: eq, ne, gt, gte, lt, lte, in, not_in, exists",
        details={"field": "filters.a.a"},
    ),
    Case(
        "NUL in a source", b'{"source": "s\\u0000", "documents": [{"id": "a", "text": "x"}]}', 400,
        f"source: {NUL}", details={"problems": [{"parameter": "source", "message": NUL}]}, path="/documents",
    ),
    Case(
        "NUL in an id to keep", b'{"source": "s", "keep": ["\\u0000"]}', 400,
        "keep[0]: must not hold the character NUL; no stored name does", details={}, path="/documents/prune",
    ),
    Case(
        "NUL in the name of a tool", b"{}", 404, 'There is no tool "no\0where". Tools: search_documents.', "not_found",
        {"tools": ["search_documents"]}, path="/mcp/tools/no%00where",
    ),
    Case(
        "a path that climbs", b"{}", 404, "There is nothing at /mcp/tools/../../etc. Tools are listed at /mcp/tools.",
        "not_found", {}, path="/mcp/tools/..%2f..%2fetc",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", [*MALFORMED, *WRONG], ids=lambda case: case.name)
def test_it_is_refused_with_these_words(server: Serving, case: Case) -> None:
    headers = HEADERS | ({"Content-Type": case.content_type} if case.content_type else {})
    response = httpx.post(f"{server.api}{case.path}", content=case.body, headers=headers, timeout=30)
    body = response.json()
    assert body == {
        "error": {"code": case.code, "message": case.message, "details": case.details},
        "request_id": response.headers["X-Request-ID"],
    }
    assert response.status_code == case.status


HARMLESS = [
    b'{"query": "x", "filters": {"a\'; DROP TABLE chunks; --": 1}}',
    b'{"query": "\'; DROP TABLE chunks; --"}',
    b'{"query": "x", "filters": {"a": 99999999999999999999999}}',
    b'{"query": "\xf0\x9f\xa6\xa9 \xe2\x80\xae \xef\xbf\xbf"}',
    b'{"query": "{{ config.__class__ }} ${DATABASE_URL} {query}"}',
    b'{"query": "x", "query": "y"}',
]


@pytest.mark.parametrize("body", HARMLESS, ids=lambda body: body.decode()[:40])
def test_it_is_only_a_question_without_an_answer(server: Serving, body: bytes) -> None:
    headers = {**HEADERS, "Content-Type": JSON}
    response = httpx.post(f"{server.api}{TOOL}", content=body, headers=headers, timeout=30)
    assert response.status_code == 200
    assert response.json()["output"] == {
        "answer": "Nothing in the documents answers this question.", "sources": [],
    }  # fmt: skip


HOSTILE_DOCUMENTS = [
    (b'{"id": "a\\u0000", "text": "x"}', "binary: it holds the character NUL (position 1)"),
    (b'{"id": "a", "text": "x\\u0000"}', "binary: it holds the character NUL (position 1)"),
    (b'{"id": "a", "text": "x", "metadata": {"k": %s}}' % nested(300), "its metadata holds more than 10,000 values or"),
    (b'{"id": "a", "text": ""}', "empty"),
]


@pytest.mark.parametrize(("document", "reason"), HOSTILE_DOCUMENTS)
def test_a_document_that_cannot_be_stored_is_left_out_by_name(server: Serving, document: bytes, reason: str) -> None:
    headers = {**HEADERS, "Content-Type": JSON}
    body = b'{"source": "s", "documents": [%s]}' % document
    answer = httpx.post(f"{server.api}/documents", content=body, headers=headers, timeout=30).json()
    assert answer["documents"] == 0
    assert answer["skipped"][0]["reason"].startswith(reason)


HOSTILE_HEADERS: list[tuple[bytes, int]] = [
    (b"X-API-Key: \xff\xfe\x80", 401),
    (b"X-API-Key: " + b"k" * 41, 401),
    (b"X-API-Key:", 401),
    (b"Authorization: Bearer " + KEY.encode(), 401),
    (b"X-API-Key: " + KEY.encode() + b"\r\nX-Forwarded-For: , ,\xff,::1%lo,999.1.1.1", 200),
    (b"X-API-Key: " + KEY.encode() + b"\r\nX-Forwarded-For: " + b"1," * 4000, 200),
    (b"X-API-Key: " + KEY.encode() + b"\r\nX-Request-ID: a\tb\xff", 200),
    (b"X-API-Key: " + KEY.encode() + b"\r\nOrigin: \xff\r\nAccept-Encoding: gzip;q=x, \xff", 200),
]


@pytest.mark.parametrize(("header", "status"), HOSTILE_HEADERS)
def test_headers_are_only_bytes(server: Serving, header: bytes, status: int) -> None:
    assert raw(server, b"GET /mcp/tools HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + header + b"\r\n\r\n") == status


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /mcp/tools HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /documents HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
        b"POST /documents HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ],
    ids=["version", "TLS", "length", "chunk"],
)
def test_what_is_no_http_ends_the_connection_and_nothing_else(server: Serving, request_: bytes) -> None:
    assert raw(server, request_) in (0, 400, 401)


def raw(server: Serving, request_: bytes) -> int:
    """The status of the answer; 0 when the connection just ends."""
    parts = urlsplit(server.api)
    assert parts.hostname is not None
    assert parts.port is not None
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        line = connection.makefile("rb").readline()
    return int(line.split()[1]) if line else 0


def test_none_of_it_made_the_server_fail(server: Serving) -> None:
    """The last one of the file: it looks back at all that came before."""
    assert httpx.get(f"{server.api}/health", timeout=30).json()["status"] == "healthy"
    counted = httpx.get(f"{server.watch}/metrics", timeout=30).text
    assert 'status="500"' not in counted
    assert not [line for line in server.log if "exception" in line or line["level"] == "error"]
    assert KEY not in server.output
