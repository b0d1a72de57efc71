"""What the guide says of the index and of how many chunks are found, run against the real PostgreSQL."""

from __future__ import annotations

from typing import Any, cast

import faiss
import numpy as np
import psycopg

from sibyl_runtime.runtime import Runtime
from sibyl_runtime.store.records import Chunk, Document, EmbeddedDocument
from tests.guide.running import Place, ask, block, found, with_guide
from tests.guide.table import shows
from tests.store.samples import eventually

pytestmark = with_guide
QUESTION = "Which bird flies from the Arctic to the Antarctic?"
OTHER = "Who repairs the suspension bridge over the Humber?"


def birds(count: int) -> dict[str, str]:
    return {f"bird{number}.txt": f"{QUESTION} It is bird number {number}." for number in range(count)}


def others(count: int) -> dict[str, str]:
    return {f"other{number}.txt": f"Recipe {number}: flour, water and salt make bread." for number in range(count)}


async def setting(runtime: Runtime, name: str) -> str:
    """A setting of PostgreSQL on a connection of the runtime's own pool."""

    async def shown(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> str:
        row = await (await connection.execute("SELECT current_setting(%s)", [name])).fetchone()
        assert row is not None
        return str(row[0])

    return str(await cast(Any, runtime.services.store)._database.run(shown, stage="test"))


@shows(
    159,
    sets="`index_type` hnsw, `hnsw_m` 16, `hnsw_ef_construction` 200, `hnsw_ef_search` 100",
    effect="PostgreSQL has an HNSW index with these parameters after the ingest, and `hnsw.ef_search` is 100 on the "
    "connections that search.",
)
async def test_the_index_is_built_and_searched_with_the_parameters_of_the_block(place: Place) -> None:
    async with place.opened(place.document(block(159))) as runtime:
        await runtime.ingest(place.write(birds(3)))
        assert await setting(runtime, "hnsw.ef_search") == "100"
        assert len(found(await ask(runtime, QUESTION))) == 3
    async with await psycopg.AsyncConnection.connect(place.dsn) as connection:
        cursor = await connection.execute("SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%USING hnsw%'")
        [(definition,)] = await cursor.fetchall()
    assert "halfvec_cosine_ops" in definition
    assert "m='16'" in definition
    assert "ef_construction='200'" in definition


async def fill(runtime: Runtime, count: int) -> None:
    """Chunks with vectors that no model has made: embedding so many would take minutes."""
    vectors = np.random.default_rng(0).normal(size=(count, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for start in range(0, count, 1_000):
        part = vectors[start : start + 1_000]
        chunks = [Chunk(number, f"filler {start + number}", "", 2) for number in range(len(part))]
        of = Document(f"filler{start}", "filler", "Filler", "", {})
        await runtime.services.store.replace([EmbeddedDocument(of, "f", chunks, part)])


@shows(
    190,
    sets="`kind` faiss, `index_type` IVF256,Flat, `nprobe` 10",
    effect="A question is compared with every vector while the collection is too small to train 256 cells, which "
    "`/config` says; from 9,984 chunks on it is compared with the vectors of 10 of the 256 cells, and finds the same.",
)
async def test_ten_of_256_cells_are_searched(place: Place) -> None:
    async with place.opened(place.document(block(190))) as runtime:
        await runtime.ingest(place.write(birds(3)))
        store = cast(Any, runtime.services.store)
        few = found(await ask(runtime, QUESTION))
        state = await store.index_state()
        assert (state.kind, state.name, state.rows) == ("faiss", "Flat", 3)
        assert state.remark == "IVF256,Flat is trained on 9984 chunks at least, and there are 3"
        await fill(runtime, 10_000)
        await store.prepare_search()

        async def trained() -> bool:
            return bool((await store.index_state()).name == "IVF256,Flat")

        await eventually(trained)
        assert (await store.index_state()).parameters == {"cells": 256, "nprobe": 10}
        visited = cast(Any, faiss).cvar.indexIVF_stats
        visited.reset()
        many = found(await ask(runtime, QUESTION))
        assert (visited.nq, visited.nlist) == (1, 10)
        assert visited.ndis < 2_000
        assert set(few) == {f"bird{number}.txt" for number in range(3)}
        assert set(few) <= set(many)
    async with await psycopg.AsyncConnection.connect(place.dsn) as connection:
        cursor = await connection.execute("SELECT indexdef FROM pg_indexes WHERE indexdef ~ 'USING (hnsw|ivfflat)'")
        assert await cursor.fetchall() == []


@shows(174, part=1, sets="`top_k` 20", effect="20 sources, near or not.")
@shows(
    174,
    part=2,
    sets="`top_k` 5, `similarity_threshold` 0.7",
    effect="5 sources, each with a score of at least 0.7; none for a question that nothing is near to, where the first "
    "half finds 20.",
)
async def test_fewer_chunks_are_found_and_none_that_is_far(place: Place) -> None:
    path = place.write({**birds(8), **others(17)})
    async with place.opened(place.document(block(174, 1))) as runtime:
        await runtime.ingest(path)
        for question in (QUESTION, OTHER):
            assert len(found(await ask(runtime, question))) == 20
    async with place.opened(place.document(block(174, 2))) as runtime:
        near = await ask(runtime, QUESTION)
        far = await ask(runtime, OTHER)
    assert len(found(near)) == 5
    assert all(source["score"] >= 0.7 for source in near.output["sources"])
    assert found(far) == []
