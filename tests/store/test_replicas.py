"""Searches on read replicas: a real primary with two real replicas, which are stopped, hung and cut off."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from sibyl_runtime.errors import DatabaseUnavailable, StartupError
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import Ranking
from sibyl_runtime.workspace import ReplicaProvider, VectorStoreProvider
from tests.store.samples import DIMENSION, TAG, axis, document, eventually, provider
from tests.support.builtin_database import Server, ask, servers
from tests.support.conditions import eventually as blocking_eventually


@dataclass
class Cluster:
    """A primary and its replicas; `dsn` of each for the role that runtimes connect as."""

    primary: Server
    replicas: tuple[Server, ...]

    @staticmethod
    def dsn(server: Server) -> str:
        return server.dsn("sibyl", "first-app", "sibyl")

    def start(self, replica: Server) -> None:
        replica.prepare("prepare-replica.sh")
        replica.serve()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with servers() as place:
        primary = place.primary()
        primary.prepare("prepare-primary.sh")
        primary.serve()
        made = Cluster(primary, (place.replica(primary, 0), place.replica(primary, 1)))
        for replica in made.replicas:
            made.start(replica)
        yield made


def settings(cluster: Cluster, **changes: Any) -> VectorStoreProvider:
    replicas = [ReplicaProvider(dsn=cluster.dsn(replica)) for replica in cluster.replicas]
    return provider(cluster.dsn(cluster.primary), replicas=replicas, pool_timeout=1.0, **changes)


async def opened(cluster: Cluster, **changes: Any) -> PgVectorStore:
    return await open_store(settings(cluster, **changes), dimension=DIMENSION, tag=TAG, embedded_directory=None)


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[PgVectorStore]:
    for replica in cluster.replicas:
        if replica._server is None:
            cluster.start(replica)
    made = await opened(cluster)
    await both_there(made)
    yield made
    await made.close()


async def both_there(store: PgVectorStore) -> None:
    async def there() -> bool:
        return store.stats()["replicas_available"] == 2

    await eventually(there)


async def found(store: PgVectorStore, position: int = 0) -> list[str]:
    return [hit.document_id for hit in await store.search(axis(position), top_k=1, timeout=10)]


async def searched_on_replicas(store: PgVectorStore) -> bool:
    before = store.stats()["searches_replica"]
    await found(store)
    return store.stats()["searches_replica"] > before


async def on_replicas(store: PgVectorStore) -> None:
    await eventually(lambda: searched_on_replicas(store))


async def test_searches_go_to_the_replicas_in_turn_once_they_have_the_newest_version(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)])])
    await on_replicas(store)
    before = store.stats()
    assert [await found(store) for _ in range(4)] == [["a"]] * 4
    after = store.stats()
    assert after["searches_replica"] - before["searches_replica"] == 4
    assert after["searches_primary"] == before["searches_primary"]


async def test_replicas_search_by_words_too(store: PgVectorStore) -> None:
    await store.replace([document("w", [axis(7)], text="An unmistakable rudder."), document("v", [axis(0)])])
    await on_replicas(store)
    before = store.stats()
    for ranking in (Ranking("keyword", "rudders"), Ranking("hybrid", "rudders")):
        (hit,) = await store.search(axis(0), top_k=1, ranking=ranking, timeout=10)
        assert hit.document_id == "w"
    after = store.stats()
    assert after["searches_replica"] - before["searches_replica"] == 2
    assert after["searches_primary"] == before["searches_primary"]
    await store.remove_missing("source-a", [])


async def test_rows_that_a_faiss_index_finds_are_read_on_replicas(cluster: Cluster, store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)]), document("b", [axis(1)])])
    indexed = await opened(cluster, kind="faiss", index_type="Flat")
    try:
        await both_there(indexed)
        await on_replicas(indexed)
        before = indexed.stats()
        assert [await found(indexed, position) for position in (0, 1)] == [["a"], ["b"]]
        await store.replace([document("b", [axis(2)])])

        async def followed() -> bool:
            return await found(indexed, 2) == ["b"]

        await eventually(followed)
        after = indexed.stats()
        assert after["searches_replica"] - before["searches_replica"] >= 2
    finally:
        await indexed.close()
        await store.remove_missing("source-a", [])


async def test_whoever_has_stored_something_finds_it_while_no_replica_has_received_it(
    cluster: Cluster, store: PgVectorStore
) -> None:
    await store.replace([document("a", [axis(0)])])
    await on_replicas(store)
    for replica in cluster.replicas:
        ask(replica.superuser(), "SELECT pg_wal_replay_pause()")
    try:
        await store.replace([document("b", [axis(1)])])
        before = store.stats()
        assert await found(store, 1) == ["b"]
        after = store.stats()
        assert after["searches_primary"] == before["searches_primary"] + 1
        assert after["replica_behind"] == before["replica_behind"] + 2
        assert store.stats()["replicas_available"] == 2, "a replica that is behind is not away"
    finally:
        for replica in cluster.replicas:
            ask(replica.superuser(), "SELECT pg_wal_replay_resume()")
    await on_replicas(store)
    assert await found(store, 1) == ["b"]


async def test_what_another_process_stored_is_known_of_within_a_moment(cluster: Cluster, store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)])])
    for replica in cluster.replicas:
        ask(replica.superuser(), "SELECT pg_wal_replay_pause()")
    try:
        other = await opened(cluster)
        await other.replace([document("c", [axis(2)])])
        await other.close()

        async def known() -> bool:
            return await found(store, 2) == ["c"]

        await eventually(known)
    finally:
        for replica in cluster.replicas:
            ask(replica.superuser(), "SELECT pg_wal_replay_resume()")


async def test_a_replica_that_goes_away_costs_no_search_and_is_used_again_when_it_is_back(
    cluster: Cluster, store: PgVectorStore
) -> None:
    await store.replace([document("a", [axis(0)])])
    await on_replicas(store)
    gone = cluster.replicas[0]
    await asyncio.to_thread(gone.kill)
    assert [await found(store) for _ in range(6)] == [["a"]] * 6
    assert store.stats()["replicas_available"] == 1
    hosts = [state["available"] for state in store.remarks()["replicas"]]
    assert hosts == [False, True]
    await asyncio.to_thread(cluster.start, gone)
    await both_there(store)


async def test_without_any_replica_the_primary_answers_also_from_the_start(cluster: Cluster) -> None:
    for replica in cluster.replicas:
        await asyncio.to_thread(replica.stop)
    store = await opened(cluster)
    try:
        await store.replace([document("a", [axis(0)])])
        assert await found(store) == ["a"]
        assert store.stats()["replicas_available"] == 0
        for replica in cluster.replicas:
            await asyncio.to_thread(cluster.start, replica)
        await both_there(store)
        await on_replicas(store)
    finally:
        await store.close()


async def test_a_replica_that_hangs_leaves_the_primary_time_to_answer(cluster: Cluster, store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)])])
    await on_replicas(store)
    backends = [pid for replica in cluster.replicas for pid in client_backends(replica)]
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert [hit.document_id for hit in await store.search(axis(0), top_k=1, timeout=4)] == ["a"]
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    await both_there(store)


def client_backends(server: Server) -> list[int]:
    with psycopg.connect(server.superuser()) as link:
        rows = link.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'sibyl'").fetchall()
    return [pid for (pid,) in rows]


@pytest.mark.parametrize("strategy", ["round_robin", "random", "least_loaded"])
async def test_every_strategy_asks_the_replicas(cluster: Cluster, store: PgVectorStore, strategy: str) -> None:
    await store.replace([document("a", [axis(0)])])
    chosen = await opened(cluster, read_strategy=strategy)
    try:
        await both_there(chosen)
        await on_replicas(chosen)
        answers = await asyncio.gather(*(found(chosen) for _ in range(8)))
        assert answers == [["a"]] * 8
    finally:
        await chosen.close()


async def test_writes_and_counts_stay_on_the_primary(cluster: Cluster, store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)])])
    for replica in cluster.replicas:
        ask(replica.superuser(), "SELECT pg_wal_replay_pause()")
    try:
        before = (await store.counts()).corpus_version
        await store.replace([document("d", [axis(3)])])
        assert (await store.counts()).corpus_version > before
        assert set(await store.fingerprints(["d"])) == {"d"}
    finally:
        for replica in cluster.replicas:
            ask(replica.superuser(), "SELECT pg_wal_replay_resume()")


async def test_when_the_primary_is_away_the_replicas_go_on_answering(cluster: Cluster, store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)])])
    await on_replicas(store)
    await asyncio.to_thread(cluster.primary.stop)
    try:
        assert await found(store) == ["a"]
        with pytest.raises(DatabaseUnavailable):
            await store.check()
    finally:
        await asyncio.to_thread(cluster.primary.serve)
    blocking_eventually(lambda: ask(cluster.dsn(cluster.primary), "SELECT 1") == 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replicas": [ReplicaProvider(dsn="postgresql://replica/db")]}, "replicas of a database that is not named"),
        ({"dsn": "postgresql://db/db", "read_strategy": "random"}, "has no effect without read replicas"),
    ],
)
async def test_what_could_have_no_effect_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        await open_store(VectorStoreProvider(**changes), dimension=DIMENSION, tag=TAG, embedded_directory=None)
