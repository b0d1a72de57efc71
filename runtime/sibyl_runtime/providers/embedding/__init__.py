"""Embedding models: `open_embedder` turns a provider of the workspace into an `Embedder` that is ready to answer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.cpu import choose_precision, cpu_quota, encoder_threads, usable_cores
from sibyl_runtime.providers.embedding.embedder import EmbeddingProfile, LocalEmbedder
from sibyl_runtime.providers.embedding.encoder import Encoder
from sibyl_runtime.providers.embedding.graph_cache import cache_directory, graph_file, graph_name, model_digest
from sibyl_runtime.providers.embedding.model_files import ModelFiles, encoder_shape, find_model, read_model
from sibyl_runtime.providers.embedding.processes import ProcessModel
from sibyl_runtime.providers.embedding.tokenizer import Tokenizer
from sibyl_runtime.providers.embedding.worker import EmbeddingWorker

if TYPE_CHECKING:
    from sibyl_runtime.workspace import EmbeddingProvider

__all__ = ["LocalEmbedder", "open_embedder"]

MAX_QUEUED_QUERIES = 128
UNIT_LENGTH_TOLERANCE = 1e-3

NORMALIZE = "Normalize"
OWN_LENGTH = "/own-length"
"""Ends the tag of vectors that were not scaled: they are no neighbours of those that were."""


async def open_embedder(name: str, provider: EmbeddingProvider, *, share: int = 1) -> LocalEmbedder:
    """Load the model of `providers.embedding.<name>` and embed one text, so that the first request finds it warm.

    `share`: how many processes load it side by side, which divide the cores between them.

    Raises StartupError, which names the field, for a model, device or setting that cannot be used.
    """
    try:
        return await _open(name, provider, os.environ, share)
    except StartupError as error:
        raise StartupError(f"providers.embedding.{name}.{error.message}") from error


async def _open(name: str, provider: EmbeddingProvider, environ: Mapping[str, str], share: int) -> LocalEmbedder:
    cache = cache_directory(environ)
    files = await asyncio.to_thread(_read, provider, environ)
    digest = await asyncio.to_thread(model_digest, files, cache)
    tokenizer = await asyncio.to_thread(Tokenizer.load, files.tokenizer)
    window = _window(provider, files)
    _check_length(provider, files)
    precision = "fp32" if provider.backend == "torch" else choose_precision(provider.precision)
    if provider.backend == "torch":
        encoder = await _open_torch(files, provider, window, _threads(share))
    else:
        encoder = await _open_onnx(files, cache, digest, precision, _threads(share), provider.normalize)
    profile = EmbeddingProfile(
        model=files.name,
        tag=_tag(files, digest, precision, window) + ("" if provider.normalize else OWN_LENGTH),
        dimension=encoder.dimension,
        window=window,
        query_prompt=files.prompts.get("query", ""),
        document_prompt=files.prompts.get("document", files.prompts.get("passage", "")),
    )
    worker = EmbeddingWorker(encoder, max_queued_queries=MAX_QUEUED_QUERIES, max_batch_texts=provider.batch_size)
    embedder = LocalEmbedder(profile, tokenizer, worker, ProcessModel(name, provider))
    await _warm_up(embedder, normalize=provider.normalize)
    return embedder


def _read(provider: EmbeddingProvider, environ: Mapping[str, str]) -> ModelFiles:
    if provider.backend == "onnx" and provider.device != "cpu":
        raise StartupError(f"device: {provider.device} needs `backend: torch`; the onnx backend runs on cpu")
    return read_model(find_model(provider.model, environ), provider.model)


def _window(provider: EmbeddingProvider, files: ModelFiles) -> int:
    wanted = provider.max_seq_length
    if wanted is None:
        return files.max_tokens
    if wanted > files.max_tokens:
        raise StartupError(
            f"max_seq_length: {wanted} is more than {files.name} reads, {files.max_tokens} tokens; lower or remove it"
        )
    return wanted


def _check_length(provider: EmbeddingProvider, files: ModelFiles) -> None:
    if not provider.normalize and NORMALIZE in files.modules:
        raise StartupError(
            f"normalize: false has no effect: {files.name} scales its vectors to unit length itself, by its module "
            f"{NORMALIZE}; remove it, or name a model without that module"
        )


def _tag(files: ModelFiles, digest: str, precision: str, window: int) -> str:
    """Both backends share `fp32`: they give the same vectors. Prompts change vectors, so they are part of the tag."""
    tag = f"{files.name}@{digest[:8]}/{precision}/{files.pooling}/{window}"
    if not files.prompts:
        return tag
    prompts = hashlib.sha256(json.dumps(files.prompts, sort_keys=True).encode()).hexdigest()
    return f"{tag}/prompts-{prompts[:6]}"


async def _open_onnx(
    files: ModelFiles, cache: Path, digest: str, precision: str, threads: int, normalize: bool
) -> Encoder:
    # Imported here, as torch is: neither library's weight should fall on those who use the other.
    from sibyl_runtime.providers.embedding.onnx_session import OnnxEncoder

    name = graph_name(files, encoder_shape(files), digest, precision)
    async with graph_file(cache, name, files.directory, precision) as graph:
        return await asyncio.to_thread(OnnxEncoder, graph, threads, normalize=normalize)


async def _open_torch(files: ModelFiles, provider: EmbeddingProvider, window: int, threads: int) -> Encoder:
    from sibyl_runtime.providers.embedding.torch_backend import TorchEncoder

    if not files.weights:
        raise StartupError(
            f"model: {files.directory} was converted and holds no weights, which `backend: torch` needs; use the image "
            "that carries torch, give the path of the whole model, or set `backend: onnx`"
        )
    return await asyncio.to_thread(
        TorchEncoder, files, device=provider.device, threads=threads, window=window, normalize=provider.normalize
    )


def _threads(share: int) -> int:
    quota = cpu_quota()
    return encoder_threads(None if quota is None else quota / share, usable_cores() // share)


async def _warm_up(embedder: LocalEmbedder, *, normalize: bool) -> None:
    """Embed one text: pages the weights in, and proves that the model gives unit vectors, or with `normalize` false
    any that have a direction. Closes it when not."""
    async with contextlib.AsyncExitStack() as on_failure:
        on_failure.push_async_callback(embedder.close)
        length = float(np.linalg.norm(await embedder.embed_query("warm-up")))
        if normalize and not abs(length - 1.0) < UNIT_LENGTH_TOLERANCE:
            raise StartupError(f"model: {embedder.tag} gives vectors of length {length}, not 1; check its weights")
        if not 0 < length < math.inf:
            raise StartupError(f"model: {embedder.tag} gives vectors of length {length}; check its weights")
        on_failure.pop_all()
