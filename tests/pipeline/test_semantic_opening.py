"""Which model compares questions, and what happens when it cannot be opened."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.cache import AnswerIdentity
from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.errors import StartupError
from sibyl_runtime.opening import open_semantic
from sibyl_runtime.pipeline.kept import KeptVectors
from sibyl_runtime.providers.protocols import Embedder
from sibyl_runtime.workspace import Workspace, parse_workspace
from tests.support.parts import WatchedEmbedder
from tests.support.tiny_model import HIDDEN, write_tiny_model

FIELD = "shops.infrastructure.config.caching.semantic.embedding_model"


def workspace(**semantic: Any) -> Workspace:
    caching = {"enabled": True, "semantic": semantic}
    return parse_workspace({"name": "shop", "shops": {"infrastructure": {"config": {"caching": caching}}}}, environ={})


@pytest.mark.parametrize("model", [None, "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
async def test_the_model_of_the_workspace_serves_both(
    embedder: Embedder, model: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(*_: object) -> None:
        raise AssertionError("a second model was opened")

    monkeypatch.setattr("sibyl_runtime.opening.open_embedder", second)
    async with contextlib.AsyncExitStack() as stack:
        named = {} if model is None else {"embedding_model": model}
        assert await open_semantic(workspace(**named), WatchedEmbedder(embedder), None, stack) is not None


async def test_a_vector_that_is_kept_is_not_made_again(embedder: Embedder) -> None:
    kept = KeptVectors(MemoryCache(max_size=10, ttl=60), "made by", embedder.dimension)
    await kept.set("Is it?", await embedder.embed_query("Is it?"), passage=False)
    watched = WatchedEmbedder(embedder)
    async with contextlib.AsyncExitStack() as stack:
        cache = await open_semantic(workspace(), watched, None, stack, kept)
        assert cache is not None
        for question in ("Is it?", "Was it?"):
            asked = cache.asked(AnswerIdentity("shop", "ask", "v", 1, "m", "l", {"query": question}))
            assert asked is not None
            await cache.similar(asked, timeout=None)
            assert asked.vector is not None
    assert watched.queries == ["Was it?"]


async def test_another_model_is_opened_beside_it_and_closed(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIBYL_CACHE_DIR", str(tmp_path / "cache"))
    tiny = write_tiny_model(tmp_path / "tiny")
    watched = WatchedEmbedder(embedder)
    async with contextlib.AsyncExitStack() as stack:
        cache = await open_semantic(workspace(embedding_model=str(tiny)), watched, None, stack)
        assert cache is not None
        asked = cache.asked(AnswerIdentity("shop", "ask", "v", 1, "m", "l", {"query": "w1 w2"}))
        assert asked is not None
        assert await cache.similar(asked, timeout=None) == []
        assert asked.vector is not None
        assert asked.vector.shape == (HIDDEN,)
    assert watched.queries == []


async def test_a_model_that_is_not_there_is_an_error_that_names_the_field(embedder: Embedder) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(StartupError, match=FIELD.replace(".", r"\.") + ": 'no-such-model' is not on") as caught:
            await open_semantic(workspace(embedding_model="no-such-model"), embedder, None, stack)
    assert "providers.embedding" not in caught.value.message


async def test_without_a_semantic_cache_nothing_is_opened(embedder: Embedder) -> None:
    async with contextlib.AsyncExitStack() as stack:
        assert await open_semantic(workspace(enabled=False), embedder, None, stack) is None
