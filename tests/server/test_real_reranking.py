"""Reranking in the real program over real HTTP: the guide's blocks, with a cross-encoder that this test makes itself.

The cross-encoder likes the word "flour" and nothing else, so what it puts first is never what retrieval put first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sibyl_runtime.providers.embedding.build import main as convert
from tests.support.openai_server import OpenAIServer, completion
from tests.support.sibyl import Serving, serving, sibyl
from tests.support.tiny_cross_encoder import write_favouring

DOCUMENTS = {
    "bridge.md": "# Bridges\n\nThe suspension bridge over the Humber carries 120,000 vehicles a week.\n",
    "bread.md": "# Bread\n\nSourdough needs a starter that is fed with flour and water every day.\n",
    "birds.md": "# Birds\n\nThe Arctic tern flies from the Arctic to the Antarctic and back each year.\n",
}
QUESTION = "Which bird flies from pole to pole?"
MODEL = "cross-encoder/ms-marco-MiniLM-L-6-v2"
GENERATION: dict[str, Any] = {"use": "ai_generation.generation"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of models that holds the one that the guide names, converted."""
    directory = tmp_path_factory.mktemp("models")
    whole = write_favouring(directory / "whole" / "ms-marco-MiniLM-L-6-v2", "flour")
    converted = directory / "converted" / MODEL
    assert convert([str(whole), "--kind", "reranking", "--export", str(converted)]) == 0
    return directory / "converted"


def write_workspace(directory: Path, steps: list[dict[str, Any]], **sections: Any) -> Path:
    providers = {
        "vector_store": {"main": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}}, **sections.pop("providers", {}),
    }  # fmt: skip
    document = {"name": "docs", "providers": providers, "pipelines": {"search": {"steps": steps}}, **sections}
    file = directory / "workspace.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


@contextmanager
def served(directory: Path, dsn: str, models: Path, steps: list[dict[str, Any]], **sections: Any) -> Iterator[Serving]:
    """A server over the three documents."""
    file = write_workspace(directory, steps, **sections)
    (directory / "documents").mkdir()
    for name, text in DOCUMENTS.items():
        (directory / "documents" / name).write_text(text)
    environ = {"DATABASE_URL": dsn, "SIBYL_MODEL_PATH": str(models)}
    loaded = sibyl("ingest", "-f", file, "documents", cwd=directory, environ=environ)
    assert loaded.code == 0, loaded.stderr
    with serving(file, environ=environ) as server:
        yield server


def ask(server: Serving, **arguments: Any) -> dict[str, Any]:
    response = httpx.post(f"{server.api}/mcp/tools/search_documents", json={"query": QUESTION, **arguments}, timeout=30)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def documents(body: dict[str, Any]) -> list[str]:
    return [source["document"] for source in body["output"]["sources"]]


def test_twenty_are_found_and_the_best_of_a_cross_encoder_are_answered_from(
    database_dsn: str, tmp_path: Path, models: Path, openai_server: OpenAIServer
) -> None:
    steps: list[dict[str, Any]] = [
        {"use": "rag.retrieval", "config": {"top_k": 20}},
        {
            "use": "rag.reranking",
            "config": {"subtechnique": "cross_encoder", "model": MODEL, "top_k": 1},
        },
        GENERATION,
    ]
    llm = {"primary": {"kind": "openai", "model": "gpt-4", "base_url": openai_server.url}}
    with served(tmp_path, database_dsn, models, steps, providers={"llm": llm}) as server:
        body = ask(server)
        metrics = httpx.get(f"{server.watch}/metrics").text
    [source] = body["output"]["sources"]
    assert source["document"] == "bread.md"
    assert 0 < source["rerank_score"] < 1
    told = body["metadata"]["steps"]["reranking"]
    assert told.pop("model").startswith("ms-marco-MiniLM-L-6-v2@")
    assert told == {
        "subtechnique": "cross_encoder", "candidates": 3, "kept": 1, "shortened": 0, "tokens": 0, "cost_usd": 0.0,
    }  # fmt: skip
    assert list(body["metadata"]["stages"]) == ["embed_ms", "retrieve_ms", "rerank_ms", "generate_ms"]
    [prompted] = [request.body["messages"][0]["content"] for request in openai_server.received if request.body]
    assert "flour" in prompted
    assert "tern" not in prompted
    assert 'step="reranking"' in metrics


