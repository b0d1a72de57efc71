"""Figures of one model in one precision: `python -m sibyl_runtime.providers.embedding.measure MODEL --precision int8`.

A process of its own measures, since the peak of its memory is one of the figures. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sibyl_runtime.errors import SibylError
from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.workspace import EmbeddingProvider

QUERIES = 100
QUESTION = "how long does the service keep its database backups, case {}"
DOCUMENT_TOKENS = 256
_MARKERS = 2
_WORDS = ("operator", "replica", "index", "query", "node", "memory", "table", "cache", "window", "river", "although")


@dataclass(frozen=True)
class Figures:
    """Seconds to load, milliseconds of a query alone, texts and tokens a second of documents, peak memory in MiB."""

    precision: str
    tag: str
    load_seconds: float
    query_p50_ms: float
    query_p95_ms: float
    texts_per_second: float
    tokens_per_second: float
    tokens_per_text: int
    peak_mib: int


async def measure(model: str, precision: str, texts: int) -> Figures:
    """Open the model and time it. Raises StartupError where it cannot be opened."""
    provider = EmbeddingProvider.model_validate({"model": model, "precision": precision})
    # Once for the conversion, where there is one: the second is what a pod waits for.
    await (await open_embedder("bench", provider)).close()
    started = time.perf_counter()
    embedder = await open_embedder("bench", provider)
    load = time.perf_counter() - started
    try:
        p50, p95 = await _queries(embedder)
        documents = _documents(embedder, texts)
        started = time.perf_counter()
        await embedder.embed_documents(documents)
        seconds = time.perf_counter() - started
    finally:
        await embedder.close()
    tokens = sum(len(embedder.tokenize(text)) + _MARKERS for text in documents)
    return Figures(
        precision, embedder.tag, round(load, 3), p50, p95, round(texts / seconds, 1), round(tokens / seconds, 1),
        round(tokens / texts), _peak_mib(),
    )  # fmt: skip


async def _queries(embedder: LocalEmbedder) -> tuple[float, float]:
    latencies = []
    for number in range(QUERIES):
        started = time.perf_counter()
        await embedder.embed_query(QUESTION.format(number))
        latencies.append(time.perf_counter() - started)
    p50, p95 = np.percentile(latencies, [50, 95]) * 1000
    return round(float(p50), 2), round(float(p95), 2)


def _documents(embedder: LocalEmbedder, texts: int) -> Sequence[str]:
    """Texts as long as chunks are by default, or as the model reads; no two alike."""
    random = np.random.default_rng(0)
    room = min(DOCUMENT_TOKENS, embedder.max_tokens) - _MARKERS
    written = [" ".join(random.choice(_WORDS, room)) for _ in range(texts)]
    return [text[: embedder.tokenize(text)[:room][-1].end] for text in written]


def _peak_mib() -> int:
    """The most memory that this process has held. The kernel's own note begins anew with a program, getrusage's not."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)
    except (OSError, StopIteration):
        unit = 1024 * 1024 if sys.platform == "darwin" else 1024
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def main() -> int:
    """Measure and print. Exit code 1, with the reason on the last line of stderr, when it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--precision", choices=("int8", "fp32"), required=True)
    parser.add_argument("--texts", type=int, required=True)
    options = parser.parse_args()
    try:
        figures = asyncio.run(measure(options.model, options.precision, options.texts))
    except SibylError as error:
        print(error.message.removeprefix("providers.embedding.bench."), file=sys.stderr)
        return 1
    print(json.dumps(asdict(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
