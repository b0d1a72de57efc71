"""What the guide says of the index and of how many chunks are found, run against the real PostgreSQL."""

from __future__ import annotations

from typing import Any, cast

import psycopg

from sibyl_runtime.runtime import Runtime
from tests.guide.running import Place, ask, block, found, with_guide
from tests.guide.table import shows

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
