"""The slow second opinion: all workspaces are listed at the start and from time to time, in case a watch lost one."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from sibyl_operator.api.group import KIND
from sibyl_operator.kube import KubeApi, KubeError
from sibyl_operator.reconcile.cache import ChildCache
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.queue import Backoff, WorkQueue
from sibyl_operator.reconcile.triggers import Triggers

logger = logging.getLogger(__name__)

SPREAD = 0.2


class Resync:
    """Lists workspaces and asks for a pass over each, with their children listed anew.

    At steady state such a pass writes nothing: what it lists is compared, not applied.
    """

    def __init__(
        self,
        api: KubeApi,
        cache: ChildCache,
        queue: WorkQueue[Key],
        triggers: Triggers,
        *,
        namespaces: Sequence[str],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._cache = cache
        self._queue = queue
        self._triggers = triggers
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._jitter = jitter

    async def first(self) -> None:
        """Ask for a pass over every workspace; tries until the API server, the CRD and the rights are there."""
        backoff = Backoff(longest=30.0)
        failures = 0
        while True:
            try:
                await self._list()
            except KubeError as error:
                failures += 1
                pause = backoff.delay(failures)
                logger.warning("cannot list workspaces, next try in %.0f s: %s", pause, error)
                await asyncio.sleep(pause)
            else:
                return

    async def run(self, interval: float) -> None:
        """Repeat for ever, about every `interval` seconds; passes are spread over a part of it."""
        while True:
            await asyncio.sleep(interval * (1 + SPREAD * (2 * self._jitter() - 1)))
            try:
                found = await self._list()
            except KubeError as error:
                logger.warning("resync failed: %s", error)
                continue
            for key in found | self._cache.keys():
                self._cache.expire(key)
                self._queue.add_after(key, interval * SPREAD * self._jitter())

    async def _list(self) -> frozenset[Key]:
        found = [item for namespace in self._namespaces for item in await self._api.list(KIND, namespace)]
        for manifest in found:
            self._triggers.event(None, manifest)
        return frozenset(Key(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found)
