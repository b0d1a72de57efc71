"""Leadership by a Lease: one process works, the others stand by.

The holder renews; the others take over when the record has not changed for `duration` of their own clock, so skewed
wall clocks do no harm. A holder that cannot renew for `renew_deadline`, which is shorter, has to stop before that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sibyl_operator.kube import KubeApi, KubeError, Manifest
from sibyl_operator.reconcile.clock import Clock

logger = logging.getLogger(__name__)


# The process is on its way out, and has little time left.
RELEASE_SECONDS: Final = 5.0


class LeadershipLost(Exception):
    """Another process may work now: this one must not write any more."""


@dataclass(frozen=True)
class LeaseSpec:
    """Which Lease, for whom, and its times in seconds."""

    namespace: str
    name: str
    identity: str
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


class LeaderElection:
    """One candidate. Call `acquire`, then keep `hold` running while leading, then `release`."""

    def __init__(
        self, api: KubeApi, spec: LeaseSpec, clock: Clock, *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._api = api
        self._spec = spec
        self._clock = clock
        self._jitter = jitter
        self._seen: tuple[Any, ...] | None = None
        self._seen_at = 0.0

    async def acquire(self) -> None:
        """Return once this process leads. An API server that cannot be reached is waited for."""
        while True:
            if await self._try():
                logger.info("leading as %s", self._spec.identity)
                return
            await asyncio.sleep(self._spec.retry_period * (1 + 0.2 * self._jitter()))

    async def hold(self) -> None:
        """Renew for ever. Raises LeadershipLost when it was taken, or could not be renewed in time."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            deadline = renewed + self._spec.renew_deadline
            await asyncio.sleep(min(self._spec.retry_period, max(0.0, deadline - loop.time())))
            # Counted from before the request: the Lease is ours from the moment that was sent, not answered.
            begun, held = loop.time(), False
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    held = await self._try(renew=True)
            if held:
                renewed = begun
            elif loop.time() >= deadline:
                raise LeadershipLost(f"could not renew for {self._spec.renew_deadline:g} s")

    async def release(self) -> None:
        """Let others take over at once, if this process still holds the Lease. Failing that, they wait it out."""
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._release()
        except (KubeError, TimeoutError) as error:
            logger.warning("could not release the lease: %s", error or "no answer")

    async def _release(self) -> None:
        lease = await self._get()
        if lease is not None and lease["spec"].get("holderIdentity") == self._spec.identity:
            released = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, **self._times()}
            await self._api.replace({**lease, "spec": released})
            logger.info("released the lease")

    async def _try(self, *, renew: bool = False) -> bool:
        """Whether this process holds the Lease after one try. With `renew`, another holder means it is lost."""
        try:
            lease = await self._get()
            if lease is None:
                await self._api.create(self._manifest(transitions=0))
                return True
            holder = lease["spec"].get("holderIdentity") or ""
            if holder != self._spec.identity:
                if renew:
                    raise LeadershipLost(f"taken over by {holder or 'nobody'}")
                if holder and not self._expired(lease):
                    return False
            await self._api.replace({**lease, "spec": self._spec_of(lease, taken=holder != self._spec.identity)})
        except KubeError as error:
            logger.warning("lease: %s", error)
            return False
        return True

    async def _get(self) -> Manifest | None:
        return await self._api.get("Lease", self._spec.namespace, self._spec.name)

    def _expired(self, lease: Manifest) -> bool:
        """Whether the record stood still for as long as its holder said, by our own clock."""
        now = asyncio.get_running_loop().time()
        record = (lease["metadata"]["resourceVersion"], lease["spec"].get("renewTime"))
        if record != self._seen:
            self._seen, self._seen_at = record, now
        return now - self._seen_at > float(lease["spec"].get("leaseDurationSeconds") or self._spec.duration)

    def _spec_of(self, lease: Manifest, *, taken: bool) -> dict[str, Any]:
        before = lease["spec"]
        kept = {} if taken else {"acquireTime": before.get("acquireTime")}
        transitions = int(before.get("leaseTransitions") or 0) + (1 if taken else 0)
        return {**self._manifest(transitions)["spec"], **{k: v for k, v in kept.items() if v}}

    def _manifest(self, transitions: int) -> Manifest:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self._spec.namespace, "name": self._spec.name},
            "spec": {
                "holderIdentity": self._spec.identity,
                "leaseDurationSeconds": max(1, round(self._spec.duration)),
                "leaseTransitions": transitions,
                **self._times(),
            },
        }

    def _times(self) -> dict[str, str]:
        now = micro_time(self._clock.now())
        return {"acquireTime": now, "renewTime": now}


def micro_time(moment: datetime) -> str:
    """A moment in UTC as Kubernetes' MicroTime: exactly six digits of a second, and a Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
