"""A FAISS index that follows a collection in PostgreSQL.

It begins as an exhaustive index over what the collection holds. The index that was asked for is made aside, as soon as
there is enough to train it on, and then takes its place; the same way it is made anew when it is worn. A change of this
process is there before its next search. A change of another is looked for every LOOK_PAUSE seconds, and what an answer
is filed under (`saw`) is never newer than what it was found in.

Two threads: one for everything that touches the index which searches use, so that these need no lock; one for building.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np

from sibyl_runtime.errors import DeadlineExceeded, SibylError, StartupError
from sibyl_runtime.providers.protocols import Vectors as Vector
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.failures import translated
from sibyl_runtime.store.faiss_index import SLICE, FaissIndex, Ids, Recipe, one_thread
from sibyl_runtime.store.index import IndexState, prepare_session
from sibyl_runtime.store.pool import Database
from sibyl_runtime.store.vectors import Changes, Head, Vectors, read_all, read_changes, read_head
from sibyl_runtime.workspace import VectorStoreProvider
from sibyl_runtime.workspace.faiss_types import EXHAUSTIVE, parse_faiss_type

logger = logging.getLogger(__name__)

LOOK_PAUSE = 1.0
"""Seconds between two looks for what other processes changed."""
_LOOK_TIMEOUT = 5.0
Value = TypeVar("Value")
Connect = Callable[[], contextlib.AbstractAsyncContextManager[Connection]]


def recipe_for(provider: VectorStoreProvider, collection: Collection) -> Recipe:
    """What the provider's settings ask for. Raises StartupError for an `index_type` that is none of FAISS's."""
    wanted = parse_faiss_type(provider.index_type)
    if wanted is None:  # the document's reader has refused it, unless nobody asked it
        raise StartupError(f'`providers.vector_store.<name>.index_type` "{provider.index_type}" is no FAISS index')
    nprobe = provider.nprobe or round(wanted.cells**0.5)
    return Recipe(
        wanted,
        collection.metric.name,
        collection.dimension,
        nprobe,
        provider.hnsw_ef_construction,
        provider.hnsw_ef_search,
    )


class _Held:
    """An index, and what of the collection it holds. `ids` are sorted."""

    def __init__(self, index: FaissIndex, head: Head, ids: Ids) -> None:
        self.index = index
        self.head = head
        self.ids = ids

    def note(self, changes: Changes) -> None:
        """The index has these changes now."""
        kept = np.setdiff1d(self.ids, changes.gone, assume_unique=True) if len(changes.gone) else self.ids
        self.ids = np.sort(np.concatenate([kept, changes.ids]), kind="stable") if len(changes.ids) else kept
        self.head = changes.head


class Mirror:
    """The index of one collection. It reads nothing until it is first asked; `close` ends its threads."""

    def __init__(self, database: Database, connect: Connect, collection: Collection, recipe: Recipe) -> None:
        self._database = database
        self._connect = connect
        self._collection = collection
        self._recipe = recipe
        self._held: _Held | None = None
        self._newest = 0
        self._changed = 1
        self._followed = 0
        self._turn = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self._building: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._failed_at: Head | None = None
        self._failure = ""
        self._closing = False
        self._updates = 0
        self._searcher = ThreadPoolExecutor(1, "sibyl-faiss", initializer=one_thread)
        self._builder = ThreadPoolExecutor(1, "sibyl-faiss-build", initializer=one_thread)

    def __len__(self) -> int:
        return len(self._held.index) if self._held is not None else 0

    @property
    def standing_in(self) -> str:
        """Why an exhaustive index serves in the place of the one that was asked for; empty when that one serves."""
        if self._held is None:
            return "the index has not been read yet"
        serving, wanted = self._held.index.recipe.type, self._recipe.type
        if serving == wanted:
            return ""
        if len(self) < wanted.trained_from:
            return f"{wanted.factory} is trained on {wanted.trained_from} chunks at least, and there are {len(self)}"
        return self._failure or f"{wanted.factory} is being built"

    def saw(self, version: int) -> None:
        """The collection has this version: no search from now on may know less."""
        self._newest = max(self._newest, version)

    def changed(self) -> None:
        """This process has changed the collection: look before the next search."""
        self._changed += 1

    async def catch_up(self, timeout: float | None = None) -> None:
        """Wait until the index knows what this process knows of; reads the collection when first called.

        Raises DatabaseUnavailable, Overloaded, and DeadlineExceeded after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._watch()
        while self._is_behind():
            following = self._follow()
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            done, _ = await asyncio.wait({following}, timeout=left)
            if not done:
                raise DeadlineExceeded("the deadline passed during search", details={"stage": "search"})
            following.result()

    async def search(self, vector: Vector, count: int) -> list[int]:
        """At most `count` ids, the nearest first."""
        if self._held is None:
            return []
        return await self._on(self._searcher, partial(self._nearest, vector, count))

    def state(self) -> IndexState:
        """The index that searches use now."""
        index = self._held.index if self._held is not None else None
        return IndexState(
            kind="faiss",
            rows=len(self),
            valid=self._held is not None,
            parameters={} if index is None else index.recipe.parameters,
            size_bytes=0 if index is None else index.size_bytes,
            name="" if index is None else index.recipe.type.factory,
            remark=self.standing_in,
        )

    def stats(self) -> dict[str, int]:
        """Figures for metrics."""
        state = self.state()
        return {
            "faiss_rows": state.rows,
            "faiss_bytes": state.size_bytes,
            "faiss_standing_in": int(bool(state.remark)),
            "faiss_updates": self._updates,
        }

    async def close(self) -> None:
        """End what is under way. FAISS cannot be interrupted while it trains: that is waited for."""
        self._closing = True
        tasks = [task for task in (self._watching, self._building, self._following) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for threads in (self._searcher, self._builder):
            await asyncio.to_thread(threads.shutdown, wait=True, cancel_futures=True)

    def _nearest(self, vector: Vector, count: int) -> list[int]:
        # Read on the thread that also replaces it: what a search began with is whole.
        return self._held.index.search(vector, count) if self._held is not None else []

    def _is_behind(self) -> bool:
        return self._held is None or self._followed < self._changed or self._held.head.version < self._newest

    def _watch(self) -> None:
        if self._watching is None:
            self._watching = asyncio.create_task(self._look_again_and_again())

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_PAUSE)
            # A database that is away, or busy, is asked again; searches say what is wrong with it.
            with contextlib.suppress(SibylError):
                await self._look()

    async def _look(self) -> None:
        async def work(connection: Connection) -> Head:
            return await read_head(connection, self._collection)

        if self._held is None:
            return
        head = await self._database.run(
            work, stage="looking for changes", timeout=_LOOK_TIMEOUT, wait=_LOOK_TIMEOUT / 2, repeatable=True
        )
        self.saw(head.version)
        if self._held.head != head:
            await asyncio.wait({self._follow()})
        self._build_aside()

    def _follow(self) -> asyncio.Task[None]:
        """One pass over what changed, for all who wait."""
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._pass())
            self._following.add_done_callback(_retrieve)
        return self._following

    async def _pass(self) -> None:
        # Noted first: what changes while the pass reads needs another one.
        changes, newest = self._changed, self._newest
        async with self._turn:
            if self._held is None or not await self._advance(self._held, self._searcher):
                self._held = await self._read_anew(self._recipe.standing_in())
                if self.standing_in:
                    logger.info("%s stands in: %s", EXHAUSTIVE.factory, self.standing_in)
            if self._newest == newest:
                # Also when it is lower: a database that was restored has an earlier version.
                self._newest = self._held.head.version
        self._followed = changes
        self._build_aside()

    async def _advance(self, held: _Held, threads: ThreadPoolExecutor) -> bool:
        """Bring an index up to date by what changed. False when it must be made anew."""

        async def work(connection: Connection) -> Changes | None:
            return await read_changes(connection, self._collection, held.ids, held.head)

        changes = await self._database.run(work, stage="reading vectors", repeatable=True)
        if changes is None or held.index.has_removed(changes.ids):
            return False
        try:
            await self._apply(changes, held.index, threads)
        except (RuntimeError, MemoryError) as error:
            # Some of it may be in the index, which so cannot be told from what is to come.
            logger.error("the FAISS index cannot take over what changed, and is made anew: %s", error)
            return False
        # Comparing the ids of a million rows takes a tenth of a second.
        await asyncio.to_thread(held.note, changes)
        return True

    async def _apply(self, changes: Changes, index: FaissIndex, threads: ThreadPoolExecutor) -> None:
        # What is new first: between the two, a document is found by its former text rather than not at all.
        for start in range(0, len(changes.ids), SLICE):
            part = slice(start, start + SLICE)
            await self._on(threads, partial(index.add, changes.ids[part], changes.vectors[part]))
        if len(changes.gone):
            await self._on(threads, partial(index.remove, changes.gone))
        if len(changes.ids) or len(changes.gone):
            self._updates += 1

    async def _read_anew(self, recipe: Recipe) -> _Held:
        """An index over all of the collection, built aside; on a connection of its own, as it may take a while."""
        started = time.monotonic()
        async with self._connect() as connection:
            with translated("reading vectors"):
                await prepare_session(connection)
                read = await read_all(connection, self._collection)
        index = await self._on(self._builder, partial(self._built, recipe, read))
        logger.info(
            "made the FAISS index %s of collection %s over %d chunks in %.1f s: %d MB",
            recipe.type.factory,
            self._collection.name,
            len(index),
            time.monotonic() - started,
            round(index.size_bytes / 1e6),
        )
        return _Held(index, read.head, read.ids)

    def _built(self, recipe: Recipe, read: Vectors) -> FaissIndex:
        return FaissIndex.build(recipe, read.ids, read.vectors, stopped=lambda: self._closing)

    def _build_aside(self) -> None:
        """Begin to make the index that was asked for, where it can be made and the one that serves is another, or
        worn."""
        held = self._held
        if held is None or self._closing or (self._building is not None and not self._building.done()):
            return
        index = held.index
        enough = self._recipe.type.trained_from
        if index.recipe == self._recipe:
            # Trained already: a collection that is now and then a little smaller keeps its index.
            enough //= 2
        wanted = self._recipe if len(index) >= enough else self._recipe.standing_in()
        # What has failed is not tried again until there is something else to make it from.
        if (index.recipe != wanted or index.worn) and self._failed_at != held.head:
            self._building = asyncio.create_task(self._replace_by(wanted))
            self._building.add_done_callback(_retrieve)

    async def _replace_by(self, recipe: Recipe) -> None:
        try:
            made = await self._read_anew(recipe)
            # Most of what changed meanwhile, while searches go on; the rest within the turn.
            if not await self._advance(made, self._builder):
                return
            async with self._turn:
                if await self._advance(made, self._builder):
                    self._held = made
                    self._failed_at, self._failure = None, ""
        except SibylError:
            raise
        except (RuntimeError, MemoryError) as error:
            self._failed_at = self._held.head if self._held is not None else None
            self._failure = f"{recipe.type.factory} cannot be built: {error}"
            logger.error("%s; %s goes on serving", self._failure, EXHAUSTIVE.factory)

    async def _on(self, threads: ThreadPoolExecutor, work: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(threads, work)


def _retrieve(task: asyncio.Task[None]) -> None:
    """A failure that nobody waited for shows in the next search, which tries again."""
    if not task.cancelled():
        task.exception()
