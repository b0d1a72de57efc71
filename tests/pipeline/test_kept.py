from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.errors import DatabaseUnavailable
from sibyl_runtime.pipeline.corpus_version import CorpusVersion
from sibyl_runtime.pipeline.kept import Kept, KeptChunks, KeptVectors
from sibyl_runtime.store.records import Hit
from tests.support.parts import Parts, WatchedStore

HIT = Hit(7, "d", "Title", "Heading", "Content", 0.25, {"year": 2024, "tags": ["a"]}, 3)


def memory() -> MemoryCache:
    return MemoryCache(max_size=100, ttl=60)


def vectors(cache: MemoryCache, embedder: str = "model", dimension: int = 3) -> KeptVectors:
    return KeptVectors(cache, embedder, dimension)


async def test_a_vector_comes_back_exactly_under_its_text_model_and_role() -> None:
    cache = memory()
    vector = np.array([0.1, -2.5, 3e-7], dtype=np.float32)
    await vectors(cache).set("a text", vector, passage=False)
    kept = await vectors(cache).get("a text", passage=False)
    assert kept is not None
    assert (kept == vector).all()
    assert kept.flags.writeable
    assert await vectors(cache).get("a text", passage=True) is None
    assert await vectors(cache).get("a  text", passage=False) is None
    assert await vectors(cache, embedder="other").get("a text", passage=False) is None


@pytest.mark.parametrize("stored", [b"", b"1234", b"x" * 13, np.full(3, np.nan, dtype=np.float32).tobytes()])
async def test_what_is_no_vector_of_this_model_is_a_miss(stored: bytes) -> None:
    cache = memory()
    await cache.set(vectors(cache)._key("t", passage=False), stored)
    assert await vectors(cache).get("t", passage=False) is None


def chunks(parts: Parts, cache: MemoryCache, identity: str = "one") -> KeptChunks:
    return KeptChunks(cache, identity, "model", CorpusVersion(parts.store))


async def test_chunks_come_back_as_they_were_with_their_vectors(parts: Parts) -> None:
    kept = chunks(parts, memory())
    with_vector = Hit(8, "e", "", "", "More", -1.0, {}, embedding=np.array([0.1, 0.7], dtype=np.float32))
    await kept.set("k", [HIT, with_vector])
    found = await kept.get("k")
    assert found == [HIT, with_vector]
    assert found[1].embedding is not None
    assert (found[1].embedding == np.array([0.1, 0.7], dtype=np.float32)).all()


async def test_chunks_that_json_cannot_hold_are_not_kept(parts: Parts) -> None:
    cache = memory()
    await chunks(parts, cache).set("k", [replace(HIT, metadata={"n": 2**70})])
    assert cache.stats()["memory"].entries == 0
    assert await chunks(parts, cache).key({"filters": [["n", "eq", 2**70]]})


async def test_a_search_goes_on_without_a_cache_while_the_version_cannot_be_read(stocked: Parts) -> None:
    async def away() -> None:
        raise DatabaseUnavailable("away")

    watched = WatchedStore(stocked.store, before=away)
    stocked.kept = Kept(chunks=KeptChunks(memory(), "i", "m", CorpusVersion(watched)))
    results = [await stocked.run("search", query="connections?") for _ in range(2)]
    assert [result.notes["retrieval"]["retrieval_cache"] for result in results] == ["miss", "miss"]


async def test_nothing_found_is_not_kept(parts: Parts) -> None:
    cache = memory()
    await chunks(parts, cache).set("k", [])
    assert cache.stats()["memory"].entries == 0


@pytest.mark.parametrize(
    "stored",
    [b"", b"{", b"7", b"[7]", b"[]", b"[{}]", orjson.dumps([{"chunk_id": "7"}]), b"null", b'{"chunk_id": 1}'],
)
async def test_what_are_no_chunks_is_a_miss(parts: Parts, stored: bytes) -> None:
    cache = memory()
    await cache.set("k", stored)
    assert await chunks(parts, cache).get("k") is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3)))
async def test_nothing_that_may_lie_under_a_key_raises(value: Any) -> None:
    cache = memory()
    await cache.set("k", json.dumps(value).encode())
    assert await KeptChunks(cache, "i", "m", None).get("k") is None  # type: ignore[arg-type]  # no version is asked


async def test_a_key_says_all_that_the_chunks_depend_on(parts: Parts) -> None:
    kept = chunks(parts, memory())
    search = {"searches": [{"text": "q", "passage": False}], "filters": [["year", "eq", 1]]}
    keys = {
        await kept.key(search),
        await kept.key({**search, "filters": [["year", "eq", True]]}),
        await kept.key({**search, "searches": [{"text": "Q", "passage": False}]}),
        await chunks(parts, memory(), "other").key(search),
    }
    assert len(keys) == 4
    assert await kept.key(dict(reversed(search.items()))) == await kept.key(search)


@pytest.fixture
async def stocked(parts: Parts, tmp_path: Path) -> Parts:
    (tmp_path / "pool.md").write_text("---\nteam: db\n---\nConnection pools bound the connections to the database.")
    await parts.ingest(tmp_path)
    return parts


async def test_a_search_is_done_once_until_the_corpus_changes(stocked: Parts) -> None:
    cache = memory()
    version = CorpusVersion(stocked.store)
    stocked.kept = Kept(chunks=KeptChunks(cache, "i", stocked.embedder.tag, version))
    question = "How many database connections are there?"
    results = [await stocked.run("search", query=question) for _ in range(2)]
    assert [result.notes["retrieval"]["retrieval_cache"] for result in results] == ["miss", "hit"]
    first, again = (result.results["retrieval"]["chunks"] for result in results)
    assert first == again
    assert (len(stocked.store.searches), stocked.embedder.queries) == (1, [question])
    await stocked.run("search", query=question, filters={"team": "db"})
    assert len(stocked.store.searches) == 2, "a filter is another search"
    await stocked.store.remove_missing("elsewhere", [])
    await stocked.store.remove_missing(await _source(stocked), [])
    version.forget()
    await stocked.run("search", query=question)
    assert len(stocked.store.searches) == 3


async def _source(parts: Parts) -> str:
    return next(iter(await parts.store.sources()))
