"""The default model, opened by each backend once. Runs in a venv that holds sentence-transformers (make test-torch)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.models import model_cache as model_cache
from tests.support.models import opened


@pytest.fixture(scope="session", autouse=True)
def graphs_of_this_run(model_cache: Path) -> Path:
    """For all tests, those of rerankers too."""
    return model_cache


@pytest.fixture(scope="session")
def torch_fp32(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(backend="torch"))


@pytest.fixture(scope="session")
def onnx_fp32(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(precision="fp32"))


@pytest.fixture(scope="session")
def onnx_int8(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(precision="int8"))
