"""The routes under /documents: what they take, what they refuse and how, and what they leave to the questions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sibyl_runtime.errors import DatabaseUnavailable, IngestError
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.runtime import IngestReport
from sibyl_runtime.store.records import EVERY_ID, IdRange
from sibyl_runtime.techniques.receive_documents import GivenDocument, GivenDocuments
from tests.server.served import REPORT, Served, document, scripted, served

BODY = {"source": "handbook", "documents": [{"id": "leave.md", "text": "# Leave"}]}


class Held:
    """Work that waits to be let go, and tells when it began and how it ended."""

    def __init__(self) -> None:
        self.started = asyncio.Semaphore(0)
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.deadlines: list[Deadline] = []

    async def __call__(self, deadline: Deadline) -> IngestReport:
        self.deadlines.append(deadline)
        self.started.release()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return REPORT


async def test_documents_reach_the_runtime_and_the_report_comes_back() -> None:
    async with served(scripted()) as server:
        full = {"id": "a", "text": "A.", "title": "T", "metadata": {"team": "x"}, "format": "text"}
        body = {**BODY, "documents": [*BODY["documents"], full], "pipeline": "nightly"}
        response = await server.api.post("/documents", json=body)
    assert (response.status_code, response.json()) == (
        200,
        {
            "documents": 2, "chunks": 5, "unchanged": 1, "replaced": 1, "removed": 0, "seconds": 0.5,
            "skipped": [{"id": "empty.md", "reason": "empty"}],
            "copies": {},
        },
    )  # fmt: skip
    given = GivenDocuments(
        "handbook",
        [
            GivenDocument("leave.md", "# Leave", "", {}, "markdown"),
            GivenDocument("a", "A.", "T", {"team": "x"}, "text"),
        ],
    )
    assert server.runtime.given == [(given, "nightly")]


PRUNES: list[tuple[dict[str, Any], IdRange]] = [
    ({}, EVERY_ID),
    ({"after": "a"}, IdRange("a", None)),
    ({"after": "a", "through": "m"}, IdRange("a", "m")),
]


@pytest.mark.parametrize(("bounds", "within"), PRUNES, ids=str)
async def test_what_stays_reaches_the_runtime(bounds: dict[str, str], within: IdRange) -> None:
    async with served(scripted()) as server:
        response = await server.api.post("/documents/prune", json={"source": "handbook", "keep": ["b", "c"], **bounds})
    assert response.status_code == 200, response.text
    assert server.runtime.pruned == [("handbook", ["b", "c"], within)]


FAULTS = [
    (IngestError("document `x` cannot be stored: a vector is zero"), 400, "ingest_error", None),
    (DatabaseUnavailable("the connection was lost"), 503, "database_unavailable", "1"),
]


@pytest.mark.parametrize(("fault", "status", "code", "retry_after"), FAULTS, ids=lambda value: str(value)[:20])
async def test_a_failure_has_the_documented_shape(
    fault: Exception, status: int, code: str, retry_after: str | None
) -> None:
    async def fail(_: Deadline) -> IngestReport:
        raise fault

    runtime = scripted()
    runtime.store_work = fail
    async with served(runtime) as server:
        response = await server.api.post("/documents", json=BODY)
    assert (response.status_code, response.headers.get("Retry-After")) == (status, retry_after)
    assert response.json()["error"] == {"code": code, "message": str(fault), "details": {}}
    assert response.json()["request_id"] == response.headers["X-Request-ID"]


async def test_the_third_request_at_once_is_told_to_come_back_and_questions_are_answered() -> None:
    work, runtime = Held(), scripted()
    runtime.store_work = work
    async with served(runtime) as server:
        running = [
            asyncio.create_task(server.api.post("/documents", json=BODY)),
            asyncio.create_task(server.api.post("/documents/prune", json={"source": "s", "keep": []})),
        ]
        async with asyncio.timeout(5):
            await work.started.acquire()
            await work.started.acquire()
        refused = await server.api.post("/documents", json=BODY)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert refused.json()["error"] == {
            "code": "overloaded",
            "message": "All 2 places for ingests are taken; send the same again after the seconds in Retry-After.",
            "details": {},
        }
        assert (await server.call({"query": "x"})).status_code == 200
        work.release.set()
        assert [(await task).status_code for task in running] == [200, 200]
        assert (await server.api.post("/documents", json=BODY)).status_code == 200


async def test_a_request_may_take_ten_times_as_long_as_a_question_and_no_longer() -> None:
    work, runtime = Held(), scripted(document(timeout=0.03))
    runtime.store_work = work
    async with served(runtime) as server:
        response = await server.api.post("/documents", json=BODY)
    assert work.cancelled.is_set()
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert work.deadlines[0].seconds == pytest.approx(0.3)


async def test_a_body_that_does_not_arrive_gives_its_place_back() -> None:
    async with served(scripted(document(timeout=0.1))) as server:
        reader, writer = await _begin(server, b'{"source": ', declared=100)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert b" 504 " in head.split(b"\r\n")[0]
        assert (await server.api.post("/documents", json=BODY)).status_code == 200


async def test_work_ends_when_its_client_hangs_up() -> None:
    work, runtime = Held(), scripted()
    runtime.store_work = work
    async with served(runtime) as server:
        body = b'{"source": "s", "documents": [{"id": "a", "text": "A"}]}'
        _, writer = await _begin(server, body, declared=len(body))
        await asyncio.wait_for(work.started.acquire(), 5)
        writer.close()
        await asyncio.wait_for(work.cancelled.wait(), 5)


async def test_a_body_above_the_limit_is_refused_with_the_limit() -> None:
    async with served(scripted(document(max_request_size=2048))) as server:
        response = await server.api.post("/documents", json={**BODY, "source": "s" * 3000})
    assert (response.status_code, response.json()["error"]) == (
        413,
        {
            "code": "request_too_large",
            "message": "The body is larger than 2,048 bytes, which is mcp.max_request_size.",
            "details": {"max_bytes": 2048},
        },
    )


@pytest.mark.parametrize("path", ["/documents", "/documents/prune", "/documents/settings"])
async def test_a_key_is_asked_for(path: str) -> None:
    keys = document(authentication={"type": "api_key", "keys": ["${KEY}"]})
    async with served(scripted(keys, environ={"KEY": "alpha"})) as server:
        method = "GET" if path.endswith("settings") else "POST"
        response = await server.api.request(method, path, json=BODY, headers={"X-API-Key": "beta"})
    assert (response.status_code, response.json()["error"]["message"]) == (
        401, "The API key that was sent is not one that this server knows.",
    )  # fmt: skip
    assert server.runtime.given == []


async def test_an_array_is_refused_with_what_to_send() -> None:
    async with served(scripted()) as server:
        response = await server.api.post("/documents/prune", json=[])
    assert (response.status_code, response.json()["error"]["message"]) == (
        400,
        'The body is a JSON array; send an object, such as {"source": "handbook", "keep": ["leave.md"]}.',
    )


async def test_a_workspace_without_ingestion_has_no_such_routes() -> None:
    async with served(scripted(document(ingestion=False))) as server:
        for method, path in (("POST", "/documents"), ("POST", "/documents/prune"), ("GET", "/documents/settings")):
            assert (await server.api.request(method, path)).status_code == 404
        assert "/documents" not in (await server.api.get("/openapi.json")).json()["paths"]


LOADING = """
name: docs
mcp: {max_request_size: 4096, timeout: 7}
pipelines:
  ingest:
    steps:
      - {use: data.load_documents, config: {path: /data, pattern: "*.txt", source: handbook, id_field: key}}
      - {use: rag.chunking}
      - {use: rag.embedding}
      - {use: data.store_vectors}
