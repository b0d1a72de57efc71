"""How well the whole pipeline finds: 1,400 abstracts ingested into PostgreSQL, 225 questions with known answers.

Measured elsewhere on the same model, outside of a database: nDCG@10 0.400 (fp32), 0.395 (int8) by vectors, 0.360 by
BM25, 0.425 with both fused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from sibyl_runtime.evaluation import mean, ndcg, recall, reciprocal_rank
from sibyl_runtime.pipeline.context import Deadline, Services
from sibyl_runtime.pipeline.engine import PipelineEngine
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.store.records import Hit
from sibyl_runtime.workspace import EmbeddingProvider, VectorStoreProvider, parse_workspace
from tests.support import cranfield
from tests.support.postgres import PostgresServer

DOCUMENTS = 10
CHUNKS = 40
"""Retrieved for each question, so that ten different documents are among them."""

STRATEGIES = ("vector", "keyword", "hybrid")
WORKSPACE: Mapping[str, Any] = {
    "pipelines": {
        strategy: {
            "steps": [{"use": "rag.retrieval", "config": {"top_k": CHUNKS, "subtechnique": strategy}}],
            "parameters": {"query": {"type": "string"}},
        }
        for strategy in STRATEGIES
    }
}

pytestmark = [
    pytest.mark.cranfield,
    pytest.mark.timeout(900),
    pytest.mark.skipif(cranfield.missing() is not None, reason=f"{cranfield.missing()} is missing"),
]


async def test_the_pipeline_finds_what_answers_in_full_precision_and_in_int8(
    postgres_server: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "cranfield.jsonl"
    cranfield.write_json_lines(records)
    int8 = await measured(postgres_server, records, "int8")
    fp32 = await measured(postgres_server, records, "fp32")
    with capsys.disabled():
        for precision, found in (("fp32", fp32), ("int8", int8)):
            for strategy, figures in found.items():
                shown = ", ".join(f"{measure} {value:.4f}" for measure, value in figures.items())
                print(f"\ncranfield {precision} {strategy}: {shown}")
    assert fp32["vector"]["nDCG@10"] >= 0.39
    assert int8["vector"]["nDCG@10"] == pytest.approx(fp32["vector"]["nDCG@10"], abs=0.01)
    for found in (fp32, int8):
        assert found["keyword"]["nDCG@10"] >= 0.35
        assert found["hybrid"]["nDCG@10"] >= 0.42


async def measured(
    server: PostgresServer, records: Path, precision: Literal["int8", "fp32"]
) -> dict[str, dict[str, float]]:
    """The figures of one precision by strategy, through ingest, PostgreSQL and retrieval."""
    embedder = await open_embedder("default", EmbeddingProvider(precision=precision))
    dsn = server.create_database()
    store = await open_store(
        VectorStoreProvider(dsn=dsn), dimension=embedder.dimension, tag=embedder.tag, embedded_directory=None
    )
    try:
        engine = PipelineEngine(Services(parse_workspace(WORKSPACE, environ={}), embedder, store, {}, "default"))
        await engine.run("ingest", {"path": str(records)}, deadline=Deadline.after(None))
        assert (await store.counts()).documents == 1398, "two of the 1,400 are empty"
        questions = cranfield.questions().items()
        return {
            strategy: _figures({number: await _found(engine, strategy, text) for number, text in questions})
            for strategy in STRATEGIES
        }
    finally:
        await store.close()
        await embedder.close()
        server.drop_database(dsn)


async def _found(engine: PipelineEngine, strategy: str, question: str) -> dict[str, float]:
    """The first ten documents in the order of their best chunks: a hit's own score is a similarity in any order."""
    result = await engine.run(strategy, {"query": question}, deadline=Deadline.after(60))
    hits: list[Hit] = result.results["retrieval"]["chunks"]
    documents = list(dict.fromkeys(hit.document_id for hit in hits))
    assert strategy == "keyword" or len(documents) >= DOCUMENTS
    return {document: 1 / rank for rank, document in enumerate(documents[:DOCUMENTS], start=1)}


def _figures(run: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    judged = cranfield.judgements()
    return {
        "nDCG@10": mean(ndcg(scores, judged[number], 10) for number, scores in run.items()),
        "recall@10": mean(recall(scores, judged[number], 10) for number, scores in run.items()),
        "MRR@10": mean(reciprocal_rank(scores, judged[number]) for number, scores in run.items()),
    }
