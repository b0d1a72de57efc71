"""The default model, opened by each backend once. Runs in a venv that holds sentence-transformers (make test-torch)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.workspace import EmbeddingProvider


@pytest.fixture(scope="session", autouse=True)
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("model-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIBYL_CACHE_DIR", str(directory))
        yield directory


def opened(provider: EmbeddingProvider) -> Iterator[LocalEmbedder]:
    embedder = asyncio.run(open_embedder("default", provider))
    yield embedder
    asyncio.run(embedder.close())


@pytest.fixture(scope="session")
def torch_fp32(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(backend="torch"))


@pytest.fixture(scope="session")
def onnx_fp32(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(precision="fp32"))


@pytest.fixture(scope="session")
def onnx_int8(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(precision="int8"))
