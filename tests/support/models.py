"""Embedding models for tests: a cache of graphs that is theirs alone, and a model opened once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.workspace import EmbeddingProvider


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory where this run builds its graphs."""
    directory = tmp_path_factory.mktemp("model-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIBYL_CACHE_DIR", str(directory))
        yield directory


def opened(provider: EmbeddingProvider) -> Iterator[LocalEmbedder]:
    """For a fixture: the model, closed at its end."""
    embedder = asyncio.run(open_embedder("default", provider))
    yield embedder
    asyncio.run(embedder.close())
