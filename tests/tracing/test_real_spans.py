"""Spans of the real program, as a collector gets them: real PostgreSQL, a scripted language model, real OTLP."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest
import yaml
from mcp import Client, StdioServerParameters

from tests.server.test_real_server import QUESTION, write_documents, write_workspace
from tests.support.conditions import eventually
from tests.support.openai_server import OpenAIServer, completion, refusal, streamed
from tests.support.otlp_collector import Collector, collecting, tree
from tests.support.sibyl import COMMAND, Serving, environment, serving, sibyl

ANSWER = "The Arctic tern [1]."
KEY = "key-of-the-model-server"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
"""Milliseconds between two sendings: tests wait for each."""


@contextmanager
def running(
    dsn: str,
    directory: Path,
    model: OpenAIServer,
    tracing: dict[str, Any],
    generation: dict[str, Any] | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Serving]:
    llm = {"primary": {"kind": "openai", "model": "gpt-4", "base_url": model.url, "api_key": KEY, "max_tokens": 300}}
    llm["primary"]["max_retries"] = 0
    shops: dict[str, Any] = {"infrastructure": {"config": {"caching": {"enabled": True}}}}
    if generation:
        shops["ai_generation"] = {"techniques": {"generation": generation}}
    file = write_workspace(directory, providers={"llm": llm}, shops=shops, observability={"tracing": tracing})
    variables = {"DATABASE_URL": dsn, **SOON, **environ}
    loaded = sibyl("ingest", "-f", file, write_documents(directory), cwd=directory, environ=variables)
    assert loaded.code == 0, loaded.stderr
    with serving(file, environ=variables) as server:
        yield server


def ask(server: Serving, request_id: str, question: str = QUESTION, path: str = "", **headers: str) -> httpx.Response:
    headers |= {"X-Request-ID": request_id}
    url = f"{server.api}/mcp/tools/search_documents{path}"
    return httpx.post(url, json={"query": question}, headers=headers, timeout=30)


CALL_TREE: tuple[str, list[Any]] = (
    "tools/call search_documents",
    [
        ("step retrieval", [("embeddings all-MiniLM-L6-v2", []), ("SELECT documents", [])]),
        ("step generation", [("chat gpt-4", [])]),
    ],
)


def test_an_answered_question_is_one_tree_below_its_caller_and_holds_no_text(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, collector: Collector
) -> None:
    openai_server.reply_with(completion(ANSWER))
    with running(database_dsn, tmp_path, openai_server, {"endpoint": collector.url}) as server:
        assert ask(server, "first", **CALLER).status_code == 200
        spans = collector.trace_of("first")
        assert ask(server, "again").headers["x-sibyl-cache"] == "hit"
        (hit,) = collector.trace_of("again")
        line = next(line for line in server.log if line.get("request_id") == "first" and line["message"] == "request")
    assert collector.paths == {"/v1/traces"}
    assert tree(spans) == [CALL_TREE]
    by_name = {span.name: span for span in spans}
    call = by_name["tools/call search_documents"]
    assert (call.trace, call.parent, call.kind) == (TRACE, PARENT, "SERVER")
    assert call.attributes == {
        "sibyl.request_id": "first",
        "gen_ai.tool.name": "search_documents",
        "sibyl.cache": "miss",
    }
    assert line["trace_id"] == TRACE
    assert call.resource["service.name"] == "docs"

    chat = by_name["chat gpt-4"]
    assert chat.kind == "CLIENT"
    assert chat.attributes.pop("server.port") == int(openai_server.url.rsplit(":")[-1].removesuffix("/v1"))
    assert chat.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4",
        "gen_ai.request.max_tokens": 300,
        "gen_ai.response.model": "gpt-4-0613",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "server.address": "127.0.0.1",
        "sibyl.provider": "primary",
    }
    assert openai_server.received[0].headers["traceparent"] == f"00-{TRACE}-{chat.id}-01"
    assert by_name["embeddings all-MiniLM-L6-v2"].attributes == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "sibyl",
        "gen_ai.request.model": "all-MiniLM-L6-v2",
        "gen_ai.embeddings.dimension.count": 384,
    }
    assert by_name["SELECT documents"].attributes == {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.collection.name": "documents",
        "db.response.returned_rows": 3,
        "sibyl.search.strategy": "hybrid",
        "sibyl.search.top_k": by_name["SELECT documents"].attributes["sibyl.search.top_k"],
    }
    assert by_name["step retrieval"].attributes == {
        "sibyl.pipeline": by_name["step generation"].attributes["sibyl.pipeline"],
        "sibyl.step": "retrieval",
        "sibyl.technique": "rag.retrieval",
    }
    assert (hit.attributes["sibyl.cache"], hit.attributes["sibyl.cache_kind"]) == ("hit", "exact")
    assert "sibyl.cache_similarity" not in hit.attributes
    assert hit.trace != TRACE
    sent = b"".join(span.raw.SerializeToString() for span in collector.spans)
    for secret in (QUESTION, "bird", "Arctic", "Sourdough", ANSWER, KEY, database_dsn):
        assert secret.encode() not in sent


def test_a_stream_is_one_span_with_what_it_took_and_content_is_told_when_asked_for(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, collector: Collector
) -> None:
    openai_server.reply_with(streamed("The Arctic", " tern [1]."))
    tracing = {"endpoint": collector.url, "capture_content": True}
    with running(database_dsn, tmp_path, openai_server, tracing, {"subtechnique": "streaming"}) as server:
        assert "event: end" in ask(server, "told", path="/stream").text
        spans = collector.trace_of("told")
    assert tree(spans) == [CALL_TREE]
    (chat,) = [span for span in spans if span.name == "chat gpt-4"]
    assert not any(span.failed for span in spans)
    assert chat.attributes["gen_ai.request.stream"] is True
    assert chat.attributes["gen_ai.usage.output_tokens"] == 20
    (question,) = json.loads(chat.attributes["gen_ai.input.messages"])
    assert (question["role"], QUESTION in question["parts"][0]["content"]) == ("user", True)
    (answer,) = json.loads(chat.attributes["gen_ai.output.messages"])
    parts = [{"type": "text", "content": ANSWER}]
    assert answer == {"role": "assistant", "parts": parts, "finish_reason": "stop"}
    assert f"-{chat.id}-" in openai_server.received[0].headers["traceparent"]


def test_calls_at_once_do_not_mix_and_failures_are_marked_by_their_code(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, collector: Collector
) -> None:
    openai_server.reply_with(completion(ANSWER))
    with running(database_dsn, tmp_path, openai_server, {"endpoint": collector.url}) as server:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask, server, f"r{n}", f"Which bird is number {n}?") for n in range(12)]
            assert {done.result().status_code for done in asked} == {200}
        traces = [collector.trace_of(f"r{n}") for n in range(12)]
        openai_server.reply_with(refusal(401, "the key is wrong"))
        failed = ask(server, "failed", "Which bird sings?")
        refused = httpx.post(
            f"{server.api}/mcp/tools/search_documents", json={"nope": 1}, headers={"X-Request-ID": "wrong"}
        )
        unknown = httpx.post(f"{server.api}/mcp/tools/secret-name", json={}, headers={"X-Request-ID": "unknown"})
        failure, wrong, missing = (collector.trace_of(one) for one in ("failed", "wrong", "unknown"))
    assert [tree(spans) for spans in traces] == [[CALL_TREE]] * 12
    assert len({spans[0].trace for spans in traces}) == 12
    code = failed.json()["error"]["code"]
    marked = {span.name for span in failure if span.failed}
    assert marked == {"tools/call search_documents", "step generation", "chat gpt-4"}
    assert {span.attributes["error.type"] for span in failure if span.failed} == {code}
    assert (tree(wrong), wrong[0].attributes["error.type"]) == (
        [("tools/call search_documents", [])],
        refused.json()["error"]["code"],
    )
    assert (tree(missing), unknown.status_code) == ([("tools/call", [])], 404)


def test_a_call_by_mcp_is_one_tree_too(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, collector: Collector
) -> None:
    openai_server.reply_with(completion(ANSWER))
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "search_documents", "arguments": {"query": QUESTION}},
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
        "X-Request-ID": "by-mcp",
        **CALLER,
    }
    with running(database_dsn, tmp_path, openai_server, {"endpoint": collector.url}) as server:
        answered = httpx.post(f"{server.api}/mcp", json=body, headers=headers, timeout=30)
        assert answered.status_code == 200, answered.text
        spans = collector.trace_of("by-mcp")
        line = next(line for line in server.log if line.get("request_id") == "by-mcp" and line["message"] == "request")
    assert tree(spans) == [CALL_TREE]
    assert (spans[0].trace, line["trace_id"]) == (TRACE, TRACE)


async def test_a_call_over_stdin_is_traced_and_sent_before_the_process_ends(
    tmp_path: Path, openai_server: OpenAIServer, collector: Collector
) -> None:
    file = tmp_path / "workspace.yaml"
    tracing = {"endpoint": collector.url}
    file.write_text(
        yaml.safe_dump({"name": "docs", "mcp": {"transport": "stdio"}, "observability": {"tracing": tracing}})
    )
    started = StdioServerParameters(
        command=sys.executable, args=[*COMMAND[1:], "mcp", "-f", str(file)], env=environment({}), cwd=tmp_path
    )
    async with Client(started) as client:
        answered = await client.call_tool("search_documents", {"query": QUESTION})
        assert answered.structured_content is not None
        request_id = answered.structured_content["metadata"]["request_id"]
    spans = await asyncio.to_thread(collector.trace_of, request_id)
    ((name, parts),) = tree(spans)
    assert name == "tools/call search_documents"
    assert [step for step, _ in parts] == ["step retrieval", "step generation"]


def test_the_standard_variables_are_heeded(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, collector: Collector
) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_SERVICE_NAME": "answers",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
    }
    openai_server.reply_with(completion(ANSWER))
    with running(database_dsn, tmp_path, openai_server, {}, environ=environ) as server:
        assert ask(server, "not-drawn", "Which bird is left out?").status_code == 200
        assert ask(server, "drawn-by-the-caller", **CALLER).status_code == 200
        spans = collector.trace_of("drawn-by-the-caller")
        lines = {line["request_id"]: line for line in server.log if line["message"] == "request"}
    assert spans[0].resource["service.name"] == "answers"
    assert spans[0].resource["deployment.environment.name"] == "test"
    assert {span.trace for span in collector.spans} == {TRACE}
    assert "trace_id" not in lines["not-drawn"]


def test_what_the_document_says_goes_before_the_variables(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, collector: Collector
) -> None:
    openai_server.reply_with(completion(ANSWER))
    tracing = {"endpoint": collector.url, "sampling": {"type": "always_on"}}
    environ = {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with running(database_dsn, tmp_path, openai_server, tracing, environ=environ) as server:
        assert ask(server, "drawn").status_code == 200
        assert tree(collector.trace_of("drawn")) == [CALL_TREE]


def test_what_is_left_is_sent_when_the_server_stops(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, collector: Collector
) -> None:
    openai_server.reply_with(completion(ANSWER))
    late = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with running(database_dsn, tmp_path, openai_server, {"endpoint": collector.url}, environ=late) as server:
        assert ask(server, "late").status_code == 200
        assert collector.spans == []
        assert server.stop(signal.SIGTERM) == 0
    assert tree(collector.trace_of("late", seconds=0)) == [CALL_TREE]


@pytest.mark.parametrize("collector_is", ["away", "silent", "refusing"])
def test_a_collector_that_takes_nothing_costs_one_warning_and_no_call(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, collector_is: str
) -> None:
    openai_server.reply_with(completion(ANSWER))
    # A socket that listens and never answers; closed, nobody listens at its address.
    with socket.create_server(("127.0.0.1", 0)) as listener, collecting(status=400) as refusing:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if collector_is == "away":
            listener.close()
        tracing = {"endpoint": refusing.url if collector_is == "refusing" else address}
        limits = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1", "OTEL_BSP_MAX_QUEUE_SIZE": "16"}
        limits |= {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
        with running(database_dsn, tmp_path, openai_server, tracing, environ=limits) as server:

            def warnings() -> list[Any]:
                since = server.log.index(dict(server.ready))
                return [line for line in server.log[since:] if line["level"] in ("warning", "error")]

            answers = [ask(server, f"r{n}", f"Which bird is number {n}?") for n in range(20)]
            assert {answer.status_code for answer in answers} == {200}
            slowest = max(float(answer.headers["x-execution-time-ms"]) for answer in answers[1:])
            assert slowest < 900, "no call waits for the collector, which takes a second"
            eventually(lambda: bool(warnings()))
            assert ask(server, "more", "Which bird is next?").status_code == 200
            assert server.stop(signal.SIGTERM) == 0
            assert [line["logger"] for line in warnings()] == ["sibyl.tracing"], server.output
