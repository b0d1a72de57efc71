"""Figures of the vector store on an embedded PostgreSQL: how fast rows go in, and how fast searches come back.

Run: python -m bench.store [--rows 20000] [--dimension 384] [--json]. Clustered random vectors: trust the times, not
the recall.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.printing import print_figures
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import Chunk, Document, EmbeddedDocument, Ranking, Strategy
from sibyl_runtime.workspace import VectorStoreProvider

CHUNKS_PER_DOCUMENT = 10
DOCUMENTS_PER_BATCH = 100
TENANTS = 100
TOP_K = 5
_BY_WORDS: tuple[Strategy, ...] = ("keyword", "hybrid")
WORDS_PER_CHUNK = 180
WORDS_PER_QUESTION = 9
VOCABULARY = 30_000


def clustered_vectors(rows: int, dimension: int) -> Vectors:
    """Unit vectors, shape (rows, dimension), around 200 centres."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(200, dimension))
    vectors = centres[random.integers(0, len(centres), rows)] + 0.7 * random.normal(size=(rows, dimension))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def texts(count: int, words: int, seed: int) -> list[str]:
    """Texts of made-up words, few of which are common and most rare, as in a language (Zipf's law)."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, VOCABULARY + 1)
    drawn = random.choice(VOCABULARY, size=(count, words), p=share / share.sum())
    return [" ".join(f"w{number}" for number in row) for row in drawn]


def documents_of(vectors: Vectors) -> list[EmbeddedDocument]:
    """Documents of ten chunks, each belonging to one of a hundred tenants."""
    contents = texts(len(vectors), WORDS_PER_CHUNK, seed=2)
    return [
        EmbeddedDocument(
            Document(f"d{number}", "bench", f"Document {number}", "", {"tenant": f"t{number % TENANTS}"}),
            "fingerprint",
            [
                Chunk(ordinal, content, "Guide > Chapter", 250)
                for ordinal, content in enumerate(contents[start : start + CHUNKS_PER_DOCUMENT])
            ],
            vectors[start : start + CHUNKS_PER_DOCUMENT],
        )
        for number, start in enumerate(range(0, len(vectors), CHUNKS_PER_DOCUMENT))
    ]


async def measure_search(
    store: PgVectorStore,
    questions: Vectors,
    clients: int,
    filters: Mapping[str, Any] | None = None,
    strategy: Strategy = "vector",
) -> dict[str, float]:
    """p50 and p95 in milliseconds, and requests per second, of `clients` that each wait for their answer."""
    latencies: list[float] = []
    words = texts(len(questions), WORDS_PER_QUESTION, seed=3)

    async def client(first: int) -> None:
        for question, text in zip(questions[first::clients], words[first::clients], strict=True):
            started = time.perf_counter()
            await store.search(question, top_k=TOP_K, ranking=Ranking(strategy, text), filters=filters)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    elapsed = time.perf_counter() - started
    p50, p95 = np.percentile(latencies, [50, 95]) * 1000
    return {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "rps": round(len(latencies) / elapsed)}


async def measure(rows: int, dimension: int, directory: Path) -> dict[str, Any]:
    """All figures, by name."""
    vectors = clustered_vectors(rows, dimension)
    questions = vectors[np.random.default_rng(1).integers(0, rows, 1_000)]
    figures: dict[str, Any] = {"rows": rows, "dimension": dimension}
    started = time.perf_counter()
    store = await open_store(VectorStoreProvider(), dimension=dimension, tag="bench", embedded_directory=directory)
    figures["open_from_nothing_s"] = round(time.perf_counter() - started, 2)
    try:
        documents = documents_of(vectors)
        figures["ingest_rows_per_s"] = await _ingest(store, documents)
        figures["exact_1_client"] = await measure_search(store, questions[:50], 1)
        started = time.perf_counter()
        await store.ensure_index()
        figures["index_build_s"] = round(time.perf_counter() - started, 2)
        figures["index_bytes_per_row"] = round((await store.index_state()).size_bytes / rows)
        await measure_search(store, questions[:100], 8)
        for clients in (1, 8):
            figures[f"hnsw_{clients}_clients"] = await measure_search(store, questions, clients)
            for strategy in _BY_WORDS:
                figures[f"{strategy}_{clients}_clients"] = await measure_search(
                    store, questions, clients, strategy=strategy
                )
        figures["hybrid_tenant_filter_1_client"] = await measure_search(
            store, questions[:300], 1, {"tenant": "t7"}, "hybrid"
        )
        figures["tenant_filter_1_client"] = await measure_search(store, questions[:300], 1, {"tenant": "t7"})
        figures["reingest_rows_per_s_with_index"] = await _ingest(store, documents[: 2 * DOCUMENTS_PER_BATCH])
    finally:
        await store.close()
    started = time.perf_counter()
    store = await open_store(VectorStoreProvider(), dimension=dimension, tag="bench", embedded_directory=directory)
    figures["open_existing_s"] = round(time.perf_counter() - started, 2)
    await store.close()
    return figures


async def _ingest(store: PgVectorStore, documents: Sequence[EmbeddedDocument]) -> int:
    started = time.perf_counter()
    written = 0
    for start in range(0, len(documents), DOCUMENTS_PER_BATCH):
        written += await store.replace(documents[start : start + DOCUMENTS_PER_BATCH])
    return round(written / (time.perf_counter() - started))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sibyl-bench-") as directory:
        figures = asyncio.run(measure(arguments.rows, arguments.dimension, Path(directory)))
    print_figures(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
