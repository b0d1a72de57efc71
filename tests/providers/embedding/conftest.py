"""One model cache for all tests here, and the default model opened once in each precision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.workspace import EmbeddingProvider


@pytest.fixture(scope="session")
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
def int8(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(precision="int8"))


@pytest.fixture(scope="session")
def fp32(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(precision="fp32"))
