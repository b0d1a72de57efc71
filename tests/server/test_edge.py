"""What goes over the wire: compressed where it helps, kept where it may be, readable for the pages that are let in."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.responses import StreamingResponse

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.kpi import RuntimeMetrics
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.server.instrumentation import metrics_for
from sibyl_runtime.server.protection import protection_of
from sibyl_runtime.server.telemetry import Telemetry
from tests.server.served import OUTCOME, document, scripted, served

LONG = "word " * 1000
ORIGIN = "https://app.example.com"


async def long_answer(_: str, __: Mapping[str, Any], ___: Deadline) -> ToolOutcome:
    return ToolOutcome({"answer": LONG, "sources": []}, 1, None, OUTCOME.stages, "off", 0.001)


async def raw_length(workspace: str, accept: str = "gzip") -> tuple[str | None, int]:
    async with (
        served(scripted(workspace, long_answer)) as server,
        server.api.stream(
            "POST", "/mcp/tools/search_documents", json={"query": "x"}, headers={"Accept-Encoding": accept}
        ) as response,
    ):
        body = b"".join([part async for part in response.aiter_raw()])
        encoding = response.headers.get("Content-Encoding")
        text = gzip.decompress(body) if encoding == "gzip" else body
        assert LONG.encode() in text
        return encoding, len(body)


async def test_long_answers_are_compressed_for_who_accepts_it() -> None:
    encoding, length = await raw_length(document(compression={"enabled": True, "algorithm": "gzip"}))
    assert encoding == "gzip"
    assert length < len(LONG) / 5


@pytest.mark.parametrize(
    ("settings", "accept"),
    [({"compression": {"enabled": False}}, "gzip"), ({}, "gzip"), ({"compression": {}}, "identity")],
    ids=["off", "absent", "not accepted"],
)
async def test_nothing_is_compressed_that_should_not_be(settings: dict[str, Any], accept: str) -> None:
    encoding, length = await raw_length(document(**settings), accept)
    assert encoding is None
    assert length > len(LONG)


@pytest.mark.parametrize(("min_size", "encoding"), [(5_000, "gzip"), (50_000, None)])
async def test_the_smallest_size_is_kept(min_size: int, encoding: str | None) -> None:
    assert (await raw_length(document(compression={"min_size": min_size})))[0] == encoding


async def test_a_stream_of_events_is_not_compressed_and_a_later_route_is_protected() -> None:
    """Over the same middlewares as the server's own routes: what is added to the application later gets them too."""
    text = document(compression={"min_size": 0}, authentication={"keys": ["${KEY}"]}, cdn={})
    runtime = scripted(text, environ={"KEY": "alpha"})
    metrics = metrics_for(runtime.workspace)
    app = FastAPI()

    @app.get("/events")
    async def events() -> StreamingResponse:
        return StreamingResponse(iter([b"data: 1\n\n" * 100]), media_type="text/event-stream")

    protection_of(runtime, metrics.rate_limited).surround(app)
    transport = ASGITransport(app=_telemetry(app, metrics))
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        refused = await client.get("/events")
        response = await client.get("/events", headers={"X-API-Key": "alpha", "Accept-Encoding": "gzip"})
    assert refused.status_code == 401
    assert response.status_code == 200
    assert "Content-Encoding" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"


def _telemetry(app: FastAPI, metrics: RuntimeMetrics) -> Telemetry:
    return Telemetry(app, metrics)


SHARED = "public, max-age=300"


@pytest.mark.parametrize(
    ("cdn", "headers"),
    [
        (
            {"enabled": True, "provider": "cloudflare", "cache_static": True},
            {"Cache-Control": SHARED, "Cloudflare-CDN-Cache-Control": "max-age=3600"},
        ),
        ({"provider": "fastly"}, {"Cache-Control": SHARED, "Surrogate-Control": "max-age=3600"}),
        ({"provider": "cloudfront"}, {"Cache-Control": f"{SHARED}, s-maxage=3600"}),
        ({}, {"Cache-Control": f"{SHARED}, s-maxage=3600"}),
        ({"cache_static": False}, {"Cache-Control": "private, max-age=300"}),
    ],
)
async def test_a_network_may_keep_static_files_and_no_answer(cdn: dict[str, Any], headers: dict[str, str]) -> None:
    async with served(scripted(document(cdn=cdn))) as server:
        static = await server.api.get("/openapi.json")
        others = [await server.call({"query": "x"}), await server.api.get("/mcp/tools"), await server.api.get("/no")]
    assert {name: static.headers[name] for name in headers} == headers
    assert {response.headers["Cache-Control"] for response in others} == {"no-store"}
    assert not any("CDN-Cache-Control" in name for response in others for name in response.headers)


async def test_what_needs_a_key_is_never_kept_by_a_shared_cache() -> None:
    text = document(cdn={"provider": "cloudflare"}, authentication={"keys": ["${KEY}"]})
    async with served(scripted(text, environ={"KEY": "alpha"})) as server:
        static = await server.api.get("/openapi.json", headers={"X-API-Key": "alpha"})
        refused = await server.api.get("/openapi.json")
    assert static.headers["Cache-Control"] == "private, max-age=300"
    assert "Cloudflare-CDN-Cache-Control" not in static.headers
    assert (refused.status_code, refused.headers["Cache-Control"]) == (401, "no-store")


@pytest.mark.parametrize("settings", [{}, {"cdn": {"enabled": False}}])
async def test_without_a_network_nothing_is_said(settings: dict[str, Any]) -> None:
    async with served(scripted(document(**settings))) as server:
        assert "Cache-Control" not in (await server.api.get("/openapi.json")).headers


def preflight(origin: str, **headers: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}


async def test_a_page_of_a_named_origin_may_ask_without_a_key_whether_it_may_send_one() -> None:
    text = document(
        cors={"allow_origins": [ORIGIN], "max_age": 60}, authentication={"header": "X-Team-Key", "keys": ["${KEY}"]}
    )
    asked = {"Access-Control-Request-Headers": "x-team-key, content-type"}
    odd = {
        "Origin": "https://evil.example", "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "x-other",
    }  # fmt: skip
    async with served(scripted(text, environ={"KEY": "alpha"})) as server:
        allowed = await server.api.options("/mcp/tools/search_documents", headers=preflight(ORIGIN, **asked))
        foreign = await server.api.options("/mcp/tools/search_documents", headers=odd)
        refused = await server.call({"query": "x"}, Origin=ORIGIN)
        answered = await server.call({"query": "x"}, Origin=ORIGIN, **{"X-Team-Key": "alpha"})
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert allowed.headers["Access-Control-Max-Age"] == "60"
    assert "X-Team-Key" in allowed.headers["Access-Control-Allow-Headers"]
    assert foreign.status_code == 400
    assert "Access-Control-Allow-Origin" not in foreign.headers
    assert foreign.json() == {
        "error": {
            "code": "cors_refused",
            "message": "A page may not send this request: its origin is not in mcp.cors.allow_origins; its method is "
            "not in mcp.cors.allow_methods; it has a header that is not in mcp.cors.allow_headers.",
            "details": {"refused": ["origin", "method", "headers"]},
        },
        "request_id": foreign.headers["X-Request-ID"],
    }
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
    assert "Retry-After" in answered.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("settings", [{}, {"cors": {"enabled": False, "allow_origins": [ORIGIN]}}])
async def test_without_the_section_pages_of_other_origins_are_kept_out(settings: dict[str, Any]) -> None:
    async with served(scripted(document(**settings))) as server:
        response = await server.call({"query": "x"}, Origin=ORIGIN)
    assert "Access-Control-Allow-Origin" not in response.headers
