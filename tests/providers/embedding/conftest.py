"""One model cache for all tests here, and the default model opened once in each precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.models import model_cache as model_cache
from tests.support.models import opened


@pytest.fixture(scope="session")
def int8(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(precision="int8"))


@pytest.fixture(scope="session")
def fp32(model_cache: Path) -> Iterator[LocalEmbedder]:
    yield from opened(EmbeddingProvider(precision="fp32"))
