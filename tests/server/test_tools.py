"""Calling tools over HTTP: the documented answer, and every refusal in the documented shape."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import (
    DatabaseUnavailable,
    InvalidParameters,
    Overloaded,
    ProviderError,
    SibylError,
    StepFailed,
)
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.server.catalogue import RESPONSE_SCHEMA
from tests.server.served import OUTCOME, OUTPUT, document, scripted, served


async def test_an_answer_has_the_documented_shape_and_headers() -> None:
    async with served(scripted()) as server:
        response = await server.call({"query": "Where is the DSN?", "top_k": 3})
    body = response.json()
    assert body["output"] == OUTPUT
    metadata = body["metadata"]
    assert metadata.pop("request_id") == response.headers["X-Request-ID"]
    assert 0 < metadata.pop("execution_time_ms") < 5000
    assert metadata == {
        "tool": "search_documents",
        "tokens_used": 12,
        "cost_usd": None,
        "stages": {"embed_ms": 2.1, "retrieve_ms": 0.9},
        "cache": "off",
    }
    assert response.headers["X-Sibyl-Cache"] == "off"
    assert float(response.headers["X-Execution-Time-Ms"]) > 0
    assert response.headers["Content-Type"] == "application/json"
    assert server.runtime.calls == [{"query": "Where is the DSN?", "top_k": 3}]


async def test_what_steps_tell_of_their_work_is_in_the_metadata() -> None:
    told = {"query_processing": {"queries": ["Where is the DSN?", "connection string"]}}

    async def answer(_: str, __: Mapping[str, Any], ___: Deadline) -> ToolOutcome:
        return replace(OUTCOME, steps=told)

    async with served(scripted(answer=answer)) as server:
        response = await server.call({"query": "Where is the DSN?"})
    assert response.json()["metadata"]["steps"] == told


async def test_the_metadata_explains_the_answer_as_the_schema_says() -> None:
    fallback = {"from": "b", "to": "a", "reason": "overloaded", "message": "busy"}
    told: dict[str, Any] = {
        "query_classifier": {"complexity": 0.4, "is_complex": False, "threshold": 0.7, "rules": []},
        "reranking": {"skipped": True},
        "generation": {"provider": "a", "model": "m", "attempts": 2, "cost_usd": None, "fallbacks": [fallback]},
    }

    async def answer(*_: Any) -> ToolOutcome:
        return replace(OUTCOME, steps=told)

    async with served(scripted(answer=answer)) as server:
        body = (await server.call({"query": "Where is the DSN?"})).json()
    assert body["metadata"]["steps"] == told
    jsonschema.validate(body, RESPONSE_SCHEMA)
    fallback.pop("to")
    with pytest.raises(jsonschema.ValidationError, match="'to' is a required property"):
        jsonschema.validate({**body, "metadata": {**body["metadata"], "steps": told}}, RESPONSE_SCHEMA)


async def test_an_unknown_tool_names_the_nearest() -> None:
    async with served(scripted()) as server:
        response = await server.call({"query": "x"}, tool="serch-documents")
        assert response.status_code == 404
        assert response.json()["error"] == {
            "code": "not_found",
            "message": 'There is no tool "serch-documents". Did you mean "search_documents"?',
            "details": {"tools": ["search_documents"]},
        }
        far = await server.call({"query": "x"}, tool="zzz")
        assert far.json()["error"]["message"] == 'There is no tool "zzz". Tools: search_documents.'


FAILURES: list[tuple[SibylError, int, str, str | None]] = [
    (InvalidParameters("query: is required", details={"problems": ["p"]}), 400, "invalid_parameters", None),
    (StepFailed("step `retrieval` failed"), 500, "tool_execution_error", None),
    (ProviderError("primary refused"), 502, "provider_error", None),
    (Overloaded("the queue is full", retry_after=2.2), 503, "overloaded", "3"),
    (DatabaseUnavailable("no connection"), 503, "database_unavailable", "1"),
]


@pytest.mark.parametrize(("fault", "status", "code", "retry_after"), FAILURES, ids=lambda value: str(value)[:20])
async def test_a_deliberate_error_keeps_its_status_code_and_details(
    fault: SibylError, status: int, code: str, retry_after: str | None
) -> None:
    async def fail(*_: Any) -> ToolOutcome:
        raise fault

    async with served(scripted(answer=fail)) as server:
        response = await server.call({"query": "x"})
    assert response.status_code == status
    assert response.json()["error"] == {"code": code, "message": fault.message, "details": fault.details}
    assert response.headers.get("Retry-After") == retry_after


async def test_a_fault_of_ours_tells_the_client_nothing_but_the_id(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(*_: Any) -> ToolOutcome:
        raise ZeroDivisionError("postgresql://sibyl:s3cret@db/rag")

    async with served(scripted(answer=crash)) as server:
        response = await server.call({"query": "x"}, **{"X-Request-ID": "find-me"})
    assert response.status_code == 500
    assert response.json() == {
        "error": {
            "code": "internal_error",
            "message": "The server failed; its log names the cause under request id find-me.",
            "details": {},
        },
        "request_id": "find-me",
    }
    assert response.headers["X-Request-ID"] == "find-me"
    assert "ZeroDivisionError" in caplog.text


BODIES: list[tuple[bytes, str | None, int, str, str]] = [
    (b'{"query": ', "application/json", 400, "invalid_parameters",
     "The body is not valid JSON: unexpected end of data: line 1 column 11 (char 10)."),
    (b'{"query": "\xff"}', "application/json", 400, "invalid_parameters",
     "The body is not valid JSON: str is not valid UTF-8: surrogates not allowed: line 1 column 1 (char 0)."),
    (b'["x"]', "application/json", 400, "invalid_parameters",
     'The body is a JSON array; send an object with the tool\'s parameters, such as {"query": "How do I ...?"}.'),
    (b"null", "application/json", 400, "invalid_parameters",
     'The body is a JSON null; send an object with the tool\'s parameters, such as {"query": "How do I ...?"}.'),
    (b'{"query": "x"}', "application/x-www-form-urlencoded", 415, "unsupported_media_type",
     "The body is application/x-www-form-urlencoded; send it with the header Content-Type: application/json."),
    (b'{"query": "x"}', None, 415, "unsupported_media_type",
     "The body has no Content-Type; send it with the header Content-Type: application/json."),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "status", "code", "message"), BODIES)
async def test_a_body_that_is_no_json_object_is_refused_with_the_reason(
    body: bytes, kind: str | None, status: int, code: str, message: str
) -> None:
    async with served(scripted()) as server:
        headers = {"Content-Type": kind} if kind else {}
        response = await server.api.post("/mcp/tools/search_documents", content=body, headers=headers)
    assert (response.status_code, response.json()["error"]) == (
        status,
        {"code": code, "message": message, "details": {}},
    )


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"])
async def test_json_is_accepted_under_its_names(kind: str) -> None:
    async with served(scripted()) as server:
        response = await server.api.post(
            "/mcp/tools/search_documents", content=b'{"query": "x"}', headers={"Content-Type": kind}
        )
    assert response.status_code == 200


async def test_an_empty_body_is_a_call_without_arguments() -> None:
    async with served(scripted()) as server:
        await server.api.post("/mcp/tools/search_documents")
        assert server.runtime.calls == [{}]


async def test_an_unknown_route_and_a_wrong_method_have_the_documented_shape() -> None:
    async with served(scripted()) as server:
        missing = await server.api.get("/pipelines/search")
        wrong = await server.api.put("/mcp/tools/search_documents", json={})
    assert (missing.status_code, missing.json()["error"]["code"], missing.json()["error"]["message"]) == (
        404,
        "not_found",
        "There is nothing at /pipelines/search. Tools are listed at /mcp/tools.",
    )
    assert (wrong.status_code, wrong.headers["Allow"], wrong.json()["error"]["message"]) == (
        405,
        "GET, POST",
        "PUT is not available at /mcp/tools/search_documents; use GET or POST.",
    )


async def test_a_query_parameter_that_does_not_fit_is_named() -> None:
    async with served(scripted()) as server:
        response = await server.api.get("/mcp/tools", params={"page": 0, "colour": "red"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "validation_error")
    assert response.json()["error"]["details"] == {
        "page": "Input should be greater than or equal to 1",
        "colour": "Extra inputs are not permitted",
    }


async def test_the_deadline_of_the_request_reaches_the_runtime() -> None:
    seen: list[float | None] = []

    async def note(_: str, __: Mapping[str, Any], deadline: Deadline) -> ToolOutcome:
        seen.append(deadline.remaining())
        return OUTCOME

    async with served(scripted(document(timeout=7), note)) as server:
        await server.call({"query": "x"})
    assert seen[0] is not None
    assert 6 < seen[0] <= 7


async def test_work_that_does_not_heed_the_deadline_is_cut_off() -> None:
    ended = asyncio.Event()

    async def hang(*_: Any) -> ToolOutcome:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return OUTCOME

    async with served(scripted(document(timeout=0.05), hang)) as server:
        response = await server.call({"query": "x"})
        assert ended.is_set()
    assert response.status_code == 504
    assert response.json()["error"] == {
        "code": "deadline_exceeded",
        "message": "the deadline of 0.05 s passed in stage `call`; try again, or raise mcp.timeout or the "
        "pipeline's timeout_s",
        "details": {"stage": "call", "deadline_seconds": 0.05},
    }


async def test_a_server_that_is_switched_off_offers_no_tools() -> None:
    async with served(scripted(document(enabled=False))) as server:
        assert (await server.api.get("/mcp/tools")).json() == []
        response = await server.call({"query": "x"})
    assert response.json()["error"]["message"] == 'There is no tool "search_documents". Tools: none.'
