"""Queries made by a language model, through the real program over real HTTP, against a server that speaks its API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from tests.server.test_real_server import QUESTION, ask, write_documents, write_workspace
from tests.support.openai_server import OpenAIServer, completion, refusal, silence
from tests.support.sibyl import Serving, serving, sibyl

WORDED = "Which animal migrates between the Arctic and the Antarctic?"
STEPS: list[dict[str, Any]] = [
    {"use": "rag.query_processing", "config": {"subtechnique": "multi_query", "timeout": 0.5}},
    {"use": "rag.retrieval"},
    {"use": "rag.augmentation", "config": {"max_context_tokens": 200}},
    {"use": "ai_generation.generation"},
]


def fallbacks(server: Serving, reason: str) -> float:
    sample = f'sibyl_pipeline_step_fallbacks_total{{pipeline="search",reason="{reason}",step="query_processing"}} '
    lines = httpx.get(f"{server.watch}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(sample)).removeprefix(sample))


def test_a_question_is_searched_in_several_wordings_and_answered_when_the_model_has_none(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    model = {"kind": "openai", "model": "gpt-4", "base_url": openai_server.url, "api_key": "k", "max_retries": 0}
    file = write_workspace(
        tmp_path,
        providers={"llm": {"primary": model}},
        pipelines={"search": {"steps": STEPS}},
        shops={"infrastructure": {"config": {"caching": {"enabled": True}}}},
    )
    environ = {"DATABASE_URL": database_dsn}
    assert sibyl("ingest", "-f", file, write_documents(tmp_path), cwd=tmp_path, environ=environ).code == 0
    with serving(file, environ=environ) as server:
        openai_server.reply_with(completion(json.dumps([WORDED])), completion("The Arctic tern [1]."))
        body = ask(server).json()
        assert body["output"]["answer"] == "The Arctic tern [1]."
        assert body["output"]["sources"][0]["document"] == "birds.md"
        metadata = body["metadata"]
        assert metadata["steps"]["query_processing"] == {
            "subtechnique": "multi_query", "queries": [QUESTION, WORDED], "passages": [],
            "tokens": 120, "model": "gpt-4-0613", "cost_usd": 0.0042,
        }  # fmt: skip
        assert metadata["steps"]["augmentation"]["chunks"] == len(body["output"]["sources"])
        assert list(metadata["stages"]) == [
            "process_query_ms", "embed_ms", "retrieve_ms", "augment_ms", "generate_ms",
        ]  # fmt: skip
        assert (metadata["tokens_used"], metadata["cost_usd"]) == (240, 0.0084)
        prompts = [received.body["messages"][0]["content"] for received in openai_server.received]
        assert f"Question: {QUESTION}" in prompts[0]
        assert "[1] Birds" in prompts[1]
        assert ask(server).json()["metadata"]["cache"] == "hit"

        for reply, code in [(refusal(500), "provider_error"), (silence(), "deadline_exceeded")]:
            before = fallbacks(server, code)
            for _ in range(2):
                openai_server.reply_with(reply, completion("The Arctic tern [1]."))
                response = ask(server, f"{QUESTION} {code}")
                assert response.status_code == 200, response.text
                metadata = response.json()["metadata"]
                assert metadata["cache"] == "miss", "an answer that lacks what it should have used is not kept"
                told = metadata["steps"]["query_processing"]
                assert (told["queries"], told["fallbacks"][0]["reason"]) == ([f"{QUESTION} {code}"], code)
                assert metadata["tokens_used"] == 120
                # The one that was waited for in vain may charge for it; the one that refused does not.
                assert (metadata["cost_usd"] is None) is (code == "deadline_exceeded")
            assert fallbacks(server, code) == before + 2


def test_a_call_that_names_no_provider_is_the_callers_error(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    model = {"kind": "openai", "model": "gpt-4", "base_url": openai_server.url, "api_key": "k", "max_retries": 0}
    steps = [{"use": "rag.retrieval"}, {"use": "ai_generation.generation", "config": {"provider": "${model}"}}]
    parameters = {"query": {"type": "string", "required": True}, "model": {"type": "string"}}
    tool = {"name": "search_documents", "description": "Ask.", "pipeline": "search", "parameters": parameters}
    file = write_workspace(
        tmp_path,
        providers={"llm": {"primary": model}},
        pipelines={"search": {"steps": steps}},
        mcp={"tools": [tool]},
    )
    with serving(file, environ={"DATABASE_URL": database_dsn}) as server:
        for given in ("secondary", "{{ query.__class__ }}", "{% if"):
            body = {"query": QUESTION, "model": given}
            response = httpx.post(f"{server.api}/mcp/tools/search_documents", json=body, timeout=30)
            message = f'no provider in providers.llm is called "{given}"; known: primary'
            assert (response.status_code, response.json()["error"]) == (
                400,
                {
                    "code": "invalid_parameters",
                    "message": f"model: {message}",
                    "details": {"problems": [{"parameter": "model", "message": message}]},
                },
            )
