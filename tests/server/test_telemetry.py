"""What /metrics says after real requests: readable by Prometheus, exact where a target needs it, and adding up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from opentelemetry import _logs, metrics, trace
from prometheus_client.parser import text_string_to_metric_families

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import InvalidParameters, ProviderError
from sibyl_runtime.pipeline.context import Deadline
from tests.server.served import OUTCOME, Served, scripted, served

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(server: Served) -> Samples:
    response = await server.watch.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def by_question(_: str, arguments: Mapping[str, Any], __: Deadline) -> ToolOutcome:
    await asyncio.sleep(0)
    if arguments["query"] == "bad":
        raise InvalidParameters("no")
    if arguments["query"] == "fail":
        raise ProviderError("no")
    return OUTCOME


async def test_the_framework_neither_traces_nor_counts_beside_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for module, signal in ((trace, "tracer"), (metrics, "meter"), (_logs, "logger")):
        monkeypatch.setattr(module, f"get_{signal}_provider", lambda signal=signal: asked.append(signal))
    async with served(scripted()) as server:
        assert (await server.call({"query": "q"})).status_code == 200
    assert asked == []


async def test_documents_are_told_in_the_log_and_left_out_of_the_figures_of_questions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "sibyl.request")
    async with served(scripted()) as server:
        await server.api.post("/documents", json={"source": "s", "documents": [{"id": "a", "text": "A."}]})
        await server.api.get("/health/live")
        samples = await scrape(server)
    assert [record.__dict__["fields"]["path"] for record in caplog.records if record.name == "sibyl.request"] == [
        "/documents"
    ]
    assert value(samples, "sibyl_mcp_requests_total", method="POST", status="200") == 0


async def test_counters_add_up_over_fifty_requests_at_once() -> None:
    questions = ["good"] * 30 + ["bad"] * 12 + ["fail"] * 8
    async with served(scripted(answer=by_question)) as server:
        answers = await asyncio.gather(*(server.call({"query": question}) for question in questions))
        samples = await scrape(server)
    assert [answer.status_code for answer in answers] == [200] * 30 + [400] * 12 + [502] * 8
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == 50
    tool = {"tool": "search_documents"}
    assert value(samples, "sibyl_mcp_tool_calls_total", **tool, status="success") == 30
    assert value(samples, "sibyl_mcp_tool_calls_total", **tool, status="client_error") == 12
    assert value(samples, "sibyl_mcp_tool_calls_total", **tool, status="error") == 8
    assert value(samples, "sibyl_mcp_tool_errors_total", **tool, error_type="provider_error") == 8
    assert value(samples, "sibyl_mcp_tool_duration_seconds_count", **tool) == 38
    for status, count in (("200", 30), ("400", 12), ("502", 8)):
        assert value(samples, "sibyl_mcp_requests_total", method="POST", status=status) == count
    assert value(samples, "sibyl_mcp_request_duration_seconds_count", method="POST") == 50
    assert value(samples, "sibyl_tokens_used_total") == 30 * OUTCOME.tokens_used
    assert value(samples, "sibyl_active_requests") == 0
    assert value(samples, "sibyl_error_rate") == pytest.approx(8 / 50)


async def test_every_latency_target_is_an_exact_edge() -> None:
    kpis = [
        {"name": "p95_latency", "metric": "sibyl_mcp_tool_duration_seconds", "target": 0.75, "percentile": 0.95},
        {"name": "p50_latency", "metric": "sibyl_mcp_tool_duration_seconds", "target": 0.033, "percentile": 0.5},
    ]
    document = yaml.safe_dump({"name": "docs", "observability": {"kpis": kpis}})
    async with served(scripted(document)) as server:
        samples = await scrape(server)
    name = "sibyl_mcp_tool_duration_seconds_bucket"
    edges = {dict(labels)["le"] for found, labels in samples if found == name}
    assert {"0.75", "0.033", "+Inf"} <= edges


async def test_probes_and_scrapes_are_not_counted_as_requests() -> None:
    async with served(scripted()) as server:
        for client, path in ((server.api, "/health"), (server.api, "/config"), (server.watch, "/health/ready")):
            await client.get(path)
        await scrape(server)
        samples = await scrape(server)
    assert value(samples, "sibyl_mcp_requests_total", method="GET", status="200") == 0


async def test_an_unknown_tool_makes_no_series_of_its_own() -> None:
    async with served(scripted()) as server:
        await server.call({"query": "x"}, tool="made-up-by-a-stranger")
        text = (await server.watch.get("/metrics")).text
    assert "made-up" not in text
    assert 'sibyl_mcp_requests_total{method="POST",status="404"} 1.0' in text


async def test_what_runs_is_told_by_two_constant_series() -> None:
    async with served(scripted()) as server:
        samples = await scrape(server)
    assert value(samples, "sibyl_config_info", hash="v1-0123456789ab") == 1
    assert value(samples, "sibyl_build_info", version="0.1.0", embedder="all-MiniLM-L6-v2@test/int8") == 1


async def test_no_series_tells_when_a_counter_was_born() -> None:
    async with served(scripted()) as server:
        assert "_created" not in (await server.watch.get("/metrics")).text


async def test_each_request_is_one_log_line_without_its_question(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sibyl.request")
    async with served(scripted()) as server:
        await server.call({"query": "my secret question"})
        await server.api.get("/health")
    (record,) = [record for record in caplog.records if record.name == "sibyl.request"]
    fields = record.__dict__["fields"]
    assert fields.pop("ms") > 0
    assert fields == {"method": "POST", "path": "/mcp/tools/search_documents", "status": 200, "cache": "off"}
    assert "secret" not in caplog.text


async def test_configuration_is_served_redacted_on_both_ports() -> None:
    document = yaml.safe_dump(
        {
            "name": "docs",
            "providers": {
                "llm": {"primary": {"kind": "openai", "model": "gpt-4o-mini", "api_key": "${OPENAI_API_KEY}"}},
                "vector_store": {"main": {"kind": "pgvector", "dsn": "postgresql://sibyl:s3cret@db:5432/rag"}},
            },
        }
    )
    async with served(scripted(document, environ={"OPENAI_API_KEY": "sk-live"})) as server:
        bodies = [await client.get("/config") for client in (server.api, server.watch)]
    shown = bodies[0].json()
    assert shown == bodies[1].json()
    assert shown["hash"] == "v1-0123456789ab"
    assert shown["document"]["providers"]["llm"]["primary"]["api_key"] == "${OPENAI_API_KEY}"
    assert "s3cret" not in bodies[0].text
    assert "sk-live" not in bodies[0].text