@pytest.mark.parametrize(("bound", "skipped"), [(0.8, False), (-1.0, True)])
def test_the_condition_of_the_guide_skips_the_model_when_retrieval_was_good(
    database_dsn: str, tmp_path: Path, models: Path, bound: float, skipped: bool
) -> None:
    steps: list[dict[str, Any]] = [
        {"use": "rag.retrieval"},
        {"use": "rag.reranking", "condition": f"${{retrieval.avg_score}} < {bound}"},
        GENERATION,
    ]
    with served(tmp_path, database_dsn, models, steps) as server:
        body = ask(server)
    assert documents(body)[0] == ("birds.md" if skipped else "bread.md")
    assert len(documents(body)) == 3
    assert (body["metadata"]["steps"]["reranking"] == {"skipped": True}) is skipped
    assert ("rerank_ms" in body["metadata"]["stages"]) is not skipped


@pytest.mark.parametrize(
    ("reply", "first", "fallback"),
    [
        ("2, 1", 1, None),
        ("I would say 2.", 0, "the reply of gpt-4-0613 is not 2 different numbers from 1 to 3"),
    ],
    ids=["an order", "no order"],
)
def test_a_language_model_orders_the_chunks_before_it_answers(
    database_dsn: str,
    tmp_path: Path,
    models: Path,
    openai_server: OpenAIServer,
    reply: str,
    first: int,
    fallback: str | None,
) -> None:
    steps: list[dict[str, Any]] = [
        {"use": "rag.retrieval"},
        {"use": "rag.reranking", "config": {"subtechnique": "llm", "top_k": 2}},
        GENERATION,
    ]
    llm = {"primary": {"kind": "openai", "model": "gpt-4", "base_url": openai_server.url}}
    openai_server.reply_with(completion(reply), completion("The Arctic tern [1]."))
    with served(tmp_path, database_dsn, models, steps, providers={"llm": llm}) as server:
        body = ask(server)
    order, answer = [request.body["messages"][0]["content"] for request in openai_server.received if request.body]
    found = sorted(("Birds", "Bread", "Bridges"), key=lambda title: order.index(f"] {title}\n"))
    kept = [found[first], found[1 - first]]
    assert [source["title"] for source in body["output"]["sources"]] == kept
    assert answer.index(f"[1] {kept[0]}") < answer.index(f"[2] {kept[1]}")
    assert body["metadata"]["tokens_used"] == 240
    told = body["metadata"]["steps"]["reranking"]
    assert (told["model"], told["kept"]) == ("gpt-4-0613", 2)
    assert [one["message"] for one in told.get("fallbacks", [])] == ([] if fallback is None else [fallback])


def test_a_reranking_model_that_is_not_here_ends_the_start_with_the_field(database_dsn: str, tmp_path: Path) -> None:
    steps = [{"use": "rag.retrieval"}, {"use": "rag.reranking"}, GENERATION]
    file = write_workspace(tmp_path, steps)
    environ = {"DATABASE_URL": database_dsn, "SIBYL_MODEL_PATH": str(tmp_path)}
    ended = sibyl("serve", "-f", file, "--port", "0", "--metrics-port", "0", cwd=tmp_path, environ=environ)
    assert ended.code == 3
    assert ended.stderr.splitlines()[-1] == (
        f"sibyl: pipelines.search.steps[1].config.model: '{MODEL}' is not on this machine (looked in "
        f"{tmp_path}/{MODEL}, {tmp_path}/ms-marco-MiniLM-L-6-v2). Models are never downloaded. Give the path of a "
        "model directory, or put the model under a directory of SIBYL_MODEL_PATH"
    )
