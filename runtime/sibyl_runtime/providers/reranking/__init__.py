"""Cross-encoders: `open_cross_encoder` turns the model that a reranking step names into one ready to compare."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.cpu import choose_precision, cpu_quota, encoder_threads, usable_cores
from sibyl_runtime.providers.embedding.graph_cache import cache_directory, graph_file, graph_name, model_digest
from sibyl_runtime.providers.embedding.model_files import ModelFiles, find_model, read_model
from sibyl_runtime.providers.reranking.cross_encoder import LocalCrossEncoder, Scorer
from sibyl_runtime.providers.reranking.pairs import PairTokenizer
from sibyl_runtime.providers.reranking.shape import check_cross_encoder, scorer_shape

__all__ = ["LocalCrossEncoder", "open_cross_encoder"]

Backend = Literal["onnx", "torch"]


async def open_cross_encoder(
    model: str, field: str, *, backend: Backend = "onnx", device: str = "cpu", precision: str = "auto"
) -> LocalCrossEncoder:
    """Load `model`, a name or a path, and compare one pair, so that the first request finds it warm.

    `field` is where the document names it. `precision` is of backend onnx. Raises StartupError, which begins with
    `field` or the key beside it, for a model that is not on this machine or is no cross-encoder, a library that is not
    installed and a device that is not there.
    """
    try:
        return await _open(model, backend, device, choose_precision(precision), os.environ)
    except StartupError as error:
        key, _, reason = error.message.partition(": ")
        place = field if key == "model" else f"{field.rpartition('.')[0]}.{key}"
        raise StartupError(f"{place}: {reason}") from error


async def _open(
    model: str, backend: Backend, device: str, precision: str, environ: Mapping[str, str]
) -> LocalCrossEncoder:
    cache = cache_directory(environ)
    files = await asyncio.to_thread(lambda: read_model(find_model(model, environ), model))
    check_cross_encoder(files)
    threads = encoder_threads(cpu_quota(), usable_cores())
    if backend == "torch":
        precision = "fp32"
        scorer = await _open_torch(files, device, threads)
    else:
        scorer = await _open_onnx(files, cache, precision, threads)
    digest = await asyncio.to_thread(model_digest, files, cache)
    tokenizer = await asyncio.to_thread(PairTokenizer.load, files.tokenizer, files.max_tokens)
    opened = LocalCrossEncoder(f"{files.name}@{digest[:8]}/{precision}/{files.max_tokens}", tokenizer, scorer)
    await _warm_up(opened)
    return opened


async def _open_onnx(files: ModelFiles, cache: Path, precision: str, threads: int) -> Scorer:
    # Imported here, as torch is: a workspace that does not rerank by a model of its own should not pay for either.
    from sibyl_runtime.providers.reranking.onnx_scorer import OnnxScorer

    shape = scorer_shape(files)
    digest = await asyncio.to_thread(model_digest, files, cache)
    name = graph_name(files, shape, digest, precision)
    async with graph_file(cache, name, files.directory, precision, kind="reranking") as graph:
        return await asyncio.to_thread(OnnxScorer, graph, threads)


async def _open_torch(files: ModelFiles, device: str, threads: int) -> Scorer:
    from sibyl_runtime.providers.reranking.torch_scorer import TorchScorer

    if not files.weights:
        raise StartupError(
            f"model: {files.directory} was converted and holds no weights, which `backend: torch` needs; give the path "
            "of the whole model, or set `backend: onnx`"
        )
    return await asyncio.to_thread(TorchScorer, files, device=device, threads=threads)


async def _warm_up(opened: LocalCrossEncoder) -> None:
    """Compare one pair: pages the weights in, and proves that the model gives numbers. Closes it when not."""
    async with contextlib.AsyncExitStack() as on_failure:
        on_failure.push_async_callback(opened.close)
        [score] = (await opened.compare("warm", ["up"])).scores
        if not math.isfinite(score):
            raise StartupError(f"model: {opened.tag} gives {score} for a pair, not a number; check its weights")
        on_failure.pop_all()
