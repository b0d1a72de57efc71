"""Figures of the embedding model: start, one query, many queries at once, documents, memory of the process.

Run: python -m bench.embedding [--precision int8] [--backend onnx] [--json]. The graph is built first where it is not
cached, so that `load_s` is the start of a pod whose image or volume holds it.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import psutil

from bench.printing import print_figures
from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.workspace import EmbeddingProvider

# Sixteen tokens with the markers, as people ask.
QUESTION = "how long does the service keep its database backups, case {}"
DOCUMENT_TOKENS = 256
MARKERS = 2
QUERIES = 200
DOCUMENTS = 128
CLIENTS = 8
WORDS = (
    "operator",
    "replica",
    "index",
    "query",
    "node",
    "memory",
    "table",
    "cache",
    "window",
    "river",
    "seven",
    "when",
)


async def measure(provider: EmbeddingProvider) -> dict[str, Any]:
    """All figures, by name."""
    process = psutil.Process()
    await (await open_embedder("bench", provider)).close()
    started = time.perf_counter()
    embedder = await open_embedder("bench", provider)
    figures: dict[str, Any] = {"tag": embedder.tag, "load_s": round(time.perf_counter() - started, 3)}
    try:
        figures["rss_loaded_mb"] = _megabytes(process)
        for clients in (1, CLIENTS):
            figures[f"query_{clients}_clients"] = await _queries(embedder, clients)
        figures["rss_after_queries_mb"] = _megabytes(process)
        texts = _documents(embedder)
        figures["documents_per_s"] = await _documents_per_second(embedder, texts)
        figures["rss_after_documents_mb"] = _megabytes(process)
        figures["query_during_ingest"] = await _queries_during(embedder, texts)
    finally:
        await embedder.close()
    return figures


async def _queries(embedder: LocalEmbedder, clients: int) -> dict[str, float]:
    """Latency of `clients` that each wait for their answer; every question is another one."""
    latencies: list[float] = []
    numbers = count()

    async def client() -> None:
        while (number := next(numbers)) < QUERIES:
            started = time.perf_counter()
            await embedder.embed_query(QUESTION.format(number))
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return _summary(latencies, time.perf_counter() - started)


async def _queries_during(embedder: LocalEmbedder, texts: Sequence[str]) -> dict[str, float]:
    """Latency of one client while documents are embedded without a pause: what the two lanes are for."""
    latencies: list[float] = []
    ingest = asyncio.create_task(embedder.embed_documents(texts))
    begun = time.perf_counter()
    while not ingest.done():
        started = time.perf_counter()
        await embedder.embed_query(QUESTION.format(started))
        latencies.append(time.perf_counter() - started)
        await asyncio.sleep(0.05)
    await ingest
    return _summary(latencies, time.perf_counter() - begun)


async def _documents_per_second(embedder: LocalEmbedder, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    await embedder.embed_documents(texts)
    return round(len(texts) / (time.perf_counter() - started), 1)


def _documents(embedder: LocalEmbedder) -> list[str]:
    """Texts of exactly 256 tokens, no two alike."""
    random = np.random.default_rng(0)
    body = DOCUMENT_TOKENS - MARKERS
    texts = [" ".join(random.choice(WORDS, body)) for _ in range(DOCUMENTS)]
    assert all(len(embedder.tokenize(text)) == body for text in texts)
    return texts


def _summary(latencies: Sequence[float], seconds: float) -> dict[str, float]:
    p50, p95 = np.percentile(latencies, [50, 95]) * 1000
    return {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "per_s": round(len(latencies) / seconds, 1)}


def _megabytes(process: psutil.Process) -> int:
    return round(process.memory_info().rss / 2**20)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="name of the model, or path of its directory")
    parser.add_argument("--precision", choices=("auto", "int8", "fp32"), default="auto")
    parser.add_argument("--backend", choices=("onnx", "torch"), default="onnx")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args()
    provider = EmbeddingProvider.model_validate(
        {"model": arguments.model, "precision": arguments.precision, "backend": arguments.backend}
    )
    figures = asyncio.run(measure(provider))
    print_figures(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
