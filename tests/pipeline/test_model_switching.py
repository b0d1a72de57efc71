"""What choosing a model by complexity saves: the guide's claim, measured over the whole runtime and real HTTP.

The server counts tokens as it is told (1,500 read, 200 written: five chunks and a short answer); prices are those of
the price table. The questions are those of tests/support/questions.py, half of them complex.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.kpi import RuntimeMetrics
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.providers.llm.prices import ModelPrice
from sibyl_runtime.runtime import Runtime, Settings
from sibyl_runtime.server.instrumentation import metered, metrics_for
from sibyl_runtime.workspace import SourceDocument, parse_workspace
from tests.support.openai_server import OpenAIServer, completion, refusal
from tests.support.openai_server import openai_process as openai_process
from tests.support.openai_server import openai_server as openai_server
from tests.support.questions import COMPLEX, SIMPLE

NEVER = Deadline.after(None)
GUIDE = "{% if complexity < 0.7 %}simple{% else %}complex{% endif %}\n"
MODELS = {"simple": "gpt-3.5-turbo", "complex": "gpt-4"}
USAGE = {"prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700}


def document(server: OpenAIServer, generation: dict[str, Any]) -> dict[str, Any]:
    """The guide's block, with a retrieval, keys and this server's address."""
    common = {"kind": "openai", "api_key": "k", "base_url": server.url, "retry_delay": 0.001}
    return {
        "name": "switching",
        "providers": {
            "llm": {name: {**common, "model": model} for name, model in MODELS.items()},
            "vector_store": {"default": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}},
        },
        "pipelines": {
            "adaptive_qa": {
                "steps": [
                    {"use": "infrastructure.query_classifier", "config": {"complexity_threshold": 0.7}},
                    {"use": "rag.retrieval"},
                    {"use": "ai_generation.generation", "config": generation},
                ]
            },
            "search": {"steps": [{"use": "rag.retrieval"}]},
        },
        "mcp": {
            "tools": [
                {
                    "name": "ask", "description": "Ask.", "pipeline": "adaptive_qa",
                    "parameters": {"query": {"type": "string", "required": True}},
                }
            ]
        },
    }  # fmt: skip


@asynccontextmanager
async def opened(raw: dict[str, Any], dsn: str, directory: Path) -> AsyncIterator[tuple[Runtime, RuntimeMetrics]]:
    environ = {"DATABASE_URL": dsn}
    metrics = metrics_for(parse_workspace(raw, environ=environ))
    runtime = await Runtime.open(
        SourceDocument("workspace.yaml", raw, {}, None),
        environ,
        Settings(directory / "data"),
        instrument=lambda services: metered(services, metrics),
    )
    try:
        corpus = directory / "corpus"
        corpus.mkdir(exist_ok=True)
        (corpus / "pools.md").write_text("# Pools\n\nConnection pools bound the number of connections.")
        await runtime.ingest(str(corpus))
        yield runtime, metrics
    finally:
        await runtime.close()


async def ask(runtime: Runtime, *questions: str) -> Sequence[ToolOutcome]:
    return [await runtime.call_tool("ask", {"query": question}, deadline=NEVER) for question in questions]


def cost_of(provider: str, url: str) -> float:
    counted = {"prompt_tokens": USAGE["prompt_tokens"], "completion_tokens": USAGE["completion_tokens"]}
    cost = ModelPrice(MODELS[provider], url).cost(**counted, cached_tokens=0)
    assert isinstance(cost, Decimal)
    return float(cost)


async def test_model_switching_saves_what_the_share_of_simple_questions_saves(
    openai_server: OpenAIServer, database_dsn: str, tmp_path: Path
) -> None:
    openai_server.reply_with(completion(usage=USAGE))
    questions = (*SIMPLE, *COMPLEX)
    cheap, dear = (cost_of(name, openai_server.url) for name in MODELS)
    async with opened(document(openai_server, {"provider": "complex"}), database_dsn, tmp_path) as (runtime, _):
        before = sum(outcome.cost_usd or 0 for outcome in await ask(runtime, *questions))
    async with opened(document(openai_server, {"provider": GUIDE}), database_dsn, tmp_path) as (runtime, metrics):
        outcomes = await ask(runtime, *questions)
        after = sum(outcome.cost_usd or 0 for outcome in outcomes)
    assert [outcome.steps["generation"]["provider"] for outcome in outcomes] == (
        ["simple"] * len(SIMPLE) + ["complex"] * len(COMPLEX)
    )
    assert {received.body["model"] for received in openai_server.received[-len(COMPLEX) :]} == {"gpt-4"}
    for name, count in (("simple", len(SIMPLE)), ("complex", len(COMPLEX))):
        counted = metrics.registry.get_sample_value(
            "sibyl_llm_cost_usd_total", {"provider": name, "model": MODELS[name]}
        )
        assert counted == pytest.approx(count * cost_of(name, openai_server.url)), "each route pays its own price"
    assert before == pytest.approx(len(questions) * dear)
    share = len(SIMPLE) / len(questions)
    assert 1 - after / before == pytest.approx(share * (1 - cheap / dear))
    assert 1 - after / before == pytest.approx(0.491, abs=0.001), "half the questions simple: no 90 %"
    assert 0.9 / (1 - cheap / dear) == pytest.approx(0.917, abs=0.001), "90 % need this share of simple questions"


async def test_the_response_explains_who_answered_and_why(
    openai_server: OpenAIServer, database_dsn: str, tmp_path: Path
) -> None:
    raw = document(openai_server, {"provider": GUIDE, "fallback_providers": ["complex"]})
    async with opened(raw, database_dsn, tmp_path) as (runtime, metrics):
        openai_server.reply_with(refusal(500), refusal(500), refusal(500), refusal(503), completion(usage=USAGE))
        (outcome,) = await ask(runtime, "Why does a pod restart?")
    assert outcome.steps["query_classifier"] == {
        "complexity": 0.4,
        "is_complex": False,
        "threshold": 0.7,
        "rules": [{"rule": "reasoning", "weight": 0.4, "found": ["why"]}],
    }
    told = dict(outcome.steps["generation"])
    [fallback] = told.pop("fallbacks")
    assert {name: fallback[name] for name in ("from", "to", "reason")} == {
        "from": "simple", "to": "complex", "reason": "provider_error",
    }  # fmt: skip
    assert told == {
        "provider": "complex", "model": "gpt-4-0613", "attempts": 2, "tokens": outcome.tokens_used,
        "cost_usd": outcome.cost_usd,
    }  # fmt: skip
    assert outcome.cost_usd == pytest.approx(cost_of("complex", openai_server.url))
    for provider, retries, status in (("simple", 2, "provider_error"), ("complex", 1, "success")):
        labels = {"provider": provider, "model": MODELS[provider]}
        assert metrics.registry.get_sample_value("sibyl_llm_retries_total", labels) == retries
        assert metrics.registry.get_sample_value("sibyl_llm_calls_total", {**labels, "status": status}) == 1


async def test_an_answer_from_the_cache_was_given_by_nobody(
    openai_server: OpenAIServer, database_dsn: str, tmp_path: Path
) -> None:
    raw = document(openai_server, {"provider": GUIDE, "fallback_providers": ["complex"]})
    raw["shops"] = {"infrastructure": {"config": {"caching": {"enabled": True}}}}
    async with opened(raw, database_dsn, tmp_path) as (runtime, _):
        openai_server.reply_with(refusal(401), completion(usage=USAGE))
        stood_in, own, kept = await ask(runtime, *["What is a pool?"] * 3)
    assert [outcome.cache for outcome in (stood_in, own, kept)] == ["miss", "miss", "hit"]
    assert [outcome.steps.get("generation", {}).get("provider") for outcome in (stood_in, own, kept)] == [
        "complex", "simple", None,
    ]  # fmt: skip