"""


async def test_the_settings_are_those_of_the_pipeline_with_the_limits_of_the_server() -> None:
    async with served(scripted(LOADING)) as server:
        settings = (await server.api.get("/documents/settings")).json()
        unknown = await server.api.get("/documents/settings", params={"pipeline": "nope"})
        useless = await server.api.get("/documents/settings", params={"pipeline": "search"})
    assert settings == {
        "pipeline": "ingest",
        "load": {
            "pattern": "*.txt", "max_file_size": 52_428_800, "encoding": "utf-8", "source": "handbook",
            "id_field": "key", "text_field": "text", "title_field": "title",
        },
        "limits": {"documents": 1000, "bytes": 4096, "seconds": 70.0},
    }  # fmt: skip
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (
        404, "there is no pipeline `nope`; known: ingest, search",
    )  # fmt: skip
    assert (useless.status_code, useless.json()["error"]["message"]) == (
        400,
        "pipeline: `search` has 0 steps data.load_documents; a pipeline that takes documents has exactly one",
    )


async def test_the_openapi_document_describes_both_routes() -> None:
    async with served(scripted()) as server:
        paths = (await server.api.get("/openapi.json")).json()["paths"]
    assert {"/documents", "/documents/prune", "/documents/settings"} <= set(paths)
    schema = paths["/documents"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["source", "documents"]
    assert schema["properties"]["documents"]["items"]["required"] == ["id", "text"]
    assert schema["properties"]["documents"]["maxItems"] == 1000


async def _begin(server: Served, body: bytes, *, declared: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(
        b"POST /documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (declared, body)
    )
    return reader, writer
