"""Figures of the ways to rerank: milliseconds for 20 candidates of 200 tokens, and the memory of the model.

Run: python -m bench.reranking [--json]. The cross-encoder has the shape of ms-marco-MiniLM-L-6-v2 (6 layers of 384) and
random weights in its head: what it says means nothing, how long it takes does. The language model is a stub in this
process that sleeps for STUB_SECONDS and names an order: that figure is a supposition, not a measurement of any model,
and so is every ratio made from it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from safetensors.numpy import load_file, save_file

from bench.printing import print_figures
from sibyl_runtime.pipeline.context import Deadline, Services, StepContext
from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.providers.embedding.build import export
from sibyl_runtime.providers.embedding.model_files import DEFAULT_MODEL, find_model
from sibyl_runtime.providers.protocols import Generation, GenerationRequest
from sibyl_runtime.providers.reranking import open_cross_encoder
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.reranking import Reranking
from sibyl_runtime.workspace import EmbeddingProvider, RerankingConfig, parse_workspace

CANDIDATES, KEPT = 20, 5
TOKENS = 200
ROUNDS = 15
STUB_SECONDS = 0.9
"""What a hosted model of moderate size may take to read 4,500 tokens and write five numbers: supposed."""
QUESTION = "how long does the service keep its database backups"
WORDS = ("operator", "replica", "index", "query", "node", "memory", "table", "cache", "window", "river", "seven")


class StubModel:
    """A language model that takes as long as supposed, and answers with the first passages in turn."""

    name = "stub"

    async def generate(self, request: GenerationRequest) -> Generation:
        """See LanguageModel."""
        await asyncio.sleep(STUB_SECONDS)
        return Generation(", ".join(str(number + 1) for number in range(KEPT)), "stub", 0, 0, "stop")

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
        """See LanguageModel."""
        yield await self.generate(request)

    async def check(self) -> None:
        """See LanguageModel."""

    async def close(self) -> None:
        """See LanguageModel."""


async def measure() -> dict[str, Any]:
    """All figures, by name."""
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as directory:
        whole = _cross_encoder(Path(directory) / "whole")
        # Converted, so that it leaves nothing in the cache of models.
        model = Path(directory) / "random-MiniLM-L6"
        export(str(whole), model, kind="reranking")
        embedder = await open_embedder("bench", EmbeddingProvider())
        before = process.memory_info().rss
        encoder = await open_cross_encoder(str(model), "model")
        figures: dict[str, Any] = {
            "cross_encoder model": {"tag": encoder.tag, "mb": round((process.memory_info().rss - before) / 2**20)}
        }
        workspace = parse_workspace({}, environ={})
        services = Services(workspace, embedder, _NO_STORE, {"stub": StubModel()}, "stub", {str(model): encoder})
        hits = _candidates(embedder)
        try:
            for name, settings in _ways(str(model)).items():
                figures[name] = await _figures(services, hits, {**settings, "top_k": KEPT})
            few = await _figures(
                services, hits[: CANDIDATES // 2], {**_ways(str(model))["cross_encoder"], "top_k": KEPT}
            )
            figures[f"cross_encoder, {CANDIDATES // 2} candidates"] = few
        finally:
            await encoder.close()
            await embedder.close()
    ratio = figures[_STUB]["p50_ms"] / figures["cross_encoder"]["p50_ms"]
    figures["supposed llm / cross_encoder"] = {"times": round(ratio, 1)}
    return figures


_STUB = f"llm (a stub that sleeps {STUB_SECONDS:g} s)"
_NO_STORE: Any = None
"""Reranking asks no store."""


def _ways(model: str) -> Mapping[str, Mapping[str, Any]]:
    return {
        "cross_encoder": {"model": model},
        _STUB: {"subtechnique": "llm"},
        "bm25": {"subtechnique": "bm25"},
        "fusion": {"subtechnique": "fusion"},
        "diversity": {"subtechnique": "diversity"},
    }


async def _figures(services: Services, hits: list[Hit], settings: Mapping[str, Any]) -> dict[str, float]:
    config = RerankingConfig.model_validate(settings)
    latencies = []
    used = time.process_time()
    for _ in range(ROUNDS):
        context = StepContext(
            services, "bench", "reranking", {"query": QUESTION}, {"retrieval": {"chunks": hits}}, Deadline.after(None)
        )
        started = time.perf_counter()
        await Reranking().run(context, config)
        latencies.append(time.perf_counter() - started)
    p50, p95 = np.percentile(latencies, [50, 95]) * 1000
    # On a machine with other work, processor time says more than the clock.
    cpu = (time.process_time() - used) * 1000 / ROUNDS
    return {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "cpu_ms": round(cpu, 2)}


def _candidates(embedder: LocalEmbedder) -> list[Hit]:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, TOKENS)) for _ in range(CANDIDATES)]
    assert all(len(embedder.tokenize(text)) == TOKENS for text in texts)
    return [Hit(number, f"d{number}", "", "", text, 1 - number / 100, {}) for number, text in enumerate(texts)]


def _cross_encoder(directory: Path) -> Path:
    """The default embedding model's encoder under a head of random weights."""
    source = find_model(DEFAULT_MODEL, {})
    directory.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_bytes((source / name).read_bytes())
    config = json.loads((source / "config.json").read_text())
    config |= {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    (directory / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(1)
    hidden = config["hidden_size"]
    weights = load_file(source / "model.safetensors")
    for name, outputs in (("pooler.dense", hidden), ("classifier", 1)):
        weights[f"{name}.weight"] = (random.standard_normal((outputs, hidden)) * 0.05).astype(np.float32)
        weights[f"{name}.bias"] = np.zeros(outputs, dtype=np.float32)
    save_file(weights, directory / "model.safetensors")
    return directory


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args()
    figures = asyncio.run(measure())
    print_figures(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
