"""Cross-encoders: `open_cross_encoder` turns the model that a reranking step names into one ready to compare."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Mapping

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.cpu import choose_precision, cpu_quota, encoder_threads, usable_cores
from sibyl_runtime.providers.embedding.graph_cache import cache_directory, graph_file, graph_name, model_digest
from sibyl_runtime.providers.embedding.model_files import ModelFiles, find_model, read_model
from sibyl_runtime.providers.reranking.cross_encoder import LocalCrossEncoder
from sibyl_runtime.providers.reranking.pairs import PairTokenizer
from sibyl_runtime.providers.reranking.shape import ScorerShape, scorer_shape

__all__ = ["LocalCrossEncoder", "open_cross_encoder"]


async def open_cross_encoder(model: str, field: str) -> LocalCrossEncoder:
    """Load `model`, a name or a path, and compare one pair, so that the first request finds it warm.

    `field` is where the document names it. Raises StartupError, which begins with `field`, for a model that is not on
    this machine or is no cross-encoder.
    """
    try:
        return await _open(model, os.environ)
    except StartupError as error:
        raise StartupError(f"{field}: {error.message.removeprefix('model: ')}") from error


async def _open(model: str, environ: Mapping[str, str]) -> LocalCrossEncoder:
    cache = cache_directory(environ)
    files, shape = await asyncio.to_thread(_read, model, environ)
    digest = await asyncio.to_thread(model_digest, files, cache)
    tokenizer = await asyncio.to_thread(PairTokenizer.load, files.tokenizer, files.max_tokens)
    precision = choose_precision("auto")
    # Imported here: a workspace that does not rerank by a model of its own should not pay for the library.
    from sibyl_runtime.providers.reranking.onnx_scorer import OnnxScorer

    name = graph_name(files, shape, digest, precision)
    async with graph_file(cache, name, files.directory, precision, kind="reranking") as graph:
        threads = encoder_threads(cpu_quota(), usable_cores())
        scorer = await asyncio.to_thread(OnnxScorer, graph, threads)
    opened = LocalCrossEncoder(f"{files.name}@{digest[:8]}/{precision}/{files.max_tokens}", tokenizer, scorer)
    await _warm_up(opened)
    return opened


def _read(model: str, environ: Mapping[str, str]) -> tuple[ModelFiles, ScorerShape]:
    files = read_model(find_model(model, environ), model)
    return files, scorer_shape(files)


async def _warm_up(opened: LocalCrossEncoder) -> None:
    """Compare one pair: pages the weights in, and proves that the model gives numbers. Closes it when not."""
    async with contextlib.AsyncExitStack() as on_failure:
        on_failure.push_async_callback(opened.close)
        [score] = (await opened.compare("warm", ["up"])).scores
        if not math.isfinite(score):
            raise StartupError(f"model: {opened.tag} gives {score} for a pair, not a number; check its weights")
        on_failure.pop_all()
