"""A volume that is full under the runtime: a write says so, reading goes on, and room is enough to mend it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sibyl_runtime.errors import DatabaseUnavailable
from sibyl_runtime.store.pgvector import PgVectorStore
from tests.store.samples import axis, corpus, document, opened, unit_vectors
from tests.support.builtin_database import ask, servers
from tests.support.small_volume import SmallVolume, small_volume


@dataclass
class Database:
    """A server whose tables are on a small volume, and its write-ahead log is not: it lives on when that is full."""

    dsn: str
    volume: SmallVolume


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with servers() as place, small_volume(place.root / "small", 30) as volume:
        server = place.primary()
        if place.account:
            os.chown(volume.directory, place.account.uid, place.account.gid)
        server.prepare("prepare-primary.sh")
        server.serve()
        for statement in (
            f"CREATE TABLESPACE small LOCATION '{volume.directory}'",
            "GRANT CREATE ON TABLESPACE small TO sibyl",
            "ALTER ROLE sibyl SET default_tablespace = small",
        ):
            ask(server.superuser(), statement)
        yield Database(server.dsn("sibyl", "first-app", "sibyl"), volume)
        place.stop()


async def load_all(store: PgVectorStore) -> None:
    """More than the volume holds."""
    for turn in range(20):
        await store.replace(corpus(unit_vectors(2_000, seed=turn), chunks=2_000))


async def test_a_refused_write_is_told_until_one_succeeds_and_searches_go_on(database: Database) -> None:
    store = await opened(database.dsn)
    try:
        await store.replace([document("a", [axis(0)])])
        await asyncio.to_thread(database.volume.fill)
        with pytest.raises(DatabaseUnavailable) as refused:
            await load_all(store)
        error = refused.value
        assert "is full, storing documents failed" in error.message
        assert error.message.endswith("enlarge the volume, or remove what is no longer needed")
        assert error.details["sqlstate"] == "53100"
        failed = store.remarks()["last_failed_write"]
        assert (failed["sqlstate"], failed["error"]) == ("53100", error.message)
        assert [hit.document_id for hit in await store.search(axis(0), top_k=1)] == ["a"]
        await asyncio.to_thread(database.volume.make_room)
        await store.replace([document("b", [axis(1)])])
        assert store.remarks() == {}
        assert [hit.document_id for hit in await store.search(axis(1), top_k=1)] == ["b"]
    finally:
        await store.close()
