"""Figures of the ways to cut documents: characters per second, chunks, how full they are, peak of Python's memory.

Run: python -m bench.chunking [--json]. The documents are this project's own: its pages, and its programs.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import tracemalloc
from pathlib import Path
from typing import Any

from bench.printing import print_figures
from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.documents.events import LoadedDocument
from sibyl_runtime.techniques.splitting.chunker import Chunker, PlannedChunk
from sibyl_runtime.techniques.topics import cut_by_topic
from sibyl_runtime.workspace import ChunkingConfig, EmbeddingProvider

ROOT = Path(__file__).parents[1]
WAYS = {"markdown": "*.md", "fixed": "*.md", "recursive": "*.md", "semantic": "*.md", "code": "*.py"}
MOST_CHARACTERS = 400_000


async def measure() -> dict[str, Any]:
    """All figures, by way of cutting."""
    embedder = await open_embedder("bench", EmbeddingProvider())
    try:
        figures = {way: await _figures(embedder, way) for way in WAYS}
        pages = _documents("*.md")
        chunks = [planned.text for loaded in pages for planned in await _cut(embedder, "markdown", loaded)]
        started = time.perf_counter()
        await embedder.embed_documents(chunks)
        figures["embedding of the markdown chunks"] = {"s": round(time.perf_counter() - started, 2)}
    finally:
        await embedder.close()
    return figures


async def _figures(embedder: LocalEmbedder, way: str) -> dict[str, float]:
    documents = _documents(WAYS[way])
    started = time.perf_counter()
    chunks = [planned for loaded in documents for planned in await _cut(embedder, way, loaded)]
    seconds = time.perf_counter() - started
    tracemalloc.start()
    await _cut(embedder, way, max(documents, key=lambda loaded: len(loaded.document.text)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tokens = sum(planned.chunk.tokens for planned in chunks)
    return {
        "s": round(seconds, 2),
        "characters_per_s": round(sum(len(loaded.document.text) for loaded in documents) / seconds),
        "chunks": len(chunks),
        "tokens_per_chunk": round(tokens / len(chunks)),
        "peak_mb": round(peak / 2**20, 1),
    }


async def _cut(embedder: LocalEmbedder, way: str, loaded: LoadedDocument) -> list[PlannedChunk]:
    config = ChunkingConfig.model_validate({"subtechnique": way})
    chunker = Chunker(
        embedder.tokenize, subtechnique=way, chunk_size=config.chunk_size, chunk_overlap=config.chunk_overlap
    )
    if way == "semantic":
        return await cut_by_topic(embedder, chunker, loaded, config)
    return chunker.chunks(loaded.document, markdown=loaded.markdown)


def _documents(pattern: str) -> list[LoadedDocument]:
    folders = [ROOT / "docs"] if pattern == "*.md" else [ROOT / "runtime", ROOT / "operator"]
    found: list[LoadedDocument] = []
    size = 0
    for path in sorted(path for folder in folders for path in folder.rglob(pattern)):
        text = path.read_text(encoding="utf-8")
        size += len(text)
        if size > MOST_CHARACTERS:
            break
        if text.strip():
            found.append(LoadedDocument(Document(path.name, "bench", path.stem, text), pattern == "*.md"))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args()
    figures = asyncio.run(measure())
    print_figures(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
