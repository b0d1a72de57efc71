"""What the guide says of connections and read replicas, with a real PostgreSQL."""

from __future__ import annotations

from typing import Any, cast

import psycopg

from tests.guide.running import Place, ask, block, found, with_guide
from tests.guide.table import shows
from tests.store.samples import eventually

pytestmark = with_guide
QUESTION = "Which bird flies from pole to pole?"
TEXTS = {"birds.txt": "The Arctic tern is the bird that flies from pole to pole."}


@shows(
    308,
    sets="`dsn` of the environment, `pool_size` 50, `max_overflow` 20, `pool_timeout` 30, `pool_recycle` 3600, "
    "`pool_pre_ping`",
    effect="50 connections are open from the start and 70 at most, with these times; when the server ends all of "
    "them, the next question notices nothing.",
)
async def test_the_pool_is_as_large_as_the_block_says_and_checks_its_connections(place: Place) -> None:
    async with place.opened(place.document(block(308))) as runtime:
        await runtime.ingest(place.write(TEXTS))
        store = cast(Any, runtime.services.store)
        stats = store.stats()
        pool = store._database._pool
        assert (stats["pool_size"], stats["pool_min"], stats["pool_max"]) == (50, 50, 70)
        assert (pool.timeout, pool.max_lifetime) == (30, 3600)
        async with await psycopg.AsyncConnection.connect(place.dsn, autocommit=True) as connection:
            ended = await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'sibyl'"
            )
            assert len(await ended.fetchall()) == 50
        assert found(await ask(runtime, QUESTION)) == ["birds.txt"]


@shows(
    662,
    sets="`primary` with `dsn`, `replicas` with three of `dsn`, `read_strategy` round_robin",
    effect="Three searches in a row go to the three replicas, one each, and none to the primary; `/health` lists "
    "them. That servers which follow a primary are asked only once they have what was ingested, and that the primary "
    "stands in for one that is away, is shown with real ones by `tests/store/test_replicas.py`; here all four "
    "addresses are of one.",
)
async def test_searches_go_to_the_replicas_in_turn(place: Place) -> None:
    raw = place.document(block(662))
    stores = raw["providers"]["vector_store"]
    assert len(stores["replicas"]) == 3
    for written in (stores["primary"], *stores["replicas"]):
        written["dsn"] = place.dsn
    async with place.opened(raw) as runtime:
        await runtime.ingest(place.write(TEXTS))
        store = cast(Any, runtime.services.store)

        async def all_there() -> bool:
            return bool(store.stats()["replicas_available"] == 3)

        await eventually(all_there)
        before = store.stats()
        for round_ in range(3):  # searches spread at random would hardly reach all three in each
            searched = counts(store)
            for number in range(3):
                assert found(await ask(runtime, f"{QUESTION} {round_} {number}")) == ["birds.txt"]
            assert all(now > earlier for earlier, now in zip(searched, counts(store), strict=True))
        after = store.stats()
        health = await runtime.health()
    assert after["searches_replica"] - before["searches_replica"] == 9
    assert after["searches_primary"] == before["searches_primary"]
    assert [replica["available"] for replica in health["checks"]["database"]["details"]["replicas"]] == [True] * 3


def counts(store: Any) -> list[int]:
    """Connections that each replica's pool has given out."""
    return [replica.database.stats()["requests_num"] for replica in store._replicas._replicas]
